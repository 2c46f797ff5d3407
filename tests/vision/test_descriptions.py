"""Events described: what was measured is joined, and every event gets its sentence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel_assets.vision.descriptions import describe_events
from sentinel_assets.vision.errors import ModelError, TableError
from sentinel_assets.vision.facts import FactParameters, facing_around, measured_events
from sentinel_assets.vision.models.template import TemplateDescriber
from sentinel_assets.vision.protocols import Description, EventFacts
from sentinel_assets.vision.tables import BEHAVIORS_TABLE, DEMOGRAPHICS, DESCRIPTIONS, POSES
from tests.builders.analyses import behavior, facing, person, tables


def test_age_gender_and_direction_reach_the_sentence() -> None:
    """The direction is that around the peak, not of the whole event."""
    given_tables = tables(
        [behavior("picking", track=2, start_s=8, end_s=10)],
        [person(2, age=25.0, age_low=20.0, age_high=30.0, gender="male")],
        facing(2, range(20), [180.0] * 7 + [80.0, 85.0, 95.0, 100.0, 90.0] + [180.0] * 8),
    )
    table = describe_events(*given_tables, describer=TemplateDescriber())
    DESCRIPTIONS.conform(table)
    assert table["description"].tolist() == [
        "Young man reaching out a hand as if picking up an item for 2 s, facing left, age 20-30, at 00:08"
    ]


def test_unknown_behaviors_are_not_events() -> None:
    table = describe_events(*tables([behavior("unknown"), behavior("sitting")]), describer=TemplateDescriber())
    assert table["event_key"].tolist() == ["sitting-1-1"]


def test_keys_count_each_behavior_of_each_track_in_time() -> None:
    rows = [
        behavior("walking", 1, 20, 25),
        behavior("walking", 1, 0, 5),
        behavior("standing", 1, 5, 20),
        behavior("walking", 2, 3, 9),
    ]
    forwards = describe_events(*tables(rows), describer=TemplateDescriber())
    backwards = describe_events(*tables(rows[::-1]), describer=TemplateDescriber())
    assert forwards["event_key"].tolist() == ["walking-1-1", "walking-2-1", "standing-1-1", "walking-1-2"]
    pd.testing.assert_frame_equal(forwards, backwards)


def test_no_behaviors_give_an_empty_table_that_conforms() -> None:
    empty = (BEHAVIORS_TABLE.frame([]), DEMOGRAPHICS.frame([]), POSES.frame([]))
    assert DESCRIPTIONS.conform(describe_events(*empty, describer=TemplateDescriber())).num_rows == 0
    assert DESCRIPTIONS.conform(describe_events(*tables([]), describer=TemplateDescriber())).num_rows == 0


@pytest.mark.parametrize(
    ("row", "people", "message"),
    [
        (behavior(track=3), [person(1)], "track 3 is not in demographics"),
        (behavior("dancing"), [person(1)], "'dancing' is none of"),
        (behavior(start_s=5, end_s=4), [person(1)], "before it starts"),
        (behavior(evidence="{"), [person(1)], "not JSON"),
        (behavior(evidence="[1]"), [person(1)], "not a JSON object"),
    ],
)
def test_tables_that_do_not_fit_together_are_refused(row: dict, people: list[dict], message: str) -> None:
    with pytest.raises(TableError, match=message):
        describe_events(*tables([row], people), describer=TemplateDescriber())


class Mute:
    """A describer that says what it was told to."""

    name = "mute"

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    def describe(self, events: Sequence[EventFacts]) -> list[Description]:
        return [Description(text, "en", grounded=False) for text in self.texts]


def test_a_describer_that_leaves_out_an_event_is_refused() -> None:
    with pytest.raises(ModelError, match="1 sentences for 2 events"):
        describe_events(*tables([behavior("walking"), behavior("sitting")]), describer=Mute("only one"))
    with pytest.raises(ModelError, match="no sentence for sitting-1-1"):
        describe_events(*tables([behavior("sitting")]), describer=Mute(" \n"))


def test_a_sentence_of_another_describer_is_one_line_and_not_called_grounded() -> None:
    table = describe_events(*tables([behavior("sitting")]), describer=Mute("A man\n sits."))
    assert table[["description", "grounded", "describer"]].to_numpy().tolist() == [["A man sits.", False, "mute"]]


@pytest.mark.parametrize(
    ("degrees", "mean"),
    [
        ([350.0, 10.0], 0.0),  # over the seam: not 180
        ([80.0, 100.0, None], 90.0),
        ([0.0, 180.0], None),  # opposite: contradict each other
        ([None, None], None),
        ([], None),
    ],
)
def test_directions_are_averaged_on_the_circle(degrees: list[float | None], mean: float | None) -> None:
    poses = POSES.frame(facing(1, range(len(degrees)), degrees))
    found = facing_around(poses, 0.5, FactParameters())
    assert found.degrees == (None if mean is None else pytest.approx(mean, abs=1e-3))
    assert bool(found.reason) == (mean is None)


@given(st.lists(st.floats(0, 359.9), min_size=1, max_size=5), st.floats(0, 360))
def test_turning_everything_turns_the_mean(degrees: list[float], turn: float) -> None:
    parameters = FactParameters(orientation_window_s=100, orientation_agreement=0.3)
    means = [
        facing_around(POSES.frame(facing(1, range(len(degrees)), [(d + by) % 360 for d in degrees])), 0, parameters)
        for by in (0, turn)
    ]
    assert means[0].confidence == pytest.approx(means[1].confidence, abs=1e-6)
    if means[0].degrees is not None and means[1].degrees is not None:
        apart = np.deg2rad(means[1].degrees - means[0].degrees - turn)
        assert np.cos(apart) == pytest.approx(1, abs=1e-6)


def test_what_is_unknown_says_why() -> None:
    (event,) = measured_events(*tables([behavior()], [person(1, reason="face of 14 px")]))
    assert event.attributes["age"] == {"confidence": 0.0, "reason": "face of 14 px"}
    assert event.attributes["orientation"] == {"confidence": 0.0, "reason": "no pose was found"}
    (known,) = measured_events(*tables([behavior()], [person(1, age=30.0, gender="male", age_confidence=0.7)]))
    assert known.attributes["age"] == {"confidence": 0.7, "reason": ""}
