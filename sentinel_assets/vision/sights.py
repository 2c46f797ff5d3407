"""What a finding shows: box and skeleton of its people at its start, its peak and its end, to be drawn later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sentinel_assets.vision.features import TrackFeatures
from sentinel_assets.vision.findings import Finding


def with_sights(finding: Finding, tracks: Mapping[int, TrackFeatures]) -> Finding:
    """The finding with its frames: nearest samples of its own track (and of the other person's, where there is one)."""
    frames: dict[tuple[int, int], dict[str, Any]] = {}
    people = [finding.track] if finding.other_track is None else [finding.track, finding.other_track]
    for moment in (finding.start_s, finding.peak_s, finding.end_s):
        for number in people:
            track = tracks[number]
            row = int(np.abs(track.times_s - moment).argmin())
            frames.setdefault((int(track.samples[row]), number), _sight(track, row))
    return replace(finding, frames=tuple(frames[key] for key in sorted(frames)))


def _sight(track: TrackFeatures, row: int) -> dict[str, Any]:
    """JSON types: coordinates px to a tenth, null for what was not seen; keypoints x, y, score, 51 numbers or null."""
    points = track.keypoints[row]
    seen = not np.isnan(points[:, 0]).all()
    flat = [None if np.isnan(v) else round(float(v), 1 if i % 3 < 2 else 2) for i, v in enumerate(points.ravel())]
    return {
        "track": track.track,
        "sample": int(track.samples[row]),
        "time_s": round(float(track.times_s[row]), 6),
        "box": [round(float(side), 1) for side in track.boxes[row]],
        "keypoints": flat if seen else None,
    }
