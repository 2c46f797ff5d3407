"""Up to twelve frames of a video that tell most of its people, with their boxes, ids and times."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sentinel_assets.previews import annotation, canvas, people_over_time
from sentinel_assets.previews.palette import PAPER, rgb
from sentinel_assets.vision.frames import Frame
from sentinel_assets.vision.tables import Sampling

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_FRAMES = 12
_FRAMES_OF_AN_EMPTY_VIDEO = 4
_GAP = 8


def telling_times(detections: pd.DataFrame, count: int = MAX_FRAMES) -> list[float]:
    """Exact sample times, ascending: spread over the samples with people, in each stretch the one that shows the most
    people not shown before; of a video without people a few evenly spread ones."""
    times = Sampling.of(detections).times_s
    persons = detections[detections["kind"] == "person"]
    shown_in = {int(str(sample)): set(tracks) for sample, tracks in persons.groupby("sample")["track"]}
    if not shown_in:
        chosen = (
            {round(place) for place in np.linspace(0, len(times) - 1, _FRAMES_OF_AN_EMPTY_VIDEO)} if times else set()
        )
        return [times[sample] for sample in sorted(chosen)]
    seen: set[float] = set()
    best = []
    for stretch in np.array_split(sorted(shown_in), min(count, len(shown_in))):
        sample = max(stretch.tolist(), key=lambda s: (len(shown_in[s] - seen), len(shown_in[s]), -s))
        seen |= shown_in[sample]
        best.append(times[sample])
    return best


def draw(frames: Iterable[Frame], detections: pd.DataFrame, *, show_faces: bool = False) -> Picture:
    """The frames (of sampled times) in a grid, below them how many people there are over time."""
    from PIL import Image as Pillow

    cells, times = [], []
    sampling = Sampling.of(detections)
    count = len(telling_times(detections))
    columns, width, height = _grid(max(count, 1), sampling.width / sampling.height)
    for frame in frames:
        cells.append(_cell(frame, detections, width, height, show_faces=show_faces))
        times.append(frame.time_s)
    chart = people_over_time.draw(detections, times)
    rows = -(-len(cells) // columns)
    top = rows * (height + _GAP)
    sheet = Pillow.new("RGB", (canvas.WIDTH, top + chart.height), rgb(PAPER))
    for place, cell in enumerate(cells):
        row, column = divmod(place, columns)
        sheet.paste(cell, (column * (width + _GAP), row * (height + _GAP)))
    sheet.paste(chart, (0, top))
    return sheet


def _grid(count: int, aspect: float) -> tuple[int, int, int]:
    """Columns, and width and height of a cell, px: narrow pictures stand more abreast than wide ones."""
    columns = min(count, 4 if aspect >= 1 else 6)
    width = (canvas.WIDTH - (columns - 1) * _GAP) // columns
    height = min(max(round(width / aspect), 24), 420)
    return columns, min(width, max(round(height * aspect), 24)), height


def _cell(frame: Frame, detections: pd.DataFrame, width: int, height: int, *, show_faces: bool) -> Picture:
    from PIL import ImageDraw

    picture = annotation.scaled(annotation.private_image(frame, detections, show_faces=show_faces), width, height)
    draw = ImageDraw.Draw(picture)
    rows = annotation.rows_of(frame, detections)
    across, down = width / frame.width, height / frame.height
    for row in rows[rows["kind"] == "person"].to_dict("records"):
        corners = (row["x1"] * across, row["y1"] * down, row["x2"] * across, row["y2"] * down)
        annotation.box(draw, corners, None if pd.isna(row["track"]) else int(row["track"]))
    annotation.time_stamp(draw, frame.time_s)
    return picture
