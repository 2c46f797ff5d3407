"""What a command works with: settings, warehouse and Dagster instance, opened and closed together."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import yaml

from resources.artifacts import ArtifactStore
from resources.footage import FootageStore
from resources.settings import Settings
from resources.warehouse import Warehouse, connect
from sentinel_assets.vision.errors import StoreUnavailable

_DAGSTER_URL = "SENTINEL_DAGSTER_URL"
_DAGSTER_DATABASE = "dagster"


@dataclass(frozen=True)
class Workplace:
    settings: Settings
    warehouse: Warehouse
    instance: dg.DagsterInstance

    @property
    def artifacts(self) -> ArtifactStore:
        return ArtifactStore(self.settings.artifacts)

    @property
    def footage(self) -> FootageStore:
        return FootageStore(self.artifacts)


@contextmanager
def open_workplace(settings: Settings) -> Iterator[Workplace]:
    """The warehouse and the Dagster instance of `settings.home` (or of DAGSTER_HOME, where that is set)."""
    with ExitStack() as stack:
        stack.enter_context(dagster_home(settings))
        warehouse = stack.enter_context(connect(settings))
        # Creating Dagster's tables is not safe against itself.
        with records_errors(), _one_at_a_time(settings.home / "dagster.lock"):
            instance = stack.enter_context(dg.DagsterInstance.get())
        yield Workplace(settings, warehouse, instance)


@contextmanager
def dagster_home(settings: Settings) -> Iterator[Path]:
    """Point DAGSTER_HOME at a folder of ours with a dagster.yaml, unless the user has one of their own.

    Beside the PostgreSQL that we start, Dagster keeps its records in a database of that server; beside a DATABASE_URL
    of the user's, in SQLite files under `home`, because that database is not ours to put tables of another tool into.
    """
    if os.environ.get("DAGSTER_HOME"):
        yield Path(os.environ["DAGSTER_HOME"])
        return
    with ExitStack() as stack:
        config: dict[str, object] = {
            "telemetry": {"enabled": False},
            "nux": {"enabled": False},
            # Dagster would follow stdout and stderr with processes of its own, which a Ctrl-C in the terminal makes
            # print tracebacks. What a stage has to say goes to the run's events.
            "compute_logs": {
                "module": "dagster._core.storage.noop_compute_log_manager",
                "class": "NoOpComputeLogManager",
            },
        }
        if settings.database_url is None:
            from infra.local.postgres import LocalPostgres

            server = stack.enter_context(LocalPostgres(settings.home / "postgres").session())
            server.create_database(_DAGSTER_DATABASE)
            os.environ[_DAGSTER_URL] = server.url(_DAGSTER_DATABASE).replace(
                "postgresql://", "postgresql+psycopg2://", 1
            )
            config["storage"] = {"postgres": {"postgres_url": {"env": _DAGSTER_URL}}}
        home = settings.home / "dagster"
        try:
            home.mkdir(parents=True, exist_ok=True)
            _write_if_changed(home / "dagster.yaml", yaml.safe_dump(config))
        except OSError as error:
            raise StoreUnavailable(
                f"cannot be written: {error.strerror}",
                where=home,
                remedy="Free space, or set SENTINEL_HOME to a folder of yours",
            ) from error
        os.environ["DAGSTER_HOME"] = str(home)
        stack.callback(os.environ.pop, "DAGSTER_HOME", None)
        yield home


@contextmanager
def records_errors() -> Iterator[None]:
    """Dagster's errors about the database that it keeps its records in, as StoreUnavailable."""
    from dagster_postgres.utils import DagsterPostgresException
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except (DagsterPostgresException, DBAPIError) as error:
        cause = error.__cause__ if isinstance(error, DagsterPostgresException) else error
        said = str(cause.orig if isinstance(cause, DBAPIError) else cause or error).strip()
        raise StoreUnavailable(
            f"the database of Dagster's records is away: {said.splitlines()[0]}",
            where=_DAGSTER_DATABASE,
            remedy="Free space if that is it, and run the same command again to go on",
        ) from error


def _write_if_changed(path: Path, text: str) -> None:
    if path.exists() and path.read_text() == text:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
