"""Ages and genders of the tracked people, with those openly shown of whom nothing is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sentinel_assets.previews import canvas
from sentinel_assets.previews.palette import FAINT, GENDER_COLOURS, GRID, INK, PAPER

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_DECADES = tuple(range(0, 80, 10))
_LABELS = (*(f"{decade}-{decade + 9}" for decade in _DECADES[:-1]), f"{_DECADES[-1]}+", "age unknown")
_GENDERS = ("female", "male", "unknown")


def counts(demographics: pd.DataFrame) -> pd.DataFrame:
    """People by age (the decades, and unknown) and gender (female, male, unknown)."""
    ages = demographics["age"].to_numpy(float)
    decade = np.where(np.isnan(ages), -1, np.clip(np.nan_to_num(ages) // 10, 0, len(_DECADES) - 1)).astype(int)
    groups = pd.Categorical([_LABELS[index] for index in decade], categories=list(_LABELS))
    genders = pd.Categorical(demographics["gender"].tolist(), categories=list(_GENDERS))
    return pd.crosstab(groups, genders, dropna=False)


def draw(demographics: pd.DataFrame) -> Picture:
    """Stacked bars; the bar of unknown ages stands apart."""
    from matplotlib.ticker import MaxNLocator

    people = counts(demographics)
    figure, axes = canvas.figure(360)
    canvas.plain(axes)
    known_ages = int(demographics["age"].notna().sum())
    known_genders = int((demographics["gender"] != "unknown").sum())
    canvas.title(
        axes,
        "Age and gender",
        f"{len(demographics)} tracks, age known of {known_ages}, gender known of {known_genders}",
    )
    places = np.arange(len(_LABELS), dtype=float)
    places[-1] += 0.6
    base = np.zeros(len(_LABELS))
    for gender in _GENDERS:
        heights = people[gender].to_numpy(float)
        name = f"{gender}: {int(heights.sum())}" if gender != "unknown" else f"gender unknown: {int(heights.sum())}"
        axes.bar(places, heights, 0.78, bottom=base, color=GENDER_COLOURS[gender], edgecolor=PAPER, label=name)
        base += heights
    for place, height in zip(places, base, strict=True):
        if height:
            axes.text(place, height, f"{int(height)}", ha="center", va="bottom", fontsize=10, color=INK)
    if demographics.empty:
        axes.text(0.5, 0.5, "nobody was tracked", transform=axes.transAxes, ha="center", color=FAINT)
    axes.set_xticks(places, _LABELS)
    axes.set_ylim(0, max(base.max(initial=0), 1) * 1.3)  # room for the legend above the highest bar
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.legend(loc="upper left", frameon=False, fontsize=10, labelcolor=INK, ncols=3)
    return canvas.rendered(figure)
