"""Age and gender of each track, from its best faces, or from its best views of face and body where the model looks at
both; what they do not show is unknown, with the reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sentinel_assets.vision.frames import Frame, frames_at
from sentinel_assets.vision.protocols import (
    AttributeModel,
    Attributes,
    FaceCrop,
    Floats,
    PersonAttributeModel,
    PersonCrop,
)
from sentinel_assets.vision.sightings import Limits, best_sightings, scenes_of, trust_of, with_usable_face
from sentinel_assets.vision.tables import DEMOGRAPHICS, UNKNOWN, Sampling


@dataclass(frozen=True)
class DemographicsParameters:
    """Heights are px of the source frame, confidences [0, 1]."""

    faces: int = 3
    """Looked at for each track: the best by height, score and frontality. More cost time and bring worse pictures."""
    least_face_height: float = 32.0
    """Below this the networks answer with noise: at 17 px they called a man of the sample photos a woman."""
    full_face_height: float = 48.0
    """From this height on size no longer lowers the confidence: from 175 px down to 58 the two men of a sample photo
    kept their gender, and their ages to within 5 years."""
    least_face_score: float = 0.6
    """Of the face detector. Long hair that it took for a face had .5, and the networks an opinion on it."""
    least_frontality: float = 0.55
    """1 is a face turned to the camera, 0 one in profile; see `frontality`. Men in profile, 41 px tall, were women to
    the network with a probability of up to .99, and one who looked down was 11 years old."""
    turned_face_height: float = 96.0
    """From this height on a turned face is taken too, with less trust: one of 183 px in near profile was told right."""
    age_error: float = 10.0
    """Years. The network's publisher states no error; it made the two men of known age in a sample photo 11 and 8 years
    older than they were."""
    least_age_confidence: float = 0.25
    least_gender_confidence: float = 0.5
    crop_margin: float = 0.6
    """Of the face's size, kept around it for the alignment."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not np.isfinite(value) or value < 0:
                raise ValueError(f"{field.name} is {value}, expected a number of at least 0")
        if self.faces < 1 or self.full_face_height <= 0:
            raise ValueError("faces and full_face_height must be above 0")


PERSONS_AT_ONCE = 64
"""Cut-outs that a model of face and body is given together; 0.3 MB each."""


_NO_LANDMARKS = np.full((5, 2), np.nan, np.float32)


@dataclass(frozen=True)
class _Estimate:
    """What a model said of one picture of a track, and what the picture allows, [0, 1]."""

    attributes: Attributes
    trust: float
    shows_face: bool = True


@dataclass(frozen=True)
class _Face:
    """A face of a track: when it was seen, its box (4,) and landmarks (5, 2), px of the clip, and how good it is."""

    track: int
    time_s: float
    box: Floats
    landmarks: Floats
    score: float

    @property
    def height(self) -> float:
        return float(self.box[3] - self.box[1])

    @property
    def frontality(self) -> float:
        return frontality(self.landmarks, self.height)

    @property
    def quality(self) -> float:
        return self.height * self.score * (0.1 + self.frontality)  # a profile before nothing, after all else


