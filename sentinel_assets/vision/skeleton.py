"""The 17 COCO keypoints: which is which, and what is measured between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NOSE, SHOULDERS, ELBOWS, WRISTS = 0, (5, 6), (7, 8), (9, 10)
HIPS, KNEES, ANKLES = (11, 12), (13, 14), (15, 16)


def middle(keypoints: Array, pair: tuple[int, int]) -> Array:
    """(N, 2) middle of a left and a right joint of (N, 17, 3); one of them where the other is not seen."""
    both = keypoints[:, pair, :2]
    seen = ~np.isnan(both[:, :, 0])
    total = np.where(seen[:, :, None], both, 0).sum(axis=1)
    count = seen.sum(axis=1)[:, None]
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def lean_deg(lower: Array, upper: Array) -> Array:
    """(N,) angle of the way from `lower` to `upper` (N, 2) against straight up in the image, 0-180 degrees."""
    across, up = upper[:, 0] - lower[:, 0], lower[:, 1] - upper[:, 1]
    return np.asarray(np.degrees(np.arctan2(np.abs(across), up)))


def angle_deg(one: Array, corner: Array, other: Array) -> Array:
    """(N, 2) angle at `corner` between the ways to `one` and `other`, each (N, 2, 2); 180 = straight."""
    a, b = one - corner, other - corner
    lengths = np.maximum(np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), 1e-9)
    return np.asarray(np.degrees(np.arccos(np.clip((a * b).sum(axis=-1) / lengths, -1, 1))))
