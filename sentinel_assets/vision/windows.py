"""Which samples lie around each sample in time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def windows(times_s: NDArray[np.float64], half_s: float) -> list[slice]:
    """For each of the ascending times the samples within `half_s` seconds of it, itself included."""
    first = np.searchsorted(times_s, times_s - half_s - 1e-6)
    after = np.searchsorted(times_s, times_s + half_s + 1e-6, side="right")
    return [slice(int(a), int(b)) for a, b in zip(first, after, strict=True)]
