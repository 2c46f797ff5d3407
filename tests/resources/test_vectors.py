"""Search answers from one embedding recipe while another is filled in, is switched at once, and goes back at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from infra.local.postgres import Server
from resources import migrations, search
from resources.warehouse import Warehouse
from sentinel_assets.vision.errors import SentinelError, StoreRejected
from tests.builders.events import RECIPES, event_rows, unit_vectors

VIDEOS, EVENTS, LIMIT, WIDE = 12, 40, 10, 512
OLD, NEW = "m1", "m2"
OLD_VECTORS = unit_vectors(VIDEOS * EVENTS)
QUERIES = unit_vectors(VIDEOS * EVENTS + 8)[-8:]


def wider(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """By another encoder: of another dimension, and in another order of nearness."""
    turned = np.random.default_rng(5).standard_normal((vectors.shape[1], WIDE))
    made = np.sign(vectors @ turned) * np.abs(vectors @ turned) ** 3
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


NEW_VECTORS, NEW_QUERIES = wider(OLD_VECTORS), wider(QUERIES)


def publish(warehouse: Warehouse, number: int, recipe: str, *, run: str, **columns: object) -> None:
    """Video `number` whole, with that recipe's vectors."""
    video = warehouse.register_video(f"/clips/{number}.mp4", name=f"{number}.mp4")
    own = slice(number * EVENTS, (number + 1) * EVENTS)
    vectors = (OLD_VECTORS if recipe == OLD else NEW_VECTORS)[own]
    rows = event_rows(EVENTS, vectors=vectors, **columns)
    warehouse.begin_analysis(video.partition_key, run)
    made = {**RECIPES, "embeddings": recipe}
    warehouse.publish_events(video.partition_key, rows, recipes=made, analysis_id=run)


def found(warehouse: Warehouse, query: int, recipe: str) -> list[int]:
    """Positions among all vectors; the similarity of each hit is the one by that recipe, or it would be mixed."""
    asked = (QUERIES if recipe == OLD else NEW_QUERIES)[query]
    vectors = OLD_VECTORS if recipe == OLD else NEW_VECTORS
    hits = warehouse.search(asked, embedding_recipe=recipe, limit=LIMIT)
    rows = [(hit.event.video_id - 1) * EVENTS + int(hit.event.timestamp) for hit in hits]
    assert [hit.similarity for hit in hits] == pytest.approx([float(vectors[r] @ asked) for r in rows], abs=1e-5)
    return rows


def exact(query: int, recipe: str) -> set[int]:
    asked, vectors = (QUERIES, OLD_VECTORS) if recipe == OLD else (NEW_QUERIES, NEW_VECTORS)
    return {int(i) for i in np.argsort(-(vectors @ asked[query]))[:LIMIT]}


def recall(warehouse: Warehouse, recipe: str) -> float:
    shares = [len(exact(q, recipe).intersection(found(warehouse, q, recipe))) / LIMIT for q in range(len(QUERIES))]
    return float(np.mean(shares))


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    """Twelve videos with the vectors of the old recipe."""
    with Warehouse(database_url) as made:
        for number in range(VIDEOS):
            publish(made, number, OLD, run="first")
        yield made


@contextmanager
def searching(url: str, recalls: list[float], errors: list[BaseException]) -> Iterator[threading.Event]:
    """Somebody who searches all the time, by whatever recipe search is pinned to; the event tells of a round."""
    stop, round_done = threading.Event(), threading.Event()

    def loop() -> None:
        try:
            with Warehouse(url) as own:
                while not stop.is_set():
                    recalls.append(recall(own, str(own.spaces.pinned())))
                    round_done.set()
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - a thread's errors are the test's
            errors.append(error)
            round_done.set()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield round_done
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("through_index", [False, True])
def test_search_is_as_good_as_before_while_another_recipe_is_filled_in_and_switched(
    warehouse: Warehouse, database_url: str, monkeypatch: pytest.MonkeyPatch, through_index: bool
) -> None:
    """In a loop during all of it: no error, no hit by another recipe's vectors, no recall below that of before."""
    if through_index:
        monkeypatch.setattr(search, "EXACT_UP_TO", 20)
    before = recall(warehouse, OLD)
    warehouse.spaces.declare(NEW, WIDE)
    recalls: list[float] = []
    errors: list[BaseException] = []
    with searching(database_url, recalls, errors) as round_done:
        for number in reversed(range(VIDEOS)):
            publish(warehouse, number, NEW, run="second")
            round_done.clear()
            round_done.wait(60)
        assert warehouse.spaces.pinned() == OLD
        warehouse.spaces.switch(NEW)
        round_done.clear()
        round_done.wait(60)
        assert recall(warehouse, NEW) >= before
        assert warehouse.spaces.back().recipe == OLD
        round_done.clear()
        round_done.wait(60)
    assert not errors, errors
    assert len(recalls) > VIDEOS
    assert min(recalls) >= before
    assert recall(warehouse, OLD) >= before


