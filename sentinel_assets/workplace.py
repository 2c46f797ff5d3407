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
from sentinel_assets import instance as dagster_instance
from sentinel_assets.vision.errors import StoreUnavailable

_DAGSTER_URL = "SENTINEL_DAGSTER_URL"
_DAGSTER_DATABASE = "dagster"
_OF_COMMANDS = "commands.yaml"  # beside dagster.yaml, which is the daemon's


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
            instance = stack.enter_context(_instance_of_commands())
        yield Workplace(settings, warehouse, instance)


@contextmanager
def dagster_home(settings: Settings) -> Iterator[Path]:
    """Point DAGSTER_HOME at a folder of ours with a dagster.yaml, unless the user has one of their own.

    Where SENTINEL_DAGSTER_URL (postgresql+psycopg2://...) is set, Dagster keeps its records there. Else, beside the
    PostgreSQL that we start, Dagster keeps its records in a database of that server; beside a DATABASE_URL
    of the user's, in SQLite files under `home`, because that database is not ours to put tables of another tool into.
    """
    if os.environ.get("DAGSTER_HOME"):
        yield Path(os.environ["DAGSTER_HOME"])
        return
    with ExitStack() as stack:
        storage: dict[str, object] | None = None
        if os.environ.get(_DAGSTER_URL):
            storage = dagster_instance.postgres_storage({"postgres_url": {"env": _DAGSTER_URL}})
        elif settings.database_url is None and settings.deployment == "local":
            from infra.local.postgres import LocalPostgres

            server = stack.enter_context(LocalPostgres(settings.home / "postgres").session())
            server.create_database(_DAGSTER_DATABASE)
            stack.callback(os.environ.pop, _DAGSTER_URL, None)
            os.environ[_DAGSTER_URL] = server.url(_DAGSTER_DATABASE).replace(
                "postgresql://", "postgresql+psycopg2://", 1
            )
            storage = dagster_instance.postgres_storage({"postgres_url": {"env": _DAGSTER_URL}})
        home = settings.home / "dagster"
        try:
            home.mkdir(parents=True, exist_ok=True)
            logs = settings.home / "logs"
            _write_if_changed(home / "dagster.yaml", yaml.safe_dump(dagster_instance.for_daemon(storage, logs)))
            _write_if_changed(home / _OF_COMMANDS, yaml.safe_dump(dagster_instance.for_commands(storage)))
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


def _instance_of_commands() -> dg.DagsterInstance:
    """On the same records as the daemon's; what differs is how a run is executed."""
    home = Path(os.environ["DAGSTER_HOME"])
    if (home / _OF_COMMANDS).exists():
        return dg.DagsterInstance.from_config(str(home), _OF_COMMANDS)
    return dg.DagsterInstance.get()  # the user has a home of their own


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
