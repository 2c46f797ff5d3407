"""How many people are in the picture, from the first sample to the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sentinel_assets.previews import canvas
from sentinel_assets.previews.palette import BLUE, FAINT, GRID, INK
from sentinel_assets.vision.tables import Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

_STEPS = 560
"""More samples than this are drawn as the greatest count of each stretch: an eye needs two px of the picture."""


def people_per_sample(detections: pd.DataFrame) -> NDArray[np.int64]:
    """The number of persons in each sample (S,), those without anybody included."""
    samples = detections.loc[detections["kind"] == "person", "sample"].to_numpy(int)
    return np.bincount(samples, minlength=len(Sampling.of(detections).times_s))


def draw(detections: pd.DataFrame, marked_s: Sequence[float] = ()) -> Picture:
    """The count as steps; `marked_s` are the times of pictures shown beside, marked on the time axis."""
    from matplotlib.ticker import MaxNLocator

    sampling = Sampling.of(detections)
    counts = people_per_sample(detections)
    figure, axes = canvas.figure(190)
    canvas.plain(axes)
    canvas.title(axes, "People in the picture", _note(detections, counts))
    end = max(sampling.duration_s, *(sampling.times_s or (0.0,)), 1e-3)
    canvas.time_axis(axes, end)
    _steps(axes, np.asarray(sampling.times_s), counts, end)
    axes.plot(marked_s, np.zeros(len(marked_s)), "^", color=INK, markersize=6, clip_on=False, zorder=3)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_ylim(0, max(int(counts.max(initial=0)), 1) * 1.15)
    return canvas.rendered(figure)


def _steps(axes: Any, times: NDArray[np.float64], counts: NDArray[np.int64], end: float) -> None:
    if not len(times):
        axes.text(0.5, 0.5, "no frame was sampled", transform=axes.transAxes, ha="center", color=FAINT)
        return
    if len(times) > _STEPS:
        starts = np.unique(np.linspace(0, len(times), _STEPS, endpoint=False).astype(int))
        times, counts = times[starts], np.maximum.reduceat(counts, starts)
    axes.stairs(counts, [*times, max(end, times[-1] + 1e-6)], fill=True, color=BLUE, alpha=0.25, linewidth=0)
    axes.stairs(counts, [*times, max(end, times[-1] + 1e-6)], color=BLUE, linewidth=1.6, baseline=None)


def _note(detections: pd.DataFrame, counts: NDArray[np.int64]) -> str:
    tracks = int(detections.loc[detections["kind"] == "person", "track"].nunique())
    occupied = float((counts > 0).mean()) if len(counts) else 0.0
    return f"{tracks} tracked, at most {int(counts.max(initial=0))} at once, somebody there {occupied:.0%} of the time"
