"""The price of redoing is measured, with its uncertainty; what nobody measured is unknown."""

from collections.abc import Iterator

import dagster as dg
import numpy as np
import pytest

from batch_step.cost import Accounts, accounts_of_run
from sentinel_assets.prices import Estimate, Measure, cold_starts, price, read_histories
from tests.builders.accounts import tell_what_it_took


def measures(recipe: str, *seconds: float, usd: float | None = None) -> list[Measure]:
    """Of videos of 60 s."""
    return [Measure(recipe, 60.0, s, usd) for s in seconds]


def test_seconds_grow_with_the_footage() -> None:
    """Half a second a second of footage, without spread: known exactly."""
    known = [Measure("old", x, x / 2, None) for x in (30.0, 60.0, 90.0, 120.0)]
    found = price(known, "new", [60.0, 600.0])
    assert found.seconds == Estimate(330.0, 0.0)
    assert (found.videos, found.measured, found.by_recipe_of_today) == (2, 4, False)


def test_videos_of_one_length_do_not_say_what_a_longer_one_takes() -> None:
    """Thirty seconds each for a minute: of ten minutes it may be as many, or three hundred. Of a minute it is known."""
    found = price(measures("old", 30, 30, 30, 30), "new", [600.0]).seconds
    assert found is not None
    assert (found.value - found.margin, found.upper) == pytest.approx((30.0, 300.0))
    assert price(measures("old", 30, 30, 30, 30), "new", [60.0]).seconds == Estimate(30.0, 0.0)


def test_measures_of_todays_recipe_win_over_older_ones() -> None:
    """What a canary gives; the old model was ten times as slow."""
    found = price(measures("old", 300, 310, 305) + measures("new", 30, 30, 30), "new", [60.0])
    assert found.by_recipe_of_today
    assert found.seconds == Estimate(30.0, 0.0)


@pytest.mark.parametrize("known", [[], measures("old", 30), measures("old", 30, 31)])
def test_too_little_measured_is_unknown(known: list[Measure]) -> None:
    found = price(known, "new", [60.0])
    assert found.seconds is None
    assert found.usd is None


def test_money_is_unknown_where_no_host_had_a_price() -> None:
    assert price(measures("old", 30, 31, 32), "new", [60.0]).usd is None
    found = price(measures("old", 30, 31, 32, usd=0.01), "new", [60.0, 60.0]).usd
    assert found is not None
    assert found.value == pytest.approx(0.02)


def test_a_video_of_unknown_length_counts_as_the_mean() -> None:
    known = [Measure("old", x, x / 2, None) for x in (30.0, 60.0, 90.0, 120.0)]
    found = price(known, "new", [60.0, None, 120.0]).seconds
    assert found is not None
    assert found.value == pytest.approx(0.5 * 270)


def test_nothing_to_redo_costs_nothing() -> None:
    assert price([], "new", []).seconds == Estimate(0, 0)


def test_the_margin_holds_what_it_says() -> None:
    """Of 300 fleets with videos of 20 to 600 s and a spread of a fifth, at least 9 of 10 cost what was estimated."""
    rng, within = np.random.default_rng(0), 0
    for _ in range(300):
        lengths = rng.uniform(20, 600, 260)
        seconds = lengths * rng.normal(0.5, 0.1, 260)
        known = [Measure("r", x, y, None) for x, y in zip(lengths[:60], seconds[:60], strict=True)]
        estimate = price(known, "r", list(lengths[60:])).seconds
        assert estimate is not None
        within += abs(seconds[60:].sum() - estimate.value) <= estimate.margin
    assert within / 300 >= 0.9


def test_what_each_video_takes_besides_its_length_is_seen() -> None:
    """Three seconds each and half a second a second: the price of short ones is not that of a tenth of a long one."""
    known = [Measure("r", x, 3 + 0.5 * x, None) for x in (20.0, 40.0, 60.0, 120.0)]
    found = price(known, "r", [5.0, 10.0]).seconds
    assert found is not None
    assert found.value == pytest.approx(2 * 3 + 0.5 * 15)
    assert found.margin == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("seconds", "of_150"),
    [
        pytest.param((10.0, 9.0, 8.0, 7.0), 8.5, id="longer ones took less: it does not go by length"),
        pytest.param((1.0, 4.0, 9.0, 16.0), 150 * 30 / 200, id="a start below nothing: it goes by length alone"),
    ],
)
def test_a_line_that_makes_no_sense_is_not_followed(seconds: tuple[float, ...], of_150: float) -> None:
    lengths = (20.0, 40.0, 60.0, 80.0)
    known = [Measure("r", x, y, None) for x, y in zip(lengths, seconds, strict=True)]
    found = price(known, "r", [150.0]).seconds
    assert found is not None
    assert found.value == pytest.approx(of_150)


