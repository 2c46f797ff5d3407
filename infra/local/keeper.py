"""The small process that is the parent of `sentinel dev`'s services: `python -m infra.local.keeper`.

It reads one line of JSON, `[{"name": ..., "command": [...], "log": path, "ready": path}, ...]`, starts these in their
order, each once what the one before makes when it is ready is there, and starts again what dies. When its standard
input ends, because who started it says so or is gone, however that went, it stops them, and then everything that they
have started and left behind: it is the subreaper of all of them (Linux), so that no process leaves its family by losing
a parent. Standard library only: it must start in no time.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

_LOOK_S = 0.1  # between two looks at who is alive; the end of the input is seen at once
_PATIENCE_S = 20.0  # from SIGTERM to SIGKILL: Dagster's daemon ends its threads first
_RESTARTS = 5  # in a row; a service that lived for longer than this starts a new row:
_STEADY_S = 30.0
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


@dataclass
class Service:
    """One command that is to run all the time."""

    name: str
    command: list[str]
    log: str
    ready: str | None = None
    """A path that it makes; of one that has ended there is none."""
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    restarts: int = field(default=0)

    def start(self) -> None:
        self.started = time.monotonic()
        if self.ready is not None:
            Path(self.ready).unlink(missing_ok=True)
        with Path(self.log).open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - what our own caller asks for
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - this process has one thread
            )

    def see_to(self) -> None:
        """Start it again if it has died. Raises RuntimeError when it keeps dying."""
        assert self.process is not None
        if self.process.poll() is None:
            return
        steady = time.monotonic() - self.started > _STEADY_S
        self.restarts = 1 if steady else self.restarts + 1
        if self.restarts > _RESTARTS:
            raise RuntimeError(f"{self.name} ended {self.restarts} times in a row; see {self.log}")
        self.start()

    @property
    def is_ready(self) -> bool:
        return self.process is not None and (self.ready is None or Path(self.ready).exists())

    def stop(self, deadline: float) -> None:
        """Wait for its end, and make it end at `deadline`."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def keep(services: list[Service], stdin: int) -> None:
    """Run them until the input ends. Raises RuntimeError when one cannot be kept running."""
    started: list[Service] = []
    try:
        while not (select.select([stdin], [], [], _LOOK_S)[0] and not os.read(stdin, 4096)):
            for service in started:
                service.see_to()
            if len(started) < len(services) and all(service.is_ready for service in started):
                started.append(services[len(started)])
                started[-1].start()
            _bury({service.process.pid for service in started if service.process})
    finally:
        for service in started:
            if service.process is not None and service.process.poll() is None:
                service.process.terminate()
        _kill_below({service.process.pid for service in started if service.process})
        for service in started:
            service.stop(time.monotonic() + _PATIENCE_S)
        _kill_the_rest()


def _bury(ours: set[int]) -> None:
    """Take note of the end of orphans that have become our children."""
    for pid in _children():
        if pid not in ours:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _kill_below(services: set[int]) -> None:
    """At once, all that the services have started: runs, which are made to be resumed. One that went on for a moment
    would see the cloud go before itself, and take that for a failure of its own."""
    below = [pid for service in services for pid in _children(service)]
    while below:
        pid = below.pop()
        below += _children(pid)
        if pid not in services:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _kill_the_rest() -> None:
    """What the services have left behind comes to us, one generation after the other."""
    while pids := _children():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children(parent: int | None = None) -> list[int]:
    """Of all threads of a process, ours if none is named (Linux)."""
    found: list[int] = []
    for listed in Path(f"/proc/{parent or os.getpid()}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ends at this moment
            found += map(int, listed.read_text().split())
    return found


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def main() -> int:
    """The exit code: 0 when the input ended, 1 when a service could not be kept running."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # who started us decides; SIG_IGN would go over to the services
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with os.fdopen(
        sys.stdin.fileno(), "rb", buffering=0, closefd=False
    ) as unbuffered:  # select looks at the descriptor
        wanted = json.loads(unbuffered.readline())
    try:
        keep([Service(**one) for one in wanted], sys.stdin.fileno())
    except RuntimeError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the keeper's log
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
