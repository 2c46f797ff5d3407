"""The latest outputs of an asset over all partitions, from Dagster's storage in one query.

Dagster's own questions (`get_latest_tags_by_partition`, `get_asset_check_partition_info`,
`get_latest_asset_partition_materialization_attempts_without_materializations`) give the same, each by itself and with a
row for every partition: for 100,000 videos they take more than twice as long. What is private of Dagster 1.13 for this
is imported in this file alone; `tests/test_fleet.py` holds that both give the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import sqlalchemy as db
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs.schema import RunsTable

_VERSION_TAG = "dagster/data_version"
_MADE, _PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
_CHUNK = 500  # values in one query; SQLite takes 999 parameters at least


@dataclass(frozen=True)
class Outputs:
    """Of one asset: the data version of the latest output of each partition, and of which not all is well."""

    versions: dict[str, str]
    unchecked: frozenset[str]
    """Not every one of its blocking checks has passed since."""
    failed: frozenset[str]
    """The latest attempt to make it was that of a run that ended without."""


def runs_that_ended_badly(instance: dg.DagsterInstance) -> Sequence[str]:
    """Their ids. One that was canceled before it began tried nothing, and is none of them."""
    run, status = RunsTable.c, dg.DagsterRunStatus
    failed = run.status == status.FAILURE.value
    interrupted = db.and_(run.status == status.CANCELED.value, run.start_time.isnot(None))
    return _run_ids(instance, db.select(run.run_id).where(db.or_(failed, interrupted)))


def made_last_by(
    instance: dg.DagsterInstance, asset: str, partitions: Sequence[str], runs: Collection[str]
) -> frozenset[str]:
    """Of these partitions those whose latest output one of these runs made."""
    storage: Any = instance.event_log_storage
    event, found = SqlEventLogStorageTable.c, set()
    for some in _chunks(partitions):
        latest = storage._latest_event_ids_by_partition_subquery(dg.AssetKey(asset), [_MADE], asset_partitions=some)
        joined = latest.join(SqlEventLogStorageTable, event.id == latest.c.id)
        rows = _rows(storage, db.select(latest.c.partition, event.run_id).select_from(joined))
        found |= {partition for partition, run in rows if run in runs}
    return frozenset(found)


def read_outputs(
    instance: dg.DagsterInstance, asset: str, checks: Sequence[str] = (), ended_badly: Sequence[str] = ()
) -> Outputs:
    """`checks`: the names of its blocking checks. `ended_badly`: the runs among which failed attempts are sought."""
    storage: Any = instance.event_log_storage
    key = dg.AssetKey(asset)
    made = storage._latest_event_ids_by_partition_subquery(key, [_MADE])
    tags = AssetEventTagsTable.c
    of_it = db.and_(tags.event_id == made.c.id, tags.asset_key == key.to_string(), tags.key == _VERSION_TAG)
    joined = made.join(AssetEventTagsTable, of_it)
    columns = [made.c.partition, tags.value]
    if checks:
        passed = _passed(key, checks)
        joined = joined.outerjoin(passed, passed.c.made == made.c.id)
        columns.append(passed.c.checks)
    rows = _rows(storage, db.select(*columns).select_from(joined))
    failed = frozenset(_failed(storage, key, ended_badly))
    unchecked = frozenset(row[0] for row in rows if row[2] != len(checks)) if checks else frozenset()
    return Outputs({row[0]: row[1] for row in rows}, unchecked, failed)


def _passed(key: dg.AssetKey, checks: Sequence[str]) -> Any:
    """Of each materialization (its record's id, `made`) how many checks passed, as far as that was their latest."""
    one = AssetCheckExecutionsTable.c
    latest = (
        db.select(db.func.max(one.id))
        .where(
            one.asset_key == key.to_string(),
            one.check_name.in_(checks),
            one.partition.isnot(None),
            one.evaluation_event_storage_id.isnot(None),
        )
        .group_by(one.check_name, one.partition)
    )
    return (
        db.select(one.materialization_event_storage_id.label("made"), db.func.count().label("checks"))
        .where(one.id.in_(latest), one.execution_status == "SUCCEEDED")
        .group_by(one.materialization_event_storage_id)
        .subquery()
    )


def _failed(storage: Any, key: dg.AssetKey, runs: Sequence[str]) -> Iterator[str]:
    event = SqlEventLogStorageTable.c
    attempts: dict[str, int] = {}
    for some in _chunks(runs):
        planned = (
            db.select(event.partition, db.func.max(event.id))
            .where(
                event.run_id.in_(some),
                event.dagster_event_type == _PLANNED.value,
                event.asset_key == key.to_string(),
                event.partition.isnot(None),
            )
            .group_by(event.partition)
        )
        for partition, number in _rows(storage, planned):
            attempts[partition] = max(number, attempts.get(partition, 0))
    for some in _chunks(sorted(attempts)):
        latest = storage._latest_event_ids_by_partition_subquery(key, [_MADE, _PLANNED], asset_partitions=some)
        newest = db.select(latest.c.partition, db.func.max(latest.c.id)).group_by(latest.c.partition)
        for partition, number in _rows(storage, newest):
            if number == attempts[partition]:
                yield partition


def _run_ids(instance: dg.DagsterInstance, query: Any) -> Sequence[str]:
    storage: Any = instance.run_storage
    with storage.connect() as connection:
        return [str(run) for run in connection.execute(query).scalars()]


def _rows(storage: Any, query: Any) -> Sequence[Any]:
    with storage.index_connection() as connection:
        rows: Sequence[Any] = connection.execute(query).fetchall()
        return rows


def _chunks(values: Sequence[str]) -> Iterator[list[str]]:
    for first in range(0, len(values), _CHUNK):
        yield list(values[first : first + _CHUNK])
