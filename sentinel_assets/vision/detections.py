"""Persons and their faces in the sampled frames of a video, joined to tracks.

Persons are looked for in whole frames; faces in the head of each person, enlarged, where a face of 14 px is found that
no face detector sees in the whole frame. A detector that finds both looks at whole frames only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from sentinel_assets.vision.ahead import batches_ahead
from sentinel_assets.vision.frames import Clip, Frame
from sentinel_assets.vision.protocols import (
    JOINED,
    Boxes,
    Detector,
    FaceDetector,
    Faces,
    Floats,
    Image,
    PeopleDetector,
)
from sentinel_assets.vision.tables import DETECTIONS, Sampling
from sentinel_assets.vision.tracking import Tracker

Progress = Callable[[float], None]

_WHOLE_FRAME = -1
"""In the place of a person's index: where faces were looked for."""


@dataclass(frozen=True)
class DetectionParameters:
    """Shares are of the person's box; lengths are px of the source frame unless said otherwise."""

    batch: int = 8
    """Frames that the detectors are given at once; bounds the memory."""
    long_side: int = 1280
    """px. Larger frames are shrunk to this before persons are looked for; no detector looks closer."""
    head_height: float = 0.4
    """Share of the box's height in which the head is: it is 1/7.5 of an upright body, more of one that sits."""
    head_aspect: float = 0.6
    """And at least this share of its width: a close-up shows less than a body, a lying one has its head at the side."""
    head_margin: float = 0.1
    """Of the head region, added at its top and sides: boxes cut hair and ears."""
    head_side: int = 256
    """px of the face detector's input, into which the head region is fitted."""
    least_person_height: float = 80.0
    """Smaller people are not searched for faces: theirs have 10 px, in which nobody can be told."""
    same_face: float = 0.3
    """Intersection over union from which faces found in two people's heads are one."""
    brief_hits: int = 3
    """A track of at most so many samples that only one of several models saw, and one of a single sample whoever saw
    it, must reach the next confidence once."""
    brief_confidence: float = 0.5
    """Coats on a wall that YOLOv8n took for a person had .33 and .44; people seen by it alone had .58 and more."""
    still_share: float = 0.06
    """Of a box's height, within which its middle stays in four of five samples of a track when a thing was taken for a
    person. Coats on a wall stayed within .046 at 5 samples a second; people whom one model alone saw moved by .35."""
    still_confidence: float = 0.7
    """What never moves and only one of several models saw must reach this once: those coats had up to .63."""
    lone_confidence: float = 0.3
    """Where one model looks, a find in one single sample must reach this."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not np.isfinite(value) or value < 0:
                raise ValueError(f"{field.name} is {value}, expected a number of at least 0")
        for name in ("batch", "long_side", "head_side"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")


def detect_people(
    frames: Iterable[Frame],
    clip: Clip,
    *,
    detector: Detector | PeopleDetector,
    face_detector: FaceDetector | None,
    parameters: DetectionParameters | None = None,
    on_progress: Progress | None = None,
) -> pd.DataFrame:
    """The DETECTIONS table of these frames (ascending), with the Sampling in its attrs.

    A person has one row in a sample, and at most one face. Tracks are numbered from 1 in the order of appearance.
    Frames are consumed as they come, a batch at a time, in another thread. A detector that finds faces itself (a
    `PeopleDetector`) takes no face detector.
    """
    if (face_detector is None) != isinstance(detector, PeopleDetector):
        raise ValueError(f"{detector.name} needs a face detector if, and only if, it finds no faces itself")
    parameters = parameters or DetectionParameters()
    sights = look(frames, detector, face_detector, parameters)
    return tracked(_told(sights, clip, on_progress), clip, parameters, several=JOINED in detector.name)


def look(
    frames: Iterable[Frame],
    detector: Detector | PeopleDetector,
    face_detector: FaceDetector | None,
    parameters: DetectionParameters,
) -> Iterator[Sight]:
    """What is seen in each of the frames, which are consumed as they come; another thread decodes and shrinks a batch
    while the detectors look at the one before."""
    shrunk = ((frame, _shrunk(frame, parameters.long_side)) for frame in frames)
    for batch in batches_ahead(shrunk, parameters.batch):
        yield from _look(batch, detector, face_detector, parameters)


def tracked(sights: Iterable[Sight], clip: Clip, parameters: DetectionParameters, *, several: bool) -> pd.DataFrame:
    """The DETECTIONS table of what was seen, by time; `several`: more than one model looked for persons."""
    tracker = Tracker((clip.width, clip.height))
    rows: list[dict[str, Any]] = []
    times: list[float] = []
    for sight in sights:
        ids = tracker.update(sight.frame.time_s, sight.persons, sight.appearance)
        rows += _rows(sight, ids, clip)
        times.append(sight.frame.time_s)
    rows = _without_chance_finds(rows, parameters, several=several)
    table = DETECTIONS.frame(_numbered(rows))
    table.attrs["sampling"] = Sampling(clip.width, clip.height, clip.duration_s, _rate(times), tuple(times)).to_json()
    return table


def _told(sights: Iterable[Sight], clip: Clip, on_progress: Progress | None) -> Iterator[Sight]:
    for sight in sights:
        yield sight
        if on_progress and clip.duration_s > 0:
            on_progress(min(1.0, sight.frame.time_s / clip.duration_s))
    if on_progress:
        on_progress(1.0)


@dataclass(frozen=True)
class Moment:
    """A frame without its pixels: ordinal among the samples, presentation time s, size px."""

    sample: int
    time_s: float
    width: int
    height: int


@dataclass(frozen=True)
class Sight:
    """What was seen in one frame: persons (N) with their appearance (N, D), faces (M) and whose each is (-1: nobody's).
    Boxes are px of the frame."""

    frame: Moment
    persons: Boxes
    appearance: Floats
    faces: Faces
    face_of: list[int]
    sources: tuple[str, str]
    """Names of those who found the persons and the faces."""


def _look(
    batch: Sequence[tuple[Frame, Image]],
    detector: Detector | PeopleDetector,
    face_detector: FaceDetector | None,
    parameters: DetectionParameters,
) -> Iterator[Sight]:
    frames, images = [frame for frame, _ in batch], [image for _, image in batch]
    if isinstance(detector, PeopleDetector):
        for frame, image, people in zip(frames, images, detector.detect_people(images), strict=True):
            seen = _in_frame(people.persons, image, frame)
            found = Faces.without_landmarks(_in_frame(people.faces.boxes, image, frame))
            yield _sight(frame, seen, [(_WHOLE_FRAME, found)], parameters, (detector.name, detector.name))
        return
    assert face_detector is not None
    persons = [
        _in_frame(boxes, image, frame)
        for boxes, image, frame in zip(detector.detect(images), images, frames, strict=True)
    ]
    heads = [
        (at, index, _Head.of(frame, box, parameters))
        for at, (frame, boxes) in enumerate(zip(frames, persons, strict=True))
        for index, box in enumerate(boxes.xyxy)
        if max(box[3] - box[1], box[2] - box[0]) >= parameters.least_person_height
    ]
    in_heads = face_detector.detect([head.canvas for _, _, head in heads])
    by_frame: dict[int, list[tuple[int, Faces]]] = defaultdict(list)
    for (at, index, head), faces in zip(heads, in_heads, strict=True):
        by_frame[at].append((index, head.to_frame(faces)))
    for at, frame in enumerate(frames):
        yield _sight(frame, persons[at], by_frame[at], parameters, (detector.name, face_detector.name))


def _sight(
    frame: Frame,
    persons: Boxes,
    found: Sequence[tuple[int, Faces]],
    parameters: DetectionParameters,
    sources: tuple[str, str],
) -> Sight:
    faces, face_of = assign_faces(persons, found, parameters.same_face)
    if len(persons):
        frame.keep()
    moment = Moment(frame.sample, frame.time_s, frame.width, frame.height)
    return Sight(moment, persons, _appearances(frame, persons), faces, face_of, sources)


def _shrunk(frame: Frame, long_side: int) -> Image:
    return frame.image if max(frame.width, frame.height) <= long_side else frame.resized(long_side)


def _in_frame(boxes: Boxes, image: Image, frame: Frame) -> Boxes:
    """Boxes of the shrunk image in px of the frame, cut at its edges, without those of which nothing is left."""
    scale = np.array([frame.width / image.shape[1], frame.height / image.shape[0]] * 2, np.float32)
    xyxy = (boxes.xyxy * scale).clip(0, np.array([frame.width, frame.height] * 2, np.float32))
    kept = np.flatnonzero((xyxy[:, 2] - xyxy[:, 0] >= 1) & (xyxy[:, 3] - xyxy[:, 1] >= 1))
    source = tuple(boxes.source[i] for i in kept) if boxes.source else ()
    return Boxes(xyxy[kept], boxes.confidence[kept], source)


@dataclass(frozen=True)
class _Head:
    """The region of a person's head, fitted into a square: `canvas`, its corner in the frame, and its scale."""

    canvas: Image
    corner: Floats
    scale: float
    """px of the canvas for one px of the frame."""

    @classmethod
    def of(cls, frame: Frame, box: Floats, parameters: DetectionParameters) -> _Head:
        import cv2

        x1, y1, x2, y2 = (float(v) for v in box)
        width, height = x2 - x1, y2 - y1
        tall = min(height, max(parameters.head_height * height, parameters.head_aspect * width))
        margin = parameters.head_margin * max(tall, min(width, tall))
        left, top = max(0.0, np.floor(x1 - margin)), max(0.0, np.floor(y1 - margin))
        crop = frame.crop(left, top, x2 + margin, y1 + tall)
        side = parameters.head_side
        scale = side / max(crop.shape[:2])
        inner = (max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale)))
        canvas = np.zeros((side, side, 3), np.uint8)
        shrinks = scale < 1
        canvas[: inner[1], : inner[0]] = cv2.resize(
            crop, inner, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        )
        return cls(canvas, np.array([left, top], np.float32), scale)

    def to_frame(self, faces: Faces) -> Faces:
        boxes = faces.boxes.xyxy / self.scale + np.tile(self.corner, 2)
        return Faces(
            Boxes(boxes.astype(np.float32), faces.boxes.confidence),
            (faces.landmarks / self.scale + self.corner).astype(np.float32),
        )


