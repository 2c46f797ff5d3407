"""What each person did and when: a lane for each track, coloured by behavior."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from sentinel_assets.previews import canvas
from sentinel_assets.previews.palette import BEHAVIOR_COLOURS, FAINT, GRID, INK, PAPER
from sentinel_assets.vision.tables import Sampling

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_LANES = 24
ALARMS = ("violent", "collapse", "theft", "anomaly")
_LANE_PX, _FRAME_PX = 26, 110
_NARROW = 6 / canvas.WIDTH
"""Share of the width under which a bar is too small to see, and a diamond is drawn instead."""


def shown_tracks(behaviors: pd.DataFrame, count: int = MAX_LANES) -> list[int]:
    """The tracks to show, by their first appearance: those with an alarm first, then those that were there longest."""
    if behaviors.empty:
        return []
    tracks = behaviors.assign(alarm=behaviors["behavior"].isin(ALARMS)).groupby("track")
    summary = tracks.agg(start=("start_s", "min"), end=("end_s", "max"), alarm=("alarm", "max"))
    summary["length"] = summary["end"] - summary["start"]
    chosen = summary.sort_values(["alarm", "length"], ascending=False, kind="stable").head(count)
    return [int(track) for track in chosen.sort_values("start", kind="stable").index]


def draw(behaviors: pd.DataFrame, sampling: Sampling) -> Picture:
    """Bars from start to end; what is too short for a bar is a diamond at its peak; `!` marks what needs review."""
    shown = shown_tracks(behaviors)
    figure, axes = canvas.figure(_FRAME_PX + _LANE_PX * max(len(shown), 2))
    canvas.plain(axes)
    canvas.title(axes, "Behaviors", _note(behaviors, shown))
    duration = max(sampling.duration_s, float(behaviors["end_s"].max()) if shown else 0.0, 1e-3)
    canvas.time_axis(axes, duration)
    place = {track: lane for lane, track in enumerate(shown)}
    rows = behaviors[behaviors["track"].isin(shown)].sort_values("start_s", kind="stable")
    for lane in place.values():
        axes.axhline(lane, color=GRID, linewidth=0.8, zorder=0)
    for row in rows.to_dict("records"):
        _mark(axes, row, place[int(row["track"])], duration)
    axes.set_yticks(range(len(shown)), [f"track {track}" for track in shown])
    axes.set_ylim(max(len(shown), 2) - 0.4, -0.6)
    if not shown:
        axes.text(0.5, 0.5, "nobody, and so no behavior", transform=axes.transAxes, ha="center", color=FAINT)
    _legend(axes, set(rows["behavior"]))
    return canvas.rendered(figure)


def _note(behaviors: pd.DataFrame, shown: list[int]) -> str:
    hidden = behaviors["track"].nunique() - len(shown)
    tracks = f"{len(shown)} track{'' if len(shown) == 1 else 's'}" + (f", and {hidden} more" if hidden else "")
    return tracks + ("; ! is for a person to review" if behaviors["needs_review"].any() else "")


def _mark(axes: Any, row: Mapping[Hashable, Any], lane: int, duration: float) -> None:
    from matplotlib.patheffects import withStroke

    colour = BEHAVIOR_COLOURS[row["behavior"]]
    length = row["end_s"] - row["start_s"]
    if length < _NARROW * duration:
        axes.plot(
            row["peak_s"], lane, "D", color=colour, markeredgecolor=INK, markeredgewidth=0.8, markersize=8, zorder=3
        )
    else:
        raised = row["behavior"] in ALARMS
        axes.barh(
            lane,
            length,
            0.84 if raised else 0.48,
            left=row["start_s"],
            color=colour,
            edgecolor=INK if raised else PAPER,
            linewidth=0.8,
            zorder=1 if raised else 2,  # what else goes on meanwhile shows within it
        )
    if row["needs_review"]:
        outline = [withStroke(linewidth=3, foreground=PAPER)]
        style = {"ha": "center", "va": "center", "fontsize": 12, "fontweight": "bold", "color": INK, "zorder": 4}
        axes.text(row["peak_s"], lane, "!", path_effects=outline, **style)


def _legend(axes: Any, present: set[str]) -> None:
    from matplotlib.patches import Patch

    keys = [
        Patch(facecolor=colour, edgecolor=INK, linewidth=0.5, label=name)
        for name, colour in BEHAVIOR_COLOURS.items()
        if name in present
    ]
    if keys:
        axes.legend(
            handles=keys,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.02 - 26 / (axes.get_figure().get_figheight() * 100 - 60)),
            ncols=len(keys),
            frameon=False,
            fontsize=10,
            labelcolor=INK,
            handlelength=1.2,
            columnspacing=1.6,
        )
