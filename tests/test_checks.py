"""Each asset check passes what is right and fails the one thing that it is for."""

from __future__ import annotations

from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from sentinel_assets.checks import boxes_inside_the_frame, boxes_result, times_result, tracks_result, vectors_result
from sentinel_assets.partitions import videos
from sentinel_assets.vision.tables import BEHAVIORS_TABLE, DETECTIONS, EMBEDDINGS, Sampling


def _detections(times: tuple[float, ...] = (0.0, 1.0, 2.0), **changes: Any) -> pd.DataFrame:
    rows = [
        {
            "sample": i,
            "time_s": t,
            "kind": "person",
            "track": 1,
            "x1": 10.0,
            "y1": 10.0,
            "x2": 50.0,
            "y2": 90.0,
            "confidence": 0.9,
            "source": "test",
            "landmarks": None,
            **changes,
        }
        for i, t in enumerate(times)
    ]
    frame = DETECTIONS.frame(rows)
    frame.attrs["sampling"] = Sampling(100, 100, 3.0, 1.0, times).to_json()
    return frame


def _behavior(**changes: Any) -> pd.DataFrame:
    row = {
        "track": 1,
        "other_track": None,
        "behavior": "standing",
        "start_s": 0.0,
        "peak_s": 1.0,
        "end_s": 2.0,
        "confidence": 0.8,
        "needs_review": False,
        "evidence": "{}",
    }
    return BEHAVIORS_TABLE.frame([{**row, **changes}])


@pytest.mark.parametrize(
    ("detections", "passes"),
    [
        (_detections(), True),
        (_detections(()), True),  # a video of which no frame was sampled has no wrong time
        (_detections((-0.5, 1.0)), False),  # before the beginning
        (_detections((0.0, 9.0)), False),  # after the end of a 3 s video
        (_detections(time_s=1.0), False),  # rows that stand on another time than their sample
        (_detections(time_s=float("nan")), False),  # rows of no time at all
        (_detections((0.0, float("nan"))), False),  # a sample of no time
        (_detections(sample=7), False),  # a sample that was never taken
    ],
)
def test_times_lie_within_the_video(detections: pd.DataFrame, passes: bool) -> None:
    """Each way in which a time can be wrong."""
    assert times_result(detections).passed is passes


@pytest.mark.parametrize(
    ("box", "passes"),
    [
        ({}, True),
        ({"x1": 0.0, "y1": 0.0, "x2": 100.0, "y2": 100.0}, True),  # the whole frame
        ({"x1": -2.0}, False),  # out at the left
        ({"x2": 102.0}, False),  # out at the right
        ({"x2": 10.0}, False),  # no width
        ({"y2": 5.0}, False),  # upside down
        ({"y1": float("nan")}, False),  # not a number
    ],
)
def test_boxes_lie_inside_the_frame(box: dict[str, float], passes: bool) -> None:
    """Out at a side, empty, turned over, not a number."""
    assert boxes_result(_detections(**box)).passed is passes


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        ({}, True),
        ({"track": 2}, False),  # a person whom nobody detected
        ({"end_s": 30.0}, False),  # long after the person left
        ({"start_s": -5.0}, False),  # before the person came
        ({"end_s": float("nan")}, False),  # at no time
    ],
)
def test_a_behavior_needs_its_track(change: dict[str, Any], passes: bool) -> None:
    """Of a track that is there, while it was there."""
    assert tracks_result(_behavior(**change), _detections()).passed is passes


@pytest.mark.parametrize(
    ("vector", "passes"),
    [
        (np.eye(384, dtype=np.float32)[0], True),
        (np.ones(384, np.float32), False),  # not of unit norm
        (np.full(384, np.nan, np.float32), False),  # not finite
        (np.eye(512, dtype=np.float32)[0], False),  # of another encoder
    ],
)
def test_vectors_are_of_unit_norm(vector: np.ndarray, passes: bool) -> None:
    """Each way in which a vector can spoil a search."""
    assert vectors_result(EMBEDDINGS.frame([{"event_key": "a", "vector": vector}]), 384).passed is passes


class _Log:
    """An AnalysisLog that only remembers."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, str, str]] = []

    def fail(self, partition: str, run_id: str, reason: str) -> None:
        self.failures.append((partition, run_id, reason))


@pytest.mark.parametrize(("x1", "told"), [(10.0, False), (-2.0, True)])  # inside the frame; out at the left
def test_a_check_that_stops_the_analysis_says_so_on_the_videos_row(x1: float, told: bool) -> None:
    """Whoever started the run: no hook of an asset hears of a check that failed."""
    log = _Log()

    @dg.asset(partitions_def=videos)
    def detections() -> pd.DataFrame:
        return _detections(x1=x1)

    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(videos.name), ["7"])
        run = dg.materialize(
            [detections, boxes_inside_the_frame],
            partition_key="7",
            instance=instance,
            resources={"analysis_log": log},
            raise_on_error=False,
        )
    assert run.success is not told
    expected = [("7", run.run_id, "detections: the check boxes_inside_the_frame failed.")] if told else []
    assert [(partition, run_id, reason.partition(" See")[0]) for partition, run_id, reason in log.failures] == expected
