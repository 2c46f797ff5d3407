"""The warehouse on a real PostgreSQL: whole or not at all, never back, never half, and nobody's text is code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.local.postgres import LocalPostgres, Server
from resources import migrations
from resources.database import Database, explain, parse_url
from resources.settings import Settings
from resources.warehouse import SearchFilter, Video, Warehouse, connect
from sentinel_assets.vision.errors import SentinelError, StoreRejected, StoreUnavailable, TableError
from tests.builders.events import RECIPES, event_rows
from tests.builders.folders import new_folder

_CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    with Warehouse(database_url) as opened:
        yield opened


@pytest.fixture
def video(warehouse: Warehouse) -> Video:
    return warehouse.register_video("/clips/aisle.mp4", name="aisle.mp4")


def publish(warehouse: Warehouse, video: Video, events: pd.DataFrame, analysis: str = "run-1") -> int:
    warehouse.begin_analysis(video.partition_key, analysis)
    return warehouse.publish_events(video.partition_key, events, recipes=RECIPES, analysis_id=analysis)


# Publishing


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
from tests.builders.events import RECIPES, event_rows
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


# Progress

_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.sampled_from("ab")),
        st.tuples(st.just("progress"), st.sampled_from("ab"), st.integers(-20, 140)),
        st.tuples(st.just("fail"), st.sampled_from("ab")),
        st.tuples(st.just("publish"), st.sampled_from("ab")),
    ),
    max_size=14,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS)
def test_progress_never_goes_back_within_an_analysis_and_100_means_that_rows_are_there(
    warehouse: Warehouse, steps: list[tuple[str, str] | tuple[str, str, int]]
) -> None:
    video = warehouse.register_video(f"/clips/{time.monotonic_ns()}.mp4", name="clip")
    key, before = video.partition_key, video
    for action, analysis, *percent in steps:
        if action == "begin":
            warehouse.begin_analysis(key, analysis)
        elif action == "progress":
            warehouse.report_progress(key, percent[0], "poses", analysis)
        elif action == "fail":
            warehouse.record_failure(key, "broken", analysis)
        elif before.analysis in (None, analysis):
            warehouse.publish_events(key, event_rows(1), recipes=RECIPES, analysis_id=analysis)
        after = warehouse.video(key)
        if action in ("progress", "fail") and analysis != before.analysis:
            assert after == before, "a late writer of another analysis changes nothing"
        if action == "progress" and after.analysis == analysis:
            assert after.analysis_progress >= before.analysis_progress
            assert after.status == before.status
        if action == "begin":
            assert (after.analysis, after.error) == (analysis, None)
            assert after.analysis_progress == (before.analysis_progress if before.analysis == analysis else 0)
        assert (after.analysis_progress == 100) == (after.status == "completed")
        if after.status == "completed":
            assert warehouse.count_events(video.id) == 1
        before = after


def test_the_life_of_a_row(warehouse: Warehouse, video: Video) -> None:
    key = video.partition_key
    assert (video.status, video.analysis_progress, video.event_count, video.warnings) == ("pending", 0, None, ())
    warehouse.begin_analysis(key, "run-1")
    warehouse.report_progress(key, 12.7, "detections", "run-1")
    warehouse.report_progress(key, 5, "late", "run-1")
    for _ in range(2):
        warehouse.record_warning(key, "3 frames were damaged")
    row = warehouse.video(key)
    assert (row.status, row.analysis_progress, row.stage) == ("processing", 12, "detections")
    assert row.warnings == ("3 frames were damaged",)
    warehouse.record_failure(key, "out of memory\0")
    row = warehouse.video(key)
    assert (row.status, row.analysis_progress, row.error) == ("failed", 12, "out of memory�")
    warehouse.begin_analysis(key, "run-2")
    row = warehouse.video(key)
    assert (row.status, row.analysis_progress, row.error, row.warnings) == ("processing", 0, None, ())
    warehouse.record_completed(key)
    row = warehouse.video(key)
    assert (row.status, row.analysis_progress, row.event_count) == ("completed", 100, 0)
    warehouse.record_failure(key, "the file is gone")
    assert warehouse.video(key).analysis_progress == 0


@pytest.mark.parametrize(
    "write",
    [
        lambda w: w.begin_analysis("nobody", "run"),
        lambda w: w.report_progress("nobody", 1, "stage", "run"),
        lambda w: w.record_failure("nobody", "why"),
        lambda w: w.record_warning("nobody", "what"),
        lambda w: w.record_completed("nobody"),
        lambda w: w.publish_events("nobody", event_rows(1), recipes=RECIPES, analysis_id="run"),
        lambda w: w.video("nobody"),
        lambda w: w.video(77),
        lambda w: w.find_video("nobody"),
    ],
)
def test_a_video_that_is_not_there_is_said_to_be_unknown(warehouse: Warehouse, write: object) -> None:
    with pytest.raises(StoreRejected, match="no video"):
        write(warehouse)  # type: ignore[operator]


# Registration


def test_an_address_has_one_row_however_many_register_it(database_url: str) -> None:
    def register(number: int) -> int:
        with Warehouse(database_url) as own:
            return own.register_video(f"/clips/{number % 3}.mp4", name="clip").id

    with ThreadPoolExecutor(10) as pool:
        ids = list(pool.map(register, range(30)))
    assert len(set(ids)) == 3
    assert all(len(set(ids[n::3])) == 1 for n in range(3))


def test_facts_are_added_and_not_forgotten(warehouse: Warehouse, video: Video) -> None:
    warehouse.register_video(video.uri, name=video.name, etag="sha256:1", width=640, duration_s=12.5)
    again = warehouse.register_video(video.uri, name=video.name, etag="sha256:2", codec="h264")
    assert again.id == video.id
    assert (again.etag, again.width, again.duration_s, again.codec) == ("sha256:2", 640, 12.5, "h264")


def test_what_failed_waits_again_when_asked_for_and_nothing_else_does(warehouse: Warehouse, video: Video) -> None:
    def again() -> Video:
        return warehouse.register_video(video.uri, name=video.name, again=True)

    warehouse.begin_analysis("1", "first")
    assert again().status == "processing"
    warehouse.record_failure("1", "the disk was full", "first")
    row = again()
    assert (row.status, row.error, row.stage, row.analysis_progress) == ("pending", None, None, 0)
    assert row.analysis == "first", "whose end was told already"
    publish(warehouse, video, event_rows(2), "second")
    assert again() == warehouse.video_at(video.uri)
    assert again().status == "completed"
    assert warehouse.video_at("/clips/absent.mp4") is None


def test_numbers_of_a_backend_and_our_own_live_together(warehouse: Warehouse) -> None:
    ours = warehouse.register_video("/clips/1.mp4", name="1.mp4")
    theirs = warehouse.register_video("s3://b/videos/3/original.mp4", name="original.mp4", video_id=3)
    low = warehouse.register_video("s3://b/videos/2/original.mp4", name="original.mp4", video_id=2)
    more = [warehouse.register_video(f"/clips/more-{n}.mp4", name="more") for n in range(3)]
    assert (ours.partition_key, theirs.partition_key, low.partition_key) == ("1", "3", "2")
    assert [video.id for video in more] == [4, 5, 6]
    moved = warehouse.register_video("s3://b/videos/3/again.mp4", name="again.mp4", video_id=3)
    assert (moved.id, moved.uri) == (3, "s3://b/videos/3/again.mp4")
    keyed = warehouse.register_video("s3://b/camera/x.mp4", name="x.mp4", partition_key="camera/x.mp4")
    assert warehouse.video("camera/x.mp4").id == keyed.id


@pytest.mark.parametrize(
    "conflict",
    [
        {"uri": "/clips/1.mp4", "video_id": 9},  # the address is another video's
        {"uri": "/clips/new.mp4", "partition_key": "1"},  # so is the key
        {"uri": "/clips/1.mp4", "partition_key": "other"},
        {"uri": "/clips/1.mp4", "video_id": 2},  # address and number belong to two videos
        {"uri": "s3://b/videos/1/a.mp4", "video_id": 1},  # the number is that of a local file
    ],
)
def test_an_address_a_number_and_a_key_of_different_videos_are_refused(
    warehouse: Warehouse, conflict: dict[str, object]
) -> None:
    for number in (1, 2):
        warehouse.register_video(f"/clips/{number}.mp4", name="clip")
    before = warehouse.videos()
    with pytest.raises(StoreRejected, match="registered differently"):
        warehouse.register_video(name="clip", **conflict)  # type: ignore[arg-type]
    assert warehouse.videos() == before


def test_a_video_is_found_by_what_a_person_calls_it(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = warehouse.register_video(str(tmp_path / "aisle.mp4"), name="aisle.mp4")
    one = warehouse.register_video("/a/door.mp4", name="door.mp4")
    two = warehouse.register_video("/b/door.mp4", name="door.mp4", partition_key="camera-2")
    number = warehouse.register_video("/c/1", name="1")
    for text, expected in [
        ("aisle.mp4", here),
        (str(here.id), here),
        ("/a/door.mp4", one),
        ("camera-2", two),
        ("1", here),  # the id comes before a file that is called `1`
        ("/c/1", number),
    ]:
        assert warehouse.find_video(text).id == expected.id, text
    with pytest.raises(StoreRejected, match=r"2 \(/a/door.mp4\), 3 \(/b/door.mp4\)"):
        warehouse.find_video("door.mp4")


# Reading, and text that would be code


_INJECTIONS = ["'; DROP TABLE events; --", "%s %(x)s {}", '" OR 1=1 --', "\\'; SELECT pg_sleep(9); --"]


@pytest.mark.parametrize("text", _INJECTIONS)
def test_text_is_data_wherever_it_goes_in(warehouse: Warehouse, text: str) -> None:
    video = warehouse.register_video(f"/clips/{text}", name=text, codec=text)
    publish(warehouse, video, event_rows(2, description=text, event_key=[text, "b"]), text)
    assert [e.description for e in warehouse.events(video.id)] == [text] * 2
    vector = event_rows(1)["embedding"][0]
    assert warehouse.search(vector, embedding_recipe=text) == []
    assert len(warehouse.search(vector, embedding_recipe="m1")) == 2
    warehouse.record_failure(video.partition_key, text)
    warehouse.record_warning(video.partition_key, text)
    assert warehouse.find_video(text).id == video.id
    with warehouse.hold_video(text):
        assert warehouse.count_events() == 2


def test_a_nul_character_which_postgresql_cannot_hold_is_refused(warehouse: Warehouse) -> None:
    for use in (
        lambda: warehouse.register_video("/clips/a\0b", name="ab"),
        lambda: warehouse.find_video("a\0b"),
        lambda: warehouse.begin_analysis("a\0b", "run"),
    ):
        with pytest.raises(StoreRejected):
            use()


def test_a_filter_lets_through_what_it_says(warehouse: Warehouse, video: Video) -> None:
    rows = event_rows(
        4,
        event_type=["walking", "theft", "theft", "standing"],
        age=[22.0, 35.0, None, 70.0],
        gender=["male", "female", "unknown", "male"],
        confidence=[0.9, 0.5, 0.25, 0.75],
        needs_review=[False, True, True, False],
    )
    publish(warehouse, video, rows)
    for wanted, expected in [
        (SearchFilter(), [0, 1, 2, 3]),
        (SearchFilter(types=("theft",)), [1, 2]),
        (SearchFilter(types=("theft", "standing")), [1, 2, 3]),
        (SearchFilter(min_age=22, max_age=35), [0, 1]),  # unknown passes neither bound
        (SearchFilter(min_age=36), [3]),
        (SearchFilter(gender="unknown"), [2]),
        (SearchFilter(min_confidence=0.5), [0, 1, 3]),
        (SearchFilter(needs_review=False), [0, 3]),
        (SearchFilter(start_s=1.5, end_s=2.5), [1, 2]),  # the event at 1.0-2.0 overlaps
        (SearchFilter(video_id=video.id + 1), []),
        (SearchFilter(types=("theft",), gender="female", max_age=40, video_id=video.id), [1]),
    ]:
        found = [int(e.timestamp) for e in warehouse.events(video.id, wanted)]
        assert found == expected, wanted
        hits = warehouse.search(rows["embedding"][0], embedding_recipe="m1", wanted=wanted)
        assert sorted(int(h.event.timestamp) for h in hits) == expected, wanted


@pytest.mark.parametrize(
    "wrong",
    [
        {"types": ("dancing",)},
        {"gender": "' OR 1=1 --"},
        {"start_s": 5, "end_s": 4},
        {"min_age": 30, "max_age": 20},
        {"min_age": float("nan"), "max_age": 20},
        {"min_confidence": 50},
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SentinelError, match="filter"):
        SearchFilter(**wrong)  # type: ignore[arg-type]


def test_who_holds_a_video_is_alone_with_it(warehouse: Warehouse, database_url: str) -> None:
    order: list[str] = []

    def second() -> None:
        with Warehouse(database_url) as own, own.hold_video("1"):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with warehouse.hold_video("1"), warehouse.hold_video("2"):
            waiting = pool.submit(second)
            time.sleep(0.2)
            order.append("first")
        waiting.result(timeout=10)
    assert order == ["first", "second"]


def test_who_waits_for_a_video_goes_on_waiting_when_the_connection_is_lost(
    warehouse: Warehouse, database_url: str
) -> None:
    """A server that is restarted ends the connection of everybody who waits."""
    held: list[bool] = []

    def second() -> None:
        with Warehouse(database_url) as own, own.hold_video("1"):
            held.append(True)

    waiting_backends = (
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with ThreadPoolExecutor(1) as pool, psycopg.connect(database_url, autocommit=True) as connection:
        with warehouse.hold_video("1"):
            waiting = pool.submit(second)
            ended: set[int] = set()
            deadline = time.monotonic() + 20
            while len(ended) < 2 and not waiting.done() and time.monotonic() < deadline:
                for (pid,) in connection.execute(waiting_backends).fetchall():
                    connection.execute("SELECT pg_terminate_backend(%s)", [pid])
                    ended.add(pid)
                time.sleep(0.02)
            assert len(ended) == 2, "it has to come back after the first"
            assert not held
        waiting.result(timeout=20)
    assert held


# Connections, addresses, migrations


def test_twenty_first_connections_migrate_once(postgres: Server) -> None:
    name = f"fresh_{time.monotonic_ns()}"
    postgres.create_database(name)
    code = "import sys; from resources.warehouse import Warehouse\nwith Warehouse(sys.argv[1]) as w: w.migrate()"
    others = [subprocess.Popen([sys.executable, "-c", code, postgres.url(name)], cwd=_CHECKOUT) for _ in range(3)]
    time.sleep(1)  # they take that long to start; so all begin together

    def migrate(_: int) -> int:
        with Warehouse(postgres.url(name)) as warehouse:
            warehouse.migrate()
            return warehouse.count_events()

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(migrate, range(20))) == {0}
    assert [process.wait(30) for process in others] == [0, 0, 0]
    with psycopg.connect(postgres.url(name)) as connection:
        versions = connection.execute("SELECT version_num FROM sentinel_schema_version").fetchall()
    assert versions == [(migrations.head(),)]
    postgres.drop_database(name)


def test_the_newest_revision_is_the_one_that_alembic_finds() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_current_head() == migrations.head()


def test_a_migrated_warehouse_is_opened_without_alembic(database_url: str) -> None:
    """Importing it takes longer than all else that a short command does with the database."""
    program = "import sys; from resources.warehouse import Warehouse\n"
    program += "with Warehouse(sys.argv[1]) as warehouse: warehouse.migrate()\nprint('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, database_url], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_newer_schema_than_ours_is_refused(warehouse: Warehouse, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE sentinel_schema_version SET version_num = '9999'")
    with pytest.raises(StoreRejected, match="schema 9999, and we know up to"):
        warehouse.migrate()


def test_who_may_not_enable_pgvector_is_told_what_a_superuser_has_to_do(postgres: Server) -> None:
    name = f"weak_{time.monotonic_ns()}"
    postgres.create_database(name)
    with psycopg.connect(postgres.url(name), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'weak'")
        connection.execute(f"GRANT CREATE ON SCHEMA public TO {name}")
    url = f"postgresql://{name}:weak@127.0.0.1:{postgres.port}/{name}"
    with Warehouse(url) as warehouse, pytest.raises(StoreRejected, match="CREATE EXTENSION vector"):
        warehouse.migrate()
    with psycopg.connect(postgres.url(name), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
    with Warehouse(url) as warehouse:
        warehouse.migrate()
        assert warehouse.videos() == []
    postgres.drop_database(name)
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP ROLE {name}")


def test_a_table_of_somebody_elses_is_not_touched(postgres: Server) -> None:
    name = f"taken_{time.monotonic_ns()}"
    postgres.create_database(name)
    with psycopg.connect(postgres.url(name)) as connection:
        connection.execute("CREATE TABLE events AS SELECT 1 AS theirs")
    with Warehouse(postgres.url(name)) as warehouse, pytest.raises(StoreRejected, match="not ours"):
        warehouse.migrate()
    with psycopg.connect(postgres.url(name)) as connection:
        assert connection.execute("SELECT theirs FROM events").fetchall() == [(1,)]
        assert connection.execute("SELECT to_regclass('videos')").fetchone() == (None,), "all or nothing"
    postgres.drop_database(name)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2", "postgresql+psycopg"])
def test_every_usual_form_of_an_address_is_understood(database_url: str, scheme: str) -> None:
    with Warehouse(database_url.replace("postgresql", scheme, 1)) as warehouse:
        assert warehouse.count_events() == 0


@pytest.mark.parametrize(
    "url", ["mysql://u:secret@h/db", "secret", "", "postgresql://u:se%zzcret@h/db", "postgresql+mystery://u:secret@h/d"]
)
def test_an_address_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(StoreRejected, match="DATABASE_URL") as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)


def test_a_database_that_is_down_is_unavailable_soon_and_by_name() -> None:
    database = Database("postgresql://u:secret@127.0.0.1:1/shop", first_patience_s=0.3)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1/shop: the database is away") as caught:
        database.run(lambda connection: connection.execute("SELECT 1"))
    assert time.monotonic() - started < 3
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("old", "new"), [(":{password}@", ":wrong@"), ("/{database}", "/nowhere")])
def test_a_wrong_password_or_name_is_refused_at_once(postgres: Server, database_url: str, old: str, new: str) -> None:
    parts = {"password": postgres.password, "database": database_url.rpartition("/")[2]}
    with Warehouse(database_url.replace(old.format(**parts), new)) as warehouse:
        started = time.monotonic()
        with pytest.raises(StoreRejected, match="access denied") as caught:
            warehouse.migrate()
        assert time.monotonic() - started < 2, "it does not get better by trying again"
    assert postgres.password not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (psycopg.errors.DiskFull("could not extend file"), StoreUnavailable, "the disk is full"),
        (psycopg.errors.TooManyConnections("sorry"), StoreUnavailable, "away"),
        (psycopg.errors.AdminShutdown("terminating"), StoreUnavailable, "away"),
        (psycopg.errors.InsufficientPrivilege("no"), StoreRejected, "access denied"),
        (psycopg.errors.UndefinedTable("no events"), StoreRejected, "no events"),
        (psycopg.OperationalError("connection refused"), StoreUnavailable, "away"),
    ],
)
def test_each_error_of_the_server_has_its_class(error: psycopg.Error, kind: type[SentinelError], says: str) -> None:
    explained = explain(error, "h:5432/db")
    assert type(explained) is kind
    assert says in str(explained)


def test_a_connection_that_was_cut_is_made_again(warehouse: Warehouse, video: Video, database_url: str) -> None:
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(database_url, autocommit=True) as other:
        for number in range(3):
            other.execute(cut)
            publish(warehouse, video, event_rows(number), f"run-{number}")
            other.execute(cut)
            warehouse.report_progress(video.partition_key, 3, "poses", "run-x")
    assert warehouse.count_events() == 2


_FORKING = """
import os, sys
from resources.warehouse import Warehouse
warehouse = Warehouse(sys.argv[1])
warehouse.begin_analysis("1", "run")
if os.fork() == 0:
    warehouse.record_warning("1", "from the child")
    os._exit(0)
os.wait()
print(warehouse.video("1").warnings)
warehouse.close()
"""


def test_a_child_that_was_forked_gets_a_connection_of_its_own(video: Video, database_url: str) -> None:
    assert video.partition_key == "1"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FORKING, database_url],
        capture_output=True,
        text=True,
        cwd=_CHECKOUT,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "('from the child',)\n", "")


def test_the_local_warehouse_survives_the_death_of_server_and_guardian() -> None:
    home = new_folder("sentinel-home-")
    chosen = Settings(home=home, weights=home)
    try:
        with connect(chosen) as warehouse:
            video = warehouse.register_video("/clips/aisle.mp4", name="aisle.mp4")
            publish(warehouse, video, event_rows(3))
            state = json.loads((home / "postgres" / "server.json").read_text())
            server = int((home / "postgres" / "cluster" / "data" / "postmaster.pid").read_text().split()[0])
            for pid in (server, state["guardian"]):
                os.kill(pid, signal.SIGKILL)
                assert warehouse.count_events() == 3
            publish(warehouse, video, event_rows(4), "run-2")
        with connect(chosen) as warehouse:
            assert warehouse.count_events() == 4
    finally:
        LocalPostgres(home / "postgres").remove()
        home.rmdir()
