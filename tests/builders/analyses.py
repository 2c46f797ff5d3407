"""Rows of behaviors, demographics and poses as an analysis leaves them, for what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from sentinel_assets.vision.tables import BEHAVIORS_TABLE, DEMOGRAPHICS, POSES


def behavior(
    label: str = "standing", track: int = 1, start_s: float = 0.0, end_s: float = 5.0, **others: Any
) -> dict[str, Any]:
    """A row of BEHAVIORS_TABLE."""
    return {
        "track": track,
        "other_track": None,
        "behavior": label,
        "start_s": start_s,
        "peak_s": (start_s + end_s) / 2,
        "end_s": end_s,
        "confidence": 0.8,
        "needs_review": False,
        "evidence": '{"rule": "test"}',
        **others,
    }


def person(track: int = 1, **others: Any) -> dict[str, Any]:
    """A row of DEMOGRAPHICS of which nothing is known unless said."""
    return {
        "track": track,
        "age": None,
        "age_low": None,
        "age_high": None,
        "age_confidence": 0.0,
        "gender": "unknown",
        "gender_confidence": 0.0,
        "faces_used": 0,
        "face_height": None,
        "reason": "" if {"age", "gender"} <= others.keys() else "no face was seen",
        **others,
    }


def facing(
    track: int, times_s: Sequence[float], degrees: Sequence[float | None], confidence: float = 0.8
) -> list[dict[str, Any]]:
    """Rows of POSES without keypoints: where the body faces at these times."""
    return [
        {
            "sample": sample,
            "time_s": float(time_s),
            "track": track,
            "keypoints": None,
            "pose_confidence": 0.0,
            "orientation": orientation,
            "orientation_confidence": 0.0 if orientation is None else confidence,
            "source": "test",
        }
        for sample, (time_s, orientation) in enumerate(zip(times_s, degrees, strict=True))
    ]


def tables(
    behaviors: list[dict[str, Any]],
    people: list[dict[str, Any]] | None = None,
    poses: list[dict[str, Any]] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The three tables, as they come back from Parquet; people default to one unknown person for each track."""
    if people is None:
        people = [person(track) for track in sorted({row["track"] for row in behaviors})]
    chosen = ((BEHAVIORS_TABLE, behaviors), (DEMOGRAPHICS, people), (POSES, poses or []))
    behaviors_table, demographics, poses_table = (
        table.conform(table.frame(rows)).to_pandas() for table, rows in chosen
    )
    return behaviors_table, demographics, poses_table
