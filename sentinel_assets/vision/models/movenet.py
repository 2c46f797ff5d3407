"""MoveNet MultiPose Lightning (Google, Apache-2.0): up to six people of an image, each with a box and 17 keypoints.

The TensorFlow Lite file takes one image of any size whose sides are multiples of 32, and gives, for each of six slots,
17 x (y, x, score), then ymin, xmin, ymax, xmax, score, all in fractions of the input's sides
(https://www.kaggle.com/models/google/movenet, "MultiPose Lightning"). They begin neither quite at the first pixel's
edge nor at its centre, see `OFFSET`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.protocols import Boxes, Floats, Image, Pose

STRIDE = 32
"""Both sides of the input must be multiples of this."""

OFFSET = 0.37
"""From where the network counts, input pixels from the first pixel's edge: 934 keypoints of 105 frames and of the same
frames mirrored lay 0.74 short of each other's mirror image (0 would be the edge, 1 the pixel's centre)."""

LONG_SIDE = 256
"""Input size that Google recommends for the longer side; lying people are found at it (47 of 47), larger inputs
lose close-up ones (84 people indoors: 68 found at 256, 57 at 512) and cost 28 CPU ms at 256, 101 at 512."""

MIN_SCORE = 0.2
"""A slot below this holds nobody, as far as a detector may say."""

MIN_POSE_SCORE = 0.1
"""A slot below this holds no pose. Lower than for detection: whoever asks for the pose of a known person compares it
with that person's box. Of 26 people in a store aisle, half hidden often, 18 have a pose from .2 on, 22 from .1."""

MAX_THREADS = 2
"""More than two threads do not pay at 256 px: 30 ms with one, 19 ms with two."""


@dataclass(frozen=True)
class _Person:
    """One filled slot: `box` (4,) xyxy and `keypoints` (17, 3) in pixels of the image given, `score` of the whole."""

    box: Floats
    keypoints: Floats
    score: float


@dataclass(frozen=True)
class _Letterbox:
    """An image fitted into the network's input: `canvas` (H, W, 3), and input pixels per image pixel along x and y."""

    canvas: Image
    scale: Floats

    @classmethod
    def fit(cls, image: Image, long_side: int) -> _Letterbox:
        """Scale the longer side to `long_side`, fill up to multiples of 32 with black at the right and the bottom."""
        height, width = image.shape[:2]
        ratio = long_side / max(height, width)
        inner_w, inner_h = max(1, round(width * ratio)), max(1, round(height * ratio))
        interpolation = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
        canvas = np.zeros((_round_up(inner_h), _round_up(inner_w), 3), np.uint8)
        canvas[:inner_h, :inner_w] = cv2.resize(image, (inner_w, inner_h), interpolation=interpolation)
        return cls(canvas, np.array([inner_w / width, inner_h / height], np.float32))


