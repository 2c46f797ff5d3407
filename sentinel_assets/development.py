"""The whole system on this machine, as `sentinel dev` and `sentinel demo` run it, on loopback, ended however we end:
PostgreSQL, the local cloud, and Dagster's code server, daemon and pages."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from resources.settings import Settings
from resources.warehouse import Warehouse, connect
from sentinel_assets.vision.errors import SentinelError, StoreUnavailable
from sentinel_assets.workplace import dagster_home

if TYPE_CHECKING:
    from infra.local.stack import LocalCloud

_START_S = 180.0  # until the pages show our assets; 9 to 60 s were seen on two cores, idle to busy
_STOP_S = 60.0  # the keeper kills after 20 s what does not end by itself
_LOCATION = "sentinel"
_CHECKOUT = Path(__file__).resolve().parent.parent
_LOADED = "{ workspaceOrError { __typename ... on Workspace { locationEntries { locationOrLoadError { __typename " + (
    "... on PythonError { message } } } } ... on PythonError { message } } }"
)


@dataclass(frozen=True)
class System:
    """Where everything is. Written to `SENTINEL_HOME/dev.json` for other commands, which read `environment` of it."""

    pid: int
    environment: Mapping[str, str]
    """For an AWS client, and for `Settings`."""
    ui: str
    database: str
    """host:port/name of the warehouse."""
    profile: str
    announced: int = 0
    """Uploads of an earlier time whose analysis was not finished, taken up again."""

    @classmethod
    def running(cls, settings: Settings) -> System | None:
        """The one of this home, if one is running."""
        path = settings.home / "dev.json"
        try:
            with (settings.home / "dev.lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            return cls(**json.loads(path.read_text())) if path.exists() else None
        return None


@contextmanager
def whole_system(
    settings: Settings, port: int | None = None, on_part: Callable[[str], None] = lambda _: None
) -> Iterator[tuple[System, subprocess.Popen[bytes]]]:
    """Everything, while the context lasts; yields where it is, once it works, and the process whose end is its end.

    `on_part` is told what is being started. Raises SentinelError where one runs for this home already, and where a part
    does not start.
    """
    with ExitStack() as stack:
        stack.enter_context(_only_one(settings))
        on_part("PostgreSQL")
        home = stack.enter_context(dagster_home(settings))
        warehouse = stack.enter_context(connect(settings))
        on_part("S3, SQS and Batch")
        cloud = stack.enter_context(_local_cloud(settings, warehouse))
        stack.enter_context(_environment({**cloud.environment, "SENTINEL_HOME": str(settings.home)}))
        on_part("Dagster")
        address = f"http://127.0.0.1:{port or free_port()}"
        keeper = stack.enter_context(_services(settings, home, address))
        _wait_until_loaded(address, keeper, settings.home)
        system = System(os.getpid(), cloud.environment, address, warehouse.where, settings.profile, cloud.announced)
        stack.enter_context(_announced(settings.home / "dev.json", system))
        yield system, keeper


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "dev.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = System.running(settings)
            where = f"process {other.pid}, {other.ui}" if other else "it is starting or ending at this moment"
            raise SentinelError(
                f"`sentinel dev` or `sentinel demo` runs here already: {where}",
                where=settings.home,
                remedy="Use that one, end it, or set SENTINEL_HOME to another folder",
            ) from None
        yield


@contextmanager
def _local_cloud(settings: Settings, warehouse: Warehouse) -> Iterator[LocalCloud]:
    from infra.local.stack import LocalCloud

    ended = {(video.uri, video.etag) for video in warehouse.videos() if video.status in ("completed", "failed")}
    with LocalCloud.opened(settings, lambda uri, etag: (uri, etag) in ended) as cloud:
        yield cloud


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Of this process, and so of all that it starts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _services(settings: Settings, home: Path, address: str) -> Iterator[subprocess.Popen[bytes]]:
    """Dagster's three processes. Over the code server's socket runs what it is told to: only we may reach it."""
    with tempfile.TemporaryDirectory(prefix="sentinel-") as folder:
        code = str(Path(folder, "code.sock"))
        workspace = home / "workspace.yaml"
        workspace.write_text(
            yaml.safe_dump({"load_from": [{"grpc_server": {"socket": code, "location_name": _LOCATION}}]})
        )
        python, log = sys.executable, str(settings.home / "dagster.log")
        port = address.rpartition(":")[2]
        served = [
            "-m",
            "sentinel_assets.definitions",
            "--location-name",
            _LOCATION,
        ]
        services = [
            {
                "name": "the code server",
                "command": [python, "-m", "dagster", "api", "grpc", "--socket", code, *served],
                "log": log,
                "ready": code,
            },
            {
                "name": "the Dagster UI",
                "command": [python, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", port, "-w", str(workspace)],
                "log": log,
            },
            {
                "name": "Dagster's daemon",
                "command": [python, "-m", "dagster._daemon", "run", "-w", str(workspace)],
                "log": log,
            },
        ]
        with (settings.home / "dagster.log").open("ab") as said:
            keeper = subprocess.Popen(  # noqa: S603 - our own program
                [python, "-m", "infra.local.keeper"],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                start_new_session=True,  # Ctrl-C reaches us alone, and we end the rest
                env={**os.environ, "PYTHONPATH": _with_our_code()},
            )
        assert keeper.stdin is not None
        try:
            keeper.stdin.write(json.dumps(services).encode() + b"\n")
            keeper.stdin.flush()
            yield keeper
        finally:
            keeper.stdin.close()
            try:
                keeper.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                keeper.kill()
                keeper.wait()


@contextmanager
def _announced(path: Path, system: System) -> Iterator[None]:
    """Readable by this user alone: the access key of the local AWS is a password."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        json.dump({**vars(system), "environment": dict(system.environment)}, stream, indent=2)
    temporary.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _wait_until_loaded(address: str, keeper: subprocess.Popen[bytes], home: Path) -> None:
    deadline = time.monotonic() + _START_S
    while keeper.poll() is None and time.monotonic() < deadline:
        try:
            answer = graphql(address, _LOADED)
        except StoreUnavailable:
            time.sleep(0.2)
            continue
        loaded = json.dumps(answer)
        if '"RepositoryLocation"' in loaded:
            return
        if "message" in loaded and "Unreachable" not in loaded:
            break
        time.sleep(0.2)
    raise SentinelError(
        "the Dagster UI did not start", where=address, remedy=f"Its own words are at the end of {home / 'dagster.log'}"
    )


def graphql(address: str, query: str, variables: Mapping[str, object] | None = None) -> dict[str, object]:
    """The answer's data. Raises StoreUnavailable where nobody answers, or the server could not."""
    body = json.dumps({"query": query, "variables": variables or {}}).encode()
    request = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return dict(json.load(answer)["data"])
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the answer, too, and holds its connection
        raise StoreUnavailable(f"the Dagster UI does not answer: {error}", where=address, remedy="Try again") from error


def _with_our_code() -> str:
    return os.pathsep.join([str(_CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
