"""What a person said of an event outlives the event's row, and is said of the same event when it is made again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from resources.warehouse import Warehouse
from tests.builders.events import event_rows

RECIPES = {"events": "e1", "embeddings": "m1"}
HERE, ELSEWHERE = [100.0, 100.0, 160.0, 300.0], [400.0, 100.0, 460.0, 300.0]


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    with Warehouse(database_url) as warehouse:
        warehouse.register_video("/clips/aisle.mp4", name="aisle.mp4", video_id=7)
        yield warehouse


def event(key: str, kind: str, start_s: float, end_s: float, **others: Any) -> dict[str, Any]:
    return {"event_key": key, "event_type": kind, "timestamp": start_s, "end_s": end_s, **others}


def published(warehouse: Warehouse, *events: dict[str, Any], run: str = "first") -> None:
    """Replace the video's events by these, as an analysis does."""
    rows = event_rows(len(events))
    for place, given in enumerate(events):
        track, box = given.pop("track", 1), given.pop("box", None)
        peak_s = (given["timestamp"] + given["end_s"]) / 2
        frames = [{"track": track, "time_s": peak_s, "box": box}] if box else []
        evidence = json.dumps({"rule": "test", "frames": frames})
        for name, value in {**given, "peak_s": peak_s, "track": track, "evidence": evidence}.items():
            rows[name] = rows[name].astype(object)
            rows.loc[place, name] = value
    rows = pd.DataFrame(rows).infer_objects()
    warehouse.begin_analysis("7", run)
    warehouse.publish_events("7", rows, recipes=RECIPES, analysis_id=run)


def said(warehouse: Warehouse) -> dict[str, str]:
    return {key: v.verdict for (_, key), v in warehouse.verdicts_of(warehouse.events(7)).items()}


def reject_first(warehouse: Warehouse) -> None:
    warehouse.review(warehouse.events(7)[0], "rejected", "a coat")


FALL = event("collapse-1-1", "collapse", 10.0, 14.0)


@pytest.mark.parametrize(
    ("again", "expected"),
    [
        # The same event, made again with the same, a later or another number.
        ([event("collapse-1-1", "collapse", 10.0, 14.0, box=HERE)], {"collapse-1-1": "rejected"}),
        ([event("collapse-1-2", "collapse", 11.0, 15.0, box=HERE)], {"collapse-1-2": "rejected"}),
        ([event("collapse-4-1", "collapse", 10.0, 14.0, box=HERE, track=4)], {"collapse-4-1": "rejected"}),
        # Something else: another kind, another time under the same key, somebody else at the same time.
        ([event("anomaly-1-1", "anomaly", 10.0, 14.0, box=HERE)], {}),
        ([event("collapse-1-1", "collapse", 30.0, 34.0, box=HERE)], {}),
        ([event("collapse-1-1", "collapse", 10.0, 14.0, box=ELSEWHERE)], {}),
        # Of two that could be it, the one at the same place and time.
        (
            [
                event("collapse-1-1", "collapse", 8.0, 12.0, box=HERE),
                event("collapse-2-1", "collapse", 10.0, 14.0, box=HERE, track=2),
            ],
            {"collapse-2-1": "rejected"},
        ),
        ([], {}),
    ],
)
def test_a_verdict_finds_its_event_again(
    warehouse: Warehouse, again: list[dict[str, Any]], expected: dict[str, str]
) -> None:
    published(warehouse, {**FALL, "box": HERE})
    reject_first(warehouse)
    published(warehouse, *[dict(e) for e in again], run="second")
    assert said(warehouse) == expected
    published(warehouse, {**FALL, "box": HERE}, run="third")
    assert said(warehouse) == {"collapse-1-1": "rejected"}, "it was lost meanwhile"
    assert warehouse.verdict_counts() == {"collapse": {"rejected": 1}}


def test_without_a_place_the_track_decides(warehouse: Warehouse) -> None:
    published(warehouse, dict(FALL))
    reject_first(warehouse)
    published(warehouse, {**FALL, "track": 2}, run="second")
    assert said(warehouse) == {}
    published(warehouse, dict(FALL), run="third")
    assert said(warehouse) == {"collapse-1-1": "rejected"}


def test_the_last_word_counts_and_the_first_is_kept(warehouse: Warehouse, database_url: str) -> None:
    published(warehouse, dict(FALL))
    reject_first(warehouse)
    warehouse.review(warehouse.events(7)[0], "confirmed", "a person, after all")
    assert said(warehouse) == {"collapse-1-1": "confirmed"}
    assert warehouse.verdict_counts() == {"collapse": {"confirmed": 1}}
    import psycopg

    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT verdict, note, superseded FROM verdicts ORDER BY id").fetchall()
    assert rows == [("rejected", "a coat", True), ("confirmed", "a person, after all", False)]
