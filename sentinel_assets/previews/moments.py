"""One moment of a video: the frame with its people's boxes and skeletons, and a line of words below."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sentinel_assets.previews import annotation, skeletons
from sentinel_assets.previews.palette import INK, PAPER, rgb
from sentinel_assets.vision.frames import Frame
from sentinel_assets.vision.models.template import clock
from sentinel_assets.vision.tables import Sampling

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_BAND = 26
"""px of the line of words."""


def sampled_near(detections: pd.DataFrame, moment_s: float) -> float | None:
    """The sampled time nearest to a moment: only of those is it known where faces are. None without samples."""
    times = Sampling.of(detections).times_s
    return min(times, key=lambda time_s: abs(time_s - moment_s)) if times else None


def draw(
    frame: Frame,
    detections: pd.DataFrame,
    poses: pd.DataFrame,
    caption: str,
    *,
    width: int = 480,
    tracks: Collection[int] | None = None,
    show_faces: bool = False,
) -> Picture:
    """The whole frame at `width` px; boxes and skeletons of all tracked people, or of those `tracks`."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    scale = width / frame.width
    height = max(1, round(frame.height * scale))
    image = annotation.private_image(frame, detections, show_faces=show_faces)
    picture = Pillow.new("RGB", (width, height + _BAND), rgb(PAPER))
    picture.paste(annotation.scaled(image, width, height), (0, 0))
    draw = ImageDraw.Draw(picture)
    here = annotation.rows_of(frame, detections)
    people = here[(here["kind"] == "person") & here["track"].notna()]
    for row in people.to_dict("records"):
        track = int(row["track"])
        if tracks is not None and track not in tracks:
            continue
        annotation.box(draw, tuple(row[side] * scale for side in ("x1", "y1", "x2", "y2")), track)
        for keypoints in poses[(poses["sample"] == row["sample"]) & (poses["track"] == track)]["keypoints"]:
            if keypoints is not None:
                points = np.asarray(keypoints, float).reshape(17, 3) * (scale, scale, 1.0)
                skeletons.skeleton(draw, points)
    draw.text((6, height + 5), f"{clock(frame.time_s)}  {caption}", font=annotation.font(13), fill=rgb(INK))
    return picture
