"""Faces and bodies as MiVOLO cuts them out of a frame: whose face is whose, and what of a body shows of others.

Boxes are cut to whole px towards zero, as the reference does; a rounded box would be another crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from sentinel_assets.vision.protocols import Floats, Image, PersonCrop, Scene

Boxes = NDArray[np.int64]

LEAST_BODY = 50
"""px. A person's crop less high or wide is missing."""

LEAST_SHOWN = 0.4
"""Of a person's crop must be left after others were painted out of it, else it is missing."""

SNAP = 0.3
"""Where a person who is painted out leaves a strip narrower than this part of the crop, the strip goes too."""

_LEAST_FIT, _TOUCHING = 1e-4, 1e-6


@dataclass(frozen=True)
class Pair:
    """A row for the network: a face with its person, or one of them alone (places in the scene)."""

    face: int | None
    person: int | None


def pairs_of(scene: Scene, *, use_faces: bool = True, use_bodies: bool = True) -> list[Pair]:
    """The rows of a scene in the reference's order: faces with their persons, faces without, persons without.

    A face and a person are matched by the Hungarian method, on the mean of their IoU and of the part of the face that
    lies in the person. With one of the two left out there is nothing to match.
    """
    faces, persons = range(len(scene.faces)), range(len(scene.persons))
    if not use_bodies:
        return [Pair(face, None) for face in faces] if use_faces else []
    if not use_faces:
        return [Pair(None, person) for person in persons]
    person_of = matched(scene)
    rows = [Pair(face, person_of[face]) for face in faces if face in person_of]
    rows += [Pair(face, None) for face in faces if face not in person_of]
    return rows + [Pair(None, person) for person in persons if person not in person_of.values()]


def matched(scene: Scene) -> dict[int, int]:
    """Face -> person."""
    faces, persons = _whole(scene.faces), _whole(scene.persons)
    if not len(faces) or not len(persons):
        return {}
    fit = np.array([[_fit(person, face) for face in faces] for person in persons])
    pairs = zip(*linear_sum_assignment(fit, maximize=True), strict=True)
    found = {int(face): int(person) for person, face in pairs if fit[person, face] > _LEAST_FIT}
    return dict(sorted(found.items()))


def face_crop(scene: Scene, face: int, side: int) -> Image | None:
    """The face, letterboxed; None where its box has no area within the frame."""
    x1, y1, x2, y2 = _clamped(_whole(scene.faces), scene.image)[face]
    part = scene.image[y1:y2, x1:x2]
    return letterboxed(part, side) if part.size else None


def body_crop(scene: Scene, person: int, side: int) -> Image | None:
    """The person, all others and all faces (the own too) painted black, letterboxed; None where too little shows."""
    painted = painted_body(scene, person)
    return None if painted is None else letterboxed(painted, side)


def painted_body(scene: Scene, person: int) -> Image | None:
    """The person's crop in the frame's own px, before it is scaled."""
    count = len(scene.persons)
    boxes = np.concatenate([_whole(scene.persons), _whole(scene.faces)])
    clamped = _clamped(boxes, scene.image)
    x1, y1, x2, y2 = clamped[person]
    height, width = int(y2 - y1), int(x2 - x1)
    if height < LEAST_BODY or width < LEAST_BODY:
        return None
    crop = scene.image[y1:y2, x1:x2].copy()
    for index, other in enumerate(boxes):
        if index == person or _iou(clamped[person], clamped[index]) < _TOUCHING:
            continue
        left, right = np.clip(other[[0, 2]] - x1, 0, width)
        top, bottom = np.clip(other[[1, 3]] - y1, 0, height)
        if index < count:
            left, right = _snapped(left, right, width)
            top, bottom = _snapped(top, bottom, height)
        crop[top:bottom, left:right] = 0
    # Pixels that were black before count as painted out: so does the reference, and dark frames lose bodies by it.
    return crop if np.count_nonzero(crop) / crop.size >= LEAST_SHOWN else None


def crops_of(scene: Scene, pairs: Sequence[Pair], side: int) -> list[PersonCrop]:
    return [
        PersonCrop(
            None if pair.face is None else face_crop(scene, pair.face, side),
            None if pair.person is None else body_crop(scene, pair.person, side),
            pair.face,
        )
        for pair in pairs
    ]


def letterboxed(image: Image, side: int) -> Image:
    """The image scaled to fit a black square of `side` px, in its middle; smaller ones are enlarged."""
    height, width = image.shape[:2]
    if (height, width) == (side, side):
        return image
    scale = min(side / height, side / width)
    inner = round(width * scale), round(height * scale)
    if inner != (width, height):
        image = np.asarray(cv2.resize(image, _at_least_one(inner), interpolation=cv2.INTER_LINEAR), np.uint8)
    across, down = (side - image.shape[1]) / 2, (side - image.shape[0]) / 2
    canvas = np.zeros((side, side, 3), np.uint8)
    top, left = round(down - 0.1), round(across - 0.1)
    canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return canvas


def _at_least_one(size: tuple[int, int]) -> tuple[int, int]:
    """A strip a few px thick may come to nothing, at which the reference fails."""
    return max(1, size[0]), max(1, size[1])


def _whole(boxes: Floats) -> Boxes:
    return np.trunc(boxes).astype(np.int64).reshape(-1, 4)


def _clamped(boxes: Boxes, image: Image) -> Boxes:
    """To the last row and column, of which a crop at the border therefore lacks one: so does the reference."""
    height, width = image.shape[:2]
    clamped: Boxes = boxes.clip(0, np.array([width - 1, height - 1] * 2))
    return clamped


def _snapped(first: np.int64, last: np.int64, length: int) -> tuple[int, int]:
    return (
        0 if first / length < SNAP else int(first),
        length if (length - last) / length < SNAP else int(last),
    )


def _common(one: Boxes, other: Boxes) -> float:
    return float((np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])).clip(0).prod())


def _area(box: Boxes) -> float:
    return float((box[2:] - box[:2]).clip(0).prod())


def _iou(one: Boxes, other: Boxes) -> float:
    common = _common(one, other)
    both = _area(one) + _area(other) - common
    return common / both if both > 0 else 0.0


def _fit(person: Boxes, face: Boxes) -> float:
    area = _area(face)
    return (_iou(person, face) + _common(person, face) / area) / 2 if area > 0 else 0.0
