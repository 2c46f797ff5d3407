"""Which boxes of successive samples are the same person; made for one to ten samples a second.

At 1 sample a second a walker's boxes do not overlap at all, so intersection over union cannot associate them. What is
compared instead is the distance between foot points, measured in the person's own standing height, against what a
person can cover in the time that passed. Everything is in seconds and body heights; nothing counts samples.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from sentinel_assets.vision.protocols import Boxes, Floats

Vector = NDArray[np.float64]
Ids = NDArray[np.int32]


@dataclass(frozen=True)
class TrackingParameters:
    """Lengths are in body heights H of the person (1 H is about 1.7 m), times in seconds, costs without unit."""

    reach_per_s: float = 1.3
    """H/s. A fast walk is 1.75-2.5 m/s, 1.05-1.5 H/s; comfortable is 0.75-0.88 (Bohannon 1997, Age and Ageing 26)."""
    reach_at_rest: float = 0.3
    """H. How far a foot point moves between two samples taken at once: jitter of the box, a changed posture."""
    reach_of_part: float = 0.6
    """The same of somebody whose head or feet the frame cut off in one of them: more of a body comes into view."""
    lost_life_s: float = 3.0
    """How long a person may be out of sight and keep the track."""
    velocity_memory_s: float = 0.6
    """Time constant of the velocity: box jitter of 0.03 H is 0.4 H/s at 10 samples a second, one step is not enough."""
    prediction_memory_s: float = 4.0
    """Time constant with which a predicted motion fades: people stop and turn."""
    height_memory_s: float = 2.0
    """Time constant with which the standing height follows an upright person who walks away."""
    appearance_memory: float = 0.7
    """Weight of what a track looked like before against what it looks like now."""
    previous_weight: float = 0.1
    """Share of the distance that is measured from where the person was, not from where the motion leads."""
    depth_weight: float = 1.5
    """What a distance up or down the picture counts against one across: of a step along the line of sight a camera on
    the wall shows a quarter to a half."""
    appearance_weight: float = 1.2
    """Cost of an entirely different appearance (cosine distance 1): the same person a second later has .03 in the
    median and .10 in one of twenty samples of two real clips, another of their nine people .23 in the mean."""
    height_weight: float = 0.2
    """Cost of a box that is larger or smaller by a factor of e than the one before."""
    lost_weight_per_s: float = 0.15
    """Cost of each second that a track was out of sight, so that one seen a moment ago is preferred."""
    new_track_cost: float = 1.3
    """A pair dearer than this is left unmatched; a distance across the picture at the limit of the reach costs 1."""
    upright_aspect: float = 1.8
    """Height over width from which a box shows a standing person, whose height may be learned."""
    same_iou: float = 0.7
    """Two boxes of one sample that overlap so much are one person, unless both continue a track: 0.7 is where the
    detector's own suppression stops (ultralytics, default of `iou`)."""
    part_containment: float = 0.85
    """Share of an unmatched box that lies inside another, their tops level, from which it is a part of that person."""
    part_top: float = 0.15
    """H. How far the tops of a person and of a part of that person may differ."""
    edge_px: float = 2.0
    """A box side this close to the frame's edge is taken to be cut off by it."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not np.isfinite(value) or value < 0:
                raise ValueError(f"{field.name} is {value}, expected a number of at least 0")
        for name in ("lost_life_s", "velocity_memory_s", "prediction_memory_s", "height_memory_s"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} is 0, expected more")


@dataclass
class _Track:
    """What is known of one person: where last seen, how fast, how tall, what it looks like."""

    id: int
    box: Vector
    time_s: float
    height: float
    velocity: Vector
    appearance: Vector | None


class Tracker:
    """Gives every box the id of a person, sample by sample.

    Ids count from 1 in order of first appearance (left to right within one sample) and never change or come back
    for somebody else. The same input gives the same ids.
    """

    def __init__(self, frame_size: tuple[int, int], parameters: TrackingParameters | None = None) -> None:
        """`frame_size` is (width, height) in px of the frames that the boxes are measured in."""
        width, height = frame_size
        if width < 1 or height < 1:
            raise ValueError(f"frame_size is {frame_size}, expected (width, height) of at least 1 px each")
        self.frame_size = frame_size
        self.parameters = parameters or TrackingParameters()
        self._tracks: list[_Track] = []
        self._founded = 0
        self._time_s = -np.inf
        self._interval_s = 0.0

    def update(self, time_s: float, boxes: Boxes, appearance: Floats | None = None) -> Ids:
        """Track ids (N,) of the N boxes of the sample at `time_s` (seconds, ascending from call to call).

        `appearance` (N, D) describes how each box looks; only the angle between two such vectors matters. Two boxes get
        the same id only when they are two views of one person: near copies, or a part inside the whole. Call it for
        samples without anybody too, so that tracks end in time.
        """
        if not time_s > self._time_s:
            raise ValueError(f"time {time_s} s does not follow {self._time_s} s: samples must come in order")
        if not np.isfinite(boxes.xyxy).all():
            raise ValueError("a box has a coordinate that is not a number")
        if appearance is not None and (appearance.ndim != 2 or len(appearance) != len(boxes)):
            raise ValueError(f"appearance is {appearance.shape}, expected ({len(boxes)}, D)")
        self._tracks = [t for t in self._tracks if self._is_alive(t, time_s)]
        self._interval_s = time_s - self._time_s
        self._time_s = time_s

        found = boxes.xyxy.astype(np.float64)
        looks = _unit_rows(appearance)
        ids = np.zeros(len(found), np.int32)
        original = self._originals(found, boxes.confidence)
        for track, index in self._assign(time_s, found, looks, original):
            self._follow(track, time_s, found[index], None if looks is None else looks[index])
            ids[index] = track.id
        parts = [any(_area(box) < _area(b) and self._overlap_as_one(box, b) for b in found) for box in found]
        # Originals before their copies and a whole before its parts; else from left to right.
        for index in sorted(range(len(found)), key=lambda i: (original[i] != i, parts[i], found[i, 0], found[i, 1])):
            if not ids[index]:
                other = self._same_person(index, found, ids, original)
                ids[index] = ids[other] if other is not None else self._begin(time_s, found[index], looks, index)
        return ids

    def _is_alive(self, track: _Track, time_s: float) -> bool:
        """A track seen in the last sample lives at least until the next one, however late that is."""
        return track.time_s == self._time_s or time_s - track.time_s <= self.parameters.lost_life_s

    def _originals(self, found: Vector, confidence: Floats) -> NDArray[np.intp]:
        """(N,) for each box the index of the more confident box that it is a near copy of, or its own."""
        first = np.arange(len(found))
        order = sorted(range(len(found)), key=lambda i: (-float(confidence[i]), -_area(found[i]), tuple(found[i])))
        for rank, index in enumerate(order):
            for better in order[:rank]:
                if first[better] == better and _iou(found[index], found[better]) >= self.parameters.same_iou:
                    first[index] = better
                    break
        return first

    def _assign(
        self, time_s: float, found: Vector, looks: Vector | None, original: NDArray[np.intp]
    ) -> list[tuple[_Track, int]]:
        """Pairs of track and box with the least total cost; what costs too much stays alone.

        A near copy may be somebody who walks in front of somebody else, but nobody comes back from out of sight as one.
        """
        if not self._tracks or not len(found):
            return []
        dearest = self.parameters.new_track_cost
        costs = np.full((len(self._tracks), len(found)), np.inf)
        for row, track in enumerate(self._tracks):
            is_lost = time_s - track.time_s > self._interval_s
            if is_lost and self._has_left(track, time_s):
                continue
            for column, box in enumerate(found):
                if original[column] == column or not is_lost:
                    costs[row, column] = self._cost(track, time_s, box, None if looks is None else looks[column])
        rows, columns = linear_sum_assignment(np.minimum(costs, dearest))
        return [
            (self._tracks[row], int(column))
            for row, column in zip(rows, columns, strict=True)
            if costs[row, column] < dearest
        ]

    def _cost(self, track: _Track, time_s: float, box: Vector, look: Vector | None) -> float:
        """How unlikely it is that `box` shows `track`; infinite when nobody could have got there."""
        p = self.parameters
        elapsed = time_s - track.time_s
        is_part, height = self._is_part(track, box), self._height(track, box)
        from_previous = self._displacement(track.box, box) / height
        from_predicted = from_previous - self._predicted(track, elapsed)
        reach = p.reach_per_s * elapsed + (p.reach_of_part if is_part else p.reach_at_rest)
        if min(np.hypot(*from_previous), np.hypot(*from_predicted)) > reach:
            return np.inf
        weights = np.array([1.0, 1.0 if is_part else p.depth_weight])
        distance = (1 - p.previous_weight) * np.hypot(*(weights * from_predicted))
        distance += p.previous_weight * np.hypot(*(weights * from_previous))
        cost = distance / reach
        cost += p.height_weight * abs(np.log(_extent(box) / _extent(track.box))) if not self._is_cut(box).any() else 0.0
        cost += p.lost_weight_per_s * (elapsed - self._interval_s)
        if look is not None and track.appearance is not None:
            cost += p.appearance_weight * float(1 - look @ track.appearance) * (0.5 if is_part else 1.0)
        return float(cost)

    def _is_part(self, track: _Track, box: Vector) -> bool:
        """Whether the frame cuts off the head or the feet in one of them, as of somebody who comes in: no measure of
        where he stands, nor of what he looks like."""
        return bool((self._is_cut(track.box) | self._is_cut(box))[[1, 3]].any())

    def _height(self, track: _Track, box: Vector) -> float:
        """H in px, as far as it is known: that of a part is the less of the two."""
        return max(track.height, _extent(box)) if self._is_part(track, box) else track.height

    def _predicted(self, track: _Track, elapsed: float) -> Vector:
        """(2,) H: how far the motion has led since the track was seen."""
        memory = self.parameters.prediction_memory_s
        return np.asarray(track.velocity * memory * (1 - np.exp(-elapsed / memory)))

    def _has_left(self, track: _Track, time_s: float) -> bool:
        """Whether the motion has led out of the picture: a box at that edge is then the next person who comes in."""
        middle = (track.box[:2] + track.box[2:]) / 2
        middle = middle + self._predicted(track, time_s - track.time_s) * track.height
        return bool((middle < 0).any() or (middle > self.frame_size).any())

    def _displacement(self, before: Vector, after: Vector) -> Vector:
        """(2,) px from one box to another of the same person: of the feet; where they are hidden, of the head; else
        of the centre."""
        cut = self._is_cut(before) | self._is_cut(after)
        across = (after[0] + after[2] - before[0] - before[2]) / 2
        if not cut[3]:
            down = after[3] - before[3]
        elif not cut[1]:
            down = after[1] - before[1]
        else:
            down = (after[1] + after[3] - before[1] - before[3]) / 2
        return np.array([across, down])

    def _is_cut(self, box: Vector) -> NDArray[np.bool_]:
        """(4,) whether the left, top, right and bottom side of a box lies at the frame's edge."""
        width, height = self.frame_size
        margin = np.array([box[0], box[1], width - box[2], height - box[3]])
        return np.asarray(margin <= self.parameters.edge_px, np.bool_)

    def _begin(self, time_s: float, box: Vector, looks: Vector | None, index: int) -> int:
        self._founded += 1
        look = None if looks is None else looks[index]
        self._tracks.append(_Track(self._founded, box, time_s, _extent(box), np.zeros(2), look))
        return self._founded

    def _follow(self, track: _Track, time_s: float, box: Vector, look: Vector | None) -> None:
        """Take the new box in. A body keeps its height when it sits, bends or falls; it grows when it comes closer, and
        shrinks only while it is seen upright and whole."""
        p = self.parameters
        elapsed = time_s - track.time_s
        velocity = self._displacement(track.box, box) / self._height(track, box) / elapsed
        if self._is_part(track, box):
            velocity[1] = 0.0  # that more of him is seen is no way that he goes
        track.velocity = track.velocity + (velocity - track.velocity) * (1 - np.exp(-elapsed / p.velocity_memory_s))
        extent = _extent(box)
        if extent > track.height:
            track.height += (extent - track.height) / 2
        elif _aspect(box) >= p.upright_aspect and not self._is_cut(box)[[1, 3]].any():
            track.height += (extent - track.height) * (1 - float(np.exp(-elapsed / p.height_memory_s)))
        if look is not None:
            mixed = (
                look
                if track.appearance is None
                else track.appearance * p.appearance_memory + look * (1 - p.appearance_memory)
            )
            track.appearance = mixed / max(float(np.linalg.norm(mixed)), 1e-12)
        track.box, track.time_s = box, time_s

    def _same_person(self, index: int, found: Vector, ids: Ids, original: NDArray[np.intp]) -> int | None:
        """A box with an id that shows the same person: a near copy; or one is part of the other, as head and trunk."""
        copies = np.flatnonzero((original == original[index]) & (ids > 0))
        if len(copies):
            return int(copies[0])
        return next((int(i) for i in np.flatnonzero(ids) if self._overlap_as_one(found[index], found[i])), None)

    def _overlap_as_one(self, box: Vector, other: Vector) -> bool:
        """Whether one of them may be a part of the person that the other shows."""
        inside = _intersection(box, other) / max(min(_area(box), _area(other)), 1e-9)
        level = abs(box[1] - other[1]) <= self.parameters.part_top * _extent(other)
        return bool(inside >= self.parameters.part_containment and level)


def _extent(box: Vector) -> float:
    """The longer side, px: a standing person's height, a lying person's length."""
    return float(max(box[2] - box[0], box[3] - box[1], 1.0))


def _aspect(box: Vector) -> float:
    return float((box[3] - box[1]) / max(box[2] - box[0], 1e-9))


def _area(box: Vector) -> float:
    return float(max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0))


def _intersection(one: Vector, other: Vector) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return float(max(across, 0.0) * max(down, 0.0))


def _iou(one: Vector, other: Vector) -> float:
    shared = _intersection(one, other)
    return shared / max(_area(one) + _area(other) - shared, 1e-9)


def _unit_rows(appearance: Floats | None) -> Vector | None:
    if appearance is None:
        return None
    rows = appearance.astype(np.float64)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
