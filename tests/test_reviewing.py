"""`sentinel review`, `explain` and `evaluate` as a person runs them, on an analysed clip of real people."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image as Pillow

from sentinel_assets.cli import cli
from sentinel_assets.recipes import recipe
from sentinel_assets.vision.errors import SentinelError
from tests.builders.machine import Machine

Sentinel = Callable[..., Result]


@pytest.fixture(scope="module")
def shop(people: Path, tmp_path_factory: pytest.TempPathFactory, fresh_database: Any) -> Iterator[Machine]:
    with fresh_database() as url:
        machine = Machine(tmp_path_factory.mktemp("home"), url)
        machine.analyze(people)
        yield machine


@pytest.fixture
def sentinel(shop: Machine, monkeypatch: pytest.MonkeyPatch) -> Sentinel:
    for name, value in shop.environment.items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: CliRunner().invoke(cli, [str(argument) for argument in arguments])


def events(sentinel: Sentinel) -> list[dict[str, Any]]:
    return list(json.loads(sentinel("events", "people.mp4", "--json").output))


def test_a_verdict_is_shown_with_the_event_also_after_it_was_made_again(
    sentinel: Sentinel, shop: Machine, people: Path
) -> None:
    key = events(sentinel)[0]["event_key"]
    done = sentinel("review", f"people.mp4/{key}", "--reject", "--note", "nobody there")
    assert done.exit_code == 0, done.output
    before = {e["event_key"]: e["verdict"] for e in events(sentinel)}
    assert before[key]["verdict"] == "rejected"
    assert [v for k, v in before.items() if k != key] == [None] * (len(before) - 1)
    assert "rejected: nobody there" in sentinel("events", "people.mp4").output
    shop.analyze("--again", people)
    assert {e["event_key"]: e["verdict"] for e in events(sentinel)} == before


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ("people.mp4", "names no event"),
        ("people.mp4/collapse-9-9", "no event 'collapse-9-9'"),
        ("nowhere.mp4/collapse-1-1", "no video 'nowhere.mp4'"),
    ],
)
def test_an_event_that_is_not_there_is_said_in_one_line(sentinel: Sentinel, event: str, says: str) -> None:
    for command in (["review", event, "--confirm"], ["explain", event]):
        done = sentinel(*command)
        assert isinstance(done.exception, SentinelError)
        assert says in str(done.exception)


def test_review_asks_for_a_verdict(sentinel: Sentinel) -> None:
    assert sentinel("review", "people.mp4/standing-1-1").exit_code == 2


def test_an_explanation_replays_what_the_event_rests_on(sentinel: Sentinel, tmp_path: Path) -> None:
    """Every event: its rule, values, thresholds, keypoints and recipes, and the rules say the same again."""
    for event in events(sentinel):
        done = sentinel("explain", f"people.mp4/{event['event_key']}", "--json")
        assert done.exit_code == 0, done.output
        told = json.loads(done.output)
        assert told["replay"]["outcome"] == "same"
        assert told["replay"]["by_the_recipe_of_now"]
        assert told["recipes"]["behaviors"] == recipe("behaviors").digest
        assert told["evidence"]["values"]
        assert told["evidence"]["thresholds"]
        assert any(frame["keypoints"] for frame in told["evidence"]["frames"])
    path = tmp_path / "why" / "event.webp"
    done = sentinel("explain", f"people.mp4/{event['event_key']}", "--picture", path)
    assert done.exit_code == 0, done.output
    assert "the rules over the stored tables say the same again" in done.output
    assert f"{event['evidence']['rule']}, revision" in done.output
    with Pillow.open(path) as picture:
        assert picture.size[0] >= 480


def test_an_event_is_not_current_once_its_zones_changed(
    sentinel: Sentinel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe is that of now; that the camera's file is another is told of every event, whether or not the rules
    still say the same. As `stale` has it."""
    zone = "{name: floor, kind: restricted, polygon: [[0, 0], [640, 0], [640, 360], [0, 360]]}"
    (tmp_path / "aisle.yaml").write_text(f"videos: [people.mp4]\nframe: [640, 360]\nzones: [{zone}]\n")
    monkeypatch.setenv("SENTINEL_CAMERAS", str(tmp_path))
    stale = {one["asset"]: one["why"] for one in json.loads(sentinel("stale", "--json").output)}
    assert stale["behaviors"] == {"input": 1}
    for event in events(sentinel):
        replay = json.loads(sentinel("explain", f"people.mp4/{event['event_key']}", "--json").output)["replay"]
        assert replay["by_the_recipe_of_now"]
        assert replay["origin"] == "other inputs"
        done = sentinel("explain", f"people.mp4/{event['event_key']}")
        assert "made from other detections, poses or zones than are there now" in done.output


def test_an_event_whose_behaviors_are_lost_is_explained(sentinel: Sentinel, shop: Machine) -> None:
    """Its evidence is its own; that the table it came from is no longer there is told, and fails nothing."""
    key = events(sentinel)[0]["event_key"]
    (stored,) = (shop.home / "artifacts" / "behaviors").glob("*.parquet")
    away = stored.rename(stored.with_suffix(".away"))
    try:
        done = sentinel("explain", f"people.mp4/{key}")
    finally:
        away.rename(stored)
    assert done.exit_code == 0, done.output
    assert "from what is lost" in done.output


def test_an_evaluation_passes_and_fails_its_gate(sentinel: Sentinel, people: Path, tmp_path: Path) -> None:
    """Labelled as what it shows, and as what it does not; the reviewers' verdicts are counted."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(people, data / "people.mp4")
    (data / "labels.csv").write_text("clip,start_s,end_s,label\npeople.mp4,0,4,standing\npeople.mp4,1,3,collapse\n")
    sentinel("review", f"people.mp4/{events(sentinel)[0]['event_key']}", "--confirm")
    report = tmp_path / "report"
    done = sentinel("evaluate", data, "--report", report, "--verdicts", "--gate", "standing.recall>=1")
    assert done.exit_code == 0, done.output
    assert "collapse 1-3 s was not found" in (report / "report.md").read_text()
    assert sum(json.loads((report / "report.json").read_text())["verdicts"]["standing"].values()) >= 1
    done = sentinel("evaluate", data, "--json", "--gate", "collapse.recall>=0.5")
    assert done.exit_code == 1
    assert "collapse.recall is 0, asked for >= 0.5" in done.output
