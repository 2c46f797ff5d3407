"""What it will take to make outputs again, from what past runs were measured to take.

How it is estimated. A stage takes some time for each video and more for each second of it, so a straight line is laid
through the latest materializations of a stage, by length of footage and seconds taken. Where none of a positive start
and a positive slope goes through them, the time goes with the length alone (the *ratio* of seconds to seconds of
footage) or with the number of videos alone (their *mean*). Where they are too few, or too much alike in length, to tell
these two apart, the estimate lies midway, and both within its margin. Only
runs that computed count, not those that took a kept result. Where at least three by today's recipe are there (a canary
gives them) only these count; else those of any recipe, and `by_recipe_of_today` is false. The uncertainty is that of
the line, ratio or mean, and that of a sum of as many single videos, at about 95 %.
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
_ALIKE = 0.01  # variance of lengths to their mean squared, below which they say nothing of how time grows with length
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
        _predicted([(m.footage_s, m.seconds) for m in chosen], len(footage), total),
        _predicted([(m.footage_s, m.usd or 0.0) for m in priced], len(footage), total)
        if len(priced) >= _ENOUGH
        else None,
        len(chosen),
        of_today,
    )


def _predicted(pairs: Sequence[tuple[float, float]], videos: int, total: float) -> Estimate:
    """Of `videos` of together `total` seconds, from pairs of footage and what it took.

    A line by weighted least squares, with the variance of a sum of predictions; see e.g. Draper and Smith, Applied
    Regression Analysis, chapters 1 and 9. The variance of a video is taken to grow with its length, as that of the sum
    of what its seconds take; so it is for the ratio.
    """
    n = len(pairs)
    weight = math.fsum(1 / x for x, _ in pairs)
    mean_x, mean_y = n / weight, math.fsum(y / x for x, y in pairs) / weight
    spread = math.fsum((x - mean_x) ** 2 / x for x, _ in pairs)
    by_length, by_number = _ratio(pairs, videos, total), _ratio([(1.0, y) for _, y in pairs], videos, videos)
    if n <= _ENOUGH or spread < _ALIKE * mean_x**2 * weight:
        return _between(by_length, by_number)
    slope = math.fsum((x - mean_x) * (y - mean_y) / x for x, y in pairs) / spread
    start = mean_y - slope * mean_x
    if slope <= 0:
        return by_number
    if start <= 0:
        return by_length
    variance = math.fsum((y - start - slope * x) ** 2 / x for x, y in pairs) / (n - 2)
    of_the_sum = total + videos**2 / weight + (total - videos * mean_x) ** 2 / spread
    return Estimate(start * videos + slope * total, _student(n - 2) * math.sqrt(variance * of_the_sum))


def _between(one: Estimate, other: Estimate) -> Estimate:
    return Estimate((one.value + other.value) / 2, abs(one.value - other.value) / 2 + max(one.margin, other.margin))


def _student(degrees: int) -> float:
    """The 97.5 % quantile of Student's t, by its expansion about the normal (Abramowitz and Stegun 26.7.5)."""
    z = 1.96
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


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
