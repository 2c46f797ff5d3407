"""Synthetic people before a pinhole camera: boxes, and the `detections` and `poses` tables of a whole scene.

A person is an articulated figure of 17 COCO joints and the outline of the body (crown, toes, sides), moved by a script:
where to be when (`path`), and in which posture from when on (`acts`). The scene is in metres, the ground is z = 0.
Everything is a pure function of time and a seed, so one scene can be sampled at any rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sentinel_assets.vision.protocols import Boxes
from sentinel_assets.vision.tables import DETECTIONS, POSES, Sampling

Points = NDArray[np.float64]

STATURE_M = 1.7
# Segment lengths as shares of stature: Drillis and Contini 1966, Body Segment Parameters, table 1.
_JOINTS = {
    "nose": (0.05, 0.0, 0.93),
    "left_eye": (0.04, 0.02, 0.945),
    "right_eye": (0.04, -0.02, 0.945),
    "left_ear": (0.0, 0.045, 0.935),
    "right_ear": (0.0, -0.045, 0.935),
    "left_shoulder": (0.0, 0.13, 0.82),
    "right_shoulder": (0.0, -0.13, 0.82),
    "left_elbow": (0.0, 0.16, 0.64),
    "right_elbow": (0.0, -0.16, 0.64),
    "left_wrist": (0.03, 0.17, 0.48),
    "right_wrist": (0.03, -0.17, 0.48),
    "left_hip": (0.0, 0.09, 0.53),
    "right_hip": (0.0, -0.09, 0.53),
    "left_knee": (0.02, 0.09, 0.285),
    "right_knee": (0.02, -0.09, 0.285),
    "left_ankle": (0.0, 0.09, 0.04),
    "right_ankle": (0.0, -0.09, 0.04),
}
_OUTLINE = {
    "crown": (0.0, 0.0, 1.0),
    "left_side": (0.0, 0.17, 0.75),
    "right_side": (0.0, -0.17, 0.75),
    "left_toe": (0.09, 0.1, 0.0),
    "right_toe": (0.09, -0.1, 0.0),
}
NAMES = tuple(_JOINTS) + tuple(_OUTLINE)
_INDEX = {name: i for i, name in enumerate(NAMES)}
_REST: Points = np.array([*_JOINTS.values(), *_OUTLINE.values()])
_UPPER = [i for i, n in enumerate(NAMES) if not any(part in n for part in ("hip", "knee", "ankle", "toe"))]


def _pitched(points: Points, degrees: float, pivot: tuple[float, float]) -> Points:
    """Turned forward about the sideways axis through (forward, up) = `pivot`."""
    angle = math.radians(degrees)
    forward, up = points[:, 0] - pivot[0], points[:, 2] - pivot[1]
    turned = points.copy()
    turned[:, 0] = pivot[0] + forward * math.cos(angle) + up * math.sin(angle)
    turned[:, 2] = pivot[1] - forward * math.sin(angle) + up * math.cos(angle)
    return turned


def _placed(points: Points, **joints: tuple[float, float, float]) -> Points:
    placed = points.copy()
    for name, where in joints.items():
        placed[_INDEX[name]] = where
    return placed


def _standing(time_s: float) -> Points:
    del time_s
    return _REST.copy()


def _swaying(time_s: float) -> Points:
    """A standing body is never still: a slow sway of 2 % of its height."""
    swayed = _REST.copy()
    swayed[:, 0] += 0.02 * math.sin(1.9 * time_s) * _REST[:, 2]
    swayed[:, 1] += 0.02 * math.sin(1.3 * time_s + 1) * _REST[:, 2]
    return swayed


def _walking(time_s: float) -> Points:
    """0.9 double steps a second: legs and arms in opposite phase."""
    stride = math.sin(2 * math.pi * 0.9 * time_s)
    body = _REST.copy()
    for side, sign in (("left", 1.0), ("right", -1.0)):
        swing = sign * stride
        body[_INDEX[f"{side}_ankle"]] += (0.15 * swing, 0, 0.03 * max(0.0, -swing))
        body[_INDEX[f"{side}_toe"]] += (0.15 * swing, 0, 0.03 * max(0.0, -swing))
        body[_INDEX[f"{side}_knee"]] += (0.08 * swing + 0.02, 0, 0.01)
        body[_INDEX[f"{side}_wrist"]] += (-0.1 * swing, 0, 0.02)
        body[_INDEX[f"{side}_elbow"]] += (-0.04 * swing, 0, 0)
    return body


def _sitting(time_s: float) -> Points:
    """On a chair: hips at 0.27 H, thighs forward, trunk upright, hands on the thighs."""
    del time_s
    body = _REST.copy()
    body[_UPPER, 2] -= 0.26
    for side, y in (("left", 0.09), ("right", -0.09)):
        body[_INDEX[f"{side}_hip"]] = (0.0, y, 0.27)
        body[_INDEX[f"{side}_knee"]] = (0.24, y, 0.28)
        body[_INDEX[f"{side}_ankle"]] = (0.25, y, 0.04)
        body[_INDEX[f"{side}_toe"]] = (0.33, y, 0.0)
        body[_INDEX[f"{side}_wrist"]] = (0.2, y, 0.33)
        body[_INDEX[f"{side}_elbow"]] = (0.04, 1.7 * y, 0.38)
    return body


def _lying(time_s: float) -> Points:
    """Flat on the ground, head forward."""
    del time_s
    body = _pitched(_REST, 90, (0.0, 0.0))
    body[:, 2] = np.clip(body[:, 2] + 0.06, 0.0, 0.12)
    return body


def _lying_high(time_s: float) -> Points:
    """As `_lying`, on a bed 0.3 H high."""
    body = _lying(time_s)
    body[:, 2] += 0.3
    return body


def _bending(time_s: float) -> Points:
    """Straight legs, trunk 80 degrees forward, hands towards the ground."""
    del time_s
    body = _REST.copy()
    body[_UPPER] = _pitched(_REST[_UPPER], 80, (0.0, 0.53))
    body[:, 0] -= 0.06 * (body[:, 2] > 0.1)
    for side, y in (("left", 0.13), ("right", -0.13)):
        body[_INDEX[f"{side}_elbow"]] = (0.22, y, 0.38)
        body[_INDEX[f"{side}_wrist"]] = (0.22, y, 0.2)
    return body


def _squatting(time_s: float) -> Points:
    """Hips at 0.2 H, knees forward, trunk 30 degrees forward, hands low before the feet."""
    del time_s
    body = _REST.copy()
    body[_UPPER] = _pitched(_REST[_UPPER], 30, (0.0, 0.53)) + np.array([-0.05, 0, -0.33])
    for side, y in (("left", 0.1), ("right", -0.1)):
        body[_INDEX[f"{side}_hip"]] = (-0.05, y, 0.2)
        body[_INDEX[f"{side}_knee"]] = (0.17, y, 0.27)
        body[_INDEX[f"{side}_elbow"]] = (0.2, y, 0.3)
        body[_INDEX[f"{side}_wrist"]] = (0.3, y, 0.15)
    return body


def _reaching(time_s: float) -> Points:
    """The right arm stretched forward at the height of the shoulder."""
    del time_s
    return _placed(_REST, right_elbow=(0.17, -0.13, 0.8), right_wrist=(0.33, -0.1, 0.82))


def _concealing(time_s: float) -> Points:
    """The right hand at the right hip, as into a pocket."""
    del time_s
    return _placed(_REST, right_elbow=(-0.08, -0.19, 0.66), right_wrist=(0.02, -0.13, 0.54))


def _striking(time_s: float) -> Points:
    """2.5 blows a second with the right hand, forward at the height of the head: wrist speed up to 2.3 H/s."""
    out = 0.5 - 0.5 * math.cos(2 * math.pi * 2.5 * time_s)
    return _placed(
        _REST, right_elbow=(0.02 + 0.13 * out, -0.14, 0.74), right_wrist=(0.06 + 0.29 * out, -0.08, 0.78 + 0.08 * out)
    )


POSTURES: dict[str, Callable[[float], Points]] = {
    "standing": _standing,
    "swaying": _swaying,
    "walking": _walking,
    "sitting": _sitting,
    "lying": _lying,
    "lying_high": _lying_high,
    "bending": _bending,
    "squatting": _squatting,
    "reaching": _reaching,
    "concealing": _concealing,
    "striking": _striking,
}


@dataclass(frozen=True)
class Camera:
    """A pinhole camera above (0, 0) that looks along +y; x grows to the image's right."""

    width: int = 1280
    height: int = 720
    focal_px: float = 900.0
    above_m: float = 2.6
    tilt_deg: float = 15.0

    def project(self, world: Points) -> Points:
        """(N, 2) px of (N, 3) m; points behind the camera are refused."""
        tilt = math.radians(self.tilt_deg)
        x, y, z = world[:, 0], world[:, 1], world[:, 2] - self.above_m
        depth = y * math.cos(tilt) - z * math.sin(tilt)
        down = -y * math.sin(tilt) - z * math.cos(tilt)
        if (depth < 0.3).any():
            raise ValueError("a person stands behind or inside the camera")
        across = self.width / 2 + self.focal_px * x / depth
        return np.column_stack([across, self.height / 2 + self.focal_px * down / depth])

    def scaled(self, factor: float) -> Camera:
        """The same view with `factor` times the pixels."""
        return replace(
            self,
            width=round(self.width * factor),
            height=round(self.height * factor),
            focal_px=self.focal_px * factor,
        )