def assign_faces(persons: Boxes, found: Sequence[tuple[int, Faces]], same_face: float) -> tuple[Faces, list[int]]:
    """Faces of one frame, each once, and the person that each belongs to (-1: nobody).

    `found` are the faces seen in the head of each person (by index), or in the whole frame. A person gets at most one
    face and a face at most one person: the pairing with the largest total fit, by the Hungarian method.
    """
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(f.boxes.xyxy for _, f in found)])
    scores = np.concatenate([np.zeros(0, np.float32), *(f.boxes.confidence for _, f in found)])
    marks = np.concatenate([np.zeros((0, 5, 2), np.float32), *(f.landmarks for _, f in found)])
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if all(_iou(boxes[index], boxes[k]) < same_face for k in kept):
            kept.append(int(index))
    faces = Faces(Boxes(boxes[kept], scores[kept]), marks[kept])
    face_of = [-1] * len(kept)
    if kept and len(persons):
        fit = np.array([[_fit(face, person) for face in faces.boxes.xyxy] for person in persons.xyxy])
        for person, face in zip(*linear_sum_assignment(fit, maximize=True), strict=True):
            if fit[person, face] > 0:
                face_of[face] = int(person)
    return faces, face_of


def _fit(face: Floats, person: Floats) -> float:
    """How well a face sits in a person's box: 1 at the middle of its top, 0 outside of it."""
    width, height = person[2] - person[0], person[3] - person[1]
    centre = (face[:2] + face[2:]) / 2
    across = abs(float(centre[0] - (person[0] + person[2]) / 2)) / float(width / 2)
    down = float(centre[1] - person[1]) / float(height)
    return max(0.0, 1 - across**2) * max(0.0, 1 - max(down, 0.0)) * _contained(face, person)


