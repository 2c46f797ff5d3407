"""A command run as a container would be: alone in its process group, its output in one stream, gone with its server."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_CHUNK = 65536


class Reaper:
    """Keeps a process beside this one that kills the groups it was told of, should this one die.

    `folder` is for them to run in; it is deleted in the end.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.folder = Path(tempfile.mkdtemp(prefix="local-batch-"))
        program = str(Path(__file__).with_name("reaper.py"))
        self._process = subprocess.Popen(  # noqa: S603 - our own file
            [sys.executable, "-I", "-S", program, str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C ends the server, and the server ends this
            env={},
        )

    def watch(self, group: int) -> None:
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """What is still watched is killed, and the folder deleted."""
        with self._lock:
            assert self._process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait()

    def _tell(self, line: str) -> None:
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()


class Process:
    """One command. Raises OSError when it cannot be started; close it, or what it started may stay."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, reaper: Reaper) -> None:
        if not command:
            raise FileNotFoundError("no command specified")
        self._reaper = reaper
        self._popen = subprocess.Popen(  # noqa: S603 - running it is what we are for
            list(command),
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        reaper.watch(self._popen.pid)
        assert self._popen.stdout is not None
        self._output = self._popen.stdout.fileno()
        os.set_blocking(self._output, False)
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)
        self._ended_output = False

    @property
    def pid(self) -> int:
        return self._popen.pid

    def read(self, timeout_s: float) -> bytes:
        """What it has written since, waiting for it at most so long; returns early when it ends."""
        if self._ended_output:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout_s)
            return b""
        if not self._poll.poll(timeout_s * 1000):
            return b""
        try:
            data = os.read(self._output, _CHUNK)
        except BlockingIOError:
            return b""
        self._ended_output = not data
        return data

    def exit_code(self) -> int | None:
        """None while it runs; 128 + n when signal n ended it, as a shell says it."""
        code = self._popen.poll()
        return code if code is None or code >= 0 else 128 - code

    @property
    def was_killed(self) -> bool:
        return self._popen.returncode == -signal.SIGKILL

    def ask_to_end(self) -> None:
        """SIGTERM to the first process alone, as ECS does."""
        self._popen.terminate()

    def kill(self) -> None:
        """SIGKILL to all of the group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)

    def close(self) -> bytes:
        """Kill what is left of it; returns what it had still written."""
        self.kill()
        self._popen.wait()
        self._reaper.forget(self._popen.pid)
        rest = b""
        while not self._ended_output and (data := self.read(0)):
            rest += data
        assert self._popen.stdout is not None
        self._popen.stdout.close()
        return rest
