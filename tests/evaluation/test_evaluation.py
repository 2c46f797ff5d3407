"""Figures against labels, worked out by hand where they can be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow

from sentinel_assets.evaluation import boxes, report, seconds
from sentinel_assets.evaluation.dataset import Dataset, Span
from sentinel_assets.evaluation.evaluate import Analysis, Evaluation, evaluate
from sentinel_assets.evaluation.gate import Bound, broken, read_gate
from sentinel_assets.evaluation.matching import Found, Matching, Score, match, score
from sentinel_assets.vision.behaviors import recognise_behaviors
from sentinel_assets.vision.errors import SentinelError
from sentinel_assets.vision.frames import probe
from tests.builders.analyses import behavior
from tests.builders.clips import write_clip
from tests.builders.tracks import Act, Camera, Scene, stay

JUDGED = ("walking", "standing", "sitting", "collapse", "theft", "violent")


def found(label: str, start_s: float, end_s: float) -> Found:
    return Found(label, start_s, (start_s + end_s) / 2, end_s, 1, 0.8)


@pytest.mark.parametrize(
    ("spans", "events", "label", "expected"),
    [
        ([Span("collapse", 2, 5)], [found("collapse", 3, 6)], "collapse", Score(1, 0, 0)),
        # One second of tolerance at either end, no more.
        ([Span("collapse", 2, 5)], [found("collapse", 6, 8)], "collapse", Score(1, 0, 0)),
        ([Span("collapse", 2, 5)], [found("collapse", 6.1, 8)], "collapse", Score(0, 1, 1)),
        ([Span("collapse", 2, 5)], [found("sitting", 2, 5)], "collapse", Score(0, 1, 0)),
        # An alarm is false wherever nobody labelled it, a posture only where another one is labelled.
        ([Span("sitting", 0, 5)], [found("collapse", 8, 9)], "collapse", Score(0, 0, 1)),
        ([Span("sitting", 0, 5)], [found("standing", 7, 9)], "standing", Score(0, 0, 0)),
        ([Span("sitting", 0, 5)], [found("standing", 2, 4)], "standing", Score(0, 0, 1)),
        # Two alarms for one fall are one too many; a posture in two parts is not.
        ([Span("collapse", 2, 9)], [found("collapse", 2, 4), found("collapse", 6, 9)], "collapse", Score(1, 0, 1)),
        ([Span("sitting", 2, 9)], [found("sitting", 2, 4), found("sitting", 6, 9)], "sitting", Score(1, 0, 0)),
        # The pairing is that of the largest overlap, not the first that comes.
        (
            [Span("collapse", 0, 4), Span("collapse", 5, 9)],
            [found("collapse", 3.5, 9), found("collapse", 0, 3)],
            "collapse",
            Score(2, 0, 0),
        ),
    ],
)
def test_events_are_matched_one_to_one_in_time(
    spans: list[Span], events: list[Found], label: str, expected: Score
) -> None:
    assert score([match(spans, events, judged=JUDGED, tolerance_s=1.0)], label) == expected


def test_scores_without_a_denominator_are_unknown() -> None:
    assert (Score().precision, Score().recall, Score().f1) == (None, None, None)
    assert (Score(3, 1, 1).precision, Score(3, 1, 1).recall, Score(3, 1, 1).f1) == (0.75, 0.75, 0.75)
    assert score([Matching()], "theft") == Score()


def test_postures_are_counted_second_by_second() -> None:
    rows = [behavior("standing", 1, 0, 2.5), behavior("collapse", 1, 2.5, 5), behavior("picking", 1, 1, 2)]
    lying = behavior("anomaly", 1, 5, 9, evidence='{"rule": "person_lying"}')
    frame = pd.DataFrame([*rows, lying])
    spans = [Span("standing", 0, 3), Span("collapse", 3, 6), Span("theft", 0, 9)]
    pairs = [(labelled, seconds.posture_at(frame, s, labelled)) for s, labelled in seconds.labelled_seconds(spans)]
    # Second 3 belongs to the later label, the fall.
    assert pairs == [("standing", "standing")] * 3 + [("lying", "lying")] * 4
    assert seconds.accuracy(pairs) == 1.0
    assert seconds.posture_at(frame, 20, "standing") == "unknown"
    assert seconds.confusion([("standing", "lying"), ("standing", "standing")])["standing"]["lying"] == 1


SQUARE = np.array([[0.0, 0, 10, 10]])
FAR = np.array([[100.0, 0, 110, 10]])


def sample(truth: Any, found: Any, *, ids: tuple[Any, Any], confidence: Any) -> boxes.Sample:
    return boxes.Sample(truth, np.array(ids[0]), found, np.array(ids[1]), np.array(confidence))


def test_average_precision_and_idf1_are_those_of_the_books() -> None:
    """Two people in two frames. The surest box is wrong, the next two right, one person is never found:
    precision 1/2 and 2/3 at recall 1/4 and 2/4, so AP = 2/3 * 1/2. Identities: 2 of 2 IDTP against 3 found, 4 true."""
    both = np.concatenate([SQUARE, FAR])
    one = sample(both, np.concatenate([SQUARE, SQUARE + 50]), ids=((1, 2), (7, 8)), confidence=(0.8, 0.9))
    two = sample(both, SQUARE, ids=((1, 2), (7,)), confidence=(0.7,))
    assert boxes.average_precision([one, two]) == pytest.approx(1 / 3)
    assert boxes.idf1([one, two]) == pytest.approx(2 * 2 / (4 + 3))
    assert boxes.identity_switches([one, two]) == 0
    swapped = sample(both, both, ids=((1, 2), (8, 7)), confidence=(0.9, 0.9))
    straight = sample(both, both, ids=((1, 2), (7, 8)), confidence=(0.9, 0.9))
    assert boxes.identity_switches([straight, swapped]) == 2
    assert boxes.idf1([straight, straight, straight, swapped]) == pytest.approx(0.75)
    assert boxes.average_precision([]) is None
    assert boxes.idf1([]) is None


FIGURES = {"collapse.recall": 0.75, "false_alarms_per_hour": 2.0, "theft.f1": None}


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        ("collapse.recall>=0.75,false_alarms_per_hour<=2", []),
        ("collapse.recall >= 0.8", ["collapse.recall is 0.75, asked for >= 0.8"]),
        ("false_alarms_per_hour<=1.5", ["false_alarms_per_hour is 2, asked for <= 1.5"]),
        ("theft.f1>=0", ["theft.f1 is not measured, asked for >= 0"]),  # what cannot be measured passes no gate
        ("colapse.recall>=0", ["colapse.recall is not measured, asked for >= 0"]),
    ],
)
def test_a_gate_says_what_does_not_hold(gate: str, says: list[str]) -> None:
    assert broken(read_gate(gate), FIGURES) == says


def test_an_earlier_report_is_a_gate(tmp_path: Path) -> None:
    """No figure may be worse: more alarms are, and lower recall is."""
    earlier = tmp_path / "report.json"
    earlier.write_text(json.dumps({"figures": FIGURES}))
    bounds = read_gate(str(earlier))
    assert bounds == [Bound("collapse.recall", ">=", 0.75), Bound("false_alarms_per_hour", "<=", 2.0)]
    assert broken(bounds, FIGURES) == []
    assert len(broken(bounds, {"collapse.recall": 0.7, "false_alarms_per_hour": 2.1})) == 2
    (tmp_path / "gate.yaml").write_text('collapse.recall: ">=0.9"\n')
    assert read_gate(str(tmp_path / "gate.yaml")) == [Bound("collapse.recall", ">=", 0.9)]


@pytest.mark.parametrize("gate", ["nowhere.json", "collapse.recall>=much", ">=1"])
def test_a_gate_that_is_none_is_refused(gate: str) -> None:
    with pytest.raises(SentinelError, match=r"Name a report\.json|Write such as"):
        read_gate(gate)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("clip,start_s,end_s\n", "no column label"),
        ("clip,start_s,end_s,label\na.mp4,0,x,standing\n", "labels.csv:2: not a time"),
        ("clip,start_s,end_s,label\na.mp4,5,2,standing\n", "from 5 to 2 s"),
        ("clip,start_s,end_s,label\na.mp4,0,1,dancing\n", "no label 'dancing'"),
        ("clip,start_s,end_s,label\na.mp4,0,1,standing\n", "the clip a.mp4 is not there"),
        ("clip,start_s,end_s,label\n", "nothing is labelled here"),
    ],
)
def test_bad_labels_say_what_and_where(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(SentinelError) as caught:
        Dataset.read(tmp_path)
    assert says in str(caught.value)


FALL = stay([Act(0, "standing"), Act(3, "lying", 0.8)], heading_deg=90)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    """A synthetic fall over a real (blank) clip: labelled as a fall, a theft that is not there, and with boxes that the
    tables hold, in MOTChallenge's two layouts."""
    folder = tmp_path_factory.mktemp("labelled")
    write_clip(folder / "fall.mp4", picture=_blank, frames=90, width=320, height=180, rate=10)
    (folder / "labels.csv").write_text(
        "clip,start_s,end_s,label\nfall.mp4,0,3,standing\nfall.mp4,3.2,9,collapse\nfall.mp4,0,2,theft\n"
    )
    scene = Scene((FALL,), 9, 1.0, Camera().scaled(0.25))
    detections, poses = scene.tables()
    rows = [
        f"{round(r['time_s'] * 10) + 1},5,{r['x1']},{r['y1']},{r['x2'] - r['x1']},{r['y2'] - r['y1']},1,1,1"
        for r in detections.to_dict("records")
    ]
    (folder / "fall" / "gt").mkdir(parents=True)
    (folder / "fall" / "gt" / "gt.txt").write_text("\n".join(rows) + "\n91,5,0,0,9,9,0,1,1\n")

    def analyse(path: Path) -> Analysis:
        return Analysis(detections, poses, recognise_behaviors(detections, poses), probe(path).average_rate)

    return folder, evaluate(Dataset.read(folder), analyse)