def estimate_demographics(
    path: Path,
    detections: pd.DataFrame,
    *,
    attribute_model: AttributeModel | PersonAttributeModel,
    parameters: DemographicsParameters | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """The DEMOGRAPHICS table: one row for each track of `detections`, in order of the track.

    Only the frames of the chosen faces or persons are decoded; none, where none is large enough.
    """
    parameters = parameters or DemographicsParameters()
    report = on_progress or _ignore
    tracks = sorted(int(t) for t in detections.loc[detections["kind"] == "person", "track"].unique())
    seen = _faces(detections)
    faces = {track: seen.get(track, []) for track in tracks}
    estimates: dict[int, list[_Estimate]] = {track: [] for track in tracks}
    if isinstance(attribute_model, PersonAttributeModel):
        found = _of_persons(path, detections, attribute_model, parameters, report)
        why_none = _why_no_person
    else:
        found = _of_faces(path, detections, faces, attribute_model, parameters, report)
        why_none = _why_no_face
    for track, estimate in found:
        estimates[track].append(estimate)
    rows = [_row(track, faces[track], estimates[track], parameters, why_none) for track in tracks]
    report(1.0)
    return DEMOGRAPHICS.frame(rows)


def _of_faces(
    path: Path,
    detections: pd.DataFrame,
    faces: dict[int, list[_Face]],
    model: AttributeModel,
    parameters: DemographicsParameters,
    report: Callable[[float], None],
) -> Iterator[tuple[int, _Estimate]]:
    wanted = sorted((face for seen in faces.values() for face in _best(seen, parameters)), key=lambda face: face.time_s)
    if not wanted:
        return
    size = Sampling.of(detections)
    for done, (face, crop) in enumerate(_crops(path, wanted, (size.width, size.height), parameters), start=1):
        (attributes,) = model.estimate([crop])
        yield face.track, _Estimate(attributes, _trust(face, parameters))
        report(done / len(wanted))


def _of_persons(
    path: Path,
    detections: pd.DataFrame,
    model: PersonAttributeModel,
    parameters: DemographicsParameters,
    report: Callable[[float], None],
) -> Iterator[tuple[int, _Estimate]]:
    limits = Limits(parameters.least_face_height, parameters.full_face_height, parameters.least_face_score)
    best = best_sightings(detections, limits, parameters.faces)
    wanted = [one for some in best.values() for one in some]
    waiting: list[tuple[int, PersonCrop, float]] = []
    done = 0

    def answered() -> Iterator[tuple[int, _Estimate]]:
        nonlocal done
        answers = model.estimate_crops([crop for _, crop, _ in waiting])
        for (track, crop, trust), attributes in zip(waiting, answers, strict=True):
            if attributes is not None:
                yield track, _Estimate(attributes, trust, crop.face is not None)
        done += len(waiting)
        waiting.clear()
        report(done / len(wanted))

    for sightings, moment, scene in scenes_of(path, detections, wanted):
        asked = [one.person for one in sightings]
        for one, whole in zip(sightings, model.crop(scene, asked), strict=True):
            crop = with_usable_face(whole, moment, limits)
            waiting.append((one.track, crop, trust_of(crop, one.person, moment, limits)))
        if len(waiting) >= PERSONS_AT_ONCE:
            yield from answered()
    if waiting:
        yield from answered()


def frontality(landmarks: Floats, face_height: float) -> float:
    """How far a face is turned to the camera, [0, 1], from its five landmarks (5, 2).

    Turning the head brings the eyes together (0.35 of the face's height apart when frontal) and moves the nose from
    their middle to the side.
    """
    left, right, nose = landmarks[0], landmarks[1], landmarks[2]
    across = right - left
    distance = float(np.hypot(*across))
    if distance <= 0 or face_height <= 0:
        return 0.0
    offset = abs(math.fsum((nose - (left + right) / 2) * across)) / distance**2
    return min(1.0, distance / (0.35 * face_height)) * max(0.0, 1 - offset / 0.6)


def _faces(detections: pd.DataFrame) -> dict[int, list[_Face]]:
    """The faces of each track, in order of time."""
    found: dict[int, list[_Face]] = {}
    rows = detections[(detections["kind"] == "face") & detections["track"].notna()]
    for row in rows.sort_values("time_s").to_dict("records"):
        box = np.array([row["x1"], row["y1"], row["x2"], row["y2"]], np.float32)
        known = row["landmarks"] is not None
        landmarks = np.asarray(row["landmarks"], np.float32).reshape(5, 2) if known else _NO_LANDMARKS
        face = _Face(int(row["track"]), float(row["time_s"]), box, landmarks, float(row["confidence"]))
        found.setdefault(face.track, []).append(face)
    return found


def _best(faces: Sequence[_Face], parameters: DemographicsParameters) -> list[_Face]:
    """The few faces that can tell something, best first."""
    fit = [
        face
        for face in faces
        if face.height >= parameters.least_face_height
        and face.score >= parameters.least_face_score
        and not np.isnan(face.landmarks).any()
        and (face.frontality >= parameters.least_frontality or face.height >= parameters.turned_face_height)
    ]
    return sorted(fit, key=lambda face: (-face.quality, face.time_s))[: parameters.faces]


def _crops(
    path: Path, faces: Sequence[_Face], size: tuple[int, int], parameters: DemographicsParameters
) -> Iterator[tuple[_Face, FaceCrop]]:
    """Each face (in order of time) with its surroundings, cut from its frame; `size` is that of the clip's frames."""
    times = sorted({face.time_s for face in faces})
    for frame in frames_at(path, times):
        for face in faces:
            if face.time_s == times[frame.sample]:
                yield face, _crop(frame, face, size, parameters.crop_margin)


def _crop(frame: Frame, face: _Face, size: tuple[int, int], margin: float) -> FaceCrop:
    scale = np.array([frame.width / size[0], frame.height / size[1]], np.float32)
    box, landmarks = face.box * np.tile(scale, 2), face.landmarks * scale
    around = margin * float((box[2:] - box[:2]).max())
    corner = np.maximum(0, np.floor(box[:2] - around))
    image = frame.crop(float(corner[0]), float(corner[1]), float(box[2] + around), float(box[3] + around))
    return FaceCrop(image, box - np.tile(corner, 2), landmarks - corner)


def _row(
    track: int,
    seen: Sequence[_Face],
    estimates: Sequence[_Estimate],
    parameters: DemographicsParameters,
    why_none: Callable[[Sequence[_Face], DemographicsParameters], str],
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "track": track,
        "age": None,
        "age_low": None,
        "age_high": None,
        "age_confidence": 0.0,
        "gender": UNKNOWN,
        "gender_confidence": 0.0,
        "faces_used": sum(estimate.shows_face for estimate in estimates),
        "face_height": max((face.height for face in seen), default=None),
        "reason": "",
    }
    if not estimates:
        return {**row, "reason": why_none(seen, parameters)}
    trust = np.array([estimate.trust for estimate in estimates])
    attributes = [estimate.attributes for estimate in estimates]
    reasons = []
    age = _fused_age(trust, attributes, parameters)
    if age["age_confidence"] >= parameters.least_age_confidence:
        row |= age
    else:
        reasons.append(f"age confidence {age['age_confidence']:.2f}, {parameters.least_age_confidence:.2f} needed")
    gender, confidence = _fused_gender(trust, attributes)
    if confidence >= parameters.least_gender_confidence:
        row |= {"gender": gender, "gender_confidence": confidence}
    else:
        reasons.append(f"gender confidence {confidence:.2f}, {parameters.least_gender_confidence:.2f} needed")
    return {**row, "reason": "; ".join(reasons)}


def _why_no_face(seen: Sequence[_Face], parameters: DemographicsParameters) -> str:
    if not seen:
        return "no face seen"
    largest = max(face.height for face in seen)
    if largest < parameters.least_face_height:
        # Cut, not rounded: 31.6 px must not read as the 32 that are needed.
        return f"largest face {int(largest)} px, {parameters.least_face_height:.0f} needed"
    return f"no face of {parameters.least_face_height:.0f} px or more is clear and turned to the camera"


def _why_no_person(seen: Sequence[_Face], parameters: DemographicsParameters) -> str:
    return f"{_why_no_face(seen, parameters)}, and the body is small or hidden"


def _trust(face: _Face, parameters: DemographicsParameters) -> float:
    """What the picture itself allows, [0, 1]: the networks do not know that a face is small or turned away."""
    size = min(1.0, face.height / parameters.full_face_height)
    return float(size * face.score * (0.75 + 0.25 * face.frontality))


def _fused_age(
    trust: Floats | Any, attributes: Sequence[Attributes], parameters: DemographicsParameters
) -> dict[str, float]:
    """The weighted median, the range by the faces' disagreement and the network's own error, and the confidence, which
    shrinks as the faces disagree."""
    ages = np.array([a.age for a in attributes])
    confidence = np.array([a.age_confidence for a in attributes]) * trust
    weight = confidence / confidence.sum() if confidence.sum() > 0 else np.full(len(ages), 1 / len(ages))
    age = _weighted_median(ages, weight)
    spread = float(np.sqrt((weight * (ages - age) ** 2).sum()))
    error = _age_error(weight, attributes, parameters)
    half = float(np.hypot(spread, error))
    agreement = error / half if half > 0 else 1.0
    return {
        "age": age,
        "age_low": max(0.0, age - half),
        "age_high": age + half,
        "age_confidence": float((weight * confidence).sum()) * agreement,
    }


def _age_error(weight: Any, attributes: Sequence[Attributes], parameters: DemographicsParameters) -> float:
    """Years: what the model says of itself, else the parameter."""
    errors = [a.age_error for a in attributes]
    if all(error is None for error in errors):
        return parameters.age_error
    return math.fsum(weight * np.array([parameters.age_error if error is None else error for error in errors]))


def _weighted_median(values: Any, weights: Any) -> float:
    """The value at which half of the weight lies on either side; between two when it is exactly there."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order]) / weights.sum()
    at = int(np.searchsorted(below, 0.5 - 1e-9))
    if abs(below[at] - 0.5) < 1e-9 and at + 1 < len(order):
        return float(values[order[at]] + values[order[at + 1]]) / 2
    return float(values[order[at]])


def _fused_gender(trust: Floats | Any, attributes: Sequence[Attributes]) -> tuple[str, float]:
    """The vote of the faces, each with its confidence; faces that disagree take from each other."""
    confidence = np.array([a.gender_confidence for a in attributes]) * trust
    sides = np.array([1.0 if a.male >= 0.5 else -1.0 for a in attributes])
    if confidence.sum() <= 0:
        return UNKNOWN, 0.0
    vote = float((confidence * sides).sum() / confidence.sum())
    sure = float((confidence * confidence).sum() / confidence.sum())
    return ("male" if vote > 0 else "female"), abs(vote) * sure


def _ignore(fraction: float) -> None:
    """Nobody watches."""
