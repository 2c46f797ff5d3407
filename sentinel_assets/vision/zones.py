"""Places in a camera's picture that give what people do there its meaning: polygons with a kind, and lines to cross."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

KINDS = ("shelf", "checkout", "exit", "seat", "restricted")
"""`shelf` is where goods are, and hands go, in the picture; the others are ground that feet stand on."""


@dataclass(frozen=True)
class Zone:
    """A polygon in px of the video's upright frame. `bearing_deg` of a shelf: where a body faces that looks at it, as
    the orientation in poses (0 = back to the camera, counter-clockwise); None: from where the person and it are."""

    name: str
    kind: str
    polygon: tuple[tuple[float, float], ...]
    bearing_deg: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} is none of {', '.join(KINDS)}")
        if len(self.polygon) < 3:
            raise ValueError(f"a polygon of {len(self.polygon)} points; at least 3 make one")
        if abs(self.area) < 1.0:
            raise ValueError("its polygon has no area")

    @property
    def area(self) -> float:
        """Signed, px²."""
        x, y = np.array(self.polygon).T
        return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)

    @property
    def foot(self) -> tuple[float, float]:
        """The middle of its lower edge: where a shelf stands on the ground, as far as a polygon tells."""
        points = np.array(self.polygon)
        return float((points[:, 0].min() + points[:, 0].max()) / 2), float(points[:, 1].max())

    def distance(self, points: Array) -> Array:
        """(...,) px from each point (..., 2) to the zone: 0 inside, nan where the point is."""
        corners = np.array(self.polygon)
        starts, ends = corners, np.roll(corners, -1, axis=0)
        way = ends - starts
        offset = points[..., None, :] - starts
        along = np.clip((offset * way).sum(-1) / np.maximum((way * way).sum(-1), 1e-9), 0, 1)
        away = np.linalg.norm(offset - along[..., None] * way, axis=-1).min(axis=-1)
        return np.where(np.isnan(points).any(axis=-1), np.nan, np.where(self.contains(points), 0.0, away))

    def contains(self, points: Array) -> Mask:
        """(...,) whether each point (..., 2) lies inside, by the crossings of a ray to the right."""
        x, y = points[..., 0], points[..., 1]
        inside = np.zeros(x.shape, np.bool_)
        corners = list(self.polygon)
        for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
            if y1 == y2:
                continue
            crosses = (y1 > y) != (y2 > y)
            inside ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
        return inside

    def scaled(self, across: float, down: float) -> Zone:
        points = tuple((x * across, y * down) for x, y in self.polygon)
        return Zone(self.name, self.kind, points, self.bearing_deg)


@dataclass(frozen=True)
class Line:
    """A line on the ground, px. Somebody goes in who steps from the left of it to its right, as seen by one who looks
    from `start` to `end` in the picture."""

    name: str
    start: tuple[float, float]
    end: tuple[float, float]

    def __post_init__(self) -> None:
        if math.dist(self.start, self.end) < 1.0:
            raise ValueError("its ends are the same point")

    def side(self, points: Array) -> Array:
        """(N,) px right of the line (negative: left of it)."""
        (x1, y1), (x2, y2) = self.start, self.end
        length = math.dist(self.start, self.end)
        return np.asarray(((x2 - x1) * (points[:, 1] - y1) - (y2 - y1) * (points[:, 0] - x1)) / length)

    def along(self, points: Array) -> Array:
        """(N,) where beside the line each point is: 0 at its start, 1 at its end."""
        way = np.subtract(self.end, self.start)
        return np.asarray(((points - np.array(self.start)) @ way) / float(way @ way))

    def scaled(self, across: float, down: float) -> Line:
        return Line(
            self.name,
            (self.start[0] * across, self.start[1] * down),
            (self.end[0] * across, self.end[1] * down),
        )


def bearing(foot: Array, target: tuple[float, float], foreshortening: float) -> Array:
    """(N,) the direction in which a body at each foot point (N, 2) faces the target on the ground, degrees as the
    orientation in poses: rows of the picture are depth, shortened by `foreshortening`."""
    across = target[0] - foot[:, 0]
    away = (foot[:, 1] - target[1]) / foreshortening
    return np.asarray(np.degrees(np.arctan2(-across, away)) % 360)


def apart_deg(one: Array, other: Array) -> Array:
    """The angle between two directions, 0-180 degrees."""
    return np.asarray(np.abs((one - other + 180) % 360 - 180))
