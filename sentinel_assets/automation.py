"""Upgrades without a hand: a condition of Dagster's that is true of exactly the outputs that `sentinel stale` counts.

    dg.AutomationConditionSensorDefinition(..., use_user_code_server=True)   # `sensors/upgrades.py`: off at first

It compares levels as `fleet.read_fleet` does: what anybody redid is no more out of date, and going back to an old
recipe makes exactly those so that were made anew. Dagster's own `code_version_changed()` compares with its last tick
instead: it would redo all at every change, also on the way back, and nothing of what was there before it was on.

A run worker with other settings or models than the code location makes outputs that stay out of date however often
they are made. Runs are tagged with the recipes that they are to follow (`RECIPES`), so that this is seen: nothing is
redone a second time for the same recipes, and after some hundred videos nothing at all until the recipes change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import dagster as dg

from resources.settings import Settings
from resources.warehouse import connect
from sentinel_assets.backfills import LARGEST
from sentinel_assets.filming import filming_digests
from sentinel_assets.fleet import Fleet, read_fleet
from sentinel_assets.fleet_records import made_last_by
from sentinel_assets.freshness import DEPENDENCIES, Reason, digests
from sentinel_assets.partitions import videos
from sentinel_assets.recipes import inputs_digest

RECIPES = "sentinel/recipes"
_SUCCEEDED = [dg.DagsterRunStatus.SUCCESS]


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
        keys = _redo(context)[context.key.path[-1]]
        subset = view.get_subset_from_partition_keys(context.key, videos, keys)
        return dg.AutomationResult(context, context.candidate_subset.compute_intersection(subset))


def recipes_tag(current: Mapping[str, str]) -> dict[str, str]:
    """The tag of runs that are to make outputs by these recipes."""
    return {RECIPES: inputs_digest(current)}


def newest_in_need(fleet: Fleet, count: int = LARGEST) -> list[str]:
    """Videos of which something is out of date, at most so many, the newest first."""
    left_out = frozenset[str]().union(*(fleet.missing(a) for a in DEPENDENCIES), *fleet.failed.values())
    in_need = {p for asset in DEPENDENCIES for p in fleet.stale[asset] if p not in left_out}
    return [p for p in reversed(fleet.partitions) if p in in_need][:count]


def in_vain(instance: dg.DagsterInstance, fleet: Fleet, partitions: Sequence[str]) -> frozenset[str]:
    """Those of which a run that was to follow today's recipes made something last, by others."""
    runs = frozenset(instance.get_run_ids(dg.RunsFilter(tags=recipes_tag(fleet.current), statuses=_SUCCEEDED)))
    found = frozenset[str]()
    for asset in DEPENDENCIES if runs else ():
        of_another = [p for p in partitions if fleet.stale[asset].get(p) is Reason.RECIPE]
        found |= made_last_by(instance, asset, of_another, runs)
    return found


_seen: WeakKeyDictionary[Any, Mapping[str, frozenset[str]]] = WeakKeyDictionary()


def _redo(context: dg.AutomationContext[dg.AssetKey]) -> Mapping[str, frozenset[str]]:
    """As it stood when an evaluation asked first: Dagster asks once for each asset, and has one view of its graph."""
    view = context.asset_graph_view
    if view not in _seen:
        with connect(Settings.from_env()) as warehouse:
            filming = filming_digests(warehouse.addresses())
        fleet = read_fleet(view.instance, digests(), filming)
        newest = newest_in_need(fleet, 2 * LARGEST)
        vain = in_vain(view.instance, fleet, newest)
        if vain:
            context.log.warning(
                "%d videos were redone and are out of date as before, so they are left alone: the processes that run "
                "steps have other settings or models than the code location",
                len(vain),
            )
        chosen = frozenset([p for p in newest if p not in vain][:LARGEST])
        _seen[view] = {asset: chosen.intersection(fleet.stale[asset]) for asset in DEPENDENCIES}
    return _seen[view]
