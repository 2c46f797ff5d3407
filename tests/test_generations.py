"""What a recipe made once of the same inputs is kept, and taken from there: going back to a recipe computes nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from sentinel_assets import wiring
from sentinel_assets.recipes import Version
from sentinel_assets.vision.tables import DETECTIONS, POSES
from sentinel_assets.wiring import ALWAYS_ANEW, StageRun
from tests.builders.analyses import facing


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
        context: Any = SimpleNamespace(partition_key="7", run_id="r", run=SimpleNamespace(tags=tags))
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
