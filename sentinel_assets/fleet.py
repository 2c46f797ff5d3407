"""All videos at once: which outputs are up to date and which are not, and why, from Dagster's records in few queries.

The number of queries depends on the number of assets, not of videos: an output's data version is the one tag that
Dagster indexes, and says by itself who made it from what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import dagster as dg

from sentinel_assets.checks import blocking_checks
from sentinel_assets.fleet_records import read_outputs, runs_that_ended_badly
from sentinel_assets.freshness import BESIDE, DEPENDENCIES, Reason, assess
from sentinel_assets.partitions import videos
from sentinel_assets.recipes import made_by

_AT_ONCE = 4  # queries: each is one process of PostgreSQL's


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
        names = ("video", *(name for name, _ in BESIDE.values()), *DEPENDENCIES)
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
    instance: dg.DagsterInstance,
    current: Mapping[str, str],
    filming: Mapping[str, Mapping[str, str]] | None = None,
) -> Fleet:
    """All videos that Dagster knows, compared with these recipes (`freshness.digests`).

    `filming` are the digests of what is known of each video's camera (`filming.filming_digests`).
    """
    ended_badly = runs_that_ended_badly(instance)
    with ThreadPoolExecutor(_AT_ONCE) as queries:
        reading = {
            name: queries.submit(
                read_outputs, instance, name, [check.name for check in blocking_checks(name)], ended_badly
            )
            for name in ("video", *DEPENDENCIES)
        }
        partitions = instance.get_dynamic_partitions(str(videos.name))
        found = {name: one.result() for name, one in reading.items()}
    return Fleet.compare(
        partitions,
        {**{name: one.versions for name, one in found.items()}, **(filming or {})},
        current,
        failed_attempts={asset: found[asset].failed for asset in DEPENDENCIES},
        unchecked={asset: found[asset].unchecked for asset in DEPENDENCIES},
    )
