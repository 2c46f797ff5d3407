"""Describers that look: which pictures they are shown, what of their answers is believed, and by whom the row is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from sentinel_assets.vision.descriptions import describe_events
from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.models.vision_language import VisionLanguageDescriber
from sentinel_assets.vision.protocols import Image
from sentinel_assets.vision.tables import DESCRIPTIONS, DETECTIONS
from tests.builders.analyses import behavior, person, tables


class Scripted:
    """An Answerer that says what it was told to, and remembers what it was shown."""

    name = "scripted"

    def __init__(self, *answers: str) -> None:
        self.answers = answers
        self.shown: list[Sequence[Image]] = []
        self.questions: list[str] = []

    def answer(self, pictures: Sequence[Sequence[Image]], questions: Sequence[str]) -> list[str]:
        self.shown += pictures
        self.questions += questions
        return [self.answers[index % len(self.answers)] for index in range(len(questions))]


def seen(*times_s: float, track: int = 1, x1: float = 100.0) -> pd.DataFrame:
    """DETECTIONS of one person of 100x200 px at these times."""
    return DETECTIONS.frame(
        [
            {
                "sample": sample,
                "time_s": time_s,
                "kind": "person",
                "track": track,
                "x1": x1,
                "y1": 100.0,
                "x2": x1 + 100,
                "y2": 300.0,
                "confidence": 0.9,
                "source": "test",
                "landmarks": None,
            }
            for sample, time_s in enumerate(times_s)
        ]
    )


def described(clip: Path, answerer: Scripted, *rows: dict, key_frames: int = 1) -> pd.DataFrame:
    return describe_events(
        *tables(list(rows), [person(1, gender="male", age=25.0, age_low=20.0, age_high=30.0)]),
        describer=VisionLanguageDescriber(answerer, key_frames=key_frames),
        path=clip,
        detections=seen(0.0, 1.0, 2.0),
    )


def test_what_agrees_is_taken_and_what_does_not_is_replaced(people: Path) -> None:
    answerer = Scripted("A man in a dark\ncoat is walking. He is tired.", "A woman is sitting.")
    table = described(people, answerer, behavior("walking", end_s=1), behavior("standing", start_s=1, end_s=2))
    DESCRIPTIONS.conform(table)
    own, replaced = table.to_dict("records")
    assert (own["description"], own["describer"]) == ("A man in a dark coat is walking.", "scripted")
    assert not own["grounded"]
    assert pd.isna(own["remark"])
    assert replaced["description"].startswith("Young man standing still")
    assert (replaced["describer"], replaced["grounded"]) == ("template-en", True)
    assert "'woman'" in replaced["remark"]


@pytest.mark.parametrize("answer", ["", "\ufffd\ufffd", "no " * 200, "walking"])
def test_an_answer_that_is_no_sentence_is_replaced(answer: str, people: Path) -> None:
    table = described(people, Scripted(answer), behavior("walking", end_s=2))
    assert table["describer"].tolist() == ["template-en"]
    assert table["remark"].str.contains("was not taken").all()


def test_one_description_for_each_event_from_its_key_frames(people: Path) -> None:
    answerer = Scripted("A man is walking.")
    described(people, answerer, behavior("walking", end_s=2), key_frames=3)
    described(people, answerer, behavior("walking", end_s=2))
    assert [len(images) for images in answerer.shown] == [3, 1]
    # The person's box is 100x200 at (100, 100); 200 px around it reach past two edges of the frame.
    assert {image.shape[:2] for images in answerer.shown for image in images} == {(500, 400)}
    assert "in their order in time" in answerer.questions[0]
    assert "this man" in answerer.questions[1]


def test_a_suspicion_is_not_put_to_the_model_and_who_was_not_seen_has_no_picture(people: Path) -> None:
    answerer = Scripted("A man is walking.")
    table = described(people, answerer, behavior("theft", end_s=2), behavior("walking", start_s=2.4, end_s=2.6))
    assert not answerer.shown
    assert table["remark"].tolist() == ["a suspicion is worded by the template alone", "there is no picture of it"]


def test_a_describer_that_looks_needs_the_video() -> None:
    with pytest.raises(ModelError, match="has no video"):
        describe_events(*tables([behavior("walking")]), describer=VisionLanguageDescriber(Scripted("A man walks.")))
