"""What a recipe made once of the same inputs is kept, and taken from there: going back to a recipe computes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import dagster as dg
import pandas as pd
import pytest

from resources.artifacts import ArtifactStore
from resources.generations import KeptResults
from sentinel_assets import wiring
from sentinel_assets.freshness import digests
from sentinel_assets.keeping import drop_kept, kept_recipes
from sentinel_assets.recipes import Version
from sentinel_assets.vision.errors import StoreRejected
from sentinel_assets.vision.tables import DETECTIONS, POSES
from sentinel_assets.wiring import ALWAYS_ANEW, StageRun
from tests.builders.analyses import facing
from tests.builders.machine import Machine


class Stage:
    """The stage `poses` of video 7, under a recipe of the test's choice."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SENTINEL_HOME", str(home))
        self._monkeypatch = monkeypatch
        self.home = home
        self.computed = 0

    def run(self, recipe: str, *, footage: str = "a", degrees: float = 90.0, anew: bool = False) -> Version:
        """The version of what comes out: `degrees` by this recipe, from detections that the footage stands for."""
        self._monkeypatch.setattr(wiring, "recipe", lambda _name: SimpleNamespace(digest=recipe))
        self._monkeypatch.setattr(wiring, "data_version", lambda _name, *rest: str(Version(recipe, *rest)))
        tags = {ALWAYS_ANEW: "1"} if anew else {}
        context: Any = SimpleNamespace(partition_key="7", run=SimpleNamespace(run_id="r", tags=tags))
        log: Any = SimpleNamespace(progress=lambda *_: None)
        run = StageRun(context, log, "poses", "aisle.mp4")
        detections = DETECTIONS.frame([])
        detections.attrs["sampling"] = footage

        def make() -> pd.DataFrame:
            self.computed += 1
            return POSES.frame(facing(1, [0.0], [degrees]))

        version = run.result(run.table(make, detections=detections)).data_version
        assert version is not None
        return Version.parse(version.value)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def test_going_back_to_a_recipe_takes_what_it_made(stage: Stage) -> None:
    """The very version of before, and nothing was computed for it."""
    before = stage.run("old", degrees=90.0)
    assert stage.run("new", degrees=180.0) != before
    assert stage.computed == 2
    assert stage.run("old", degrees=-1.0) == before
    assert stage.computed == 2


def test_other_inputs_are_computed(stage: Stage) -> None:
    """The same recipe over a video that was uploaded again."""
    first, again = stage.run("old", footage="a"), stage.run("old", footage="b")
    assert stage.computed == 2
    assert first.inputs != again.inputs
    assert first.content == again.content


def test_a_kept_result_that_was_damaged_is_computed_again(stage: Stage) -> None:
    before = stage.run("old")
    (kept,) = (stage.home / "artifacts" / "kept").rglob("*.parquet")
    kept.write_bytes(b"garbage")
    assert stage.run("old") == before
    assert stage.computed == 2


def test_a_run_that_makes_everything_anew_takes_nothing_from_before(stage: Stage) -> None:
    stage.run("old")
    stage.run("old", anew=True)
    assert stage.computed == 2


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    if request.param == "folder":
        return ArtifactStore(str(tmp_path))
    request.getfixturevalue("aws")
    client = boto3.client("s3")
    client.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": client.meta.region_name})
    return ArtifactStore("s3://kept/artifacts")


OLD, NOW, OTHER = "0" * 12, digests()["poses"], "1" * 12


def test_what_nobody_goes_back_to_is_dropped(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several calls of a few: today's stay, as does a recipe by which a video's output still is, and all else that
    is in the store."""
    monkeypatch.setattr("resources.objects._DELETED_AT_ONCE", 5)
    partitions = [f"videos/{number}.mp4" for number in range(12)]
    frame = POSES.frame([])
    for partition in partitions:
        for recipe in (OLD, NOW):
            KeptResults(store, POSES, partition).write(recipe, "i", frame)
    KeptResults(store, POSES, partitions[0]).write(OTHER, "i", frame)
    store.write_table(POSES, partitions[0], frame)
    for rubbish in ("kept/notes.txt", "kept/mine/7/a-b.parquet", "kept/poses/7/a.parquet"):
        store.write_bytes(rubbish, b"?")
    with dg.DagsterInstance.ephemeral() as instance:
        for partition, recipe in ((partitions[0], NOW), (partitions[1], OTHER)):
            tags = {"dagster/data_version": str(Version(recipe, "c", "i"))}
            instance.report_runless_asset_event(dg.AssetMaterialization("poses", partition=partition, tags=tags))
        found = {one.recipe: (one.results, one.of_today, one.in_place) for one in kept_recipes(instance, store)}
        assert found == {OLD: (len(partitions), False, 0), NOW: (len(partitions), True, 1), OTHER: (1, False, 1)}
        for recipe, why in ((NOW, "today's"), (OTHER, "of 1 videos are still by it"), ("f" * 12, "nothing of it")):
            with pytest.raises(StoreRejected, match=why):
                drop_kept(instance, store, recipe)
        gone = drop_kept(instance, store, OLD)
        assert len(gone.names) == len(partitions)
        assert gone.size_bytes > 0
        assert {one.recipe for one in kept_recipes(instance, store)} == {NOW, OTHER}
    assert KeptResults(store, POSES, partitions[2]).read(OLD, "i") is None
    assert KeptResults(store, POSES, partitions[2]).read(NOW, "i") is not None
    assert store.read_table(POSES, partitions[0]).empty
    assert store.read_bytes("kept/notes.txt") == b"?"


def test_the_command_lists_and_drops(machine: Machine) -> None:
    """On an empty store there is nothing, and what is not there cannot be dropped."""
    assert json.loads(machine.run("kept", "--json").stdout) == []
    refused = machine.run("kept", "drop", "f" * 12)
    assert refused.returncode == 1
    assert "nothing of it is kept" in refused.stderr
    assert machine.run("kept", "drop").returncode == 2
