"""Which outputs an upgrade redoes, exactly: pure decisions on a `Fleet`; `backfills.py` carries them out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from sentinel_assets.fleet import Fleet
from sentinel_assets.freshness import DEPENDENCIES, Reason


@dataclass(frozen=True)
class Plan:
    """The outputs to make again for one upgrade: for each video its assets, upstream first. Newest video first."""

    asset: str
    recipe: str
    work: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def upgrade(self) -> str:
        """Names the upgrade in the tags of its backfills."""
        return f"{self.asset}-{self.recipe}"

    @property
    def outputs(self) -> int:
        return sum(len(assets) for _, assets in self.work)

    def by_asset(self) -> dict[str, list[str]]:
        """The videos of each asset that is in the plan, newest first."""
        found: dict[str, list[str]] = {}
        for asset in DEPENDENCIES:
            if chosen := [partition for partition, assets in self.work if asset in assets]:
                found[asset] = chosen
        return found

    def first(self, count: int) -> Plan:
        """The newest so many videos of it."""
        return Plan(self.asset, self.recipe, self.work[:count])

    def only(self, partitions: Collection[str]) -> Plan:
        """Those videos of it."""
        return Plan(self.asset, self.recipe, tuple(one for one in self.work if one[0] in partitions))

    def chunks(self, size: int) -> Iterable[Plan]:
        for start in range(0, len(self.work), size):
            yield Plan(self.asset, self.recipe, self.work[start : start + size])


def plan(fleet: Fleet, asset: str, *, missing: bool = False, without: frozenset[str] = frozenset()) -> Plan:
    """What to redo so that this asset, and what follows on it, is up to date again.

    `missing`: also for videos of which it was never made. `without`: videos that are being redone already.
    """
    missed = set() if missing else set(fleet.missing(asset))
    work = []
    for partition in reversed(fleet.partitions):
        if partition in missed or partition in without:
            continue
        reasons = {a: reason for a in DEPENDENCIES if (reason := fleet.stale[a].get(partition))}
        if reasons and (assets := to_run(asset, frozenset(reasons.items()))):
            work.append((partition, assets))
    return Plan(asset, fleet.current[asset], tuple(work))


@cache
def to_run(asset: str, reasons: frozenset[tuple[str, Reason]]) -> tuple[str, ...]:
    """The asset; what is out of date of what it is made from (else it would be stale again afterwards); and what
    follows on it, as far as all that it is made from is up to date then: what also waits for another upgrade is left
    to that one. Where the asset itself is up to date, only what follows and was made from other inputs: an upgrade
    went so far.
    """
    stale = dict(reasons)
    above = _ancestors(asset)
    chosen: list[str] = []
    for name in DEPENDENCIES:
        if name not in stale or (asset not in stale and stale[name] is not Reason.INPUT):
            continue
        follows = asset in _ancestors(name) and _ancestors(name) & stale.keys() <= set(chosen)
        if follows or (asset in stale and (name == asset or name in above)):
            chosen.append(name)
    return tuple(chosen)


def affordable(plan: Plan, cost: Callable[[Plan], float], budget: float) -> Plan:
    """The longest beginning of the plan that costs at most the budget; `cost` grows with the plan."""
    low, high = 0, len(plan.work)
    while low < high:
        middle = (low + high + 1) // 2
        if cost(plan.first(middle)) <= budget:
            low = middle
        else:
            high = middle - 1
    return plan.first(low)


@cache
def _ancestors(asset: str) -> frozenset[str]:
    direct: Sequence[str] = DEPENDENCIES.get(asset, ())
    return frozenset(direct).union(*(_ancestors(name) for name in direct))


def footage_of(plan: Plan, footage_s: Mapping[str, float]) -> dict[str, list[float | None]]:
    """The lengths of the videos of each asset in the plan, seconds."""
    return {asset: [footage_s.get(p) for p in partitions] for asset, partitions in plan.by_asset().items()}
