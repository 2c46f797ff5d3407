"""Upgrades on their own: what the automation requests, what a budget stops, and who gets a report."""

import warnings
from collections.abc import Iterator

import dagster as dg
import pytest

from sensors.upgrades import automatic_upgrades, upgrades
from sentinel_assets.automation import newest_in_need, recipes_tag
from sentinel_assets.backfills import BACKFILL, UPGRADE, Allowance, begin, begun
from sentinel_assets.definitions import defs
from sentinel_assets.fleet import Fleet
from sentinel_assets.freshness import DEPENDENCIES, digests
from sentinel_assets.planning import Plan
from sentinel_assets.spending import SPENT, Spending, enforce_budgets
from tests.builders.accounts import tell_what_it_took
from tests.builders.fleets import ToyFleet, record

# Dagster 1.13 checks a backfill that was requested in its own old way.
pytestmark = pytest.mark.filterwarnings("ignore:Function `AssetSelection.keys`:DeprecationWarning")
BELOW_POSES = ("poses", "behaviors", "descriptions", "embeddings", "events")


@pytest.fixture
def instance(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    with dg.DagsterInstance.local_temp() as made:  # one in memory cannot look for tags of backfills
        yield made


class Automation:
    """The sensor, tick by tick, by today's recipes."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor: str | None = None

    def tick(self) -> list[dg.RunRequest]:
        context = dg.build_sensor_context(
            instance=self.instance, repository_def=defs.get_repository_def(), cursor=self.cursor
        )
        result = automatic_upgrades().evaluate_tick(context)
        self.cursor = result.cursor
        return list(result.run_requests or ())

    def requested(self) -> set[tuple[str, str]]:
        found = set()
        for request in self.tick():
            assert request.tags[UPGRADE] == "automatic"
            assert request.tags["dagster/priority"] == "-10"
            if request.asset_graph_subset is not None:
                parts = request.asset_graph_subset.iterate_asset_partitions()
                found |= {(one.asset_key.to_user_string(), str(one.partition_key)) for one in parts}
            else:
                found |= {(key.to_user_string(), str(request.partition_key)) for key in request.asset_selection or ()}
        return found


def test_the_automation_redoes_exactly_what_is_stale(instance: dg.DagsterInstance) -> None:
    """Upgrade: all; two redone by anyone: the others; roll-back: exactly those two; then none. A backlog from before
    the first tick is seen too."""
    toys = ToyFleet.of(instance, 6, digests())
    truly = {(asset, partition) for asset in BELOW_POSES for partition in toys.partitions}
    before = toys.recipes["poses"]
    toys.upgrade("poses", "a" * 12, "other")  # what was made by it is old to today's recipes
    toys.execute((p, BELOW_POSES) for p in toys.partitions)
    toys.upgrade("poses", before, "0")
    automation = Automation(instance)
    assert automation.requested() == truly
    toys.execute([("2", BELOW_POSES), ("5", BELOW_POSES)])
    assert automation.requested() == {(a, p) for a, p in truly if p not in ("2", "5")}
    toys.execute((p, BELOW_POSES) for p in ("1", "3", "4", "6"))
    assert automation.requested() == set()


def test_the_automation_is_off_until_somebody_wants_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", dg.BetaWarning)
        sensor = automatic_upgrades()  # and nobody who starts Sentinel reads of what is beta in it
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED


def test_what_was_never_made_or_failed_again_is_left_to_people() -> None:
    """Of a thousand videos the newest few hundred first."""
    keys = [str(number) for number in range(1, 1001)]
    stale = dict.fromkeys(DEPENDENCIES, f"{'a' * 12}-1-x")
    versions = {asset: dict.fromkeys(keys, version) for asset, version in stale.items()}
    del versions["events"]["1000"]
    versions["video"] = dict.fromkeys(keys, "sha256:aa")
    fleet = Fleet.compare(keys, versions, digests(), failed_attempts={"poses": frozenset({"999"})})
    assert newest_in_need(fleet, 200) == keys[997:797:-1]


def test_a_video_under_way_is_not_requested(instance: dg.DagsterInstance) -> None:
    toys = ToyFleet.of(instance, 2, {**digests(), "events": "a" * 12})
    automation = Automation(instance)
    assert automation.requested() == {("events", "1"), ("events", "2")}
    begin(instance, Plan("events", digests()["events"], (("1", ("events",)),)))
    assert automation.requested() == {("events", "2")}
    assert toys.partitions == ["1", "2"]


@pytest.mark.parametrize(("ordered", "left_alone"), [("today", {"2"}), ("before", set()), ("failed", set())])
def test_what_was_redone_in_vain_is_left_alone(
    instance: dg.DagsterInstance, ordered: str, left_alone: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Run workers with other settings than the code location: what they make stays out of date, and would be requested
    every minute. A run for other recipes, from before they were changed and back again, says nothing of today's."""
    others = {**digests(), "events": "a" * 12}
    toys = ToyFleet.of(instance, 3, others)
    tags = recipes_tag(others if ordered == "before" else digests())
    status = dg.DagsterRunStatus.FAILURE if ordered == "failed" else dg.DagsterRunStatus.SUCCESS
    instance.add_run(dg.DagsterRun(job_name="x", run_id="automatic", status=status, tags=tags))
    record(instance, [("events", "2", toys.versions["events"]["2"])], run="automatic")
    assert Automation(instance).requested() == {("events", p) for p in {"1", "2", "3"} - left_alone}
    assert ("1 videos were redone and are out of date as before" in caplog.text) is bool(left_alone)


def test_an_automatic_run_says_by_which_recipes_it_is_to_go(instance: dg.DagsterInstance) -> None:
    ToyFleet.of(instance, 1, {**digests(), "events": "a" * 12})
    (request,) = Automation(instance).tick()
    assert recipes_tag(digests()).items() <= request.tags.items()


# A budget.


@dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name="videos"), name="poses")
def toy_poses(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Of a run in which detections were lost to Spot once, and poses cost the rest."""
    cost = context.run.tags["test/cost"]
    tell_what_it_took(context.instance, context.run, "detections", 1.0, 0.25)
    if cost == "fails":
        raise ValueError("on purpose")
    usd = None if cost == "unknown" else float(cost) - 0.25
    tell_what_it_took(context.instance, context.run, "poses", 10.0, usd)
    return dg.MaterializeResult()


def execute(instance: dg.DagsterInstance, backfill: str, partition: str, cost: str, **tags: str) -> str:
    """A run of that backfill, over; what its host cost in USD."""
    result = dg.materialize(
        [toy_poses],
        partition_key=partition,
        instance=instance,
        tags={BACKFILL: backfill, "test/cost": cost, **tags},
        raise_on_error=False,
    )
    return result.run_id


def waiting(instance: dg.DagsterInstance, backfill: str, partition: str, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    from dagster._core.remote_origin import (
        InProcessCodeLocationOrigin,
        LoadableTargetOrigin,
        RemoteJobOrigin,
        RemoteRepositoryOrigin,
    )

    graph = dg.Definitions([toy_poses]).resolve_asset_graph()
    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="nowhere"))
    return instance.create_run_for_job(
        dg.define_asset_job("toy", [toy_poses]).resolve(asset_graph=graph),
        tags={BACKFILL: backfill, "dagster/partition": partition},
        status=status,
        remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(location, "toys"), "toy"),
    )


def begun_with(instance: dg.DagsterInstance, videos: int, budget: float, per_video: float) -> str:
    keys = [str(number) for number in range(1, videos + 1)]
    instance.add_dynamic_partitions("videos", keys)
    plan = Plan("poses", digests()["poses"], tuple((key, ("poses",)) for key in reversed(keys)))
    (backfill,) = begin(instance, plan, allowance=Allowance(budget, per_video))
    return backfill


def status_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status.value


def test_runs_that_wait_are_taken_back_before_the_budget_is_exceeded(instance: dg.DagsterInstance) -> None:
    """Estimated at a dollar a video, and it is three: what is under way is let finish, what waits is not begun, and
    the backfill is left to end by itself. Each finished run says what it cost."""
    backfill = begun_with(instance, 6, budget=8.0, per_video=1.0)
    first = execute(instance, backfill, "6", "3.0")
    under_way = waiting(instance, backfill, "5", dg.DagsterRunStatus.STARTED)
    queued = [waiting(instance, backfill, key, dg.DagsterRunStatus.QUEUED) for key in ("4", "3", "2", "1")]
    (said,) = enforce_budgets(instance)
    assert "4 videos are left as they are: $3.0000 of $8.0000 are spent, and 1 runs are under way" in said
    assert [status_of(instance, run) for run in queued] == ["CANCELED"] * 4
    assert status_of(instance, under_way) == "STARTED"
    assert [one.status for one in begun(instance)] == ["REQUESTED"]
    run = instance.get_run_by_id(first)
    assert run is not None
    assert run.tags[SPENT] == f"3.000000 by {first}"
    assert enforce_budgets(instance) == []


def test_within_its_budget_an_upgrade_goes_on(instance: dg.DagsterInstance) -> None:
    backfill = begun_with(instance, 3, budget=3.0, per_video=1.0)
    execute(instance, backfill, "3", "0.9")
    under_way = waiting(instance, backfill, "2", dg.DagsterRunStatus.STARTED)
    queued = waiting(instance, backfill, "1", dg.DagsterRunStatus.QUEUED)
    assert enforce_budgets(instance) == []
    assert [status_of(instance, run) for run in (under_way, queued)] == ["STARTED", "QUEUED"]


@pytest.mark.parametrize("cost", ["fails", "unknown"])
def test_what_a_failed_run_cost_is_not_taken_for_nothing(instance: dg.DagsterInstance, cost: str) -> None:
    """Two of these are counted as two dollars, and the third would be one too many; none is under way, so the
    backfill with what was not even queued is canceled."""
    backfill = begun_with(instance, 9, budget=2.5, per_video=1.0)
    for key in ("9", "8"):
        execute(instance, backfill, key, cost)
    (said,) = enforce_budgets(instance)
    assert "7 videos are left" in said
    assert [one.status for one in begun(instance)] == ["CANCELING"]


def test_a_run_that_is_executed_again_is_measured_anew(instance: dg.DagsterInstance) -> None:
    """Dagster gives it the tags of the first, what that one cost included."""
    backfill = begun_with(instance, 3, budget=5.0, per_video=1.0)
    first = execute(instance, backfill, "3", "fails")
    assert enforce_budgets(instance) == []
    run = instance.get_run_by_id(first)
    assert run is not None
    execute(instance, backfill, "3", "3.5", **{SPENT: run.tags[SPENT]})
    queued = waiting(instance, backfill, "2", dg.DagsterRunStatus.QUEUED)
    (said,) = enforce_budgets(instance)
    assert "$4.5000 of $5.0000" in said
    assert status_of(instance, queued) == "CANCELED"


def test_a_budget_that_is_no_number_allows_nothing(instance: dg.DagsterInstance) -> None:
    """Tags may be written by people, in the UI."""
    instance.add_dynamic_partitions("videos", ["1"])
    plan = Plan("poses", digests()["poses"], (("1", ("poses",)),))
    (backfill,) = begin(instance, plan, allowance=Allowance(1.0, 0.1))
    made = instance.get_backfill(backfill)
    assert made is not None
    instance.update_backfill(made._replace(tags={**made.tags, "sentinel/budget_usd": "a lot"}))
    assert "1 videos are left" in enforce_budgets(instance)[0]
    assert [one.status for one in begun(instance)] == ["CANCELING"]


def test_an_upgrade_without_a_budget_is_let_alone(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("videos", ["1"])
    (backfill,) = begin(instance, Plan("poses", digests()["poses"], (("1", ("poses",)),)))
    execute(instance, backfill, "1", "1000")
    queued = waiting(instance, backfill, "1", dg.DagsterRunStatus.QUEUED)
    assert enforce_budgets(instance) == []
    assert status_of(instance, queued) == "QUEUED"


@pytest.mark.parametrize(
    ("spending", "room"),
    [
        (Spending(0.0, 0, 0), True),
        (Spending(8.0, 8, 1), True),
        (Spending(8.0, 8, 2), False),
        (Spending(8.0, 4, 0), True),  # it turned out to cost two each: ten in all
        (Spending(8.0, 4, 1), False),
    ],
)
def test_one_more_is_begun_only_where_it_is_paid_for(spending: Spending, room: bool) -> None:
    assert spending.leaves_room(Allowance(10.0, 1.0)) is room


# Reports.


def test_a_canary_gets_its_report_once_it_is_finished(instance: dg.DagsterInstance) -> None:
    from dagster._core.execution.backfill import BulkActionStatus

    instance.add_dynamic_partitions("videos", ["1", "2"])
    plan = Plan("poses", digests()["poses"], (("2", ("poses",)),))
    (canary,) = begin(instance, plan, canary=True)
    assert not _tick(instance)
    backfill = instance.get_backfill(canary)
    assert backfill is not None
    instance.update_backfill(backfill.with_status(BulkActionStatus.COMPLETED_SUCCESS))
    begin(instance, plan)
    (request,) = _tick(instance)
    assert request.run_key == f"canary-report:{canary}"
    assert request.run_config == {"ops": {"canary_report": {"config": {"upgrade": plan.upgrade}}}}


def _tick(instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    result = upgrades(dg.build_sensor_context(instance=instance))
    assert isinstance(result, dg.SensorResult)
    return list(result.run_requests or ())