@dataclass(frozen=True)
class Act:
    """From `start_s` on the person takes this posture, and needs `transition_s` to get there."""

    start_s: float
    posture: str
    transition_s: float = 0.6


@dataclass(frozen=True)
class Actor:
    """One person's script. `path` holds (time s, x m, y m), straight lines between; `heading_deg` is where the body
    faces: 0 = away from the camera, 90 = the image's right, 180 = towards it; without it a walker faces his way."""

    path: tuple[tuple[float, float, float], ...]
    acts: tuple[Act, ...] = (Act(0.0, "standing"),)
    heading_deg: float | None = None
    present: tuple[float, float] = (0.0, math.inf)
    hidden: tuple[tuple[float, float], ...] = ()
    """Times at which no detector sees the person, although present."""
    stature_m: float = STATURE_M

    def is_seen(self, time_s: float) -> bool:
        inside = self.present[0] - 1e-9 <= time_s <= self.present[1] + 1e-9
        return inside and not any(start <= time_s < end for start, end in self.hidden)

    def position(self, time_s: float) -> tuple[float, float]:
        times, xs, ys = zip(*self.path, strict=True)
        return float(np.interp(time_s, times, xs)), float(np.interp(time_s, times, ys))

    def heading(self, time_s: float) -> float:
        if self.heading_deg is not None:
            return self.heading_deg
        (x0, y0), (x1, y1) = self.position(time_s - 0.05), self.position(time_s + 0.05)
        if abs(x1 - x0) + abs(y1 - y0) < 1e-6:
            return 180.0
        return math.degrees(math.atan2(x1 - x0, y1 - y0)) % 360

    def body(self, time_s: float) -> Points:
        """(22, 3) joints and outline in the person's own frame: forward, left, up; in statures."""
        body = POSTURES[self.acts[0].posture](time_s)
        for act in self.acts:
            if time_s >= act.start_s:
                done = 1.0 if act.transition_s <= 0 else min(1.0, (time_s - act.start_s) / act.transition_s)
                body = body + (POSTURES[act.posture](time_s) - body) * done
        return body

    def world(self, time_s: float) -> Points:
        x, y = self.position(time_s)
        heading = math.radians(self.heading(time_s))
        forward = np.array([math.sin(heading), math.cos(heading)])
        left = np.array([-math.cos(heading), math.sin(heading)])
        body = self.body(time_s) * self.stature_m
        ground = np.array([x, y]) + body[:, :1] * forward + body[:, 1:2] * left
        return np.column_stack([ground, body[:, 2]])


