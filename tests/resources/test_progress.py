"""How far a video is: never back within an analysis, and 100 only with rows."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.warehouse import Video, Warehouse
from sentinel_assets.vision.errors import StoreRejected
from tests.builders.events import RECIPES, event_rows

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