def test_the_margin_of_a_few_holds_what_it_says() -> None:
    """Of 300 fleets with a canary of five, at least 9 of 10 cost what was estimated."""
    rng, within = np.random.default_rng(1), 0
    for _ in range(300):
        lengths = rng.uniform(20, 600, 105)
        seconds = 20 + 0.5 * lengths + rng.normal(0, 15, 105)
        known = [Measure("r", x, y, None) for x, y in zip(lengths[:5], seconds[:5], strict=True)]
        found = price(known, "r", lengths[5:].tolist()).seconds
        assert found is not None
        within += abs(found.value - seconds[5:].sum()) <= found.margin
    assert within >= 270


@pytest.mark.parametrize("canary", [20, 60])
def test_a_canary_prices_two_thousand_videos(canary: int) -> None:
    """Clips of five seconds to an hour, and people in them more or less: of 200 fleets nine in ten cost
    within 15 % of the estimate, as is asked of it."""
    rng, within = np.random.default_rng(canary), 0
    for _ in range(200):
        lengths = np.clip(rng.lognormal(4.5, 0.8, 2000), 5, 3600)
        seconds = 6 + 0.3 * lengths * rng.gamma(8, 1 / 8, 2000)
        known = [Measure("r", x, y, None) for x, y in zip(lengths[:canary], seconds[:canary], strict=True)]
        found = price(known, "r", lengths[canary:].tolist()).seconds
        assert found is not None
        within += abs(found.value / seconds[canary:].sum() - 1) <= 0.15
    assert within >= 180, within


def test_a_canary_of_quiet_videos_does_not_price_busy_ones_as_quiet() -> None:
    """The newest videos show one person, the rest four: of one length, and three times the work. What they took before
    tells that."""
    rng, within, without = np.random.default_rng(5), 0, 0
    for _ in range(100):
        lengths = rng.uniform(30, 300, 500)
        work = lengths * np.where(np.arange(500) < 20, 0.1, 0.3) * rng.gamma(20, 1 / 20, 500)
        before, now = 2 + work, 5 + 1.8 * work * rng.gamma(50, 1 / 50, 500)
        canary = [
            Measure("r", length, took, None, before_s=old)
            for length, took, old in zip(lengths[:20], now[:20], before[:20], strict=True)
        ]
        rest = lengths[20:].tolist()
        found = price(canary, "r", rest, before[rng.choice(np.arange(20, 500), 30, replace=False)].tolist()).seconds
        by_length = price(canary, "r", rest).seconds
        assert found is not None
        assert by_length is not None
        within += abs(found.value / now[20:].sum() - 1) <= 0.2
        without += abs(by_length.value / now[20:].sum() - 1) <= 0.2
    assert within >= 85
    assert without == 0


def test_what_is_out_of_date_by_its_inputs_is_not_taken_for_a_canary() -> None:
    """By today's recipe, but from half as many frames as there are now."""
    old = [Measure("now", x, x / 10, None, is_fresh=False) for x in (30.0, 60.0, 90.0, 120.0)]
    canary = [Measure("now", x, x / 5, None) for x in (30.0, 60.0, 90.0, 120.0)]
    found = price(old + canary, "now", [60.0])
    assert found.seconds == Estimate(pytest.approx(12.0), pytest.approx(0.0, abs=1e-6))
    assert found.by_recipe_of_today
    assert not price(old, "now", [60.0]).by_recipe_of_today


def test_loading_is_paid_once_a_job() -> None:
    """Ten seconds of models for the first video of a job, two seconds for each: a canary is half of first ones."""
    cold = [Measure("r", 60.0, 12.0, 0.12, is_cold=True)] * 4
    warm = [Measure("r", 60.0, 2.0, 0.02)] * 4
    rest = [60.0] * 100
    found = price(cold + warm, "r", rest, starts=5)
    assert found.seconds == Estimate(pytest.approx(100 * 2 + 5 * 10), pytest.approx(0.0, abs=1e-6))
    assert found.usd == Estimate(pytest.approx(2.5), pytest.approx(0.0, abs=1e-6))


def test_where_all_had_to_load_all_will() -> None:
    """Or nearly none had, and what loading takes is not known."""
    cold = [Measure("r", 60.0, 12.0, None, is_cold=True)] * 4
    for known in (cold, [*cold, Measure("r", 60.0, 2.0, None), Measure("r", 60.0, 2.0, None)]):
        found = price(known, "r", [60.0] * 100, starts=5).seconds
        assert found is not None
        assert found.value == pytest.approx(100 * sum(m.seconds for m in known) / len(known))
    warm = [Measure("r", 60.0, 2.0, None)] * 4
    assert price(warm, "r", [60.0] * 100, starts=5).seconds == Estimate(200.0, 0.0)


