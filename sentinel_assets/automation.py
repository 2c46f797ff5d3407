"""Upgrades without a hand: a condition of Dagster's that is true of exactly the outputs that `sentinel stale` counts.

    dg.AutomationConditionSensorDefinition(..., use_user_code_server=True)   # `sensors/upgrades.py`: off at first

It compares levels as `fleet.read_fleet` does: what anybody redid is no more out of date, and going back to an old
recipe makes exactly those so that were made anew. Dagster's own `code_version_changed()` compares with its last tick
instead: it would redo all at every change, also on the way back, and nothing of what was there before it was on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import dagster as dg

from resources.settings import Settings
from resources.warehouse import connect
from sentinel_assets.backfills import LARGEST
from sentinel_assets.filming import filming_digests
from sentinel_assets.fleet import Fleet, read_fleet
from sentinel_assets.freshness import DEPENDENCIES, digests
from sentinel_assets.partitions import videos


def out_of_date() -> dg.AutomationCondition[dg.AssetKey]:
    """True of an output that is to be redone and is not under way, nor is anything that it is made from."""
    busy = dg.AutomationCondition.in_progress() | dg.AutomationCondition.any_deps_in_progress()
    return (OutOfDate() & ~busy).with_label("out of date, and not under way")


class OutOfDate(dg.AutomationCondition[dg.AssetKey]):
    """Of the newest videos first, some hundred at a time. A video of which something was never made, or was tried again
    and failed, is left to people."""

    @property
    def description(self) -> str:
        return "made by another recipe than today's, or from other inputs"

    def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        view = context.asset_graph_view
        keys = _redo(view)[context.key.path[-1]]
        subset = view.get_subset_from_partition_keys(context.key, videos, keys)
        return dg.AutomationResult(context, context.candidate_subset.compute_intersection(subset))


def newest_to_redo(fleet: Fleet, count: int = LARGEST) -> dict[str, frozenset[str]]:
    """For each asset the videos of which it is out of date, of at most `count` videos, the newest."""
    left_out = frozenset[str]().union(*(fleet.missing(a) for a in DEPENDENCIES), *fleet.failed.values())
    videos_in_need = {p for asset in DEPENDENCIES for p in fleet.stale[asset] if p not in left_out}
    newest = frozenset([p for p in reversed(fleet.partitions) if p in videos_in_need][:count])
    return {asset: newest.intersection(fleet.stale[asset]) for asset in DEPENDENCIES}


_seen: WeakKeyDictionary[Any, Mapping[str, frozenset[str]]] = WeakKeyDictionary()


def _redo(view: Any) -> Mapping[str, frozenset[str]]:
    """As it stood when an evaluation asked first: Dagster asks once for each asset, and has one view of its graph."""
    if view not in _seen:
        with connect(Settings.from_env()) as warehouse:
            filming = filming_digests(warehouse.addresses())
        _seen[view] = newest_to_redo(read_fleet(view.instance, digests(), filming))
    return _seen[view]