def _contained(inner: Floats, outer: Floats) -> float:
    """The share of `inner` that lies in `outer`."""
    size = np.minimum(inner[2:], outer[2:]) - np.maximum(inner[:2], outer[:2])
    area = float((inner[2:] - inner[:2]).prod())
    return float(size.clip(0).prod()) / area if area > 0 else 0.0


def _iou(one: Floats, other: Floats) -> float:
    common = float((np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])).clip(0).prod())
    both = float((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod()) - common
    return common / both if both > 0 else 0.0


def _appearances(frame: Frame, persons: Boxes) -> Floats:
    """How each person looks, (N, 112): colours of the upper and of the lower half of the body."""
    if not len(persons):
        return np.zeros((0, 112), np.float32)
    return np.stack([_appearance(frame, box) for box in persons.xyxy])


def _appearance(frame: Frame, box: Floats) -> Floats:
    """Histograms of hue and saturation (12 x 4) and of value (8) for two halves of the body's middle, without head,
    feet and what is beside it; square roots, so that the angle between two is the Bhattacharyya angle."""
    import cv2

    x1, y1, x2, y2 = (float(v) for v in box)
    inset = 0.2 * (x2 - x1)
    body = cv2.resize(frame.crop(x1 + inset, y1, x2 - inset, y2), (32, 80), interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(body, cv2.COLOR_RGB2HSV)
    parts = []
    for part in (hsv[12:40], hsv[40:72]):
        colour = np.asarray(cv2.calcHist([part], [0, 1], None, [12, 4], [0, 180, 0, 256]), np.float32)
        light = np.asarray(cv2.calcHist([part], [2], None, [8], [0, 256]), np.float32).reshape(8, 1)
        around = np.asarray(np.roll(colour, 1, axis=0) + np.roll(colour, -1, axis=0), np.float32)  # hue is a circle
        parts += [np.sqrt(_shared(h) / h.sum()).ravel() for h in ((2 * colour + around).T, light)]
    look = np.concatenate(parts).astype(np.float32)
    return look / np.float32(np.linalg.norm(look))


def _shared(histogram: Floats) -> Floats:
    """Each bin's content shared with its neighbours along the first axis, so that a little more light, which moves all
    of it by one bin, does not make another person."""
    padded = np.pad(histogram, [(1, 1), (0, 0)], mode="edge")
    return np.asarray((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4, np.float32)


def _rows(sight: Sight, ids: Sequence[int] | Any, clip: Clip) -> list[dict[str, Any]]:
    """One row for each person of the sample (two views of one are one: the surer), and one for each face."""
    frame = sight.frame
    # A stream may change its size under way: the table has one.
    scale = np.array([clip.width / frame.width, clip.height / frame.height], np.float32)
    best: dict[int, int] = {}
    for index, track in enumerate(ids):
        held = best.get(int(track))
        if held is None or sight.persons.confidence[index] > sight.persons.confidence[held]:
            best[int(track)] = index
    rows = [
        _row(
            frame,
            sight.persons.xyxy[index] * np.tile(scale, 2),
            kind="person",
            track=track,
            confidence=float(sight.persons.confidence[index]),
            source=sight.persons.source[index] if sight.persons.source else sight.sources[0],
        )
        for track, index in sorted(best.items())
    ]
    taken: set[int] = set()
    for face, person in enumerate(sight.face_of):
        track = int(ids[person]) if person >= 0 else None
        track = None if track in taken else track
        if track is not None:
            taken.add(track)
        box = sight.faces.boxes.xyxy[face].clip(0, [frame.width, frame.height] * 2) * np.tile(scale, 2)
        if (box[2:] - box[:2] < 1).any():
            continue
        confidence = float(sight.faces.boxes.confidence[face])
        row = _row(frame, box, kind="face", track=track, confidence=confidence, source=sight.sources[1])
        landmarks = sight.faces.landmarks[face]
        known = not np.isnan(landmarks).any()
        rows.append({**row, "landmarks": (landmarks * scale).ravel().tolist() if known else None})
    return rows


def _row(frame: Moment, box: Floats, *, kind: str, track: int | None, confidence: float, source: str) -> dict[str, Any]:
    x1, y1, x2, y2 = (float(v) for v in box)
    return {
        "sample": frame.sample,
        "time_s": frame.time_s,
        "kind": kind,
        "track": track,
        "x1": x1,
        "y1": y1,
        "x2": x2,
        "y2": y2,
        "confidence": min(1.0, max(0.0, confidence)),
        "source": source,
        "landmarks": None,
    }


def _without_chance_finds(
    rows: list[dict[str, Any]], parameters: DetectionParameters, *, several: bool
) -> list[dict[str, Any]]:
    """Without the tracks that are unsure, unconfirmed, and brief or motionless: they are coats and curtains. A single
    sample is confirmed by nobody: where a body is seen twice, both models may see it twice."""
    by_track: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "person":
            by_track[row["track"]].append(row)
    is_chance = _is_chance_among_several if several else _is_chance_of_one
    dropped = {track for track, seen in by_track.items() if is_chance(seen, parameters)}
    return [row for row in rows if row["track"] not in dropped]


def _is_chance_of_one(seen: Sequence[dict[str, Any]], parameters: DetectionParameters) -> bool:
    return len(seen) == 1 and seen[0]["confidence"] < parameters.lone_confidence


def _is_chance_among_several(seen: Sequence[dict[str, Any]], parameters: DetectionParameters) -> bool:
    best = max(row["confidence"] for row in seen)
    if len(seen) > 1 and any(JOINED in row["source"] for row in seen):
        return False
    is_brief = len(seen) <= parameters.brief_hits and best < parameters.brief_confidence
    return is_brief or (len(seen) > 1 and best < parameters.still_confidence and _is_still(seen, parameters))


def _is_still(seen: Sequence[dict[str, Any]], parameters: DetectionParameters) -> bool:
    boxes = np.array([[row["x1"], row["y1"], row["x2"], row["y2"]] for row in seen])
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    height = float(np.median(boxes[:, 3] - boxes[:, 1]))
    low, high = np.quantile(middles, [0.1, 0.9], axis=0)  # a box that is cut short once in a while has not moved
    return bool((high - low <= parameters.still_share * height).all())


def _numbered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tracks renumbered 1, 2, ... in the order in which their ids were given."""
    numbers = {
        track: n for n, track in enumerate(sorted({r["track"] for r in rows if r["track"] is not None}), start=1)
    }
    return [{**row, "track": numbers.get(row["track"])} for row in rows]


def _rate(times: Sequence[float]) -> float:
    """Samples a second: the usual distance of two, which one long gap does not change."""
    return 1 / median(b - a for a, b in pairwise(times)) if len(times) > 1 else 1.0
