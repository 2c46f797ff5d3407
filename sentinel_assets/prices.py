"""What it will take to make outputs again, from what past runs were measured to take.

How it is estimated. A stage takes some time for each video and more for each second of it, so a straight line is laid
through the latest materializations of a stage, by length of footage and seconds taken. Where none of a positive start
and a positive slope goes through them, the time goes with the length alone (the *ratio* of seconds to seconds of
footage) or with the number of videos alone (their *mean*). Where they are too few, or too much alike in length, to tell
these two apart, the estimate lies midway, and both within its margin. Only
runs that computed count, not those that took a kept result. Where at least three outputs are there that are up to date
(a canary gives them), only these count; else those of any recipe, and `by_recipe_of_today` is false. The uncertainty is
that of the line, ratio or mean, and that of a sum of as many single videos, at about 95 %.

Videos of a length differ by who is in them, and a canary of the newest is seldom like the rest. So where videos that
were made again and those that are to be both have an earlier output, the line goes through what each took now and what
it took before, and is asked for what the rest took before, of which some are looked at.
A job loads its models for the first run that it serves, and has them for those of the same backfill that follow. So the
line goes through what runs of the second kind took, where enough are known; what those of the first took more is added
for as many jobs as there will be.

Time and money are those of rented hosts, as the step launcher told them in the run (`batch_step.cost`). A stage that
ran without a job, beside Dagster itself, cost no more than there being a Dagster.
Nothing measured, or too little, is *unknown*, never a guess.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import dagster as dg

from batch_step.cost import Accounts, accounts_of_run
from resources.settings import Settings
from sentinel_assets.instance import BACKFILL_RUNS
from sentinel_assets.recipes import made_by

SAMPLE = 60  # materializations looked at for each asset: each holds pictures, and is read whole
_LOOKED_AT = 30  # videos of which it is asked what they took before, of those made again and of those to be redone
_OUTPUTS_EACH = 3  # of each of these, at most about
_ALIKE = 0.01  # variance of lengths to their mean squared, below which they say nothing of how time grows with length
_ENOUGH = 3  # of one recipe, or none: from two no spread can be told


Pairs = Sequence[tuple[float, float]]
"""A size and what it took: seconds of footage, or seconds that it took before, and seconds or USD."""


@dataclass(frozen=True)
class Measure:
    """One computed output: the seconds that it took, of a host where it had one to itself, and the money if known."""

    recipe: str
    footage_s: float
    seconds: float
    usd: float | None
    is_fresh: bool = True
    """Not out of date by its inputs either."""
    before_s: float | None = None
    """Seconds that the output before this one took, of the same video."""
    is_cold: bool = False
    """Made in a job that had to load its models first."""


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


def cold_starts(videos: int) -> int:
    """In how many jobs a backfill of so many videos is made, at least: each loads its models once."""
    return min(videos, max(BACKFILL_RUNS, math.ceil(videos / Settings.from_env().videos_per_job)))


def price(
    measures: Sequence[Measure],
    current: str,
    footage: Sequence[float | None],
    before: Sequence[float] = (),
    starts: int | None = None,
) -> Price:
    """`footage`: seconds of each video to be redone; one of unknown length counts as the mean of the others. `before`:
    what some of these took when they were made last. `starts`: in how many jobs; None for one each."""
    own = [m for m in measures if m.recipe == current and m.is_fresh]
    chosen, of_today = (own, True) if len(own) >= _ENOUGH else (list(measures), False)
    known = [s for s in footage if s is not None]
    mean = sum(known) / len(known) if known else None
    lengths = [s if s is not None else mean for s in footage]
    total = math.fsum(s for s in lengths if s is not None)
    if not footage:
        return Price(0, 0.0, Estimate(0, 0), Estimate(0, 0), len(chosen), of_today)
    if mean is None or len(chosen) < _ENOUGH:
        return Price(len(footage), total, None, None, len(chosen), of_today)
    warm = [m for m in chosen if not m.is_cold]
    cold = [m for m in chosen if m.is_cold] if len(warm) >= _ENOUGH else []
    alike = warm if cold else chosen
    again = [m for m in alike if m.before_s] if of_today and len(before) > _ENOUGH else []

    def predicted(of: Callable[[Measure], float | None]) -> Estimate | None:
        by_length = [(m.footage_s, cost) for m in alike if (cost := of(m)) is not None]
        first = [(m.footage_s, cost) for m in cold if (cost := of(m)) is not None]
        starting = _loading(first, by_length, len(footage) if starts is None else starts)
        by_before = [(m.before_s or 0.0, cost) for m in again if (cost := of(m)) is not None]
        if len(by_before) > _ENOUGH:
            return _predicted(by_before, len(footage), _sum_of(before, len(footage))) + starting
        if len(by_length) < _ENOUGH:
            return None
        return _predicted(by_length, len(footage), Estimate(total, 0.0)) + starting

    seconds, usd = predicted(lambda m: m.seconds), predicted(lambda m: m.usd)
    return Price(len(footage), total, seconds, usd, len(chosen), of_today)


def _loading(cold: Pairs, warm: Pairs, starts: int) -> Estimate:
    """What `starts` jobs take more for their first runs, by what some such took more than others of their length."""
    if not cold or len(warm) < _ENOUGH:
        return Estimate(0.0, 0.0)
    n = len(cold)
    expected = _predicted(warm, n, Estimate(math.fsum(x for x, _ in cold), 0.0))
    more = max(0.0, math.fsum(y for _, y in cold) - expected.value)
    return Estimate(more / n * starts, min(more, expected.margin) / n * starts)


def _sum_of(sample: Sequence[float], count: int) -> Estimate:
    """Of `count` values, of which a sample is known."""
    n, mean = len(sample), math.fsum(sample) / len(sample)
    variance = math.fsum((x - mean) ** 2 for x in sample) / (n - 1)
    unknown = max(0.0, 1 - n / count)
    return Estimate(mean * count, _student(n - 1) * count * math.sqrt(variance / n * unknown))


def _predicted(pairs: Pairs, videos: int, sizes: Estimate) -> Estimate:
    """Of `videos` of together that size, from pairs of size and what it took; sizes are seconds, of footage or before.

    A line by weighted least squares, with the variance of a sum of predictions; see e.g. Draper and Smith, Applied
    Regression Analysis, chapters 1 and 9. The variance of a video is taken to grow with its length, as that of the sum
    of what its seconds take; so it is for the ratio.
    """
    n, total = len(pairs), sizes.value
    weight = math.fsum(1 / x for x, _ in pairs)
    mean_x, mean_y = n / weight, math.fsum(y / x for x, y in pairs) / weight
    spread = math.fsum((x - mean_x) ** 2 / x for x, _ in pairs)
    by_size, by_number = _ratio(pairs, videos, sizes), _ratio([(1.0, y) for _, y in pairs], videos, Estimate(videos, 0))
    if n <= _ENOUGH or spread < _ALIKE * mean_x**2 * weight:
        return _between(by_size, by_number)
    slope = math.fsum((x - mean_x) * (y - mean_y) / x for x, y in pairs) / spread
    start = mean_y - slope * mean_x
    if slope <= 0:
        return by_number
    if start <= 0:
        return by_size
    variance = math.fsum((y - start - slope * x) ** 2 / x for x, y in pairs) / (n - 2)
    of_the_sum = total + videos**2 / weight + (total - videos * mean_x) ** 2 / spread
    margin = math.hypot(_student(n - 2) * math.sqrt(variance * of_the_sum), slope * sizes.margin)
    return Estimate(start * videos + slope * total, margin)


def _between(one: Estimate, other: Estimate) -> Estimate:
    return Estimate((one.value + other.value) / 2, abs(one.value - other.value) / 2 + max(one.margin, other.margin))


def _student(degrees: int) -> float:
    """The 97.5 % quantile of Student's t, by its expansion about the normal (Abramowitz and Stegun 26.7.5)."""
    z = 1.96
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def _ratio(pairs: Pairs, videos: int, sizes: Estimate) -> Estimate:
    """The ratio estimator of survey sampling, times the size; see e.g. Cochran, Sampling Techniques, chapter 6."""
    n, size = len(pairs), math.fsum(x for x, _ in pairs)
    ratio = math.fsum(y for _, y in pairs) / size
    variance = math.fsum((y - ratio * x) ** 2 for x, y in pairs) / (n - 1)
    of_the_ratio = sizes.value * math.sqrt(variance / n) / (size / n)
    of_the_sum = math.sqrt(variance * videos)
    return Estimate(ratio * sizes.value, math.hypot(2 * of_the_ratio, 2 * of_the_sum, ratio * sizes.margin))