def _round_up(length: int) -> int:
    return -(-length // STRIDE) * STRIDE


class _Network:
    """The interpreter behind one lock: it holds its tensors between calls, so that two threads would mix images.

    There is one interpreter, resized when the input's shape changes. That costs about 2 ms; an interpreter kept for
    each shape would cost 30 MB each.
    """

    def __init__(self, weights: Path, threads: int | None) -> None:
        if not weights.is_file():
            raise ModelError("there is no such file of weights", where=weights, remedy="Run `sentinel models pull`")
        self._weights = weights
        self._lock = threading.Lock()
        self._shape: tuple[int, ...] | None = None
        try:
            with _quiet_stderr():
                self._interpreter = Interpreter(
                    model_path=str(weights), num_threads=threads or min(MAX_THREADS, os.cpu_count() or 1)
                )
            (given,) = self._interpreter.get_input_details()
            (made,) = self._interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"not a TensorFlow Lite model that can be run: {error}", where=weights, remedy="Pull it again"
            ) from error
        if given["dtype"] is not np.uint8 or tuple(made["shape"]) != (1, 6, 56):
            raise ModelError(
                f"takes {given['dtype'].__name__} and gives {tuple(made['shape'])}; "
                "MoveNet MultiPose takes uint8 and gives (1, 6, 56)",
                where=weights,
            )
        self._input, self._output = given["index"], made["index"]

    def people(self, image: Image, long_side: int, min_score: float) -> list[_Person]:
        """Everybody in the image whose slot scores at least `min_score`, best first, in pixels of the image."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise ValueError(f"an image must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
        letterbox = _Letterbox.fit(image, long_side)
        slots = self._invoke(letterbox.canvas)
        height, width = letterbox.canvas.shape[:2]
        extent = np.array([width, height], np.float32)
        found = []
        for slot in sorted(slots, key=lambda s: -s[55]):
            if slot[55] < min_score:
                break
            # y, x of 17 keypoints, then of the box's two corners.
            points = np.concatenate([slot[:51].reshape(17, 3)[:, :2], slot[51:55].reshape(2, 2)])[:, ::-1]
            points = (points * extent + OFFSET) / letterbox.scale
            keypoints = np.column_stack([points[:17], slot[2:51:3]]).astype(np.float32)
            found.append(_Person(points[17:].ravel().astype(np.float32), keypoints, float(min(1.0, slot[55]))))
        return found

    def _invoke(self, canvas: Image) -> Floats:
        with self._lock:
            if self._shape != canvas.shape:
                self._interpreter.resize_tensor_input(self._input, (1, *canvas.shape))
                with _quiet_stderr():
                    self._interpreter.allocate_tensors()
                self._shape = canvas.shape
            self._interpreter.set_tensor(self._input, canvas[None])
            self._interpreter.invoke()
            # get_tensor copies: the answer stays when the interpreter goes on.
            slots: Floats = self._interpreter.get_tensor(self._output)[0]
        if not np.isfinite(slots).all():
            raise ModelError("gave numbers that are not finite", where=self._weights)
        return slots


def _checked_side(long_side: int) -> int:
    if long_side < STRIDE or long_side % STRIDE:
        raise ValueError(f"long_side is {long_side}, expected a positive multiple of {STRIDE}")
    return long_side


class MoveNet:
    """All poses of each image (a `PoseModel`); `confidence` of a pose is the model's score of the person."""

    name = "movenet"

    def __init__(
        self,
        weights: Path,
        long_side: int = LONG_SIDE,
        *,
        min_score: float = MIN_POSE_SCORE,
        threads: int | None = None,
    ) -> None:
        self._long_side = _checked_side(long_side)
        self._min_score = min_score
        self._network = _Network(weights, threads)

    def estimate(self, images: Sequence[Image]) -> list[list[Pose]]:
        return [
            [Pose(p.keypoints, p.score) for p in self._network.people(image, self._long_side, self._min_score)]
            for image in images
        ]


