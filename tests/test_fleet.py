"""The fleet view compares levels as `sentinel analyze` does, in few queries; a plan redoes exactly what is stale."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as db
from hypothesis import given
from hypothesis import strategies as st

from sentinel_assets.fleet import Fleet, read_fleet
from sentinel_assets.fleet_records import read_outputs, runs_that_ended_badly
from sentinel_assets.freshness import DEPENDENCIES, Output, Reason, digests, out_of_date
from sentinel_assets.partitions import videos
from sentinel_assets.planning import affordable, plan
from sentinel_assets.recipes import Version, made_by
from tests.builders.fleets import ToyFleet, record
from tests.builders.systems import eventually

COUNT = 200
MANY = 2_000
BELOW = {
    "detections": list(DEPENDENCIES),
    "demographics": ["demographics", "descriptions", "embeddings", "events"],
    "poses": ["poses", "behaviors", "descriptions", "embeddings", "events"],
    "behaviors": ["behaviors", "descriptions", "embeddings", "events"],
    "descriptions": ["descriptions", "embeddings", "events"],
    "embeddings": ["embeddings", "events"],
    "events": ["events"],
}
RECIPES = {asset: f"{number:012x}" for number, asset in enumerate(DEPENDENCIES)}


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """On SQLite files, as a laptop has it."""
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as made:
        yield made


@pytest.fixture(scope="module")
def toys(instance: dg.DagsterInstance) -> ToyFleet:
    """200 videos, all up to date."""
    return ToyFleet.of(instance, COUNT, RECIPES)


@pytest.fixture
def fleet(toys: ToyFleet) -> ToyFleet:
    """The same, with nothing counted yet; each test leaves all up to date."""
    assert not redo_list(toys)
    toys.computed.clear()
    return toys


def compare(toys: ToyFleet) -> Fleet:
    return read_fleet(toys.instance, toys.recipes)


def redo_list(toys: ToyFleet) -> set[tuple[str, str]]:
    found = compare(toys)
    return {(asset, partition) for asset in DEPENDENCIES for partition in found.stale[asset]}


def backfill(toys: ToyFleet, asset: str, *, dies_after: int | None = None) -> None:
    toys.execute(plan(compare(toys), asset).work, dies_after=dies_after)


@pytest.mark.parametrize("asset", DEPENDENCIES)
def test_an_upgrade_and_its_roll_back_redo_exactly_what_is_stale(fleet: ToyFleet, asset: str) -> None:
    """Another model of one stage: it and what follows are computed once for each video, and by rolling back nothing."""
    upgrade_and_roll_back(fleet, asset)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyFleet]:
    """2,000 videos, all up to date; each drill leaves them so."""
    folder = tmp_path_factory.mktemp("many")
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        yield ToyFleet.of(instance, MANY, RECIPES)


@pytest.mark.drill
def test_two_thousand_videos_are_upgraded_exactly_too(many: ToyFleet) -> None:
    """Each asset in turn."""
    for asset in DEPENDENCIES:
        many.computed.clear()
        upgrade_and_roll_back(many, asset)


@pytest.mark.drill
def test_of_two_thousand_videos_an_upgrade_killed_with_signal_9_goes_on_where_it_was(
    many: ToyFleet, tmp_path: Path
) -> None:
    """In a process of its own, killed at some moment, three times; what it had kept or recorded is not made again."""
    before, old = many.recipes["poses"], many.behaviour["poses"]
    many.computed.clear()
    many.upgrade("poses", "c" * 12, "killed poses")
    truly = redo_list(many)
    many.journal = tmp_path / "journal"
    many.journal.touch()
    for quarter in (1, 2, 3):
        child = multiprocessing.get_context("fork").Process(target=backfill_in_a_process, args=(many,))
        child.start()
        done = f"{quarter} of 4 parts are computed"
        eventually(lambda wanted=quarter: computed_so_far(many) >= wanted * len(truly) // 4, done)
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert 0 < len(redo_list(many)) < len(truly)
        many.computed.clear()
        many.take_over()
    many.journal = None
    backfill(many, "poses")
    assert sorted(many.computed) == sorted(truly)
    assert not redo_list(many)
    many.upgrade("poses", before, old)
    backfill(many, "poses")


def computed_so_far(fleet: ToyFleet) -> int:
    assert fleet.journal is not None
    return fleet.journal.read_bytes().count(b"\n")


def backfill_in_a_process(fleet: ToyFleet) -> None:
    """As `backfill`, recorded video by video."""
    with dg.DagsterInstance.from_ref(fleet.instance.get_ref()) as own:
        fleet.instance = own
        for one in plan(compare(fleet), "poses").work:
            fleet.execute([one])


@pytest.mark.drill
def test_of_two_thousand_videos_some_are_uploaded_again_in_the_middle(many: ToyFleet) -> None:
    many.computed.clear()
    uploaded_again_in_the_middle(many)


@pytest.mark.drill
def test_of_two_thousand_videos_two_upgrades_at_once_compute_nothing_twice(many: ToyFleet) -> None:
    many.computed.clear()
    two_at_once(many)


def upgrade_and_roll_back(fleet: ToyFleet, asset: str) -> None:
    """Recomputed are exactly the truly stale, and on the way back none."""
    before, old = fleet.recipes[asset], fleet.behaviour[asset]
    fleet.upgrade(asset, "a" * 12, f"new {asset}")
    truly = {(name, partition) for name in BELOW[asset] for partition in fleet.partitions}
    assert redo_list(fleet) == truly
    backfill(fleet, asset)
    assert sorted(fleet.computed) == sorted(truly)
    assert not redo_list(fleet)
    fleet.computed.clear()
    fleet.upgrade(asset, before, old)
    assert redo_list(fleet) == truly
    backfill(fleet, asset)
    assert fleet.computed == []
    assert not redo_list(fleet)


def test_rolling_back_half_way_makes_exactly_the_rebuilt_ones_stale(fleet: ToyFleet) -> None:
    before, old = fleet.recipes["poses"], fleet.behaviour["poses"]
    fleet.upgrade("poses", "b" * 12, "other poses")
    newest = plan(compare(fleet), "poses").first(COUNT // 7)
    fleet.execute(newest.work)
    fleet.upgrade("poses", before, old)
    assert redo_list(fleet) == {(asset, partition) for partition, assets in newest.work for asset in assets}
    assert [partition for partition, _ in newest.work] == fleet.partitions[::-1][: COUNT // 7]
    backfill(fleet, "poses")


def test_an_upgrade_that_was_killed_goes_on_where_it_was(fleet: ToyFleet) -> None:
    """In the middle of a video: what was recorded is not computed again."""
    before, old = fleet.recipes["poses"], fleet.behaviour["poses"]
    fleet.upgrade("poses", "c" * 12, "killed poses")
    truly = {(name, partition) for name in BELOW["poses"] for partition in fleet.partitions}
    backfill(fleet, "poses", dies_after=3 * COUNT // 4 + 3)
    left = redo_list(fleet)
    assert len(left) == len(truly) - (3 * COUNT // 4 + 3)
    backfill(fleet, "poses")
    assert sorted(fleet.computed) == sorted(truly)
    assert not redo_list(fleet)
    fleet.upgrade("poses", before, old)
    backfill(fleet, "poses")


def test_a_video_that_was_uploaded_again_in_the_middle_is_made_from_the_new_footage(fleet: ToyFleet) -> None:
    """The upgrade's plan leaves it whole to the upload's own run where that was first."""
    uploaded_again_in_the_middle(fleet)


def uploaded_again_in_the_middle(fleet: ToyFleet) -> None:
    before, old = fleet.recipes["behaviors"], fleet.behaviour["behaviors"]
    fleet.upgrade("behaviors", "d" * 12, "other rules")
    halfway = plan(compare(fleet), "behaviors").first(len(fleet.partitions) // 2)
    fleet.execute(halfway.work)
    again = fleet.partitions[5:8]
    fleet.upload(again, "again")
    fleet.execute([(partition, list(DEPENDENCIES)) for partition in again])  # the runs of the uploads
    backfill(fleet, "behaviors")
    upgraded = {(name, p) for name in BELOW["behaviors"] for p in fleet.partitions}
    uploaded = {(name, p) for name in DEPENDENCIES for p in again}
    assert sorted(fleet.computed) == sorted(upgraded | uploaded)
    assert not redo_list(fleet)
    fleet.upgrade("behaviors", before, old)
    backfill(fleet, "behaviors")


def test_two_upgrades_at_once_compute_nothing_twice(fleet: ToyFleet) -> None:
    """What follows on both waits for the second."""
    two_at_once(fleet)


def two_at_once(fleet: ToyFleet) -> None:
    before = {asset: (fleet.recipes[asset], fleet.behaviour[asset]) for asset in ("demographics", "poses")}
    fleet.upgrade("demographics", "e" * 12, "other ages")
    fleet.upgrade("poses", "f" * 12, "yet other poses")
    truly = redo_list(fleet)
    backfill(fleet, "demographics")
    assert {asset for asset, _ in fleet.computed} == {"demographics"}
    backfill(fleet, "poses")
    assert sorted(fleet.computed) == sorted(truly)
    assert not redo_list(fleet)
    for asset, (recipe, behaviour) in before.items():
        fleet.upgrade(asset, recipe, behaviour)
    for asset in before:
        backfill(fleet, asset)


def test_what_follows_on_an_output_that_came_out_the_same_is_not_computed(fleet: ToyFleet) -> None:
    """A recipe that changed in name only: the stage is computed, and nothing below it."""
    before = fleet.recipes["detections"]
    fleet.upgrade("detections", "9" * 12, fleet.behaviour["detections"])
    backfill(fleet, "detections")
    assert {asset for asset, _ in fleet.computed} == {"detections"}
    assert len(fleet.computed) == COUNT
    assert not redo_list(fleet)
    fleet.upgrade("detections", before, fleet.behaviour["detections"])
    backfill(fleet, "detections")


def test_the_number_of_queries_does_not_grow_with_the_fleet(instance: dg.DagsterInstance, toys: ToyFleet) -> None:
    """Of 200 videos as many as of 20."""

    def queries(of: dg.DagsterInstance) -> int:
        seen: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            seen.append(statement)

        db.event.listen(db.engine.Engine, "before_cursor_execute", note)
        try:
            read_fleet(of, RECIPES)
        finally:
            db.event.remove(db.engine.Engine, "before_cursor_execute", note)
        return sum(statement.lstrip().upper().startswith("SELECT") for statement in seen)

    with dg.DagsterInstance.ephemeral() as small:
        ToyFleet.of(small, 20, RECIPES)
        few = queries(small)
    many = queries(instance)
    assert 0 < many <= few + 10  # the storage on files also asks whether its tables are there


_VERSION = st.builds(
    lambda recipe, content, inputs: str(Version(recipe, content, inputs)),
    st.sampled_from(["now", "old"]),
    st.sampled_from(["1", "2"]),
    st.sampled_from(["right", "other"]),
)


@given(st.fixed_dictionaries({name: st.none() | _VERSION for name in DEPENDENCIES}), st.none() | st.just("sha256:aa"))
def test_the_fleet_and_a_single_analysis_agree(drawn: dict[str, str | None], video: str | None) -> None:
    """Whatever is there of a video, `stale` names what `analyze` would make."""
    from sentinel_assets.freshness import inputs_now

    current, versions = digests(), {"video": video}
    for name, text in drawn.items():  # recipes and inputs of today or others
        if text is None:
            versions[name] = None
            continue
        version = Version.parse(text)
        recipe = current[name] if version.recipe == "now" else "0" * 12
        inputs = inputs_now(name, versions) if version.inputs == "right" else "0" * 12
        versions[name] = str(Version(recipe, version.content, inputs))
    one = {n: Output(made_by(v), v) if v is not None else None for n, v in versions.items()}
    fleet = Fleet.compare(["7"], {n: {"7": v} for n, v in versions.items() if v is not None}, current)
    assert [a for a in DEPENDENCIES if "7" in fleet.stale[a]] == list(out_of_date(one, lambda _name, _output: True))


def test_what_was_never_made_is_missing_and_not_stale() -> None:
    fleet = Fleet.compare(["7"], {"video": {"7": "sha256:aa"}}, RECIPES)
    assert fleet.missing("poses") == ["7"]
    assert fleet.to_redo("poses") == []
    assert fleet.stale["poses"]["7"] is Reason.NEVER_MADE
    assert plan(fleet, "poses").work == ()
    assert plan(fleet, "poses", missing=True).work == (("7", ("detections", "poses", "behaviors")),)


def test_an_attempt_that_failed_is_told_and_still_to_be_redone(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """By real Dagster: made once, then a run that fails."""
    fails = False

    @dg.asset(partitions_def=videos)
    def poses() -> dg.MaterializeResult[None]:
        if fails:
            raise ValueError("on purpose")
        return dg.MaterializeResult(data_version=dg.DataVersion("old-1-x"))

    with dg.DagsterInstance.ephemeral() as own:
        own.add_dynamic_partitions("videos", ["7"])
        assert dg.materialize([poses], partition_key="7", instance=own).success
        fails = True
        assert not dg.materialize([poses], partition_key="7", instance=own, raise_on_error=False).success
        record(own, [("video", "7", "sha256:aa")])
        fleet = read_fleet(own, RECIPES)
    assert fleet.failed["poses"] == {"7"}
    assert fleet.to_redo("poses") == ["7"]


@pytest.mark.parametrize(("budget", "expected"), [(0.0, 0), (0.99, 0), (1.0, 1), (7.5, 7), (1e9, 20)])
def test_a_budget_takes_the_newest_that_it_pays_for(toys: ToyFleet, budget: float, expected: int) -> None:
    whole = plan(Fleet.compare(toys.partitions[:20], {**toys.versions}, RECIPES | {"events": "8" * 12}), "events")
    chosen = affordable(whole, lambda part: float(len(part.work)), budget)
    assert [p for p, _ in chosen.work] == [str(n) for n in range(20, 20 - expected, -1)]


class Ledger:
    """Real runs of one asset with two blocking checks, of each partition another fate."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.does: dict[str, str] = {}

    def run(self, partition: str, does: str) -> None:
        self.does[partition] = does

        @dg.asset(
            partitions_def=videos,
            check_specs=[
                dg.AssetCheckSpec(name, asset="poses", blocking=True, partitions_def=videos) for name in ("one", "two")
            ],
        )
        def poses() -> Iterator[object]:
            if does == "fails":
                raise ValueError("on purpose")
            yield dg.MaterializeResult(data_version=dg.DataVersion(f"{does}-1-x"))
            yield dg.AssetCheckResult(asset_key="poses", check_name="one", passed=True)
            yield dg.AssetCheckResult(asset_key="poses", check_name="two", passed=does != "unchecked")

        dg.materialize([poses], partition_key=partition, instance=self.instance, raise_on_error=False)


