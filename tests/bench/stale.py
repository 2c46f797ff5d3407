"""How long it takes to compare all videos: `python -m tests.bench.stale [VIDEOS] [sqlite|postgres]`.

Synthetic videos, all stages made, one stage of another recipe; the time is that of reading Dagster's records and
comparing, as `sentinel stale` does, without starting Python.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import sqlalchemy as db

from sentinel_assets.fleet import read_fleet
from sentinel_assets.freshness import DEPENDENCIES
from tests.builders.fleets import ToyFleet


@contextmanager
def instance_on(storage: str, folder: Path) -> Iterator[dg.DagsterInstance]:
    if storage == "sqlite":
        with dg.DagsterInstance.local_temp(str(folder)) as instance:
            yield instance
        return
    from infra.local.postgres import LocalPostgres

    with LocalPostgres(folder / "postgres").session() as server:
        server.create_database("dagster")
        url = server.url("dagster").replace("postgresql://", "postgresql+psycopg2://", 1)
        overrides = {"storage": {"postgres": {"postgres_url": url}}}
        with dg.DagsterInstance.local_temp(str(folder), overrides=overrides) as instance:
            yield instance


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    storage = sys.argv[2] if len(sys.argv) > 2 else "postgres"
    recipes = {asset: f"{number:012x}" for number, asset in enumerate(DEPENDENCIES)}
    with tempfile.TemporaryDirectory() as folder, instance_on(storage, Path(folder)) as instance:
        ToyFleet.of(instance, count, recipes)
        with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
            connection.execute(db.text("ANALYZE"))  # as autovacuum has done where rows came over months
        started, cpu = time.monotonic(), time.process_time()
        fleet = read_fleet(instance, recipes | {"poses": "a" * 12})
        wall, cpu = time.monotonic() - started, time.process_time() - cpu
        stale = {asset: len(fleet.stale[asset]) for asset in DEPENDENCIES}
        print(f"{count} videos on {storage}: {wall:.1f} s, {cpu:.1f} s of it CPU of this process; stale {stale}")


if __name__ == "__main__":
    main()
