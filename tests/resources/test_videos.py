"""The rows of videos: one for an address, found by what a person calls it, held by one at a time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from resources.warehouse import Video, Warehouse
from sentinel_assets.vision.errors import StoreRejected
from tests.builders.events import event_rows, publish


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
