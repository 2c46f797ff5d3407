"""A few people with the skeleton that was found in them, and a dial of where the body faces."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sentinel_assets.previews import annotation, canvas
from sentinel_assets.previews.palette import GREEN, INK, ORANGE, PAPER, SKY, rgb
from sentinel_assets.vision.frames import Frame
from sentinel_assets.vision.models.template import facing
from sentinel_assets.vision.protocols import Image

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageDraw import ImageDraw

MAX_CROPS = 10
_COLUMNS, _GAP = 5, 8
_WIDTH = (canvas.WIDTH - (_COLUMNS - 1) * _GAP) // _COLUMNS
_HEIGHT = 300
_PADDING = 0.15
_MIN_SCORE = 0.2

# Bones of the 17 COCO keypoints: middle, the person's left, the person's right.
_BONES = {
    GREEN: ((5, 6), (11, 12), (0, 1), (0, 2), (1, 3), (2, 4)),
    SKY: ((5, 7), (7, 9), (5, 11), (11, 13), (13, 15)),
    ORANGE: ((6, 8), (8, 10), (6, 12), (12, 14), (14, 16)),
}
_WORDS = {"away": "from behind", "left": "facing left", "camera": "facing the camera", "right": "facing right"}


def telling_poses(poses: pd.DataFrame, count: int = MAX_CROPS) -> pd.DataFrame:
    """Rows with keypoints, by time: the clearest pose of each track, and then the clearest of each stretch of time."""
    found = poses[poses["keypoints"].notna()].sort_values("pose_confidence", ascending=False, kind="stable")
    first = found.drop_duplicates("track")
    rest = found.drop(first.index).sort_values("time_s", kind="stable")
    places = np.array_split(np.arange(len(rest)), max(count - len(first), 1))
    clearest = [place[rest["pose_confidence"].to_numpy()[place].argmax()] for place in places if len(place)]
    chosen = pd.concat([first, rest.iloc[clearest]]).head(count)
    return chosen.sort_values(["time_s", "track"], kind="stable")


def draw(
    frames: Iterable[Frame], poses: pd.DataFrame, detections: pd.DataFrame, *, show_faces: bool = False
) -> Picture:
    """The persons of `poses` (as of `telling_poses`), cut from the frames of their times."""
    from PIL import Image as Pillow

    cells = [cell for frame in frames for cell in _cells(frame, poses, detections, show_faces=show_faces)]
    rows = max(1, -(-len(cells) // _COLUMNS))
    columns = min(max(len(cells), 1), _COLUMNS)
    sheet = Pillow.new("RGB", (columns * (_WIDTH + _GAP) - _GAP, rows * (_HEIGHT + _GAP) - _GAP), rgb(PAPER))
    if not cells:
        from PIL import ImageDraw

        annotation.label(ImageDraw.Draw(sheet), (12, 12), "no pose was found", colour=PAPER, size=14)
    for place, cell in enumerate(cells):
        row, column = divmod(place, _COLUMNS)
        sheet.paste(cell, (column * (_WIDTH + _GAP), row * (_HEIGHT + _GAP)))
    return sheet


def _cells(frame: Frame, poses: pd.DataFrame, detections: pd.DataFrame, *, show_faces: bool) -> list[Picture]:
    here = annotation.rows_of(frame, detections)
    persons = here[here["kind"] == "person"].set_index("track")
    wanted = poses[(poses["time_s"] - frame.time_s).abs() < 1e-3]
    image = annotation.private_image(frame, detections, show_faces=show_faces)
    cells = []
    for pose in wanted.to_dict("records"):
        box = persons.loc[[pose["track"]], ["x1", "y1", "x2", "y2"]].to_numpy(float)[0]
        cells.append(_cell(image, box, pose))
    return cells


def _cell(image: Image, box: Any, pose: Mapping[Hashable, Any]) -> Picture:
    from PIL import ImageDraw

    (x1, y1, x2, y2), scale = _surroundings(box, image.shape[1], image.shape[0])
    picture = _cut(image, (x1, y1, x2, y2))
    draw = ImageDraw.Draw(picture)
    points = np.asarray(pose["keypoints"], float).reshape(17, 3)
    points[:, :2] = (points[:, :2] - (x1, y1)) * scale
    skeleton(draw, points)
    words = _WORDS.get(facing(_known(pose["orientation"])) or "", "direction unknown")
    annotation.label(draw, (5, 5), f"{int(pose['track'])}  {words}", colour=INK, size=13)
    annotation.time_stamp(draw, float(pose["time_s"]))
    if (degrees := _known(pose["orientation"])) is not None:
        _dial(draw, degrees)
    return picture


def _surroundings(box: Any, width: int, height: int) -> tuple[tuple[float, float, float, float], float]:
    """The part of the frame of a cell's shape around the padded box, within the frame where that is large enough, and
    px of the cell in one px of the frame."""
    across, down = (box[2] - box[0]) * (1 + 2 * _PADDING), (box[3] - box[1]) * (1 + 2 * _PADDING)
    scale = min(_WIDTH / max(across, 1), _HEIGHT / max(down, 1))
    part_width, part_height = _WIDTH / scale, _HEIGHT / scale
    x = _within((box[0] + box[2] - part_width) / 2, part_width, width)
    y = _within((box[1] + box[3] - part_height) / 2, part_height, height)
    return (x, y, x + part_width, y + part_height), scale


def _within(start: float, length: float, whole: float) -> float:
    return (whole - length) / 2 if length >= whole else min(max(start, 0.0), whole - length)


def _cut(image: Image, part: tuple[float, float, float, float]) -> Picture:
    """That part of the frame at the size of a cell; what lies beyond the frame is dark."""
    from PIL import Image as Pillow

    return Pillow.fromarray(image).transform(
        (_WIDTH, _HEIGHT), Pillow.Transform.EXTENT, part, Pillow.Resampling.BICUBIC, fillcolor=rgb(INK)
    )


def skeleton(draw: ImageDraw, points: Any) -> None:
    for colour, bones in _BONES.items():
        for start, end in bones:
            if min(points[start, 2], points[end, 2]) >= _MIN_SCORE:
                ends = [*points[start, :2], *points[end, :2]]
                draw.line(ends, fill=rgb(INK), width=6)
                draw.line(ends, fill=rgb(colour), width=3)
    for x, y, score in points:
        if score >= _MIN_SCORE:
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=rgb(PAPER), outline=rgb(INK))


def _dial(draw: ImageDraw, degrees: float) -> None:
    """A compass seen from above, the camera at the bottom: the arrow points to where the body faces."""
    radius = 22
    x, y = _WIDTH - radius - 8, _HEIGHT - radius - 8
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=rgb(PAPER), outline=rgb(INK), width=2)
    angle = math.radians(degrees)
    tip = (-math.sin(angle), -math.cos(angle))  # 0 is away from the camera (up), 90 the image's left
    side = (-tip[1], tip[0])
    ahead, behind, wide = radius * 0.8, radius * 0.55, radius * 0.45
    arrow = [
        (x + tip[0] * ahead, y + tip[1] * ahead),
        (x - tip[0] * behind + side[0] * wide, y - tip[1] * behind + side[1] * wide),
        (x - tip[0] * behind * 0.4, y - tip[1] * behind * 0.4),
        (x - tip[0] * behind - side[0] * wide, y - tip[1] * behind - side[1] * wide),
    ]
    draw.polygon(arrow, fill=rgb(ORANGE), outline=rgb(INK))


def _known(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)