class MoveNetDetector:
    """Persons by MoveNet (a `Detector`): on the whole frame, and, with `tiles`, on overlapping tiles of it.

    The whole frame at 256 px finds lying people (47 of 47 indoors, where YOLOv8n finds 57 %), but loses those who
    stand far off or at the frame's side. `tiles` are columns and rows of a landscape frame (swapped for a portrait
    one). Two columns are for shops: 15 of the 16 people that YOLOv8n sees in six frames of a store aisle, instead of
    10, and nobody who is not there; 105 CPU ms a frame. Three columns and two rows are for wide views of people a
    tenth of the frame tall (AP50 .67 -> .94 on PETS2009 S2.L1, 250 CPU ms); on close-ups they also find people
    who are not there. What a tile shows of a person that is already known is dropped (see `_merge`).
    """

    name = "movenet"

    def __init__(
        self,
        weights: Path,
        long_side: int = LONG_SIDE,
        *,
        tiles: tuple[int, int] | None = None,
        min_score: float = MIN_SCORE,
        threads: int | None = None,
    ) -> None:
        if tiles is not None and min(tiles) < 1:
            raise ValueError(f"tiles are {tiles}, expected at least one column and one row")
        self._long_side = _checked_side(long_side)
        self._tiles = tiles
        self._min_score = min_score
        self._network = _Network(weights, threads)

    def detect(self, images: Sequence[Image]) -> list[Boxes]:
        return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> Boxes:
        height, width = image.shape[:2]
        people = self._network.people(image, self._long_side, self._min_score)
        if self._tiles is not None:
            tiled: list[_Person] = []
            for x1, y1, x2, y2 in _tiles(width, height, self._tiles):
                tile = np.ascontiguousarray(image[y1:y2, x1:x2])
                for person in self._network.people(tile, self._long_side, self._min_score):
                    box = person.box + np.array([x1, y1, x1, y1], np.float32)
                    if not _is_cut(box, (x1, y1, x2, y2), width, height):
                        tiled.append(_Person(box, person.keypoints, person.score))
            people = _merge(people, tiled)
        if not people:
            return Boxes.none()
        boxes = np.stack([p.box for p in people]).clip(0, np.array([width, height] * 2, np.float32))
        visible = (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
        return Boxes(boxes[visible], np.array([p.score for p in people], np.float32)[visible])


TILE_OVERLAP = 0.4
"""Neighbouring tiles share this part of their side, so that whoever is smaller than that is whole in one of them;
.25 found 13 of the 16 people of the store aisle, .4 found 15."""

SAME_PERSON = 0.5
"""A tile's box is of a person already known when this part of the smaller of both boxes is common to them."""


def _tiles(width: int, height: int, tiles: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Pixel rectangles x1, y1, x2, y2 that cover the frame, columns and rows swapped where it stands upright."""
    columns, rows = tiles if width >= height else tiles[::-1]
    for top, bottom in _spans(height, rows):
        for left, right in _spans(width, columns):
            yield left, top, right, bottom


def _spans(length: int, count: int) -> list[tuple[int, int]]:
    """`count` spans of equal size over 0..length; neighbours overlap by TILE_OVERLAP of a span."""
    span = length / (count - (count - 1) * TILE_OVERLAP)
    starts = [i * span * (1 - TILE_OVERLAP) for i in range(count)]
    return [(round(start), max(round(start) + 1, min(length, round(start + span)))) for start in starts]


def _is_cut(box: Floats, tile: tuple[int, int, int, int], width: int, height: int) -> bool:
    """Whether the box reaches an edge of the tile that is not an edge of the frame: the tile shows part of a person,
    whom the whole frame or the neighbouring tile shows better."""
    x1, y1, x2, y2 = tile
    margin_x, margin_y = 0.01 * (x2 - x1), 0.01 * (y2 - y1)
    return bool(
        (x1 > 0 and box[0] < x1 + margin_x)
        or (y1 > 0 and box[1] < y1 + margin_y)
        or (x2 < width and box[2] > x2 - margin_x)
        or (y2 < height and box[3] > y2 - margin_y)
    )


def _merge(whole: list[_Person], tiled: list[_Person]) -> list[_Person]:
    """The whole frame's people, and of the tiles' those who are not yet among them, larger before smaller.

    Containment, not IoU: a tile that shows half of a close-up person gives a box inside that person's own.
    """
    kept = list(whole)
    for person in sorted(tiled, key=lambda p: -_area(p.box)):
        if all(_containment(person.box, known.box) < SAME_PERSON for known in kept):
            kept.append(person)
    return kept


def _area(box: Floats) -> float:
    return float(max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]))


def _containment(one: Floats, other: Floats) -> float:
    """Intersection of two boxes over the smaller of their areas."""
    common = _area(np.concatenate([np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])]))
    return common / max(1e-6, min(_area(one), _area(other)))


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """TensorFlow Lite greets on the process's stderr whenever it sets up its delegate, and has no switch for it."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, not a path of ours
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
