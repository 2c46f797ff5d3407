"""A camera's zones and lines drawn over a frame, so that a person sees whether they lie where they should."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from sentinel_assets.previews import annotation, canvas
from sentinel_assets.previews.palette import BLUE, GREEN, INK, ORANGE, PURPLE, VERMILION, rgb
from sentinel_assets.vision.cameras import Camera
from sentinel_assets.vision.frames import Frame
from sentinel_assets.vision.tables import Sampling

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

ZONE_COLOURS: Mapping[str, str] = {
    "shelf": ORANGE,
    "checkout": GREEN,
    "exit": BLUE,
    "seat": PURPLE,
    "restricted": VERMILION,
}
_FILL_ALPHA = 60


def telling_time(detections: pd.DataFrame) -> float | None:
    """The first sampled time at which the fewest people hide the place; None of a video without samples."""
    sampling = Sampling.of(detections)
    if not sampling.times_s:
        return None
    counts = detections.loc[detections["kind"] == "person", "sample"].value_counts()
    return sampling.times_s[min(range(len(sampling.times_s)), key=lambda sample: int(counts.get(sample, 0)))]


def draw(frame: Frame, camera: Camera, detections: pd.DataFrame, *, show_faces: bool = False) -> Picture:
    """The frame with every zone filled in the colour of its kind, named, and every line with an arrow to its inside."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    image = annotation.private_image(frame, detections, show_faces=show_faces)
    scale = canvas.WIDTH / frame.width
    picture = annotation.scaled(image, canvas.WIDTH, max(1, round(frame.height * scale)))
    there = camera.scaled(*picture.size)
    veil = Pillow.new("RGBA", picture.size, (0, 0, 0, 0))
    brush = ImageDraw.Draw(veil)
    for zone in there.zones:
        brush.polygon(zone.polygon, fill=(*rgb(ZONE_COLOURS[zone.kind]), _FILL_ALPHA))
    picture = Pillow.alpha_composite(picture.convert("RGBA"), veil).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for zone in there.zones:
        colour = ZONE_COLOURS[zone.kind]
        draw.line([*zone.polygon, zone.polygon[0]], fill=rgb(colour), width=3)
        top = min(zone.polygon, key=lambda point: (point[1], point[0]))
        annotation.label(draw, top, f"{zone.name} ({zone.kind})", colour=colour, size=14)
    for line in there.lines:
        (x1, y1), (x2, y2) = line.start, line.end
        draw.line([line.start, line.end], fill=rgb(INK), width=4)
        middle, length = ((x1 + x2) / 2, (y1 + y2) / 2), max(((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5, 1.0)
        inside = ((y1 - y2) / length * 30 + middle[0], (x2 - x1) / length * 30 + middle[1])
        draw.line([middle, inside], fill=rgb(INK), width=4)
        draw.ellipse((inside[0] - 5, inside[1] - 5, inside[0] + 5, inside[1] + 5), fill=rgb(INK))
        annotation.label(draw, line.start, f"{line.name} (in)", colour=INK, size=14)
    return picture
