"""`sentinel stale`: for each asset what is up to date, what is not, why, and the price of redoing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import dagster as dg
from rich.table import Table

from resources.warehouse import Warehouse
from sentinel_assets.filming import filming_digests
from sentinel_assets.fleet import Fleet, read_fleet
from sentinel_assets.freshness import DEPENDENCIES, Reason, digests
from sentinel_assets.prices import Estimate, History, Price, read_histories
from sentinel_assets.recipes import recipe

_INGREDIENTS = {"models": "model", "parameters": "parameters", "revision": "code"}


@dataclass(frozen=True)
class AssetState:
    """One asset over all videos. `why` counts outputs by cause; one output may have several."""

    asset: str
    recipe: str
    up_to_date: int
    stale: int
    missing: int
    failed: int
    """Of the stale and the missing: the last attempt failed."""
    why: Mapping[str, int]
    price: Price
    """Of redoing the stale ones."""


def read_states(instance: dg.DagsterInstance, warehouse: Warehouse) -> list[AssetState]:
    fleet = read_fleet(instance, digests(), filming_digests(warehouse.addresses()))
    return states(instance, warehouse, fleet)


def states(instance: dg.DagsterInstance, warehouse: Warehouse, fleet: Fleet) -> list[AssetState]:
    """One for each asset, upstream first. Past runs are read only of assets with something to redo."""
    old = {asset: fleet.old_recipes(asset) for asset in DEPENDENCIES}
    known = warehouse.recipes(sorted({digest for found in old.values() for digest in found}))
    footage = warehouse.durations_s()
    redo = {asset: stale for asset in DEPENDENCIES if (stale := fleet.to_redo(asset))}
    histories = read_histories(instance, redo, footage)
    found = []
    for asset in DEPENDENCIES:
        stale, history = redo.get(asset, []), histories.get(asset, History())
        current = fleet.current[asset]
        found.append(
            AssetState(
                asset=asset,
                recipe=current,
                up_to_date=fleet.up_to_date(asset),
                stale=len(stale),
                missing=len(fleet.missing(asset)),
                failed=len(fleet.failed[asset]),
                why=_causes(fleet, asset, old[asset], known),
                price=history.price(current, [footage.get(p) for p in stale]),
            )
        )
    return found


def differences(old: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    """In what two recipes differ: model, parameters, code; `unknown recipe` where the old one was not recorded."""
    if old is None:
        return ["unknown recipe"]
    return [word for key, word in _INGREDIENTS.items() if old.get(key) != now.get(key)]


def _causes(fleet: Fleet, asset: str, old: Mapping[str, int], known: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    causes: Counter[str] = Counter()
    now = recipe(asset).ingredients()
    for digest, count in old.items():
        for word in differences(known.get(digest), now):
            causes[word] += count
    for reason in fleet.stale[asset].values():
        if reason in (Reason.INPUT, Reason.LOST):
            causes[str(reason)] += 1
    return dict(causes)


def states_json(found: Sequence[AssetState]) -> list[dict[str, Any]]:
    return [asdict(one) for one in found]


def states_table(found: Sequence[AssetState]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Asset", "Recipe", "Up to date", "Stale", "Missing", "Failed", "Why", "Time to redo", "Price"):
        table.add_column(name, justify="right" if name in ("Up to date", "Stale", "Missing", "Failed") else "left")
    for one in found:
        table.add_row(*_cells(one))
    return table


def states_markdown(found: Sequence[AssetState]) -> str:
    head = (
        "| asset | recipe | up to date | stale | missing | failed | why | time to redo | price |\n" + "|---" * 9 + "|\n"
    )
    return head + "".join(f"| {' | '.join(_cells(one))} |\n" for one in found)


def duration(estimate: Estimate | None) -> str:
    if estimate is None:
        return "unknown"
    unit, word = (3600, "h") if estimate.value >= 3600 else (60, "min") if estimate.value >= 60 else (1, "s")
    return f"{estimate.value / unit:.1f} ± {estimate.margin / unit:.1f} {word}"


def usd(estimate: Estimate | None) -> str:
    return "unknown" if estimate is None else f"${estimate.value:.2f} ± {estimate.margin:.2f}"


def _cells(one: AssetState) -> list[str]:
    why = ", ".join(f"{word} {count}" for word, count in sorted(one.why.items()))
    counts = [str(n) for n in (one.up_to_date, one.stale, one.missing, one.failed)]
    cost = [duration(one.price.seconds), usd(one.price.usd)] if one.stale else ["", ""]
    return [one.asset, one.recipe, *counts, why, *cost]
