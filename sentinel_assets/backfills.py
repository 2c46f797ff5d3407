"""Carries out a `planning.Plan` as backfills of Dagster: seen and cancelled in its UI, below uploads in the queue.

One backfill for some hundred videos each, the newest first: within one backfill Dagster orders runs by the age of their
partition, and the oldest would be redone first. Each later one has a lower priority.

Dagster 1.13 has no public way to start a backfill from Python; what is private of it is imported in this file alone,
and `tests/test_backfills.py` holds that it does what is meant.
"""

from __future__ import annotations

import math
import time
import uuid
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus, PartitionBackfill

from sentinel_assets.freshness import DEPENDENCIES
from sentinel_assets.planning import Plan
from sentinel_assets.vision.errors import SentinelError

UPGRADE, CANARY = "sentinel/upgrade", "sentinel/canary"
_ORDER, _BUDGET, _EXPECTED = "sentinel/order", "sentinel/budget_usd", "sentinel/expected_usd_per_video"
BACKFILL = "dagster/backfill"
"""Dagster's own tag of a run that a backfill started."""
PRIORITY = -10
"""Of the newest videos' runs; uploads have 10."""
LARGEST = 200
"""Videos in one backfill."""
_MOST = 20  # backfills of one upgrade, so that the UI's list stays one to read
_UNFINISHED = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]


@dataclass(frozen=True)
class Allowance:
    """What an order may cost, and at most about one video of it, USD."""

    budget: float
    per_video: float


@dataclass(frozen=True)
class Begun:
    """A backfill of an upgrade, as Dagster knows it."""

    id: str
    upgrade: str
    order: str
    """All backfills that were requested together."""
    requested_at: float
    """s since the epoch."""
    title: str
    status: str
    canary: bool
    partitions: frozenset[str]
    allowance: Allowance | None

    @property
    def finished(self) -> bool:
        return BulkActionStatus(self.status) not in _UNFINISHED


def begin(
    instance: dg.DagsterInstance, plan: Plan, *, canary: bool = False, allowance: Allowance | None = None
) -> list[str]:
    """Request the plan's backfills; returns their ids, newest videos first. Dagster's daemon starts their runs."""
    from sentinel_assets.definitions import defs

    graph = defs.resolve_asset_graph()
    size = max(LARGEST, -(-len(plan.work) // _MOST))
    chunks = list(plan.chunks(size))
    ids: list[str] = []
    shared = {UPGRADE: plan.upgrade, _ORDER: uuid.uuid4().hex[:12]} | ({CANARY: "1"} if canary else {})
    if allowance is not None:
        shared |= {_BUDGET: repr(allowance.budget), _EXPECTED: repr(allowance.per_video)}
    for number, chunk in enumerate(chunks):
        targets = {
            AssetKeyPartitionKey(dg.AssetKey(asset), partition) for partition, assets in chunk.work for asset in assets
        }
        part = f" ({number + 1} of {len(chunks)})" if len(chunks) > 1 else ""
        backfill = PartitionBackfill.from_asset_graph_subset(
            backfill_id=f"up{uuid.uuid4().hex[:6]}",
            backfill_timestamp=time.time(),
            tags={**shared, "dagster/priority": str(PRIORITY - number)},
            dynamic_partitions_store=instance,
            asset_graph_subset=AssetGraphSubset.from_asset_partition_set(targets, graph),
            title=f"{'Canary of' if canary else 'Upgrade to'} {plan.asset} {plan.recipe}{part}",
            description=f"{chunk.outputs} outputs of {len(chunk.work)} videos, newest first.",
            run_config=None,
        )
        instance.add_backfill(backfill)
        ids.append(backfill.backfill_id)
    return ids


def begun(
    instance: dg.DagsterInstance,
    upgrade: str | None = None,
    *,
    order: str | None = None,
    canary: bool = False,
    unfinished: bool = False,
) -> list[Begun]:
    """The backfills of upgrades, newest first: of that upgrade, of that order, only canaries, only unfinished ones."""
    wanted = {UPGRADE: upgrade, _ORDER: order, CANARY: "1" if canary else None}
    tags = {name: value for name, value in wanted.items() if value is not None}
    filters = BulkActionsFilter(tags=tags or None, statuses=_UNFINISHED if unfinished else None)
    return [_begun(one) for one in instance.get_backfills(filters) if UPGRADE in one.tags]


def _begun(backfill: PartitionBackfill) -> Begun:
    return Begun(
        id=backfill.backfill_id,
        upgrade=backfill.tags[UPGRADE],
        order=backfill.tags.get(_ORDER, backfill.backfill_id),
        requested_at=backfill.backfill_timestamp,
        title=backfill.title or "",
        status=backfill.status.value,
        canary=CANARY in backfill.tags,
        partitions=_partitions(backfill),
        allowance=_allowance(backfill),
    )


def being_redone(instance: dg.DagsterInstance) -> frozenset[str]:
    """Videos that an unfinished backfill of ours will get to: they are not to be planned once more."""
    return frozenset[str]().union(*(one.partitions for one in begun(instance, unfinished=True)))


def require_approval(instance: dg.DagsterInstance, plan: Plan, *, approve: bool) -> None:
    """Refuse to go beyond a canary that nobody approved. Raises SentinelError."""
    history = begun(instance, plan.upgrade)
    canaries = [one for one in history if one.canary]
    if not canaries or any(not one.canary for one in history):
        return
    if open_ones := [one for one in canaries if not one.finished]:
        raise SentinelError(
            f"its canary {open_ones[0].id} is not finished",
            where=f"upgrade {plan.upgrade}",
            remedy="Wait for it; the Dagster UI shows it under Backfills",
        )
    if not approve:
        raise SentinelError(
            f"its canary {canaries[0].id} ended as {canaries[0].status}, and is not approved",
            where=f"upgrade {plan.upgrade}",
            remedy="Look at what changed, then run the same command with --approve",
        )


def cancel(instance: dg.DagsterInstance, upgrade: str) -> list[str]:
    """Ask Dagster to cancel the upgrade's unfinished backfills and their runs; returns their ids."""
    return [one.id for one in begun(instance, upgrade, unfinished=True) if cancel_one(instance, one.id)]


def cancel_one(instance: dg.DagsterInstance, backfill_id: str) -> bool:
    """Whether there was something to cancel."""
    backfill = instance.get_backfill(backfill_id)
    if backfill is None or backfill.status is not BulkActionStatus.REQUESTED:
        return False
    instance.update_backfill(backfill.with_status(BulkActionStatus.CANCELING))  # type: ignore[no-untyped-call]
    return True


def _allowance(backfill: PartitionBackfill) -> Allowance | None:
    if _BUDGET not in backfill.tags:
        return None
    return Allowance(_dollars(backfill.tags[_BUDGET]), _dollars(backfill.tags.get(_EXPECTED, "")))


def _dollars(text: str) -> float:
    """Of a tag, which people may have written too: what is no number allows nothing."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _partitions(backfill: PartitionBackfill) -> frozenset[str]:
    if backfill.asset_backfill_data is None:
        return frozenset()
    target = backfill.asset_backfill_data.target_subset
    keys = (dg.AssetKey(asset) for asset in DEPENDENCIES)
    subsets = (target.partitions_subsets_by_asset_key.get(key) for key in keys)
    return frozenset(partition for subset in subsets if subset is not None for partition in subset.get_partition_keys())
