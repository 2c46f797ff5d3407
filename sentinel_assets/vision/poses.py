"""Keypoints and body orientation of every tracked person in every sampled frame.

Each person is cut out of the frame with some surroundings, and the first pose model looks at the cut-out. Those whom
it does not find, or finds badly, get a second, closer look, by the second model if there is one. Which skeleton is
taken is decided by how well it fills the person's box: the models' own scores are on different scales (YOLO11n-pose
says .8 where MoveNet says .5).

Measured on 128 persons of 105 frames (a shop, a corridor, falls and daily activities indoors): of 26 lying people
MoveNet found 25 in cut-outs with surroundings of half the box's longer side, 19 with a quarter, 23 on the whole frame;
the mirrored image gave the same skeleton to 5 % of the body's length in cut-outs, to 10 % on the whole frame. A sitting
person whose legs MoveNet loses, and one half hidden by another, are those that YOLO11n-pose gets right.

A `BodyModel` looks at each person once, by the box, and says itself where the body faces; else the orientation is read
off the keypoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sentinel_assets.vision.ahead import batches_ahead
from sentinel_assets.vision.frames import frames_at
from sentinel_assets.vision.orientation import MIN_CONFIDENCE, orientation_of
from sentinel_assets.vision.protocols import BodyModel, BodyView, Direction, Floats, Image, Pose, PoseModel
from sentinel_assets.vision.tables import POSES


@dataclass(frozen=True)
class PoseParameters:
    """How a person is cut out, and when a skeleton is that person's and good enough.

    `surroundings` are what each look gets to see around the box, as parts of the box's longer side. The first look is
    the first model's, the second the second's, and so on; whichever runs out first repeats its last, so that a single
    model looks at what it found badly once more and closer.

    A skeleton's fit is the IoU of the person's box with the extent of those keypoints that score at least
    `keypoint_score`: .7 for a person who is seen whole, as a skeleton ends at the eyes and the ankles.
    """

    surroundings: tuple[float, ...] = (0.5, 0.15)
    lying_surroundings: float = 0.8
    """Of the first look, for a box of `lying_aspect`: MoveNet found 33 of 33 such with .8, 30 with .5, 26 with .25."""
    keypoint_score: float = 0.2
    min_fit: float = 0.15
    """Below this it is somebody else, or nobody."""
    good_fit: float = 0.6
    """From here on, with `good_score`, there is no further look."""
    good_score: float = 0.45
    """Mean score of the keypoints."""
    lying_aspect: float = 1.0
    """Width over height of a box from which the first model's skeleton is taken if there is one: on lying people the
    posture from MoveNet is right in 92 of 94 frames, from YOLO11n-pose in 57."""
    batch: int = 16
    """How many cut-outs a model gets at once; they are in memory together, and as many that come next."""

    def __post_init__(self) -> None:
        if not self.surroundings or min(*self.surroundings, self.lying_surroundings) < 0:
            raise ValueError(f"surroundings are {self.surroundings}, expected at least one, none negative")
        if self.batch < 1:
            raise ValueError(f"batch is {self.batch}, expected at least 1")


@dataclass(frozen=True)
class _Person:
    """A person to find the pose of. `box` and the boxes of the `others` in the frame are px of the frame, as is
    `corner`, where the `cutout` begins."""

    sample: int
    time_s: float
    track: int
    box: Floats
    others: Floats
    corner: tuple[int, int]
    cutout: Image

    @property
    def aspect(self) -> float:
        """Width over height of the box."""
        x1, y1, x2, y2 = self.box
        return float((x2 - x1) / max(y2 - y1, 1e-6))

    def seen_with(self, surroundings: float) -> tuple[Image, Floats]:
        """The part of the cut-out that shows the box with these surroundings, and where in the frame it begins."""
        height, width = self.cutout.shape[:2]
        x1, y1, x2, y2 = _enlarged(self.box, surroundings) - np.tile(self.corner, 2)
        left, top = max(0, int(np.floor(x1))), max(0, int(np.floor(y1)))
        right, bottom = min(width, int(np.ceil(x2))), min(height, int(np.ceil(y2)))
        part = np.ascontiguousarray(self.cutout[top:bottom, left:right])
        return part, np.array([self.corner[0] + left, self.corner[1] + top], np.float32)


@dataclass(frozen=True)
class _Found:
    """A person's skeleton (17, 3) px of the frame, how well it fills the box, and who found it."""

    keypoints: Floats
    fit: float
    source: str
    direction: Direction | None = None
    """As the model itself sees it; None where it does not say."""

    @property
    def score(self) -> float:
        return float(self.keypoints[:, 2].mean().clip(0, 1))


