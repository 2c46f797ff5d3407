"""The warehouse on a real PostgreSQL: what is read is what was written, and nobody's text is code."""

from __future__ import annotations

import pytest

from resources.warehouse import SearchFilter, Video, Warehouse
from sentinel_assets.vision.errors import SentinelError, StoreRejected
from tests.builders.events import event_rows, publish

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