@dataclass(frozen=True)
class History:
    """What a stage took: the measures of its latest outputs, and seconds of some of those that are to be redone."""

    measures: Sequence[Measure] = ()
    before: Sequence[float] = ()

    def price(self, current: str, footage: Sequence[float | None]) -> Price:
        return price(self.measures, current, footage, self.before, cold_starts(len(footage)))


def read_histories(
    instance: dg.DagsterInstance, redo: Mapping[str, Collection[str]], footage_s: Mapping[str, float]
) -> dict[str, History]:
    """By asset, from the latest materializations, of videos whose length is known. `redo`: those out of date."""
    past = _PastRuns(instance, footage_s)
    return {asset: _history(past, dg.AssetKey(asset), frozenset(stale)) for asset, stale in redo.items()}


def _history(past: _PastRuns, key: dg.AssetKey, stale: frozenset[str]) -> History:
    latest: dict[str, Measure] = {}
    for partition, measure in past.measures(key, SAMPLE):
        latest.setdefault(partition, replace(measure, is_fresh=partition not in stale))
    fresh = [partition for partition, measure in latest.items() if measure.is_fresh][:_LOOKED_AT]
    chosen = random.Random(0).sample(sorted(stale), min(len(stale), _LOOKED_AT))  # noqa: S311 - the same at each look
    if len(fresh) <= _ENOUGH or len(chosen) <= _ENOUGH:
        return History(list(latest.values()))
    wanted = dg.AssetRecordsFilter(key, asset_partitions=[*fresh, *chosen])
    took: dict[str, list[float]] = {}
    for partition, measure in past.measures(wanted, _OUTPUTS_EACH * (len(fresh) + len(chosen))):
        took.setdefault(partition, []).append(measure.seconds)
    for partition in fresh:
        if len(took.get(partition, ())) > 1:
            latest[partition] = replace(latest[partition], before_s=took[partition][1])
    return History(list(latest.values()), [took[partition][0] for partition in chosen if partition in took])


