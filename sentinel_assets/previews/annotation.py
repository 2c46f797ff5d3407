"""What is written and drawn upon frames: boxes, labels, times."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sentinel_assets.previews.palette import INK, PAPER, is_light, rgb, track_colour
from sentinel_assets.previews.privacy import without_faces
from sentinel_assets.vision.errors import TableError
from sentinel_assets.vision.frames import Frame
from sentinel_assets.vision.models.template import clock
from sentinel_assets.vision.protocols import Image

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageDraw import ImageDraw

_SAME_TIME_S = 1e-3
"""Presentation times of one frame, read twice, differ by rounding only."""


def rows_of(frame: Frame, detections: pd.DataFrame) -> pd.DataFrame:
    """The detections of this very frame.

    Raises TableError when the frame is none of the sampled ones: where nothing is known, no face could be hidden.
    """
    from sentinel_assets.vision.tables import Sampling

    times = np.asarray(Sampling.of(detections).times_s)
    if not len(times) or np.abs(times - frame.time_s).min() > _SAME_TIME_S:
        raise TableError(f"the frame at {frame.time_s:.3f} s is none of the sampled ones", where="preview")
    return detections[(detections["time_s"] - frame.time_s).abs() <= _SAME_TIME_S]


def private_image(frame: Frame, detections: pd.DataFrame, *, show_faces: bool) -> Image:
    """The whole frame, its faces hidden unless they are to be shown. Raises TableError as `rows_of` does."""
    rows = rows_of(frame, detections)
    return frame.image if show_faces else without_faces(frame.image, rows)


@cache
def font(size: int) -> Any:
    """Pillow's own typeface (Aileron): there on every machine, Latin letters only."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def box(draw: ImageDraw, corners: tuple[float, float, float, float], track: int | None) -> None:
    """A person's outline with the track's number on it; corners in px of the picture."""
    colour = track_colour(track) if track is not None else PAPER
    x1, y1, x2, y2 = corners
    draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=rgb(INK), width=1)
    draw.rectangle((x1, y1, x2, y2), outline=rgb(colour), width=2)
    if track is not None:
        label(draw, (x1, y1), str(track), colour=colour, size=12)


def label(draw: ImageDraw, corner: tuple[float, float], text: str, *, colour: str, size: int) -> None:
    """Text on a field of that colour, whose top left corner is given, kept within the picture."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font(size))
    width, height = right - left + 8, bottom - top + 6
    canvas_width, canvas_height = draw.im.size
    x = min(max(corner[0], 0), max(canvas_width - width, 0))
    y = min(max(corner[1], 0), max(canvas_height - height, 0))
    draw.rounded_rectangle((x, y, x + width, y + height), radius=3, fill=rgb(colour))
    ink = INK if is_light(colour) else PAPER
    draw.text((x + 4 - left, y + 3 - top), text, font=font(size), fill=rgb(ink))


def time_stamp(draw: ImageDraw, seconds: float, *, size: int = 13) -> None:
    """The time in the lower left corner."""
    label(draw, (5, draw.im.size[1] - size - 10), clock(seconds), colour=INK, size=size)


def scaled(image: Image, width: int, height: int) -> Picture:
    """The image at that size in px."""
    from PIL import Image as Pillow

    return Pillow.fromarray(image).resize((width, height), Pillow.Resampling.LANCZOS)