def test_search_is_not_switched_before_every_event_is_covered(warehouse: Warehouse) -> None:
    """An upgrade that ended half-way is undone by doing nothing: search never left the old vectors."""
    warehouse.spaces.declare(NEW, WIDE)
    for number in range(VIDEOS - 1):
        publish(warehouse, number, NEW, run="second")
    with pytest.raises(StoreRejected, match=f"{EVENTS} of {VIDEOS * EVENTS} events have no vector of recipe m2"):
        warehouse.spaces.switch(NEW)
    old, new = warehouse.spaces.listed()
    assert (old.recipe, old.events, old.of, old.pinned) == (OLD, VIDEOS * EVENTS, VIDEOS * EVENTS, True)
    assert (new.recipe, new.events, new.dimension, new.pinned) == (NEW, (VIDEOS - 1) * EVENTS, WIDE, False)
    with pytest.raises(StoreRejected, match="never switched"):
        warehouse.spaces.back()
    with pytest.raises(StoreRejected, match="no vector of recipe m3"):
        warehouse.spaces.switch("m3")


def test_old_vectors_are_dropped_by_a_command_and_never_those_of_search(warehouse: Warehouse) -> None:
    warehouse.spaces.declare(NEW, WIDE)
    for number in range(VIDEOS):
        publish(warehouse, number, NEW, run="second")
    with pytest.raises(StoreRejected, match="search answers from recipe m1"):
        warehouse.spaces.drop(OLD)
    warehouse.spaces.switch(NEW)
    assert warehouse.spaces.drop(OLD) == VIDEOS * EVENTS
    assert [one.recipe for one in warehouse.spaces.listed()] == [NEW]
    with pytest.raises(StoreRejected, match="no vector of recipe m1"):
        warehouse.spaces.drop(OLD)
    assert recall(warehouse, NEW) == 1
    with pytest.raises(StoreRejected, match="never switched"):
        warehouse.spaces.back()


def test_what_is_new_is_found_by_the_old_vectors_too(warehouse: Warehouse) -> None:
    """An upload in the middle of an embedding upgrade: its sentences get vectors of both recipes."""
    warehouse.spaces.declare(NEW, WIDE)
    video = warehouse.register_video("/clips/late.mp4", name="late.mp4")
    rows = event_rows(2, vectors=NEW_VECTORS[:2], description=["A man sits", "A man falls"])
    unsaid = warehouse.spaces.unsaid(video.partition_key, rows["description"].tolist(), NEW)
    assert unsaid == {OLD: ["A man falls", "A man sits"]}
    assert warehouse.spaces.unsaid(video.partition_key, rows["description"].tolist(), OLD) == {}
    beside = {OLD: {"A man sits": QUERIES[0], "A man falls": QUERIES[1]}}
    warehouse.begin_analysis(video.partition_key, "late")
    made = {**RECIPES, "embeddings": NEW}
    warehouse.publish_events(video.partition_key, rows, recipes=made, analysis_id="late", beside=beside)
    assert warehouse.spaces.unsaid(video.partition_key, rows["description"].tolist(), NEW) == {}
    (hit,) = warehouse.search(QUERIES[1], embedding_recipe=OLD, limit=1)
    assert (hit.event.description, hit.event.embedding_recipe) == ("A man falls", NEW)
    assert hit.similarity == pytest.approx(1, abs=1e-6)


def test_sentences_that_are_said_no_more_leave_nothing_behind(warehouse: Warehouse) -> None:
    publish(
        warehouse,
        3,
        "m3",
        run="second",
        description=[f"Somebody sits, {i}" for i in range(EVENTS)],
        embedding=list(OLD_VECTORS[:EVENTS]),
    )
    assert {one.recipe: one.events for one in warehouse.spaces.listed()}[OLD] == (VIDEOS - 1) * EVENTS


def test_vectors_of_another_dimension_than_declared_are_refused(warehouse: Warehouse) -> None:
    warehouse.spaces.declare(NEW, WIDE)
    with pytest.raises(StoreRejected, match="have 512 numbers, not 384"):
        warehouse.spaces.declare(NEW, 384)
    with pytest.raises(SentinelError, match="expected 512"):
        warehouse.search(QUERIES[0], embedding_recipe=NEW)
    video = warehouse.register_video("/clips/0.mp4", name="0.mp4")
    rows, made = event_rows(1, vectors=OLD_VECTORS[:1]), {**RECIPES, "embeddings": NEW}
    with pytest.raises(SentinelError, match="not 512 finite"):
        warehouse.publish_events(video.partition_key, rows, recipes=made, analysis_id="first")


def test_a_warehouse_of_before_is_pinned_to_what_its_rows_carry(postgres: Server) -> None:
    """Schema 2 with rows in it, brought up to date: search finds them as before."""
    postgres.create_database("of_before")
    try:
        with Warehouse(postgres.url("of_before")) as warehouse:
            migrations.upgrade(lambda: warehouse._database.open(autocommit=False), "0002")
            with psycopg.connect(postgres.url("of_before"), autocommit=True) as connection:
                connection.execute("INSERT INTO videos (partition_key, uri, name) VALUES ('1', '/a.mp4', 'a.mp4')")
                connection.execute(
                    "INSERT INTO events (video_id, event_key, timestamp, peak_s, end_s, event_type, description, "
                    "embedding, track, confidence, needs_review, gender, attributes, evidence, recipe, recipes, "
                    "embedding_recipe) VALUES (1, 'k', 0, 1, 2, 'walking', 'A man walks', %s::vector, 1, 1, false, "
                    "'male', '{}', '{}', 'e1', '{}', 'm1')",
                    [f"[{','.join(map(str, QUERIES[0]))}]"],
                )
            warehouse.migrate()
            assert warehouse.spaces.pinned() == OLD
            (hit,) = warehouse.search(QUERIES[0], embedding_recipe=OLD)
            assert hit.similarity == pytest.approx(1, abs=1e-5)
    finally:
        postgres.drop_database("of_before")