def test_a_backfill_starts_a_job_for_each_place_and_for_each_twenty(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [cold_starts(videos) for videos in (0, 1, 3, 4, 79, 80, 81, 2000)] == [0, 1, 3, 4, 4, 4, 5, 100]
    monkeypatch.setenv("SENTINEL_VIDEOS_PER_JOB", "1")
    assert cold_starts(2000) == 2000


def test_the_price_with_jobs_that_load_is_that_of_the_fleet() -> None:
    """Of 200 fleets of 400 videos, with a canary of 20 on four jobs, nine in ten cost within 15 % of the estimate, and
    within its margin."""
    rng, near, within = np.random.default_rng(3), 0, 0
    for _ in range(200):
        lengths = rng.uniform(20, 300, 420)
        is_cold = np.isin(np.arange(420) % 20, np.arange(4)) & (np.arange(420) < 20) | (np.arange(420) % 20 == 0)
        seconds = 4 + 0.2 * lengths * rng.gamma(20, 1 / 20, 420) + 25 * is_cold
        canary = [
            Measure("r", x, y, None, is_cold=bool(c))
            for x, y, c in zip(lengths[:20], seconds[:20], is_cold[:20], strict=True)
        ]
        found = price(canary, "r", lengths[20:].tolist(), starts=cold_starts(400)).seconds
        assert found is not None
        took = seconds[20:].sum()
        near += abs(found.value / took - 1) <= 0.15
        within += abs(found.value - took) <= found.margin
    assert near >= 180
    assert within >= 180


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_history_pairs_what_a_video_took_with_what_it_took_before(instance: dg.DagsterInstance) -> None:
    """Eight videos analysed; a canary of the four newest was redone, one of them from a kept result."""
    instance.add_dynamic_partitions("videos", [str(n) for n in range(1, 9)])

    def made(video: int, recipe: str, seconds: float, kept: bool = False) -> None:
        """In a job for all but the odd ones, in which a second more was paid for than the stage took."""
        result = dg.materialize(
            [toy_poses],
            partition_key=str(video),
            instance=instance,
            tags={"test/recipe": recipe, "test/seconds": str(seconds), "test/kept": str(kept)},
        )
        if video % 2 == 0:
            run = result.dagster_run
            tell_what_it_took(instance, run, "poses", seconds + 1, seconds / 100)
            tell_what_it_took(instance, run, "detections", 1000.0, 1000.0)  # the run made more than these

    for video in range(1, 9):
        made(video, "old", 10.0 + video)
    for video in range(4, 9):
        made(video, "new", 30.0 + video, kept=video == 8)
    footage = {str(n): 60.0 + n for n in range(1, 9)}
    history = read_histories(instance, {"poses": ["1", "2", "3"]}, footage)["poses"]
    fresh = {m.footage_s - 60: m for m in history.measures if m.is_fresh}
    assert {n: (m.seconds, m.usd, m.recipe) for n, m in fresh.items()} == {
        4.0: (35.0, 0.34, "new"),
        5.0: (35.0, 0.0, "new"),  # beside Dagster, which is there anyway
        6.0: (37.0, 0.36, "new"),
        7.0: (37.0, 0.0, "new"),
        8.0: (19.0, 0.18, "old"),  # of what was taken from before it is not known what it would have taken
    }
    assert all(m.before_s is None for m in history.measures)  # three to be redone are too few to look at
    assert not [m for m in history.measures if m.is_fresh and m.footage_s < 64]
    paired = read_histories(instance, {"poses": ["1", "2", "3", "4"]}, footage)["poses"]
    assert {m.footage_s - 60: m.before_s for m in paired.measures if m.is_fresh and m.recipe == "new"} == {
        5.0: 15.0,
        6.0: 17.0,
        7.0: 17.0,
    }
    assert sorted(paired.before) == [11.0, 13.0, 13.0, 35.0]


@dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name="videos"), name="poses")
def toy_poses(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    asked = context.run.tags
    return dg.MaterializeResult(
        metadata={"seconds": float(asked["test/seconds"]), "taken from before": asked["test/kept"] == "True"},
        data_version=dg.DataVersion(f"{asked['test/recipe']}-c-i"),
    )


def test_what_a_job_took_counts_all_attempts_and_each_once(instance: dg.DagsterInstance) -> None:
    """A retry is paid for, too; a run worker that resumes the run may tell of an attempt a second time."""
    run = instance.add_run(dg.DagsterRun(job_name="x"))
    for attempt in ("0.0", "1.0", "1.0"):
        tell_what_it_took(instance, run, "poses", 10.0, 0.5, attempt)
    tell_what_it_took(instance, run, "detections", 5.0, None)
    assert accounts_of_run(instance, run.run_id) == {"poses": Accounts(20.0, 1.0), "detections": Accounts(5.0, None)}
    tell_what_it_took(instance, run, "detections", 5.0, 0.1, "1.0")
    assert accounts_of_run(instance, run.run_id)["detections"] == Accounts(10.0, None)