@pytest.mark.filterwarnings("ignore:Specifying a partitions_def")
@pytest.mark.parametrize("storage", ["sqlite", "postgres"])
def test_one_query_says_what_dagsters_own_say(storage: str, tmp_path: Path, fresh_database: Any) -> None:
    """Good, made twice, failed at first, failed again, healed, not checked, checked again, wiped and made anew."""
    with ExitStack() as stack:
        overrides = {}
        if storage == "postgres":
            url = stack.enter_context(fresh_database()).replace("postgresql://", "postgresql+psycopg2://", 1)
            overrides = {"storage": {"postgres": {"postgres_url": url}}}
        instance = stack.enter_context(dg.DagsterInstance.local_temp(str(tmp_path), overrides=overrides))
        instance.add_dynamic_partitions("videos", list("123456789"))
        ledger = Ledger(instance)
        ledger.run("9", "old")
        instance.wipe_assets([dg.AssetKey("poses")])
        fates = {"1": "a", "2": "ab", "3": "f", "4": "af", "5": "fa", "6": "u", "7": "ua", "8": "au"}
        words = {"a": "first", "b": "second", "f": "fails", "u": "unchecked"}
        for partition, fate in fates.items():
            for letter in fate:
                ledger.run(partition, words[letter])
        found = read_outputs(instance, "poses", ["one", "two"], runs_that_ended_badly(instance))
        own = instance.event_log_storage
        key = dg.AssetKey("poses")
        tags = own.get_latest_tags_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
        )
        assert found.versions == {partition: one["dagster/data_version"] for partition, one in tags.items()}
        assert sorted(found.versions) == list("1245678")
        passed = Counter(
            one.partition_key
            for one in own.get_asset_check_partition_info([dg.AssetCheckKey(key, name) for name in ("one", "two")])
            if one.is_current and one.latest_execution_status.value == "SUCCEEDED"
        )
        assert (
            found.unchecked == {p for p in found.versions if passed[p] != 2} == {"4", "6", "8"}
        )  # of 4 they were planned
        attempts = own.get_latest_asset_partition_materialization_attempts_without_materializations(key)
        assert found.failed == attempts.keys() == {"3", "4"}


def test_a_run_that_was_canceled_in_the_queue_tried_nothing(tmp_path: Path) -> None:
    """What a budget stops, or a person takes back, has not failed."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for run in ("queued", "begun"):
            instance.add_run(dg.DagsterRun(job_name="x", run_id=run))
        instance.report_dagster_event(dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job_name="x"), "begun")
        for record in instance.get_run_records():
            instance.report_run_canceled(record.dagster_run)
        assert runs_that_ended_badly(instance) == ["begun"]
