"""`sentinel backfill`: an upgrade as a person orders it - what it redoes, what that costs, a canary, a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from resources.warehouse import Warehouse
from sentinel_assets.backfills import Allowance, begin, being_redone, require_approval
from sentinel_assets.filming import filming_digests
from sentinel_assets.fleet import read_fleet
from sentinel_assets.freshness import digests
from sentinel_assets.planning import Plan, affordable, footage_of, plan
from sentinel_assets.prices import Estimate, History, Price, read_histories
from sentinel_assets.vision.errors import SentinelError


@dataclass(frozen=True)
class Order:
    """What a person asks for. `canary`: only the newest so many videos, or of those that `sample` names. `budget` in
    USD."""

    asset: str
    canary: int | None = None
    sample: tuple[str, ...] = ()
    """Videos as people call them; with any, the order is a canary of these."""
    budget: float | None = None
    missing: bool = False
    approve: bool = False
    dry_run: bool = False

    @property
    def is_canary(self) -> bool:
        return self.canary is not None or bool(self.sample)


@dataclass(frozen=True)
class Offer:
    """What will be redone, and at what price for each asset; `all_videos` are out of date, and `asked_videos` of them
    asked for, before the budget cut it short."""

    plan: Plan
    all_videos: int
    asked_videos: int
    prices: Mapping[str, Price]
    backfills: tuple[str, ...] = ()

    @property
    def seconds(self) -> Estimate | None:
        return _sum([one.seconds for one in self.prices.values()])

    @property
    def usd(self) -> Estimate | None:
        return _sum([one.usd for one in self.prices.values()])

    def as_json(self) -> dict[str, Any]:
        def plain(estimate: Estimate | None) -> dict[str, float] | None:
            return None if estimate is None else {"value": estimate.value, "margin": estimate.margin}

        return {
            "upgrade": self.plan.upgrade,
            "videos": len(self.plan.work),
            "all_videos": self.all_videos,
            "outputs": {asset: len(partitions) for asset, partitions in self.plan.by_asset().items()},
            "seconds": plain(self.seconds),
            "usd": plain(self.usd),
            "measured": {asset: one.measured for asset, one in self.prices.items()},
            "by_recipe_of_today": {asset: one.by_recipe_of_today for asset, one in self.prices.items()},
            "backfills": list(self.backfills),
        }


def upgrade(instance: dg.DagsterInstance, warehouse: Warehouse, order: Order) -> Offer:
    """Plan the order, and unless it is a dry run request its backfills; of several orders at once one after the other.

    Raises SentinelError where a canary awaits approval, a budget is set and the price is not known, or a video of the
    sample is not there.
    """
    if order.dry_run:
        return _offer(instance, warehouse, order)
    with warehouse.hold_upgrades():
        return _begun(instance, _offer(instance, warehouse, order), order)


def _offer(instance: dg.DagsterInstance, warehouse: Warehouse, order: Order) -> Offer:
    current = digests()
    fleet = read_fleet(instance, current, filming_digests(warehouse.addresses()))
    whole = plan(fleet, order.asset, missing=order.missing, without=being_redone(instance))
    footage = warehouse.durations_s()
    history = read_histories(instance, whole.by_asset(), footage)
    chosen = whole
    if order.sample:
        chosen = chosen.only({warehouse.find_video(name).partition_key for name in order.sample})
    if order.canary:
        chosen = chosen.first(order.canary)
    asked = len(chosen.work)
    if order.budget is not None:
        chosen = _within(chosen, order.budget, history, current, footage)
    return Offer(chosen, len(whole.work), asked, _prices(chosen, history, current, footage))


def _begun(instance: dg.DagsterInstance, offer: Offer, order: Order) -> Offer:
    if not offer.plan.work:
        return offer
    if not order.is_canary:
        require_approval(instance, offer.plan, approve=order.approve)
    allowance = None
    if order.budget is not None and offer.usd is not None:
        allowance = Allowance(order.budget, offer.usd.upper / len(offer.plan.work))
    ids = begin(instance, offer.plan, canary=order.is_canary, allowance=allowance)
    return replace(offer, backfills=tuple(ids))


def _prices(
    chosen: Plan, history: Mapping[str, History], current: Mapping[str, str], footage: Mapping[str, float]
) -> dict[str, Price]:
    lengths = footage_of(chosen, footage)
    return {asset: history[asset].price(current[asset], lengths[asset]) for asset in lengths}


def _within(
    whole: Plan,
    budget: float,
    history: Mapping[str, History],
    current: Mapping[str, str],
    footage: Mapping[str, float],
) -> Plan:
    """By the upper end of the estimate, so that the budget is not exceeded where the estimate holds."""

    def cost(part: Plan) -> float:
        total = _sum([one.usd for one in _prices(part, history, current, footage).values()])
        if total is None:
            unknown = [a for a, one in _prices(part, history, current, footage).items() if one.usd is None]
            raise SentinelError(
                f"nobody has measured what {' and '.join(unknown)} costs, so no budget can be kept",
                where=f"upgrade {whole.upgrade}",
                remedy="Run a canary first, such as --canary 20 without --budget",
            )
        return total.upper

    return affordable(whole, cost, budget)


def _sum(parts: list[Estimate | None]) -> Estimate | None:
    total = Estimate(0.0, 0.0)
    for one in parts:
        if one is None:
            return None
        total += one
    return total
