"""Detections and poses of single samples, a second apart, as a small video would have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sentinel_assets.vision.tables import DETECTIONS, Sampling

WIDTH, HEIGHT = 320, 240
"""px of the frame."""


def box(
    sample: int, track: int | None, corners: tuple[float, ...], kind: str = "person", **others: Any
) -> dict[str, Any]:
    row = {"sample": sample, "time_s": float(sample), "kind": kind, "track": track, "confidence": 0.9, "source": "test"}
    return {**row, **dict(zip(("x1", "y1", "x2", "y2"), corners, strict=True)), "landmarks": None, **others}


def detections(rows: list[dict[str, Any]], samples: int, width: int = WIDTH, height: int = HEIGHT) -> pd.DataFrame:
    table = DETECTIONS.conform(DETECTIONS.frame(rows)).to_pandas()
    times = tuple(float(sample) for sample in range(samples))
    table.attrs["sampling"] = Sampling(width, height, float(samples), 1.0, times).to_json()
    return table


def pose(sample: int, track: int, **others: Any) -> dict[str, Any]:
    keypoints = np.concatenate([np.random.default_rng(track).uniform(20, 200, (17, 2)), np.full((17, 1), 0.9)], axis=1)
    row = {"sample": sample, "time_s": float(sample), "track": track, "keypoints": keypoints.astype(np.float32).ravel()}
    facing = {
        "pose_confidence": 0.9,
        "orientation": 30.0 * track % 360,
        "orientation_confidence": 0.8,
        "source": "test",
    }
    return {**row, **facing, **others}
