"""Publishing events: whole or not at all, never half, and only by the analysis that is the current one."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psycopg
import pytest

from resources.warehouse import Video, Warehouse
from sentinel_assets.vision.errors import StoreRejected, TableError
from tests.builders.events import RECIPES, event_rows, publish

_CHECKOUT = Path(__file__).resolve().parents[2]


def test_rows_come_back_as_they_were_published(warehouse: Warehouse, video: Video) -> None:
    """Korean, nulls and NaN (both are null), JSON, and the recipes that made them."""
    rows = event_rows(
        3,
        description=["남자가 선반 앞에 서 있다", "quote ' and \\ and \t tab", "👀"],
        age=[23.5, None, float("nan")],
        other_track=[2, None, None],
        event_type=["standing", "theft", "collapse"],
        needs_review=[False, True, False],
    )
    assert publish(warehouse, video, rows) == 3
    events = warehouse.events(video.id)
    assert [e.description for e in events] == list(rows["description"])
    assert [e.age for e in events] == [23.5, None, None]
    assert [e.other_track for e in events] == [2, None, None]
    assert [e.event_type for e in events] == ["standing", "theft", "collapse"]
    assert [e.timestamp for e in events] == [0.0, 1.0, 2.0]
    assert events[0].evidence == {"rule": "speed", "samples": [1, 2]}
    assert events[0].recipes == RECIPES
    assert (events[0].recipe, events[0].embedding_recipe) == ("e1", "m1")
    done = warehouse.video(video.id)
    assert (done.status, done.analysis_progress, done.event_count, done.error) == ("completed", 100, 3, None)
    assert done.completed_at is not None


def test_publishing_again_replaces_and_zero_events_are_a_result(warehouse: Warehouse, video: Video) -> None:
    other = warehouse.register_video("/clips/other.mp4", name="other.mp4")
    publish(warehouse, other, event_rows(4))
    publish(warehouse, video, event_rows(5))
    publish(warehouse, video, event_rows(5))
    assert warehouse.count_events(video.id) == 5
    publish(warehouse, video, event_rows(2), "run-2")
    assert warehouse.count_events(video.id) == 2
    publish(warehouse, video, event_rows(0), "run-3")
    assert warehouse.count_events(video.id) == 0
    assert warehouse.video(video.id).event_count == 0
    assert warehouse.count_events(other.id) == 4, "another video's rows are not touched"
    assert warehouse.count_events() == 4


def test_a_reader_sees_the_old_rows_or_the_new(warehouse: Warehouse, video: Video, database_url: str) -> None:
    frames = [event_rows(20, description="A"), event_rows(33, description="B")]
    publish(warehouse, video, frames[0])
    seen: list[tuple[frozenset[str], int]] = []
    over = threading.Event()

    def read() -> None:
        with Warehouse(database_url) as reader:
            while not over.is_set():
                events = reader.events(video.id)
                seen.append((frozenset(e.description for e in events), len(events)))

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        for turn in range(1, 30):
            publish(warehouse, video, frames[turn % 2])
        over.set()
        reading.result(timeout=30)
    assert set(seen) == {(frozenset("A"), 20), (frozenset("B"), 33)}


_PUBLISHER = """
import dataclasses, sys, time
from resources import rows
from resources.warehouse import Warehouse
from tests.builders.events import RECIPES, event_rows, publish
from tests.builders.folders import new_folder

class PausesHalfWay(tuple):
    def __iter__(self):
        for number, event in enumerate(tuple.__iter__(self)):
            if number == 400:
                print("half", flush=True)
                time.sleep(60)
            yield event

original = rows.EventBatch.of
rows.EventBatch.of = lambda *a: dataclasses.replace(original(*a), events=PausesHalfWay(original(*a).events))
with Warehouse(sys.argv[1]) as warehouse:
    warehouse.begin_analysis("1", "killed")
    warehouse.publish_events("1", event_rows(500), recipes=RECIPES, analysis_id="killed")
