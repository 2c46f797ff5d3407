"""Search returns as many hits as there are, the nearest, of one embedding recipe; with an index as without one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import numpy as np
import psycopg
import pytest

from infra.local.postgres import Server
from resources import search
from resources.warehouse import SearchFilter, SearchHit, Warehouse
from sentinel_assets.vision.errors import SentinelError
from tests.builders.events import RECIPES, event_rows, unit_vectors

_VIDEOS, _EVENTS = 20, 150  # each video has so many
_VECTORS = unit_vectors(_VIDEOS * _EVENTS)
_QUERIES = unit_vectors(_VIDEOS * _EVENTS + 25)[-25:]  # of the same clusters, and none of the rows
_RARE = 50  # one event in so many is a theft


@pytest.fixture(scope="module")
def filled(postgres: Server, migrated_template: str) -> Iterator[str]:
    """3,000 events in 20 videos. The index is built after the rows: three times as fast, and the same index."""
    name = f"filled_{uuid.uuid4().hex}"
    postgres.create_database(name, template=migrated_template)
    with psycopg.connect(postgres.url(name), autocommit=True) as connection, Warehouse(postgres.url(name)) as warehouse:
        index = connection.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'events_embedding'").fetchone()
        assert index is not None
        connection.execute("DROP INDEX events_embedding")
        for number in range(_VIDEOS):
            video = warehouse.register_video(f"/clips/{number}.mp4", name=f"{number}.mp4")
            rows = event_rows(
                _EVENTS,
                vectors=_VECTORS[number * _EVENTS : (number + 1) * _EVENTS],
                event_type=["theft" if i % _RARE == 0 else "walking" for i in range(_EVENTS)],
            )
            warehouse.begin_analysis(video.partition_key, "run")
            warehouse.publish_events(video.partition_key, rows, recipes=RECIPES, analysis_id="run")
        connection.execute(index[0])
        connection.execute("ANALYZE events")
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def through_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the warehouse were large: more rows pass than are searched exactly."""
    monkeypatch.setattr(search, "EXACT_UP_TO", 20)


def rows_of(hits: list[SearchHit]) -> list[int]:
    """Positions in _VECTORS."""
    return [(hit.event.video_id - 1) * _EVENTS + int(hit.event.timestamp) for hit in hits]


def nearest(query: np.ndarray, among: np.ndarray, limit: int) -> list[int]:
    """By comparing with every vector."""
    similarity = _VECTORS[among].astype(np.float64) @ query.astype(np.float64)
    return [int(i) for i in among[np.argsort(-similarity, kind="stable")[:limit]]]