def estimate_poses(
    path: Path,
    detections: pd.DataFrame,
    *,
    pose_models: Sequence[PoseModel | BodyModel],
    parameters: PoseParameters | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """One row (`tables.POSES`) for each person of `detections` who has a track, in their order of sample and track.

    Keypoints are given as the model saw them: one that is hidden has a low score, one beyond the frame's edge
    coordinates beyond it. Where no model found a pose that is this person's, they are null with confidence 0.
    """
    if not pose_models:
        raise ValueError("no pose model: expected at least one")
    parameters = parameters or PoseParameters()
    persons = detections[(detections["kind"] == "person") & detections["track"].notna()]
    persons = persons.sort_values(["sample", "track"], kind="stable")
    rows: list[dict[str, Any]] = []
    reach = max(*parameters.surroundings, parameters.lying_surroundings, *_reaches(pose_models))
    for batch in batches_ahead(_cutouts(path, persons, reach), parameters.batch):
        found = _find(batch, pose_models, parameters)
        rows.extend(_row(person, skeleton) for person, skeleton in zip(batch, found, strict=True))
        if on_progress:
            on_progress(len(rows) / len(persons))
    if on_progress and not rows:
        on_progress(1.0)
    return POSES.frame(rows)


def _reaches(models: Sequence[PoseModel | BodyModel]) -> list[float]:
    return [model.surroundings for model in models if isinstance(model, BodyModel)]


def _cutouts(path: Path, persons: pd.DataFrame, surroundings: float) -> Iterator[_Person]:
    """Every person with the pixels around, frame by frame; only one frame is held."""
    groups = [group for _, group in persons.groupby("sample", sort=True)]
    times = [float(group["time_s"].iloc[0]) for group in groups]
    for frame, group in zip(frames_at(path, times), groups, strict=True):
        boxes = group[["x1", "y1", "x2", "y2"]].to_numpy(np.float32)
        for index, (track, box) in enumerate(zip(group["track"], boxes, strict=True)):
            around = _enlarged(box, surroundings)
            corner = np.floor(around[:2]).clip(0).astype(int)
            yield _Person(
                sample=int(group["sample"].iloc[0]),
                time_s=times[frame.sample],
                track=int(track),
                box=box,
                others=np.delete(boxes, index, axis=0),
                corner=(int(corner[0]), int(corner[1])),
                cutout=frame.crop(*(float(side) for side in around)),
            )


def _find(
    persons: Sequence[_Person], models: Sequence[PoseModel | BodyModel], parameters: PoseParameters
) -> list[_Found | None]:
    """The skeleton of each person: the first look is at all, each next one at those who are not yet well found."""
    found: list[_Found | None] = [None] * len(persons)
    for look in range(max(len(models), len(parameters.surroundings))):
        model = models[min(look, len(models) - 1)]
        asked = [i for i in range(len(persons)) if not _is_settled(persons[i], found[i], parameters)]
        if isinstance(model, BodyModel):
            # It goes by the box: what it sees does not depend on the surroundings, and a second look would not differ.
            answers = _by_box([persons[i] for i in asked], model, parameters) if look < len(models) else []
        else:
            surroundings = [_surroundings(persons[i], look, parameters) for i in asked]
            answers = _by_cutout([persons[i] for i in asked], surroundings, model, parameters)
        for i, skeleton in zip(asked, answers, strict=False):
            known = found[i]
            if skeleton is not None and (known is None or skeleton.fit > known.fit):
                found[i] = replace(skeleton, direction=skeleton.direction or (known.direction if known else None))
    return found


def _by_cutout(
    persons: Sequence[_Person], surroundings: Sequence[float], model: PoseModel, parameters: PoseParameters
) -> list[_Found | None]:
    views = [person.seen_with(part) for person, part in zip(persons, surroundings, strict=True)]
    answers = model.estimate([image for image, _ in views]) if views else []
    return [
        _own(person, poses, corner, model.name, parameters)
        for person, (_, corner), poses in zip(persons, views, answers, strict=True)
    ]


def _by_box(persons: Sequence[_Person], model: BodyModel, parameters: PoseParameters) -> list[_Found | None]:
    """Which person is meant the model is told, so that only a skeleton that is nobody's is refused."""
    corners = [np.array(person.corner, np.float32) for person in persons]
    views = [
        BodyView(person.cutout, person.box - np.tile(corner, 2))
        for person, corner in zip(persons, corners, strict=True)
    ]
    answers = model.estimate_bodies(views) if views else []
    found: list[_Found | None] = []
    for person, corner, answer in zip(persons, corners, answers, strict=True):
        keypoints = answer.pose.keypoints.copy()
        keypoints[:, :2] += corner
        fit = float(_iou(_extent(keypoints, parameters.keypoint_score), person.box[None])[0])
        known = answer.direction if answer.direction.confidence >= MIN_CONFIDENCE else None
        found.append(_Found(keypoints, fit, model.name, known) if fit >= parameters.min_fit else None)
    return found


def _is_settled(person: _Person, found: _Found | None, parameters: PoseParameters) -> bool:
    """Whether there is no need for another look."""
    if found is None:
        return False
    if person.aspect >= parameters.lying_aspect:
        return True
    return found.fit >= parameters.good_fit and found.score >= parameters.good_score


def _surroundings(person: _Person, look: int, parameters: PoseParameters) -> float:
    if look == 0 and person.aspect >= parameters.lying_aspect:
        return parameters.lying_surroundings
    return parameters.surroundings[min(look, len(parameters.surroundings) - 1)]


def _own(
    person: _Person, poses: Sequence[Pose], corner: Floats, source: str, parameters: PoseParameters
) -> _Found | None:
    """Of all skeletons in the cut-out, the one that fills this person's box best; None when there is none that does,
    or when it fills another person's box better."""
    best: _Found | None = None
    for pose in poses:
        keypoints = pose.keypoints.copy()
        keypoints[:, :2] += corner
        extent = _extent(keypoints, parameters.keypoint_score)
        fit = float(_iou(extent, person.box[None])[0])
        if fit < parameters.min_fit or (len(person.others) and _iou(extent, person.others).max() > fit):
            continue
        if best is None or fit > best.fit:
            best = _Found(keypoints, fit, source)
    return best


def _extent(keypoints: Floats, min_score: float) -> Floats:
    """The box x1, y1, x2, y2 around the keypoints that score `min_score`; around all if those are too few for one."""
    clear = keypoints[keypoints[:, 2] >= min_score]
    points = (clear if len(clear) >= 3 else keypoints)[:, :2]
    extent: Floats = np.concatenate([points.min(axis=0), points.max(axis=0)])
    return extent


def _enlarged(box: Floats, part: float) -> Floats:
    """The box with `part` of its longer side added on every side."""
    margin = part * max(box[2] - box[0], box[3] - box[1])
    enlarged: Floats = box + np.array([-margin, -margin, margin, margin], np.float32)
    return enlarged


def _iou(box: Floats, boxes: Floats) -> Floats:
    """Intersection over union of one box with each of N, (N,)."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:], boxes[:, 2:])
    common = (high - low).clip(0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    overlap: Floats = common / np.maximum(areas - common, 1e-6)
    return overlap


def _row(person: _Person, found: _Found | None) -> dict[str, Any]:
    direction = (found.direction or orientation_of(found.keypoints)) if found else None
    return {
        "sample": person.sample,
        "time_s": person.time_s,
        "track": person.track,
        "keypoints": [float(number) for number in found.keypoints.ravel()] if found else None,
        "pose_confidence": found.score if found else 0.0,
        "orientation": direction.degrees if direction else None,
        "orientation_confidence": direction.confidence if direction else 0.0,
        "source": found.source if found else "",
    }