@dataclass(frozen=True)
class Scene:
    """Actors before a camera, sampled at `rate_hz` for `duration_s`; noise in shares of the person's height in px."""

    actors: tuple[Actor, ...]
    duration_s: float
    rate_hz: float = 1.0
    camera: Camera = field(default_factory=Camera)
    box_noise: float = 0.01
    point_noise: float = 0.008
    seed: int = 0
    mirrored: bool = False
    shift_px: tuple[float, float] = (0.0, 0.0)
    """Moves every box and keypoint, not the frame's edge: keep people away from it."""

    @property
    def times_s(self) -> tuple[float, ...]:
        return tuple(np.round(np.arange(0.0, self.duration_s - 1e-9, 1 / self.rate_hz), 6).tolist())

    def views(self, time_s: float) -> list[tuple[int, Points, Points]]:
        """Of every actor that is seen: number from 1, box (4,) within the frame, keypoints (17, 3) with scores."""
        views = []
        for number, actor in enumerate(self.actors, start=1):
            if not actor.is_seen(time_s):
                continue
            # The noise is a function of actor and time only, so that a transformed scene has the transformed noise.
            random = np.random.default_rng((self.seed, number, round(time_s * 1000)))
            points = self.camera.project(actor.world(time_s))
            tall = float(np.ptp(self.camera.project(replace(actor, acts=(Act(0.0, "standing"),)).world(time_s))[:, 1]))
            pad = 0.03 * tall
            box = np.array([*(points.min(axis=0) - pad), *(points.max(axis=0) + pad)])
            box += random.normal(0, self.box_noise * tall, 4)
            joints = points[:17] + random.normal(0, self.point_noise * tall, (17, 2))
            scores = np.clip(random.normal(0.75, 0.05, 17), 0.5, 0.95)
            box = np.clip(box, 0, [self.camera.width, self.camera.height] * 2)
            if min(box[2] - box[0], box[3] - box[1]) < 0.1 * tall:
                continue
            outside = (joints < 0).any(axis=1) | (joints > [self.camera.width, self.camera.height]).any(axis=1)
            scores[outside] = 0.05
            keypoints = np.column_stack([joints, scores])
            views.append((number, *self._moved(box, keypoints)))
        return views

    def _moved(self, box: Points, keypoints: Points) -> tuple[Points, Points]:
        if self.mirrored:
            box = np.array([self.camera.width - box[2], box[1], self.camera.width - box[0], box[3]])
            keypoints = keypoints[[0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]]
            keypoints[:, 0] = self.camera.width - keypoints[:, 0]
        keypoints[:, :2] += self.shift_px
        return box + np.array([*self.shift_px, *self.shift_px]), keypoints

    def boxes(self, time_s: float) -> tuple[list[int], Boxes]:
        """Actor numbers and their boxes at a time, as a perfect detector would give them."""
        views = self.views(time_s)
        xyxy = np.array([box for _, box, _ in views], np.float32).reshape(-1, 4)
        return [number for number, _, _ in views], Boxes(xyxy, np.full(len(views), 0.9, np.float32))

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The `detections` and `poses` of the scene; the actor's number is the track."""
        people, poses = [], []
        for sample, time_s in enumerate(self.times_s):
            for number, box, keypoints in self.views(time_s):
                where = {"sample": sample, "time_s": time_s, "track": number}
                edges = dict(zip(("x1", "y1", "x2", "y2"), box.tolist(), strict=True))
                people.append(
                    {**where, "kind": "person", **edges, "confidence": 0.9, "source": "synthetic", "landmarks": None}
                )
                heading = self.actors[number - 1].heading(time_s)
                away = (360 - heading) % 360 if not self.mirrored else heading % 360
                poses.append(
                    {
                        **where,
                        "keypoints": keypoints.astype(np.float32).ravel().tolist(),
                        "pose_confidence": float(keypoints[:, 2].mean()),
                        "orientation": away,
                        "orientation_confidence": 0.8,
                        "source": "synthetic",
                    }
                )
        detections = DETECTIONS.frame(people)
        sampling = Sampling(self.camera.width, self.camera.height, self.duration_s, self.rate_hz, self.times_s)
        detections.attrs["sampling"] = sampling.to_json()
        return detections, POSES.frame(poses)


def walk(
    direction_deg: float,
    speed: float,
    *,
    middle: tuple[float, float] = (0.0, 7.0),
    duration_s: float = 6.0,
    **changes: object,
) -> Actor:
    """A straight walk through `middle` (m) in a direction (as `heading_deg`), `speed` in body heights a second."""
    way = speed * STATURE_M * duration_s / 2
    dx, dy = way * math.sin(math.radians(direction_deg)), way * math.cos(math.radians(direction_deg))
    path = ((0.0, middle[0] - dx, middle[1] - dy), (duration_s, middle[0] + dx, middle[1] + dy))
    return replace(Actor(path, (Act(0.0, "walking"),)), **changes)  # type: ignore[arg-type]


def stay(acts: Sequence[Act], *, at: tuple[float, float] = (0.0, 7.0), heading_deg: float = 180.0) -> Actor:
    """A person at one place that takes these postures one after another."""
    return Actor(((0.0, *at),), tuple(acts), heading_deg)