def index_scans(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'events_embedding'")
        return int((row.fetchone() or [0])[0])


_EVERYTHING = np.arange(len(_VECTORS))
_CASES = {
    "everything": (SearchFilter(), _EVERYTHING),
    "a rare type": (SearchFilter(types=("theft",)), _EVERYTHING[_EVERYTHING % _EVENTS % _RARE == 0]),
    "the first minute": (SearchFilter(end_s=59.5), _EVERYTHING[_EVERYTHING % _EVENTS < 60]),
    "one video": (SearchFilter(video_id=3), np.arange(2 * _EVENTS, 3 * _EVENTS)),
    "10 s of one video": (
        SearchFilter(video_id=3, start_s=20.5, end_s=29.5),
        np.arange(2 * _EVENTS + 20, 2 * _EVENTS + 30),
    ),
}


@pytest.mark.parametrize("case", _CASES)
def test_few_rows_are_searched_exactly(filled: str, case: str) -> None:
    wanted, among = _CASES[case]
    before = index_scans(filled)
    with Warehouse(filled) as warehouse:
        for query in _QUERIES[:8]:
            hits = warehouse.search(query, embedding_recipe="m1", wanted=wanted, limit=10)
            assert rows_of(hits) == nearest(query, among, 10)
            assert [h.similarity for h in hits] == pytest.approx(
                [float(_VECTORS[r] @ query) for r in rows_of(hits)], abs=1e-5
            )
    assert index_scans(filled) == before


@pytest.mark.parametrize("case", ["everything", "a rare type", "the first minute"])
@pytest.mark.usefixtures("through_index")
def test_the_index_finds_as_many_and_nearly_the_same(filled: str, case: str) -> None:
    wanted, among = _CASES[case]
    before, found = index_scans(filled), 0
    with Warehouse(filled) as warehouse:
        for query in _QUERIES:
            hits = warehouse.search(query, embedding_recipe="m1", wanted=wanted, limit=10)
            assert len(hits) == 10
            assert sorted(hits, key=lambda h: -h.similarity) == hits
            found += len(set(rows_of(hits)) & set(nearest(query, among, 10)))
    assert found / (10 * len(_QUERIES)) >= 0.95
    if case == "everything":
        assert index_scans(filled) == before + len(_QUERIES), "otherwise this test shows nothing"


@pytest.mark.parametrize("case", ["one video", "10 s of one video"])
@pytest.mark.usefixtures("through_index")
def test_a_search_in_one_video_never_goes_through_the_index(filled: str, case: str) -> None:
    wanted, among = _CASES[case]
    before = index_scans(filled)
    with Warehouse(filled) as warehouse:
        for query in _QUERIES:
            hits = warehouse.search(query, embedding_recipe="m1", wanted=wanted, limit=50)
            assert rows_of(hits) == nearest(query, among, 50)
    assert index_scans(filled) == before


@pytest.mark.usefixtures("through_index")
def test_hits_that_the_index_does_not_reach_are_fetched_exactly(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """59 thefts among 3,000: a walk that stops early finds some of them only."""
    with Warehouse(filled) as warehouse:
        monkeypatch.setattr(search, "EF_SEARCH", 1)
        wanted, among = _CASES["a rare type"]
        for query in _QUERIES[:5]:
            assert rows_of(warehouse.search(query, embedding_recipe="m1", wanted=wanted, limit=60)) == nearest(
                query, among, 60
            )


@pytest.mark.usefixtures("through_index")
def test_vectors_of_another_recipe_are_never_mixed_in(filled: str) -> None:
    with Warehouse(filled) as warehouse:
        video = warehouse.register_video("/clips/new.mp4", name="new.mp4")
        warehouse.begin_analysis(video.partition_key, "new")
        rows = event_rows(30, vectors=_QUERIES.repeat(2, axis=0)[:30])
        warehouse.publish_events(video.partition_key, rows, recipes={**RECIPES, "embeddings": "m2"}, analysis_id="new")
        for query in _QUERIES[:5]:
            old = warehouse.search(query, embedding_recipe="m1", limit=10)
            assert video.id not in {hit.event.video_id for hit in old}
            assert len(old) == 10
            new = warehouse.search(query, embedding_recipe="m2", limit=10)
            assert {hit.event.video_id for hit in new} == {video.id}
            assert new[0].similarity == pytest.approx(1, abs=1e-6)
        warehouse.publish_events(video.partition_key, rows[:0], recipes=RECIPES, analysis_id="new")


@pytest.mark.parametrize("vector", [[1.0] * 383, [0.0] * 384, [float("nan")] * 384, []])
def test_a_query_vector_of_another_shape_is_refused(filled: str, vector: list[float]) -> None:
    with Warehouse(filled) as warehouse, pytest.raises(SentinelError, match="expected 384"):
        warehouse.search(vector, embedding_recipe="m1")


@pytest.mark.parametrize("limit", [0, -1, 501])
def test_a_limit_out_of_bounds_is_refused(filled: str, limit: int) -> None:
    with Warehouse(filled) as warehouse, pytest.raises(SentinelError, match="limit"):
        warehouse.search(_QUERIES[0], embedding_recipe="m1", limit=limit)


def test_a_hit_names_its_video(filled: str) -> None:
    with Warehouse(filled) as warehouse:
        hit = warehouse.search(_VECTORS[_EVENTS], embedding_recipe="m1", limit=1)[0]
    assert (hit.event.video_id, hit.video_name) == (2, "1.mp4")