class _PastRuns:
    """What outputs took. Each run is read once, as it made several of them."""

    def __init__(self, instance: dg.DagsterInstance, footage_s: Mapping[str, float]) -> None:
        self._instance, self._footage_s = instance, footage_s
        self._accounts: dict[str, Mapping[str, Accounts]] = {}

    def measures(self, wanted: dg.AssetKey | dg.AssetRecordsFilter, limit: int) -> Iterator[tuple[str, Measure]]:
        """Partition and measure of each materialization that computed something, the latest first."""
        for record in self._instance.fetch_materializations(wanted, limit=limit).records:
            event = record.asset_materialization
            if event is None or event.partition is None or not self._footage_s.get(event.partition):
                continue
            seconds, kept = (event.metadata.get(name) for name in ("seconds", "taken from before"))
            if seconds is None or (kept is not None and kept.value):
                continue
            # A step without a job ran beside Dagster itself, on a host that is there anyway.
            accounts = self._paid_for(record) or Accounts(float(str(seconds.value)), 0.0)
            recipe = made_by((event.tags or {}).get("dagster/data_version", ""))
            length_s = self._footage_s[event.partition]
            measure = Measure(recipe, length_s, accounts.host_s, accounts.usd, is_cold=accounts.is_cold)
            yield event.partition, measure

    def _paid_for(self, record: dg.EventLogRecord) -> Accounts | None:
        run_id, step_key = record.run_id, record.event_log_entry.step_key
        if not run_id or step_key is None:
            return None
        if run_id not in self._accounts:
            self._accounts[run_id] = accounts_of_run(self._instance, run_id)
        return self._accounts[run_id].get(step_key)
