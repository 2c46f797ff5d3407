"""What people are interested in: which shelf they look at, turn to, touch and take from; how long they stay where, what
lines they cross, and where feet stood.

The ladder is that of Liu, Gu and Kamijo (ISM 2015), as far as a body's orientation carries it: `viewing` (the body
faces the shelf in passing), `turning` (it stands and faces it), `touching` (a hand is at it), `picking` (the hand
reached and came back).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sentinel_assets.vision.behavior_parameters import BehaviorParameters
from sentinel_assets.vision.cameras import Camera
from sentinel_assets.vision.features import Array, TrackFeatures, measure
from sentinel_assets.vision.gestures import hand_to_shelf, runs_of, shelf_facing
from sentinel_assets.vision.presence import displacement, seconds_in
from sentinel_assets.vision.tables import Sampling
from sentinel_assets.vision.zones import Line, Zone

LADDER = ("viewing", "turning", "touching", "picking")
GRID = (18, 32)
"""Rows and columns of the heat map."""


@dataclass(frozen=True)
class Spell:
    """A stretch of time in which a track was at one rung of the ladder before one shelf."""

    track: int
    shelf: str
    level: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Stay:
    """How long one track's feet were in a zone, s."""

    track: int
    zone: str
    seconds: float


@dataclass(frozen=True)
class Crossing:
    """A track stepped over a line; `inward` is from its left to its right."""

    track: int
    line: str
    time_s: float
    inward: bool


@dataclass(frozen=True)
class Interest:
    """Of one video. `heat` is (GRID) seconds of feet in each cell of the frame; `visitors` are tracks that moved."""

    visitors: int
    spells: tuple[Spell, ...]
    stays: tuple[Stay, ...]
    crossings: tuple[Crossing, ...]
    heat: NDArray[np.float64]


def measure_interest(
    detections: pd.DataFrame,
    poses: pd.DataFrame,
    behaviors: pd.DataFrame,
    *,
    camera: Camera | None = None,
    parameters: BehaviorParameters | None = None,
) -> Interest:
    """Of the tables of one video; without a camera there are visitors and the heat map only."""
    p = parameters or BehaviorParameters()
    sampling = Sampling.of(detections)
    if camera is not None:
        camera, p = camera.scaled(sampling.width, sampling.height), camera.parameters(p)
    tracks = measure(detections, poses, p)
    moving = [track for track in tracks if displacement(track) >= p.least_displacement]
    heat = np.zeros(GRID)
    for track in moving:
        _warm(heat, track, sampling, p)
    if camera is None:
        return Interest(len(moving), (), (), (), heat)
    spells = [s for track in tracks for shelf in camera.of_kind("shelf") for s in _spells(track, shelf, p)]
    spells += _picks(behaviors)
    stays = [Stay(t.track, zone.name, seconds_in(t, [zone])) for t in moving for zone in camera.zones]
    crossings = [crossing for track in moving for line in camera.lines for crossing in _crossings(track, line)]
    return Interest(
        len(moving),
        tuple(sorted(spells, key=lambda s: (s.start_s, s.track, LADDER.index(s.level)))),
        tuple(stay for stay in stays if stay.seconds > 0),
        tuple(sorted(crossings, key=lambda c: (c.time_s, c.track))),
        heat,
    )


def _spells(track: TrackFeatures, shelf: Zone, parameters: BehaviorParameters) -> list[Spell]:
    """Viewing, turning and touching; each sample is at the highest rung that it reaches."""
    p = parameters
    aside = shelf_facing(track, shelf, p)
    faces = (aside <= p.facing_deg) & (_to_shelf(track, shelf, p) <= p.shelf_distance)
    stands = ~(track.speed > p.passing)
    out = np.fmax(track.reach[:, 0], track.reach[:, 1]) >= p.reach
    touches = out & (hand_to_shelf(track, shelf) <= p.shelf_margin) & ~(track.speed > p.reach_speed)
    level = np.where(touches, 3, np.where(faces & stands, 2, np.where(faces, 1, 0)))
    found = []
    for rung, least_s in ((1, p.view_s), (2, p.view_s), (3, 0.0)):
        for first, last in runs_of(level == rung):
            start_s, end_s = float(track.times_s[first]), float(track.times_s[last])
            # A sample stands for the time around it: one alone lasts as long as the sampling is apart.
            if end_s - start_s + track.interval_s >= least_s - 1e-6:
                found.append(Spell(track.track, shelf.name, LADDER[rung - 1], start_s, end_s))
    return found


def _to_shelf(track: TrackFeatures, shelf: Zone, parameters: BehaviorParameters) -> Array:
    """(N,) H on the ground from the feet to the nearest point of the line on which the shelf stands."""
    points = np.array(shelf.polygon)
    left, right = points[:, 0].min(), points[:, 0].max()
    across = np.maximum(np.maximum(left - track.feet[:, 0], track.feet[:, 0] - right), 0.0)
    away = (track.feet[:, 1] - shelf.foot[1]) / parameters.foreshortening
    return np.asarray(np.hypot(across, away) / track.height)


def _picks(behaviors: pd.DataFrame) -> list[Spell]:
    found = []
    for row in behaviors[behaviors["behavior"] == "picking"].to_dict("records"):
        shelf = json.loads(row["evidence"])["values"].get("shelf")
        if shelf:
            found.append(Spell(int(row["track"]), shelf, "picking", float(row["start_s"]), float(row["end_s"])))
    return found


def _crossings(track: TrackFeatures, line: Line) -> list[Crossing]:
    """Steps from a clear place on one side to one on the other, beside the line: feet that jitter on it cross once."""
    side, beside = line.side(track.feet), line.along(track.feet)
    clear = [i for i in range(len(track)) if abs(side[i]) >= 0.05 * track.height[i]]
    found = []
    for before, after in pairwise(clear):
        if side[before] * side[after] >= 0:
            continue
        part = side[before] / (side[before] - side[after])
        if not 0 <= beside[before] + part * (beside[after] - beside[before]) <= 1:
            continue
        time_s = float(track.times_s[before] + part * (track.times_s[after] - track.times_s[before]))
        found.append(Crossing(track.track, line.name, time_s, bool(side[after] > 0)))
    return found


def _warm(heat: NDArray[np.float64], track: TrackFeatures, sampling: Sampling, parameters: BehaviorParameters) -> None:
    lasting = np.append(np.diff(track.times_s), track.interval_s).clip(max=parameters.bridge_s)
    rows = (track.feet[:, 1] / sampling.height * GRID[0]).astype(int).clip(0, GRID[0] - 1)
    columns = (track.feet[:, 0] / sampling.width * GRID[1]).astype(int).clip(0, GRID[1] - 1)
    np.add.at(heat, (rows, columns), lasting)


def seconds_by_shelf(spells: Sequence[Spell]) -> dict[str, dict[str, tuple[int, float]]]:
    """Shelf -> rung -> (people, seconds in all)."""
    found: dict[str, dict[str, tuple[int, float]]] = {}
    for shelf in sorted({spell.shelf for spell in spells}):
        for level in LADDER:
            own = [spell for spell in spells if (spell.shelf, spell.level) == (shelf, level)]
            if own:
                people = len({spell.track for spell in own})
                found.setdefault(shelf, {})[level] = (people, round(sum(s.end_s - s.start_s for s in own), 1))
    return found
