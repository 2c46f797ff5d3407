"""What a model writes on an event is held against what was measured of it."""

from __future__ import annotations

from typing import Any

import pytest

from sentinel_assets.vision.contradictions import contradiction, unusable
from sentinel_assets.vision.protocols import EventFacts


def facts(behavior: str = "walking", **others: Any) -> EventFacts:
    return EventFacts("e", behavior, 1.0, 5.0, 0.8, 1, **{"people_in_view": 1, **others})


MAN = {"gender": "male", "age_low": 20.0, "age_high": 30.0}
WOMAN = {"gender": "female"}


@pytest.mark.parametrize(
    ("text", "event", "faces"),
    [
        ("A man in a red coat is walking past the shelf.", facts(**MAN), None),
        ("A person walks along the aisle, seen from behind.", facts(), "away"),
        ("A young man in his twenties walks to the left.", facts(**MAN), None),
        ("A man of 25 years walks.", facts(**MAN), None),
        ("A woman is sitting on a chair, her bag beside her.", facts("sitting", **WOMAN), None),
        ("A woman sits; she is not standing.", facts("sitting", **WOMAN), None),  # a negation says nothing
        ("A man is reaching for a bottle on the shelf.", facts("picking", **MAN), "camera"),
        ("A man is standing at the shelf and holds a box.", facts("picking", **MAN), None),
        ("A man has fallen and is lying on the floor.", facts("collapse", **MAN), None),
        ("A man pushes another man.", facts("violent", other_track=2, people_in_view=2, **MAN), None),
        ("A man walks past a woman.", facts(people_in_view=2, **MAN), None),
        ("Two people are walking.", facts(people_in_view=2), None),
        ("A person wears an old jacket and walks.", facts(), None),  # the jacket is old
        ("Someone is running between the shelves.", facts("anomaly", evidence={"rule": "running"}), None),
    ],
)
def test_what_agrees_or_adds_is_let_through(text: str, event: EventFacts, faces: str | None) -> None:
    assert contradiction(text, event, faces) == ""


@pytest.mark.parametrize(
    ("text", "event", "faces", "reason"),
    [
        ("A woman is walking past the shelf.", facts(**MAN), None, "'woman' of a person found to be male"),
        ("He is walking.", facts(**WOMAN), None, "'He' of a person found to be female"),
        ("A woman walks towards another person.", facts(people_in_view=2, **MAN), None, "'woman'"),
        ("A man is sitting on a chair.", facts(**MAN), None, "'sitting' of what was found to be walking"),
        ("A man is walking.", facts("sitting", **MAN), None, "'walking' of what was found to be sitting"),
        ("A man is standing at the counter.", facts("collapse", **MAN), None, "does not tell"),
        (
            "Two men look at each other.",
            facts("violent", other_track=2, people_in_view=2, **MAN),
            None,
            "does not tell",
        ),
        ("A man walks and hits the shelf.", facts(**MAN), None, "'hits'"),
        ("A man is stealing a bottle.", facts("picking", **MAN), None, "accuses"),
        ("Two people are walking.", facts(), None, "where 1 was found"),
        ("A man walks beside another person.", facts(**MAN), None, "where 1 was found"),
        ("A group of people walks by.", facts(), None, "where 1 was found"),
        ("Five customers are walking.", facts(people_in_view=3), None, "where 3 were found"),
        ("There is no one in the aisle.", facts(), None, "sees nobody"),
        ("A person of 30 years walks.", facts(), None, "could not be measured"),
        ("A 35-year-old person walks.", facts(), None, "could not be measured"),
        ("A person in the forties walks.", facts(), None, "could not be measured"),
        ("A young person walks.", facts(), None, "could not be measured"),
        ("A 60-year-old man walks.", facts(**MAN), None, "of a person of 20-30"),
        ("An elderly man walks.", facts(**MAN), None, "of a person of 20-30"),
        ("A child walks.", facts(**MAN), None, "of a person of 20-30"),
        ("A man walks, facing the camera.", facts(**MAN), "away", "who faces away"),
        ("A man walks with his back to the camera.", facts(**MAN), "camera", "who faces the camera"),
        ("A man walks, facing left.", facts(**MAN), "right", "who faces right"),
        ("A man named Tom walks.", facts(**MAN), None, "who somebody is"),
    ],
)
def test_what_contradicts_is_found(text: str, event: EventFacts, faces: str | None, reason: str) -> None:
    assert reason in contradiction(text, event, faces)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("A man walks. " * 40, "characters"),
        ("\ufffd\ufffd man walks here", "no text"),
        ("a\x01b walks here", "no text"),
        ("{{1, 2}} == [3, 4, 5];", "no text"),
        ("walking", "no sentence"),
        ("the the the the man", "repeats"),
        ("A man walks along the aisle.", ""),
    ],
)
def test_what_is_no_sentence_is_found(text: str, reason: str) -> None:
    assert (reason in unusable(text)) if reason else unusable(text) == ""
