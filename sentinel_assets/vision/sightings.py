"""The moments at which a track shows most of the person, and the scenes around them.

For models that look at face and body: a person is cut out of the frame knowing who else is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sentinel_assets.vision.frames import frames_at
from sentinel_assets.vision.protocols import Floats, PersonCrop, Scene
from sentinel_assets.vision.tables import Sampling

FULL_BODY_HEIGHT = 224.0
"""px of the frame. From here on a body's size no longer lowers the trust in what is read from it: MiVOLO's input has
as many, and a smaller body is enlarged to it."""


@dataclass(frozen=True)
class Limits:
    """When a face is large and clear enough to be looked at (px of the frame, score in [0, 1])."""

    least_face_height: float
    full_face_height: float
    least_face_score: float


@dataclass(frozen=True)
class Sighting:
    """A track in one sample: the person's place in that sample's scene, and what its own face and body promise."""

    track: int
    sample: int
    time_s: float
    person: int
    face_promise: float
    """Height times score of the person's face; 0 where no usable one was found."""
    body_promise: float

    @property
    def promise(self) -> tuple[float, float]:
        return self.face_promise, self.body_promise


@dataclass(frozen=True)
class Moment:
    """A sampled frame as the detections table has it: boxes and scores, persons (N) and faces (M)."""

    sample: int
    time_s: float
    persons: Floats
    person_scores: Floats
    faces: Floats
    face_scores: Floats


def best_sightings(detections: pd.DataFrame, limits: Limits, count: int) -> dict[int, list[Sighting]]:
    """Of each track the `count` sightings that promise most, best first: those with a usable face if there are any,
    else those with the largest body."""
    found: dict[int, list[Sighting]] = {}
    for sample, rows in detections.groupby("sample", sort=True):
        persons, faces = rows[rows["kind"] == "person"], rows[rows["kind"] == "face"]
        face_of = {int(row["track"]): row for row in faces[faces["track"].notna()].to_dict("records")}
        for index, row in enumerate(persons.to_dict("records")):
            if pd.isna(row["track"]):
                continue
            track, face = int(row["track"]), face_of.get(int(row["track"]))
            body = (row["y2"] - row["y1"]) * row["confidence"]
            clear = 0.0
            if face is not None and _is_usable(face["y2"] - face["y1"], face["confidence"], limits):
                clear = (face["y2"] - face["y1"]) * face["confidence"]
            one = Sighting(track, int(str(sample)), float(row["time_s"]), index, float(clear), float(body))
            found.setdefault(track, []).append(one)
    best = {}
    for track, sightings in found.items():
        with_face = [one for one in sightings if one.face_promise > 0]
        ranked = sorted(with_face or sightings, key=lambda one: (-one.promise[0], -one.promise[1], one.time_s))
        best[track] = ranked[:count]
    return best


def scenes_of(
    path: Path, detections: pd.DataFrame, sightings: Sequence[Sighting]
) -> Iterator[tuple[list[Sighting], Moment, Scene]]:
    """The frame of each sample in which somebody is sighted, in order of time, with all who are in it."""
    size = Sampling.of(detections)
    samples = sorted({one.sample for one in sightings})
    moments = [_moment(detections[detections["sample"] == sample]) for sample in samples]
    for frame in frames_at(path, [moment.time_s for moment in moments]):
        moment = moments[frame.sample]
        # A stream may change its size under way: the table has one.
        scale = np.array([frame.width / size.width, frame.height / size.height] * 2, np.float32)
        scene = Scene(frame.image, moment.persons * scale, moment.faces * scale)
        yield [one for one in sightings if one.sample == moment.sample], moment, scene


def with_usable_face(crop: PersonCrop, moment: Moment, limits: Limits) -> PersonCrop:
    """The crop without its face where that is too small or too doubtful to tell anything."""
    if crop.face is None or crop.face_index is None:
        return crop
    box, score = moment.faces[crop.face_index], float(moment.face_scores[crop.face_index])
    return crop if _is_usable(float(box[3] - box[1]), score, limits) else replace(crop, face=None)


def trust_of(crop: PersonCrop, person: int, moment: Moment, limits: Limits) -> float:
    """What the picture itself allows, [0, 1], by the size and score of the better of face and body; 0 for none."""
    trust = 0.0
    if crop.body is not None:
        box = moment.persons[person]
        trust = min(1.0, float(box[3] - box[1]) / FULL_BODY_HEIGHT) * float(moment.person_scores[person])
    if crop.face is not None and crop.face_index is not None:
        box, score = moment.faces[crop.face_index], float(moment.face_scores[crop.face_index])
        trust = max(trust, min(1.0, float(box[3] - box[1]) / limits.full_face_height) * score)
    return trust


def _is_usable(height: float, score: float, limits: Limits) -> bool:
    return height >= limits.least_face_height and score >= limits.least_face_score


def _moment(rows: pd.DataFrame) -> Moment:
    persons, faces = rows[rows["kind"] == "person"], rows[rows["kind"] == "face"]
    sides = ["x1", "y1", "x2", "y2"]
    return Moment(
        int(rows["sample"].iloc[0]),
        float(rows["time_s"].iloc[0]),
        persons[sides].to_numpy(np.float32),
        persons["confidence"].to_numpy(np.float32),
        faces[sides].to_numpy(np.float32),
        faces["confidence"].to_numpy(np.float32),
    )
