"""The small process that is the local server's parent: `python -m infra.local.guardian FOLDER LINGER_S SETTINGS_JSON`.

It starts the server, starts it again when it was killed, and stops it once nobody has used it for a while. Who uses it
holds a shared lock (flock) on the file `users`, which the kernel drops however that process ends; the guardian finds
that nobody is left by getting the exclusive one. It holds the lock on `guardian` itself for as long as it lives, so
that one server has one guardian, and a dead guardian is known for dead whatever has become of its pid.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, NoReturn

from infra.local.cluster import Cluster
from infra.local.places import unusable
from sentinel_assets.vision.errors import SentinelError, StoreRejected, StoreUnavailable

_LOOK_S = 0.1  # between two looks at who is there
_TAKE_OVER_S = 90.0  # for a guardian that is still ending, or still starting the server
_RESTARTS = 5  # in a row; a server that lived for longer than this starts a new row:
_STEADY_S = 30.0


def has_guardian(folder: Path) -> bool:
    """Whether a guardian lives, be its server ready or not; also where the folder was deleted: then none shall come."""
    try:
        with (folder / "guardian").open("rb") as lock:
            return not _try_lock(lock, fcntl.LOCK_SH)
    except FileNotFoundError:
        return True


def running_port(folder: Path) -> int | None:
    """The port of the folder's server, if a guardian is there and the server accepts connections."""
    try:
        with (folder / "guardian").open("ab") as lock:
            if _try_lock(lock, fcntl.LOCK_SH):
                return None
        port = int(json.loads((folder / "server.json").read_text())["port"])
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return port
    except (FileNotFoundError, ConnectionError, TimeoutError):
        return None


def read_password(folder: Path) -> str:
    """The superuser's password; raises StoreRejected where data are but their password is gone."""
    try:
        return (folder / "password").read_text()
    except FileNotFoundError:
        raise StoreRejected(
            "the password of these data is gone", where=folder / "password", remedy=f"Put it back, or delete {folder}"
        ) from None


def guard(
    folder: Path, linger_s: float, settings: Mapping[str, str], report: Callable[[dict[str, object]], None]
) -> None:
    """Be the guardian of this folder's server until nobody needs it. `report` is called once, with the port.

    When there is a guardian already, its port is reported. Raises SentinelError when the server cannot be started.
    """
    with (folder / "guardian").open("ab") as lock:
        deadline = time.monotonic() + _TAKE_OVER_S
        while not _try_lock(lock, fcntl.LOCK_EX):
            if port := running_port(folder):
                report({"port": port})
                return
            if time.monotonic() > deadline:
                remedy = "End the process that holds it, and try again"
                raise StoreUnavailable("another guardian neither starts nor ends", where=lock.name, remedy=remedy)
            time.sleep(0.02)
        cluster = Cluster.at(folder)
        port = _last_port(folder)
        if not cluster.data.exists():
            cluster.initialise(_password_for_new_data(folder), sync=settings.get("fsync") != "off")
        server, port = cluster.start(settings, port)
        try:
            _announce(folder, port)
            report({"port": port})
            server = _keep(cluster, server, port, linger_s, settings)
        finally:
            _withdraw(folder)
            cluster.stop(server)


def _keep(
    cluster: Cluster, server: subprocess.Popen[bytes], port: int, linger_s: float, settings: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Watch until the server is needed no more; the server as it is then."""
    asked_to_end: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked_to_end.append(number))
    restarts, started = 0, time.monotonic()
    with _watched_users(cluster.folder, linger_s) as unused:
        while not asked_to_end and not unused():
            if server.poll() is None:
                time.sleep(_LOOK_S)
                continue
            restarts = 1 if time.monotonic() - started > _STEADY_S else restarts + 1
            if restarts > _RESTARTS:
                remedy = f"Read {cluster.log}"
                raise StoreUnavailable(f"the server died {restarts} times in a row", where=cluster.place, remedy=remedy)
            started = time.monotonic()
            server, used = cluster.start(settings, port)
            if used != port:
                port = used
                _announce(cluster.folder, port)
        # Whoever comes now waits for the lock on `users`, and finds no server.
        _withdraw(cluster.folder)
        cluster.stop(server)
    return server


@contextlib.contextmanager
def _watched_users(folder: Path, linger_s: float) -> Iterator[Callable[[], bool]]:
    """A question: is the server unused, for `linger_s` seconds by now? After a yes the exclusive lock is held."""
    with (folder / "users").open("ab") as users:
        last_used, last_touch = time.monotonic(), os.fstat(users.fileno()).st_mtime_ns

        def unused() -> bool:
            nonlocal last_used, last_touch
            state = os.fstat(users.fileno())
            if state.st_nlink == 0:
                return True  # the folder was deleted
            free = _try_lock(users, fcntl.LOCK_EX)
            if not free or state.st_mtime_ns != last_touch:
                last_used, last_touch = time.monotonic(), state.st_mtime_ns
            if free and time.monotonic() - last_used < linger_s:
                fcntl.flock(users, fcntl.LOCK_UN)
                free = False
            return free

        yield unused


def _try_lock(stream: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _last_port(folder: Path) -> int | None:
    """Of a guardian that was killed: with the same port again, its clients find the server where they left it."""
    try:
        text = (folder / "server.json").read_text()
        (folder / "server.json").unlink()
        return int(json.loads(text)["port"])
    except (FileNotFoundError, ValueError, KeyError):
        return None


def _announce(folder: Path, port: int) -> None:
    temporary = folder / "server.json.new"
    temporary.write_text(json.dumps({"port": port, "guardian": os.getpid()}))
    temporary.replace(folder / "server.json")


def _withdraw(folder: Path) -> None:
    """Take the announcement back, unless it is by now that of another guardian, in a folder made anew at this place."""
    with contextlib.suppress(FileNotFoundError):
        if json.loads((folder / "server.json").read_text())["guardian"] == os.getpid():
            (folder / "server.json").unlink()


def _password_for_new_data(folder: Path) -> str:
    path = folder / "password"
    path.unlink(missing_ok=True)
    password = secrets.token_urlsafe(24)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(password)
    return password


def _report_and_let_go(message: dict[str, object]) -> None:
    """Say it to who started us, who waits for the end of our standard output, and go on without one."""
    os.write(1, json.dumps(message).encode())
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def main(arguments: list[str]) -> NoReturn:
    """Detach from the process that started us, and guard."""
    folder, linger_s, settings = Path(arguments[0]), float(arguments[1]), json.loads(arguments[2])
    if os.fork():
        os._exit(0)
    os.chdir("/")
    try:
        guard(folder, linger_s, settings, _report_and_let_go)
    except SentinelError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the guardian's log
        kind = "unavailable" if error.is_retryable else "rejected"
        _report_and_let_go({"error": kind, "what": error.what, "where": error.where, "remedy": error.remedy})
    except OSError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the guardian's log
        fault = unusable(error, folder)
        _report_and_let_go({"error": "unavailable", "what": fault.what, "where": fault.where, "remedy": fault.remedy})
    sys.exit()


if __name__ == "__main__":
    main(sys.argv[1:])
