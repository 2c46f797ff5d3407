"""Event rows as the analysis would hand them to the warehouse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resources.warehouse import Video, Warehouse
from sentinel_assets.vision.tables import EMBEDDING_DIMENSION, EVENTS

RECIPES = {"detections": "d1", "behaviors": "b1", "embeddings": "m1", "events": "e1"}


def unit_vectors(count: int, *, seed: int = 0) -> NDArray[np.float32]:
    """(count, 384) of unit norm, in clusters as sentences make them: a few dozen directions, a small spread in each."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((40, EMBEDDING_DIMENSION))
    spread = rng.standard_normal((24, EMBEDDING_DIMENSION)) / 6
    vectors = centres[rng.integers(0, 40, count)] + rng.standard_normal((count, 24)) @ spread
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def event_rows(count: int, *, vectors: NDArray[np.float32] | None = None, **columns: Any) -> pd.DataFrame:
    """A `tables.EVENTS` frame of so many events, one a second; `columns` replace a column, by a value or a list."""
    embedding = unit_vectors(count) if vectors is None else vectors
    frame = EVENTS.frame(
        [
            {
                "event_key": f"walking-{i}",
                "timestamp": float(i),
                "peak_s": i + 0.5,
                "end_s": i + 1.0,
                "event_type": "walking",
                "track": 1,
                "other_track": None,
                "confidence": 0.75,
                "needs_review": False,
                "age": 31.0,
                "age_low": 25.0,
                "age_high": 36.0,
                "gender": "male",
                "orientation": 180.0,
                "attributes": "{}",
                "evidence": '{"rule": "speed", "samples": [1, 2]}',
                "description": f"A man walks, {i}",
                "embedding": embedding[i],
            }
            for i in range(count)
        ]
    )
    return frame.assign(**columns)


def publish(warehouse: Warehouse, video: Video, events: pd.DataFrame, analysis: str = "run-1") -> int:
    """The events, as the result of that analysis."""
    warehouse.begin_analysis(video.partition_key, analysis)
    return warehouse.publish_events(video.partition_key, events, recipes=RECIPES, analysis_id=analysis)
