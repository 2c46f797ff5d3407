"""Events assembled for the warehouse: one row each, or an error that says what does not fit."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from sentinel_assets.vision.descriptions import describe_events
from sentinel_assets.vision.errors import TableError
from sentinel_assets.vision.events import assemble_events, event_key
from sentinel_assets.vision.models.template import TemplateDescriber
from sentinel_assets.vision.tables import EMBEDDINGS, EVENTS
from tests.builders.analyses import behavior, facing, person, tables

ROWS = [
    behavior("violent", 1, 4, 6, other_track=2, needs_review=True, confidence=0.6),
    behavior("sitting", 2, 1, 4),
    behavior("unknown", 2, 6, 9),
]
PEOPLE = [
    person(
        1, age=25.0, age_low=20.0, age_high=30.0, gender="male", age_confidence=0.7, gender_confidence=0.9, faces_used=4
    ),
    person(2),
]
POSES = facing(1, range(10), [170.0, 190.0] * 5)


def analysis() -> dict[str, pd.DataFrame]:
    behaviors, demographics, poses = tables(ROWS, PEOPLE, POSES)
    descriptions = describe_events(behaviors, demographics, poses, describer=TemplateDescriber())
    keys = descriptions["event_key"]
    vectors = np.eye(384, dtype=np.float32)[: len(keys)]
    embeddings = EMBEDDINGS.frame([{"event_key": k, "vector": v} for k, v in zip(keys, vectors, strict=True)])
    return {
        "behaviors": behaviors,
        "demographics": demographics,
        "poses": poses,
        "descriptions": descriptions,
        "embeddings": embeddings,
    }


def test_a_row_holds_all_that_is_known_of_its_event() -> None:
    table = assemble_events(**analysis())
    EVENTS.conform(table)
    assert table["event_key"].tolist() == ["sitting-2-1", "violent-1-1"]
    fight = table.iloc[1]
    assert (fight["timestamp"], fight["peak_s"], fight["end_s"]) == (4, 5, 6)
    assert (fight["track"], fight["other_track"], fight["needs_review"]) == (1, 2, True)
    assert (fight["age"], fight["gender"]) == (25, "male")
    assert fight["orientation"] == pytest.approx(180, abs=10)
    attributes = json.loads(fight["attributes"])
    assert attributes["gender"]["confidence"] == pytest.approx(0.9)
    assert json.loads(fight["evidence"]) == {"rule": "test"}
    assert fight["description"].startswith("Young man violent")
    assert fight["embedding"][1] == 1
    assert pd.isna(table.iloc[0]["age"])
    assert json.loads(table.iloc[0]["attributes"])["age"]["reason"] == "no face was seen"


def test_the_way_through_parquet_changes_nothing() -> None:
    direct = assemble_events(**analysis())
    stored = {name: frame.convert_dtypes(dtype_backend="pyarrow") for name, frame in analysis().items()}
    assert EVENTS.conform(direct).equals(EVENTS.conform(assemble_events(**stored)))


def test_no_behaviors_give_an_empty_table_that_conforms() -> None:
    empty = {name: frame.iloc[:0] for name, frame in analysis().items()}
    assert EVENTS.conform(assemble_events(**empty)).num_rows == 0


@pytest.mark.parametrize(
    ("table", "damage", "message"),
    [
        ("descriptions", lambda t: t.iloc[1:], r"no description for \['sitting-2-1'\]"),
        ("embeddings", lambda t: t.iloc[:1], r"no vector for \['violent-1-1'\]"),
        ("embeddings", lambda t: pd.concat([t, t.iloc[:1]]), "more than one vector"),
        ("behaviors", lambda t: t.iloc[:1], "description without its event"),
        ("demographics", lambda t: t.iloc[1:], "track 1 is not in demographics"),
        ("behaviors", lambda t: t.assign(evidence='{"speed": NaN}'), "not finite"),
    ],
)
def test_tables_of_different_analyses_are_refused(table, damage, message: str) -> None:  # type: ignore[no-untyped-def]
    parts = analysis()
    parts[table] = damage(parts[table])
    with pytest.raises(TableError, match=message):
        assemble_events(**parts)


def test_keys_name_behavior_track_and_ordinal() -> None:
    assert event_key("picking", 3, 2) == "picking-3-2"