def _blank(number: int, width: int, height: int) -> Any:
    return np.full((height, width, 3), 120, np.uint8)


def test_a_data_set_is_held_against_its_labels(judged: tuple[Path, Evaluation]) -> None:
    figures = judged[1].figures
    assert (figures["collapse.recall"], figures["collapse.precision"]) == (1.0, 1.0)
    assert (figures["theft.recall"], figures["theft.precision"]) == (0.0, None)
    assert figures["false_alarms_per_hour"] == 0.0
    assert figures["postures.accuracy"] is not None
    assert figures["postures.accuracy"] >= 0.8
    assert (figures["boxes.ap50"], figures["boxes.idf1"], figures["boxes.identity_switches"]) == (1.0, 1.0, 0.0)


def test_the_report_shows_every_miss(judged: tuple[Path, Evaluation], tmp_path: Path) -> None:
    """In words, in JSON that is a gate, and as a picture of the moment."""
    path = report.write(judged[1], tmp_path / "report", broken=["theft.recall is 0, asked for >= 1"])
    text = path.read_text()
    assert "theft 0-2 s was not found" in text
    assert "**The gate is not passed:** theft.recall is 0" in text
    content = json.loads((path.parent / "report.json").read_text())
    missed = [miss for clip in content["clips"] for miss in clip["misses"]]
    assert [m["kind"] for m in missed].count("missed") == 1
    pictures = sorted(path.parent.glob("*.webp"))
    assert len(pictures) == len(missed)
    with Pillow.open(pictures[0]) as picture:
        assert picture.size[0] == 480
    bounds = read_gate(str(path.parent / "report.json"))
    assert broken(bounds, judged[1].figures) == []
    worse = replace(judged[1], clips=())
    assert broken(bounds, worse.figures)
