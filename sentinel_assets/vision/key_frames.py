"""Pictures of an event for a describer that looks: the person with some surroundings, at the moments that matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sentinel_assets.vision.facts import MeasuredEvent
from sentinel_assets.vision.frames import Frame, frames_at
from sentinel_assets.vision.protocols import EventFacts, Floats, Image


@dataclass(frozen=True)
class KeyFrameParameters:
    """`surroundings` are what a picture shows around the persons, as a part of the longer side of the box around them:
    with 1 a standing person fills a third of its height, and what is within reach is in it."""

    surroundings: float = 1.0

    def __post_init__(self) -> None:
        if self.surroundings < 0:
            raise ValueError(f"surroundings are {self.surroundings}, expected at least 0")


@dataclass(frozen=True)
class _Moment:
    """One picture to take: the part of the frame (x1, y1, x2, y2) px, and how many `people` are in it."""

    event: int
    time_s: float
    part: tuple[float, float, float, float]
    people: int


def with_pictures(
    path: Path,
    events: Sequence[MeasuredEvent],
    detections: pd.DataFrame,
    count: int,
    parameters: KeyFrameParameters | None = None,
) -> list[EventFacts]:
    """The events' facts with pictures, and how many people the fullest of them shows.

    `count` 1: at the peak; 3: at the start, the peak and the end, in this order, the same moment once. They are taken
    of the samples in which the track was seen; an event in which it was never seen has no picture. Each frame is
    decoded once, and only its parts are kept.
    """
    if count not in (1, 3):
        raise ValueError(f"{count} key frames, expected 1 or 3")
    persons = detections[(detections["kind"] == "person") & detections["track"].notna()]
    moments = [
        moment
        for index, event in enumerate(events)
        for moment in _moments(index, event, persons, count, parameters or KeyFrameParameters())
    ]
    moments.sort(key=lambda moment: moment.time_s)
    times = sorted({moment.time_s for moment in moments})
    images: dict[int, list[Image]] = {}
    waiting = iter(moments)
    moment = next(waiting, None)
    for frame in frames_at(path, times):
        while moment is not None and moment.time_s == times[frame.sample]:
            images.setdefault(moment.event, []).append(_cut(frame, moment))
            moment = next(waiting, None)
    people: dict[int, int] = {}
    for taken in moments:
        people[taken.event] = max(taken.people, people.get(taken.event, 0))
    return [
        replace(event.facts, images=tuple(images.get(index, ())), people_in_view=people.get(index))
        for index, event in enumerate(events)
    ]


def _moments(
    index: int, event: MeasuredEvent, persons: pd.DataFrame, count: int, parameters: KeyFrameParameters
) -> list[_Moment]:
    facts = event.facts
    own = persons[(persons["track"] == facts.track) & persons["time_s"].between(facts.start_s, facts.end_s)]
    times = np.sort(own["time_s"].to_numpy(float))
    if not len(times):
        return []
    peak = float(times[np.argmin(np.abs(times - event.peak_s))])
    chosen = [peak] if count == 1 else sorted({float(times[0]), peak, float(times[-1])})
    moments = []
    for time_s in chosen:
        there = persons[persons["time_s"] == time_s]
        boxes = _boxes(there)
        part = _around(boxes[there["track"].isin([facts.track, facts.other_track]).to_numpy(bool)], parameters)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = (centres >= part[:2]).all(axis=1) & (centres <= part[2:]).all(axis=1)
        moments.append(
            _Moment(index, time_s, (float(part[0]), float(part[1]), float(part[2]), float(part[3])), int(inside.sum()))
        )
    return moments


def _boxes(rows: pd.DataFrame) -> Floats:
    return np.stack([rows[name].to_numpy(np.float32) for name in ("x1", "y1", "x2", "y2")], axis=1)


def _around(boxes: Floats, parameters: KeyFrameParameters) -> Floats:
    """The box (4,) around all boxes, with surroundings."""
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    margin = parameters.surroundings * float((high - low).max())
    around: Floats = np.concatenate([low - margin, high + margin]).astype(np.float32)
    return around


def _cut(frame: Frame, moment: _Moment) -> Image:
    return frame.crop(*moment.part)
