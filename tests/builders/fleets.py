"""Fleets of synthetic videos in Dagster's own storage: a materialization is a row in it, written in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import dagster as dg
import sqlalchemy as db
from dagster._core.events import DagsterEvent, StepMaterializationData
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._serdes import serialize_value

from sentinel_assets.checks import blocking_checks
from sentinel_assets.fleet import read_fleet
from sentinel_assets.freshness import DEPENDENCIES, inputs_now
from sentinel_assets.partitions import videos
from sentinel_assets.recipes import Version

_PLACE = "the-partition"


def record(instance: dg.DagsterInstance, made: Iterable[tuple[str, str, str]], run: str = "synthetic") -> None:
    """(asset, partition, data version) each as a materialization of that run's whose blocking checks passed, in that
    order."""
    storage = instance.event_log_storage
    now = datetime.now(UTC).replace(tzinfo=None)
    rows = list(made)
    texts = {asset: _event(asset) for asset in {asset for asset, _, _ in rows}}
    checks = {asset: blocking_checks(asset) for asset in texts}
    with storage.index_connection() as connection:  # type: ignore[attr-defined]
        first = (connection.execute(db.select(db.func.max(SqlEventLogStorageTable.c.id))).scalar() or 0) + 1
        keys = {asset: dg.AssetKey(asset).to_string() for asset in texts}
        there = set(connection.execute(db.select(AssetKeyTable.c.asset_key)).scalars())
        for key in set(keys.values()) - there:
            connection.execute(AssetKeyTable.insert().values(asset_key=key, last_materialization_timestamp=now))
        for start in range(0, len(rows), 20_000):
            part = list(enumerate(rows[start : start + 20_000], first + start))
            connection.execute(
                SqlEventLogStorageTable.insert(),
                [
                    {
                        "id": number,
                        "run_id": run,
                        "event": texts[asset].replace(_PLACE, partition),
                        "dagster_event_type": "ASSET_MATERIALIZATION",
                        "timestamp": now,
                        "asset_key": keys[asset],
                        "partition": partition,
                    }
                    for number, (asset, partition, _) in part
                ],
            )
            connection.execute(
                AssetEventTagsTable.insert(),
                [
                    {
                        "event_id": number,
                        "asset_key": keys[asset],
                        "key": "dagster/data_version",
                        "value": version,
                        "event_timestamp": now,
                    }
                    for number, (asset, _, version) in part
                ],
            )
            passed = [
                {
                    "asset_key": keys[asset],
                    "check_name": check.name,
                    "partition": partition,
                    "run_id": f"synthetic-{number}",  # Dagster has one of each run
                    "execution_status": AssetCheckExecutionRecordStatus.SUCCEEDED.value,
                    "evaluation_event_timestamp": now,
                    "evaluation_event_storage_id": number,
                    "materialization_event_storage_id": number,
                }
                for number, (asset, partition, _) in part
                for check in checks[asset]
            ]
            if passed:
                connection.execute(AssetCheckExecutionsTable.insert(), passed)
        if connection.dialect.name == "postgresql":
            connection.execute(
                db.text("SELECT setval(pg_get_serial_sequence('event_logs', 'id'), (SELECT max(id) FROM event_logs))")
            )


def _event(asset: str) -> str:
    materialization = dg.AssetMaterialization(asset, partition=_PLACE)
    event = DagsterEvent("ASSET_MATERIALIZATION", "", event_specific_data=StepMaterializationData(materialization, []))
    entry = EventLogEntry(
        error_info=None, level=20, user_message="", run_id="synthetic", timestamp=0.0, dagster_event=event
    )
    return serialize_value(entry)


@dataclass
class ToyFleet:
    """Videos whose stages are toys: what comes out is a digest of the toy's own behaviour and what went in.

    `behaviour[asset]` changes what comes out; a recipe may change without it, and then the output is the same. What a
    recipe and its inputs made once is kept, and `computed` counts only what was not, as `StageRun.table` has it.
    """

    instance: dg.DagsterInstance
    partitions: list[str]
    recipes: dict[str, str]
    behaviour: dict[str, str] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    computed: list[tuple[str, str]] = field(default_factory=list)
    journal: Path | None = None
    """Where it stands what was computed, in a file that outlives the process, as kept results do."""
    _kept: dict[tuple[str, str, str, str], str] = field(default_factory=dict)

    @classmethod
    def of(cls, instance: dg.DagsterInstance, count: int, recipes: Mapping[str, str]) -> ToyFleet:
        partitions = [str(n) for n in range(1, count + 1)]
        instance.add_dynamic_partitions(str(videos.name), partitions)
        fleet = cls(instance, partitions, dict(recipes), dict.fromkeys(DEPENDENCIES, "0"))
        fleet.upload(partitions, "original")
        fleet.execute([(p, list(DEPENDENCIES)) for p in partitions])
        return fleet

    def upload(self, partitions: Sequence[str], content: str) -> None:
        etags = {partition: f"sha256:{content}-{partition}" for partition in partitions}
        self.versions.setdefault("video", {}).update(etags)
        record(self.instance, (("video", partition, etag) for partition, etag in etags.items()))

    def execute(self, work: Iterable[tuple[str, Sequence[str]]], *, dies_after: int | None = None) -> None:
        """Each video's run in turn, by today's recipes; killed after so many outputs."""
        made = []
        for partition, assets in work:
            for asset in (a for a in DEPENDENCIES if a in assets):
                if dies_after is not None and len(made) == dies_after:
                    record(self.instance, made)
                    return
                version = self.make(asset, partition)
                self.versions.setdefault(asset, {})[partition] = version
                made.append((asset, partition, version))
        record(self.instance, made)

    def make(self, asset: str, partition: str) -> str:
        own = {name: versions.get(partition) for name, versions in self.versions.items()}
        inputs, digest = inputs_now(asset, own), self.recipes[asset]
        key = (asset, partition, digest, inputs)
        if key not in self._kept:
            content = sha256(f"{asset}{partition}{self.behaviour[asset]}{inputs}".encode()).hexdigest()[:16]
            self._keep(key, content)
            if self.journal is not None:
                with self.journal.open("a") as stream:
                    stream.write(" ".join((*key, content)) + "\n")
        return str(Version(digest, self._kept[key], inputs))

    def _keep(self, key: tuple[str, str, str, str], content: str) -> None:
        self._kept[key] = content
        self.computed.append(key[:2])

    def take_over(self) -> None:
        """Know what another process made of this fleet: what it kept, and what Dagster has on record."""
        assert self.journal is not None
        for line in self.journal.read_text().splitlines():
            asset, partition, digest, inputs, content = line.split(" ")
            self._keep((asset, partition, digest, inputs), content)
        self.versions = {name: dict(found) for name, found in read_fleet(self.instance, self.recipes).versions.items()}

    def upgrade(self, asset: str, digest: str, behaviour: str) -> None:
        self.recipes[asset], self.behaviour[asset] = digest, behaviour
