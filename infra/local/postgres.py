"""PostgreSQL 16 with pgvector on this machine, for the processes that want it, for as long as one of them does.

    with LocalPostgres(folder).session() as server:
        server.create_database("sentinel")
        psycopg.connect(server.url("sentinel"))

All processes that name the same folder share one server: the first starts it, and a few seconds after the last has
ended, in whatever way, it stops. It listens on loopback only and asks for a password, which is made with the data and
kept beside them, readable by the user alone. A server that is killed is started again on its port at once.

In the folder: `cluster` (data and the server's log; for root perhaps a link, see `places.py`), `password`, the locks
`users`, `guardian` and `starting`, `server.json` (the port, while it runs) and `guardian.log`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from infra.local.cluster import SUPERUSER
from infra.local.guardian import has_guardian, read_password, running_port
from infra.local.places import unusable
from sentinel_assets.vision.errors import StoreError, StoreRejected, StoreUnavailable

if TYPE_CHECKING:
    import psycopg
    from psycopg.rows import TupleRow

_IMPORT_ROOT = Path(__file__).resolve().parents[2]
_START_TIMEOUT_S = 240.0
_LOOK_S = 0.2  # between two looks whether the server still has a guardian
_COMES_BACK_S = 15.0  # how long a server may take to answer again; recovery after a kill takes a second or two
_LOOK_AGAIN_S = 0.2
_CREATE_DATABASE_LOCK = 0x5E47_0001  # key of the advisory lock, ours alone by convention


@dataclass(frozen=True)
class Server:
    """A server that runs for as long as the session it was got from."""

    port: int
    password: str = field(repr=False)
    revive: Callable[[], None] = field(repr=False, compare=False)
    """Starts it again, on the same port if that is free, should it and its guardian have been killed."""

    def url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """Make the database unless it is there; safe when several processes do so at once."""
        from psycopg import sql

        with self._administration() as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", [_CREATE_DATABASE_LOCK])
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                return
            like = sql.SQL(" TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
            connection.execute(sql.SQL("CREATE DATABASE {}{}").format(sql.Identifier(name), like))

    def drop_database(self, name: str) -> None:
        """Drop it, and end the connections to it."""
        from psycopg import sql

        with self._administration() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextlib.contextmanager
    def _administration(self) -> Iterator[psycopg.Connection[TupleRow]]:
        import psycopg

        try:
            with self._connected() as connection:
                yield connection
        except psycopg.OperationalError as error:
            raise StoreUnavailable(
                f"PostgreSQL: {error}", where=f"127.0.0.1:{self.port}", remedy="Free space if that is it, and try again"
            ) from error

    def _connected(self) -> psycopg.Connection[TupleRow]:
        """Waits for a server that is just being started again."""
        import psycopg

        deadline = time.monotonic() + _COMES_BACK_S
        while True:
            try:
                return psycopg.connect(self.url("postgres"), autocommit=True)
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK_AGAIN_S)


class LocalPostgres:
    """The server of one data folder.

    `settings` are PostgreSQL's own (`{"fsync": "off"}`); they hold when this process is the one that starts the server.
    `linger_s`: how long it goes on after its last user, so that a command finds it warm after the one before.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None, *, linger_s: float = 8.0) -> None:
        self.folder = folder.expanduser().absolute()
        self._settings = dict(settings or {})
        self._linger_s = linger_s

    @contextlib.contextmanager
    def session(self) -> Iterator[Server]:
        """The server, running. Raises StoreUnavailable or StoreRejected, with its last words, when it does not start.

        The lock that keeps it running goes over to children that are forked, and not to programs that are executed.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            users = (self.folder / "users").open("ab")
        except OSError as error:
            raise unusable(error, self.folder) from error
        with users:
            fcntl.flock(users, fcntl.LOCK_SH)  # waits while a guardian is about to end
            os.utime(users.fileno())
            try:
                port = self._ensure_running()
                with self._watched():
                    yield Server(port, read_password(self.folder), self._revive)
            finally:
                os.utime(users.fileno())

    def remove(self) -> None:
        """Stop the server, whoever uses it, and delete its data and the folder."""
        with contextlib.suppress(FileNotFoundError), (self.folder / "starting").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # or else a user would start it again in between
            self._stop()
            cluster = self.folder / "cluster"
            if cluster.is_symlink():
                shutil.rmtree(cluster.resolve(), ignore_errors=True)
            shutil.rmtree(self.folder)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Meanwhile, start the server again should its guardian be killed: other libraries' connections to it only try
        for a few seconds, and cannot be told to call `revive`."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(_LOOK_S):
                if has_guardian(self.folder):
                    continue
                with contextlib.suppress(StoreError):  # who needs the server says so himself
                    self._ensure_running()

        watcher = threading.Thread(target=watch, name="postgres-watch", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def _stop(self, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while running_port(self.folder):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it may be ending by itself
                os.kill(json.loads((self.folder / "server.json").read_text())["guardian"], signal.SIGTERM)
            if time.monotonic() > deadline:
                raise StoreUnavailable("the server does not stop", where=self.folder, remedy="End its guardian")
            time.sleep(0.02)
        with contextlib.suppress(FileNotFoundError), (self.folder / "guardian").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)  # until the guardian has ended

    def _revive(self) -> None:
        self._ensure_running()

    def _ensure_running(self) -> int:
        """The port of the running server."""
        try:
            if port := running_port(self.folder):
                return port
            with (self.folder / "starting").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                return running_port(self.folder) or self._start()
        except OSError as error:
            raise unusable(error, self.folder) from error

    def _start(self) -> int:
        command = [sys.executable, "-m", "infra.local.guardian", str(self.folder), str(self._linger_s)]
        path = os.pathsep.join([str(_IMPORT_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        with (self.folder / "guardian.log").open("wb") as log:
            try:
                started = subprocess.run(  # noqa: S603 - our own command, no shell
                    [*command, json.dumps(self._settings)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env={**os.environ, "PYTHONPATH": path},
                    start_new_session=True,
                    timeout=_START_TIMEOUT_S,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise StoreUnavailable(
                    f"PostgreSQL was not there after {_START_TIMEOUT_S:.0f} s", where=log.name, remedy="Try again"
                ) from None
        if not started.stdout:
            last = (self.folder / "guardian.log").read_text(errors="replace").strip().splitlines()[-1:]
            raise StoreUnavailable(
                f"the server's guardian ended: {' '.join(last) or 'killed'}", where=log.name, remedy="Try again"
            )
        report = json.loads(started.stdout)
        if "error" in report:
            kind = StoreUnavailable if report["error"] == "unavailable" else StoreRejected
            raise kind(report["what"], where=report["where"], remedy=report["remedy"])
        return int(report["port"])
