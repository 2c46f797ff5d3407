"""Faces made unrecognisable in pictures of people, whether a face was detected or only the person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sentinel_assets.vision.protocols import Image

Corners = NDArray[np.float64]
"""x1, y1, x2, y2 in px."""

_FACE_CELLS = 5
"""What remains of a head are the mean colours of 3 to 5 cells across, blurred into each other. Faces have been
recognised from 16 x 16 cells (McPherson et al., "Defeating Image Obfuscation with Deep Learning", arXiv:1609.00408): a
plain mosaic of ordinary fineness hides nothing."""
_HEAD_CELLS = 3
_FACE_MARGIN = 0.35
"""Of a face box's size, on each side: detectors box the face from brow to chin, recognition uses the whole head."""
_HEAD_SHARE = (0.28, 0.55)
"""Of a person box's height, the part that is obscured: where an upright body has its head, with room to spare, and
where a person has it who is cut off at the chest."""
_HEAD_OF_SHARE = 0.54
"""A head's height in that part: 0.15 of the body's (Drillis and Contini 1966) in 0.28."""
_LYING_HEAD = 0.18
"""A head's length in the longer side of the box around a body that lies, limbs bent."""
_SURE_OF_FACE = 0.6
_UPRIGHT = 2.2
"""Height over width from which a box shows a whole upright body."""


@dataclass(frozen=True)
class Region:
    """Pixels to obscure, the end exclusive, and the size of the cells that take their place."""

    x1: int
    y1: int
    x2: int
    y2: int
    cell: int


def without_faces(image: Image, detections: pd.DataFrame) -> Image:
    """A copy of the frame in which every head that `detections` (rows of this very frame) tell of is blurred."""
    blurred = image.copy()
    for region in head_regions(detections, width=image.shape[1], height=image.shape[0]):
        part = np.s_[region.y1 : region.y2, region.x1 : region.x2]
        blurred[part] = obscured(blurred[part], region.cell)
    return blurred


def head_regions(detections: pd.DataFrame, *, width: int, height: int) -> list[Region]:
    """Where heads are: around every face, and the upper part of every person of whom no face was surely found.

    A small or doubtful face is not trusted to be where the head is: face detectors see faces in hats and in shelves.
    """
    faces, persons = (detections[detections["kind"] == kind] for kind in ("face", "person"))
    regions = [_around_face(face, width, height) for face in _corners(faces)]
    for person, track in zip(_corners(persons), persons["track"], strict=True):
        head = _head_of(person, width, height)
        own = faces[(faces["track"] == track) & (faces["confidence"] >= _SURE_OF_FACE)]
        if head and not any(_is_its_face(face, head) for face in _corners(own)):
            regions.append(head)
    return [region for region in regions if region]


def obscured(pixels: Image, cell: int) -> Image:
    """The region (H, W, 3) as blurred cells of mean colour; nothing finer than a cell is left of it."""
    from PIL import Image as Pillow
    from PIL import ImageFilter

    height, width = pixels.shape[:2]
    cells = (max(1, round(width / cell)), max(1, round(height / cell)))
    means = Pillow.fromarray(pixels).resize(cells, Pillow.Resampling.BOX)
    mosaic = means.resize((width, height), Pillow.Resampling.NEAREST)
    return np.asarray(mosaic.filter(ImageFilter.GaussianBlur(cell / 3)), np.uint8)


def _corners(detections: pd.DataFrame) -> Corners:
    """(N, 4)"""
    return detections[["x1", "y1", "x2", "y2"]].to_numpy(float)


def _around_face(face: Corners, width: int, height: int) -> Region | None:
    size = face[2:] - face[:2]
    margin = size * _FACE_MARGIN
    whole = np.concatenate([face[:2] - margin, face[2:] + margin])
    return _region(whole, float(size.max()) / _FACE_CELLS, width, height)


def _head_of(person: Corners, width: int, height: int) -> Region | None:
    """The upper part of the box; all of it for a person who lies, whose head may be at either end."""
    across, down = person[2] - person[0], max(person[3] - person[1], 1e-6)
    if across > down:
        return _region(person, float(across) * _LYING_HEAD / _HEAD_CELLS, width, height)
    upright, cut_off = _HEAD_SHARE
    share = np.clip(np.interp(down / max(across, 1e-6), (1, _UPRIGHT), (cut_off, upright)), upright, cut_off)
    top = person[1] - 0.03 * down  # hair above a tight box
    head = np.array([person[0], top, person[2], person[1] + share * down])
    return _region(head, float(share * down) * _HEAD_OF_SHARE / _HEAD_CELLS, width, height)


def _region(box: Corners, cell: float, width: int, height: int) -> Region | None:
    """The part of the box within the frame; None where there is none."""
    x1, y1 = max(0, int(np.floor(box[0]))), max(0, int(np.floor(box[1])))
    x2, y2 = min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))
    return Region(x1, y1, x2, y2, max(1, int(np.ceil(cell)))) if x1 < x2 and y1 < y2 else None


def _is_its_face(face: Corners, head: Region) -> bool:
    """Whether the face lies where the head is expected and has a head's size, about."""
    x, y = (face[0] + face[2]) / 2, (face[1] + face[3]) / 2
    expected = head.cell * _HEAD_CELLS
    return bool(head.x1 <= x <= head.x2 and head.y1 <= y <= head.y2 and face[3] - face[1] >= expected / 2)