"""


def test_a_publisher_killed_in_the_middle_of_the_copy_leaves_the_old_rows(
    warehouse: Warehouse, video: Video, database_url: str
) -> None:
    publish(warehouse, video, event_rows(7))
    before = warehouse.events(video.id)
    publisher = subprocess.Popen(
        [sys.executable, "-c", _PUBLISHER, database_url], stdout=subprocess.PIPE, cwd=_CHECKOUT
    )
    assert publisher.stdout is not None
    assert publisher.stdout.readline() == b"half\n"
    assert warehouse.events(video.id) == before
    publisher.kill()
    publisher.communicate()
    assert warehouse.events(video.id) == before
    state = warehouse.video(video.id)
    assert (state.status, state.analysis_progress) == ("processing", 0)
    assert publish(warehouse, video, event_rows(3), "next") == 3, "the lock on the row went with the killed process"


def test_two_publishers_of_one_video_leave_the_rows_of_one(
    warehouse: Warehouse, video: Video, database_url: str
) -> None:
    warehouse.begin_analysis(video.partition_key, "run-1")

    def replace(letter: str) -> None:
        with Warehouse(database_url) as own:
            for _ in range(10):
                rows = event_rows(15, description=letter)
                own.publish_events(video.partition_key, rows, recipes=RECIPES, analysis_id="run-1")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(replace, "AB"))
    events = warehouse.events(video.id)
    assert len(events) == 15
    assert len({e.description for e in events}) == 1


def test_publishers_of_two_videos_do_not_disturb_each_other(warehouse: Warehouse, database_url: str) -> None:
    videos = [warehouse.register_video(f"/clips/{name}.mp4", name=name) for name in "AB"]

    def replace(video: Video) -> None:
        with Warehouse(database_url) as own:
            for turn in range(8):
                publish(own, video, event_rows(10 + turn, description=video.name), f"run-{turn}")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(replace, videos))
    for video in videos:
        assert [e.description for e in warehouse.events(video.id)] == [video.name] * 17


def test_an_analysis_that_was_superseded_publishes_nothing(warehouse: Warehouse, video: Video) -> None:
    publish(warehouse, video, event_rows(2, description="new"), "new")
    with pytest.raises(StoreRejected, match="superseded by new"):
        warehouse.publish_events(video.partition_key, event_rows(9), recipes=RECIPES, analysis_id="old")
    assert [e.description for e in warehouse.events(video.id)] == ["new", "new"]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"event_type": "dancing"}, "events_event_type_check"),
        ({"confidence": 1.5}, "events_confidence_check"),
        ({"event_key": "same"}, "same"),
        ({"end_s": -1.0}, "events_end_after_start"),
        ({"confidence": float("nan")}, "confidence"),
        ({"evidence": "{not json"}, "evidence is not JSON"),
        ({"evidence": '{"x": NaN}'}, "NaN is not JSON"),
        ({"description": "a\0b"}, "description holds a NUL"),
        ({"embedding": [np.zeros(384, np.float32)] * 2}, "all zero"),
        ({"embedding": [np.full(384, np.nan, np.float32)] * 2}, "finite"),
        ({"embedding": [np.ones(383, np.float32)] * 2}, "384"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_row_that_breaks_the_schema_is_named_and_changes_nothing(
    warehouse: Warehouse, video: Video, columns: dict[str, object], says: str
) -> None:
    publish(warehouse, video, event_rows(3))
    with pytest.raises(TableError, match=says):
        publish(warehouse, video, event_rows(2).assign(**columns), "next")
    assert warehouse.count_events(video.id) == 3
    assert warehouse.video(video.id).status == "processing"


def test_events_without_the_recipe_of_their_vectors_are_refused(warehouse: Warehouse, video: Video) -> None:
    warehouse.begin_analysis(video.partition_key, "run-1")
    with pytest.raises(TableError, match="no recipe for embeddings"):
        warehouse.publish_events(video.partition_key, event_rows(1), recipes={"events": "e"}, analysis_id="run-1")


def test_which_rows_came_from_an_old_model_is_one_query(warehouse: Warehouse, database_url: str) -> None:
    for number, model in enumerate(("old", "new", "old")):
        video = warehouse.register_video(f"/clips/{number}.mp4", name=str(number))
        warehouse.begin_analysis(video.partition_key, "run")
        recipes = {**RECIPES, "detections": model}
        warehouse.publish_events(video.partition_key, event_rows(2), recipes=recipes, analysis_id="run")
    for _ in range(2):
        warehouse.record_recipe(
            "old", asset="detections", profile="cpu", ingredients={"model": "yolov8n", "conf": 0.25}
        )
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "SELECT DISTINCT e.video_id, r.ingredients ->> 'model' FROM events e "
            "JOIN recipes r ON r.digest = e.recipes ->> 'detections' ORDER BY 1"
        ).fetchall()
    assert found == [(1, "yolov8n"), (3, "yolov8n")]
