"""What it will take to make outputs again, from what past runs were measured to take.

How it is estimated. A stage's seconds grow with the length of its video, so from the latest materializations of a stage
the *ratio* of its seconds to the seconds of footage is taken, and multiplied by the footage that is to be redone. Only
runs that computed count, not those that took a kept result. Where at least three by today's recipe are there (a canary
gives them) only these count; else those of any recipe, and `by_recipe_of_today` is false. The uncertainty is that of
the ratio (the standard error of a ratio estimator, doubled: about 95 %), and that of a sum of as many single videos.
Money is that of rented hosts: `cost_usd`, which the step launcher writes where the host has a price. A stage that ran
without a job, beside Dagster itself, cost no more than there being a Dagster.
Nothing measured, or too little, is *unknown*, never a guess.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from sentinel_assets.recipes import made_by

SAMPLE = 60  # materializations looked at for each asset: each holds pictures, and is read whole
_ENOUGH = 3  # of one recipe, or none: from two no spread can be told


@dataclass(frozen=True)
class Measure:
    """One computed output: the seconds that it took, of a host where it had one to itself, and the money if known."""

    recipe: str
    footage_s: float
    seconds: float
    usd: float | None


@dataclass(frozen=True)
class Estimate:
    """A sum with its uncertainty: `value` plus or minus `margin`, about 95 %."""

    value: float
    margin: float

    @property
    def upper(self) -> float:
        return self.value + self.margin

    def __add__(self, other: Estimate) -> Estimate:
        # Stages of one fleet err together where videos are alike: margins are added, not their squares.
        return Estimate(self.value + other.value, self.margin + other.margin)


@dataclass(frozen=True)
class Price:
    """Of making an asset again for some videos; None is unknown."""

    videos: int
    footage_s: float
    seconds: Estimate | None
    usd: Estimate | None
    measured: int
    by_recipe_of_today: bool


def price(measures: Sequence[Measure], current: str, footage: Sequence[float | None]) -> Price:
    """`footage`: seconds of each video to be redone; one of unknown length counts as the mean of the others."""
    own = [m for m in measures if m.recipe == current]
    chosen, of_today = (own, True) if len(own) >= _ENOUGH else (list(measures), False)
    known = [s for s in footage if s is not None]
    mean = sum(known) / len(known) if known else None
    lengths = [s if s is not None else mean for s in footage]
    total = math.fsum(s for s in lengths if s is not None)
    if not footage:
        return Price(0, 0.0, Estimate(0, 0), Estimate(0, 0), len(chosen), of_today)
    if mean is None or len(chosen) < _ENOUGH:
        return Price(len(footage), total, None, None, len(chosen), of_today)
    priced = [m for m in chosen if m.usd is not None]
    return Price(
        len(footage),
        total,
        _ratio([(m.footage_s, m.seconds) for m in chosen], len(footage), total),
        _ratio([(m.footage_s, m.usd or 0.0) for m in priced], len(footage), total) if len(priced) >= _ENOUGH else None,
        len(chosen),
        of_today,
    )


def _ratio(pairs: Sequence[tuple[float, float]], videos: int, total: float) -> Estimate:
    """The ratio estimator of survey sampling, times `total`; see e.g. Cochran, Sampling Techniques, chapter 6."""
    n, footage = len(pairs), math.fsum(x for x, _ in pairs)
    ratio = math.fsum(y for _, y in pairs) / footage
    variance = math.fsum((y - ratio * x) ** 2 for x, y in pairs) / (n - 1)
    of_the_ratio = total * math.sqrt(variance / n) / (footage / n)
    of_the_sum = math.sqrt(variance * videos)
    return Estimate(ratio * total, 2 * math.hypot(of_the_ratio, of_the_sum))


def read_measures(
    instance: dg.DagsterInstance, asset: str, footage_s: Mapping[str, float], *, sample: int = SAMPLE
) -> list[Measure]:
    """From the latest materializations of the asset, of videos whose length is known."""
    found = []
    for record in instance.fetch_materializations(dg.AssetKey(asset), limit=sample).records:
        event = record.asset_materialization
        if event is None or event.partition is None or not footage_s.get(event.partition):
            continue
        values = {name: entry.value for name, entry in event.metadata.items()}
        seconds = values.get("host_s", values.get("seconds"))
        if not isinstance(seconds, int | float) or values.get("taken from before"):
            continue
        # A step without a job ran beside Dagster itself, on a host that is there anyway.
        usd = values.get("cost_usd") if "host_s" in values else 0.0
        found.append(
            Measure(
                made_by((event.tags or {}).get("dagster/data_version", "")),
                footage_s[event.partition],
                float(seconds),
                float(usd) if isinstance(usd, int | float) else None,
            )
        )
    return found
