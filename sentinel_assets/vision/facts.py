"""What was measured of each event, brought together: the behavior, the person's age and gender, the direction faced."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

from sentinel_assets.vision.errors import TableError
from sentinel_assets.vision.orientation import mean_direction
from sentinel_assets.vision.protocols import EventFacts
from sentinel_assets.vision.tables import BEHAVIORS, UNKNOWN


@dataclass(frozen=True)
class FactParameters:
    """How the direction of a body around an event is found."""

    orientation_window_s: float = 2.0
    """Samples up to this far before and after the event's peak are averaged: single estimates err by 20 degrees and
    more, and are never acted upon alone where there are others."""
    orientation_agreement: float = 0.7
    """Length of the mean of the unit vectors, [0, 1], below which they contradict each other and the direction is
    unknown; 0.7 is what directions spread evenly over 157 degrees have."""

    def __post_init__(self) -> None:
        if self.orientation_window_s < 0 or not 0 <= self.orientation_agreement <= 1:
            raise TableError(f"{self}: the window must not be negative, the agreement lie in [0, 1]")


@dataclass(frozen=True)
class MeasuredEvent:
    """An event with all that is known about it; `facts` is what a describer is given."""

    facts: EventFacts
    peak_s: float
    needs_review: bool
    age: float | None
    attributes: dict[str, Any]
    """Confidences of age, gender and orientation, and why one is unknown."""


def event_key(behavior: str, track: int, ordinal: int) -> str:
    """`<behavior>-<track>-<ordinal>`; the ordinal counts this behavior of this track through the video, from 1."""
    return f"{behavior}-{track}-{ordinal}"


def measured_events(
    behaviors: pd.DataFrame,
    demographics: pd.DataFrame,
    poses: pd.DataFrame,
    parameters: FactParameters | None = None,
) -> list[MeasuredEvent]:
    """All events of a video, by start and track: its behaviors but for those that are `unknown`.

    Raises TableError for an event without its track in demographics, of no declared behavior, or that ends
    before it starts.
    """
    parameters = parameters or FactParameters()
    people = {int(row["track"]): row for row in _rows(demographics)}
    directions = {int(cast(int, track)): group for track, group in poses.groupby("track")}
    rows = sorted(
        (row for row in _rows(behaviors) if row["behavior"] != UNKNOWN),
        key=lambda row: (row["start_s"], row["track"], row["behavior"], row["end_s"]),
    )
    ordinals: dict[tuple[str, int], int] = {}
    events = []
    for row in rows:
        behavior, track = str(row["behavior"]), int(row["track"])
        ordinals[behavior, track] = ordinal = ordinals.get((behavior, track), 0) + 1
        key = event_key(behavior, track, ordinal)
        if behavior not in BEHAVIORS:
            raise TableError(f"{behavior!r} is none of {', '.join(BEHAVIORS)}", where=key)
        if not row["start_s"] <= row["end_s"]:
            raise TableError(f"ends at {row['end_s']} s, before it starts at {row['start_s']} s", where=key)
        if track not in people:
            raise TableError(
                f"track {track} is not in demographics",
                where=key,
                remedy="Materialize demographics and behaviors again",
            )
        facing = facing_around(directions.get(track), float(row["peak_s"]), parameters)
        events.append(_measured(key, row, people[track], facing))
    return events


@dataclass(frozen=True)
class Facing:
    """Where a body faces around a moment: degrees as in poses; None when unknown, and `reason` says why."""

    degrees: float | None
    confidence: float
    reason: str = ""


def facing_around(poses: pd.DataFrame | None, peak_s: float, parameters: FactParameters) -> Facing:
    """The mean of one track's orientations around a moment, weighted by their confidences.

    The confidence is the mean one, less for what the directions contradict each other.
    """
    if poses is None:
        return Facing(None, 0.0, "no pose was found")
    near = poses[(poses["time_s"] - peak_s).abs() <= parameters.orientation_window_s]
    near = near[near["orientation"].notna()]
    weights = near["orientation_confidence"].to_numpy(float)
    if not weights.sum() > 0:
        return Facing(None, 0.0, "no direction was measured around this moment")
    mean = mean_direction(near["orientation"].to_numpy(float).tolist(), weights.tolist())
    if mean is None or mean.confidence < parameters.orientation_agreement:
        return Facing(None, 0.0, "the directions around this moment contradict each other")
    return Facing(mean.degrees, min(mean.confidence * float(weights.mean()), 1.0))


def _measured(key: str, row: dict[str, Any], person: dict[str, Any], facing: Facing) -> MeasuredEvent:
    age = _number(person["age"])
    facts = EventFacts(
        event_key=key,
        behavior=str(row["behavior"]),
        start_s=float(row["start_s"]),
        end_s=float(row["end_s"]),
        confidence=float(row["confidence"]),
        track=int(row["track"]),
        other_track=None if _number(row["other_track"]) is None else int(row["other_track"]),
        age_low=_number(person["age_low"]),
        age_high=_number(person["age_high"]),
        gender=str(person["gender"]),
        orientation=facing.degrees,
        evidence=_evidence(key, row["evidence"]),
    )
    attributes = {
        "age": {
            "confidence": _rounded(person["age_confidence"]),
            "reason": "" if age is not None else str(person["reason"]),
        },
        "gender": {
            "confidence": _rounded(person["gender_confidence"]),
            "reason": "" if facts.gender != UNKNOWN else str(person["reason"]),
        },
        "orientation": {"confidence": round(facing.confidence, 4), "reason": facing.reason},
        "faces_used": int(person["faces_used"]),
        "face_height": _number(person["face_height"]),
    }
    return MeasuredEvent(facts, float(row["peak_s"]), bool(row["needs_review"]), age, attributes)


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", frame.to_dict("records"))


def _number(value: Any) -> float | None:
    """Null is None, NaN or NA in a DataFrame, by the column's type."""
    return None if pd.isna(value) else float(value)


def _rounded(value: Any) -> float:
    return round(float(value), 4)


def _evidence(key: str, text: str) -> dict[str, Any]:
    try:
        evidence = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise TableError(f"evidence is not JSON: {error}", where=key, remedy="Materialize behaviors again") from error
    if not isinstance(evidence, dict):
        raise TableError("evidence is not a JSON object", where=key, remedy="Materialize behaviors again")
    return evidence
