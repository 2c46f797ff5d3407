"""All videos at once: which outputs are up to date and which are not, and why, from Dagster's records in few queries.

The number of queries depends on the number of assets, not of videos: the latest data version of every partition is one
query for each asset, since it is the one tag that Dagster indexes, and says by itself who made an output from what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from sentinel_assets.checks import blocking_checks
from sentinel_assets.freshness import BESIDE, DEPENDENCIES, Reason, assess
from sentinel_assets.partitions import videos
from sentinel_assets.recipes import made_by

_VERSION_TAG = "dagster/data_version"
_AT_ONCE = 4  # queries: each is one process of PostgreSQL's
_RUN_CHUNK = 500  # run ids in one query; SQLite takes 999 parameters at least
_ENDED_BADLY = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass(frozen=True)
class Fleet:
    """The latest versions of all outputs, and what is to be made again by these recipes.

    `stale[asset][partition]` says why; a partition that is in no mapping of its asset is up to date.
    """

    partitions: Sequence[str]
    """Oldest first, as they were added."""
    current: Mapping[str, str]
    versions: Mapping[str, Mapping[str, str]]
    stale: Mapping[str, Mapping[str, Reason]]
    failed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """To be made again, and the last attempt to do so failed."""

    @classmethod
    def compare(
        cls,
        partitions: Sequence[str],
        versions: Mapping[str, Mapping[str, str]],
        current: Mapping[str, str],
        *,
        failed_attempts: Mapping[str, frozenset[str]] | None = None,
        unchecked: Mapping[str, frozenset[str]] | None = None,
    ) -> Fleet:
        """`unchecked`: outputs of which a blocking check has not passed."""
        stale: dict[str, dict[str, Reason]] = {asset: {} for asset in DEPENDENCIES}
        names = ("video", *BESIDE.values(), *DEPENDENCIES)
        barred = unchecked or {}
        for partition in partitions:
            own = {name: versions.get(name, {}).get(partition) for name in names}
            found = assess(own, current, lost=lambda asset, of=partition: of in barred.get(asset, ()))  # type: ignore[misc]
            for asset, reason in found.items():
                stale[asset][partition] = reason
        attempts = failed_attempts or {}
        failed = {asset: attempts.get(asset, frozenset()).intersection(stale[asset]) for asset in DEPENDENCIES}
        return cls(partitions, current, versions, stale, failed)

    def up_to_date(self, asset: str) -> int:
        return len(self.partitions) - len(self.stale[asset])

    def missing(self, asset: str) -> list[str]:
        """Never made."""
        return [p for p, reason in self.stale[asset].items() if reason is Reason.NEVER_MADE]

    def to_redo(self, asset: str) -> list[str]:
        """Made, and out of date; oldest first."""
        return [p for p, reason in self.stale[asset].items() if reason is not Reason.NEVER_MADE]

    def old_recipes(self, asset: str) -> Counter[str]:
        """The recipes that made what another recipe makes now, and how many outputs each."""
        by_recipe = (p for p, reason in self.stale[asset].items() if reason is Reason.RECIPE)
        return Counter(made_by(self.versions[asset][p]) for p in by_recipe)


def read_fleet(
    instance: dg.DagsterInstance, current: Mapping[str, str], filming: Mapping[str, str] | None = None
) -> Fleet:
    """All videos that Dagster knows, compared with these recipes (`freshness.digests`).

    `filming` is the digest of each video that a known camera filmed (`filming.filming_digests`).
    """
    names = ("video", *DEPENDENCIES)
    with ThreadPoolExecutor(_AT_ONCE) as queries:
        latest = {name: queries.submit(_latest_versions, instance, name) for name in names}
        passed = {asset: queries.submit(_passed, instance, asset) for asset in DEPENDENCIES if blocking_checks(asset)}
        attempts = {asset: queries.submit(_failed_attempts, instance, asset) for asset in DEPENDENCIES}
        versions = {name: found.result() for name, found in latest.items()}
        return Fleet.compare(
            instance.get_dynamic_partitions(str(videos.name)),
            {**versions, "camera": filming or {}},
            current,
            failed_attempts={asset: found.result() for asset, found in attempts.items()},
            unchecked={asset: frozenset(versions[asset]) - found.result() for asset, found in passed.items()},
        )


def _latest_versions(instance: dg.DagsterInstance, asset: str) -> dict[str, str]:
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        dg.AssetKey(asset), dg.DagsterEventType.ASSET_MATERIALIZATION, [_VERSION_TAG]
    )
    return {partition: found[_VERSION_TAG] for partition, found in tags.items()}


def _failed_attempts(instance: dg.DagsterInstance, asset: str) -> frozenset[str]:
    """Partitions of which a run was to make this asset and ended without."""
    storage: Any = instance.event_log_storage
    attempts: Mapping[str, tuple[str, int]] = (
        storage.get_latest_asset_partition_materialization_attempts_without_materializations(dg.AssetKey(asset))
    )
    run_ids = sorted({run_id for run_id, _ in attempts.values()})
    ended = set()
    for first in range(0, len(run_ids), _RUN_CHUNK):
        chosen = dg.RunsFilter(run_ids=run_ids[first : first + _RUN_CHUNK], statuses=_ENDED_BADLY)
        ended |= {record.dagster_run.run_id for record in instance.get_run_records(chosen)}
    return frozenset(partition for partition, (run_id, _) in attempts.items() if run_id in ended)


def _passed(instance: dg.DagsterInstance, asset: str) -> frozenset[str]:
    """The partitions whose blocking checks have all passed since the asset was made."""
    keys, passed = blocking_checks(asset), Counter[str]()
    for one in instance.event_log_storage.get_asset_check_partition_info(keys):
        if one.partition_key and one.is_current and one.latest_execution_status.value == "SUCCEEDED":
            passed[one.partition_key] += 1
    return frozenset(partition for partition, count in passed.items() if count == len(keys))
