"""Where a body faces, from its keypoints.

Degrees, seen from above with the camera below the picture, counter-clockwise: 0 = back to the camera, 90 = towards the
image's left, 180 = facing the camera, 270 = towards the image's right (as MEBOW has it, arXiv:2011.13688). They are
relative to the ray from the camera, not to the room.

A body that faces `a` shows its left shoulder to the right of the right one by -cos(a) of its width, and its nose
beside the middle of the shoulders by -sin(a) of how far it sticks out. The angle is that of both lengths, so neither
the person's size nor a foreshortened torso matters. With the shoulder order alone, four directions come out right in
72 % of 94 people; single values err by tens of degrees: average them over time with `mean_direction`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sentinel_assets.vision.protocols import Direction, Floats

NOSE, LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR, LEFT_SHOULDER, RIGHT_SHOULDER = range(7)
LEFT_HIP, RIGHT_HIP = 11, 12

MIN_SCORE = 0.2
"""Keypoints below this are not looked at."""

RELIABILITY = 0.8
"""Confidence of a direction from perfectly clear keypoints: as often is one of four directions right, about."""

MIN_CONFIDENCE = 0.15
"""An orientation below this is unknown."""

MAX_TORSO_TILT = 60.0
"""Degrees between the torso and the image's vertical from where a body lies, and faces up or down."""

# Widths of bodies seen from the front or from behind, and how far the nose is from the middle of shoulders and of ears
# in profile, in lengths of the torso: medians over 45 such skeletons of MoveNet and YOLO11n-pose.
SHOULDER_WIDTH, HIP_WIDTH, EAR_WIDTH = 0.82, 0.46, 0.36
NOSE_BEFORE_SHOULDERS, NOSE_BEFORE_EARS = 0.42, 0.22

WORDS = (
    "back to the camera",
    "back to the camera, turned left",
    "facing left",
    "facing the camera, turned left",
    "facing the camera",
    "facing the camera, turned right",
    "facing right",
    "back to the camera, turned right",
)
"""Of the eight directions 0, 45, 90, ... degrees; left and right are the image's."""


def orientation_of(keypoints: Floats) -> Direction | None:
    """Where the body of these 17 COCO keypoints (17, 3) faces; None when both shoulders are not clear, the body lies,
    or its cues are too small or too much at odds to say.

    Mirroring the keypoints (left and right exchanged) gives 360 - degrees; scaling and shifting change nothing.
    """
    if keypoints.shape != (17, 3):
        raise ValueError(f"keypoints are {keypoints.shape}, expected (17, 3)")
    points, score = keypoints[:, :2].astype(float), keypoints[:, 2].astype(float)
    shoulders = [LEFT_SHOULDER, RIGHT_SHOULDER]
    if score[shoulders].min() < MIN_SCORE:
        return None
    middle = points[shoulders].mean(axis=0)
    torso = None
    if score[[LEFT_HIP, RIGHT_HIP]].min() >= MIN_SCORE:
        across, down = points[[LEFT_HIP, RIGHT_HIP]].mean(axis=0) - middle
        if math.degrees(math.atan2(abs(across), down)) > MAX_TORSO_TILT:
            return None
        torso = math.hypot(across, down)

    widths = [(points[LEFT_SHOULDER, 0] - points[RIGHT_SHOULDER, 0], SHOULDER_WIDTH)]
    if torso is not None:
        widths.append((points[LEFT_HIP, 0] - points[RIGHT_HIP, 0], HIP_WIDTH))
    depths = []
    if score[[NOSE, LEFT_EAR, RIGHT_EAR]].max() >= MIN_SCORE:
        # From behind the nose scores low, and yet lies where the head points to.
        ears = points[[LEFT_EAR, RIGHT_EAR], 0]
        widths.append((ears[0] - ears[1], EAR_WIDTH))
        depths.append((points[NOSE, 0] - middle[0], NOSE_BEFORE_SHOULDERS))
        depths.append((points[NOSE, 0] - ears.mean(), NOSE_BEFORE_EARS))
    facing, facing_agreement = _pooled(widths)
    sideways, sideways_agreement = _pooled(depths)

    length = math.hypot(facing, sideways)
    if length == 0:
        return None
    agreement = (abs(facing) * facing_agreement + abs(sideways) * sideways_agreement) / (abs(facing) + abs(sideways))
    # Lengths far below a body's own say little: the shoulders cross in profile, and then the nose should stick out.
    size = 0.7 if torso is None else min(1.0, length / max(torso, 1e-6) / 0.7)
    confidence = RELIABILITY * float(score[shoulders].mean().clip(0, 1)) * size * agreement
    if facing * _face(score) < 0:
        confidence /= 2
    if confidence < MIN_CONFIDENCE:
        return None
    return Direction(_degrees(-facing, -sideways), confidence)


def _pooled(cues: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """One value of several (measured length, length at full turn), and how far their signs agree, [0, 1]."""
    total = sum(measured for measured, _ in cues)
    size = sum(abs(measured) for measured, _ in cues)
    full = sum(full for _, full in cues)
    return (total / full, abs(total) / size) if size else (0.0, 1.0)


def _face(score: npt.NDArray[np.float64]) -> int:
    """1 when nose and both eyes are plain to see, -1 when an ear is and none of them, 0 when that cannot be told.

    MoveNet gives noses at the back of heads .5; only YOLO's scores reach either limit.
    """
    front, ears = score[[NOSE, LEFT_EYE, RIGHT_EYE]], score[[LEFT_EAR, RIGHT_EAR]]
    if front.min() >= 0.8:
        return 1
    return -1 if front.max() < 0.3 and ears.max() >= 0.5 else 0


def _degrees(cosine: float, sine: float) -> float:
    degrees = math.degrees(math.atan2(sine, cosine)) % 360.0
    return 0.0 if degrees >= 360.0 else degrees


def mean_direction(degrees: Sequence[float], weights: Sequence[float] | None = None) -> Direction | None:
    """The mean of angles as unit vectors: of 350 and 10 it is 0, never 180.

    `confidence` is the length of the mean vector, 1 when all angles are equal and 0 when they cancel out; None when
    they do, when there are none, or when all weights are 0.
    """
    angles = np.deg2rad(np.asarray(degrees, float))
    weight = np.ones_like(angles) if weights is None else np.asarray(weights, float)
    if weight.shape != angles.shape:
        raise ValueError(f"{weight.size} weights for {angles.size} angles")
    if (weight < 0).any():
        raise ValueError("weights must not be negative")
    total = float(weight.sum())
    if total == 0:
        return None
    cosine, sine = float((weight * np.cos(angles)).sum()), float((weight * np.sin(angles)).sum())
    length = math.hypot(cosine, sine) / total
    if length < 1e-9:
        return None
    return Direction(_degrees(cosine, sine), min(1.0, length))


def in_words(degrees: float) -> str:
    """The nearest of eight directions in words, such as "facing the camera" or "facing left"."""
    return WORDS[round(degrees / 45) % 8]


def in_shop_frame(
    degrees: float,
    *,
    camera_yaw: float,
    column: float | None = None,
    width: float | None = None,
    field_of_view: float | None = None,
) -> float:
    """A direction relative to the camera as one in the shop, degrees in [0, 360), counter-clockwise from above.

    `camera_yaw` is where the camera looks, in the shop's own count: 0 is the direction that the shop calls 0. Who turns
    his back to the camera faces where it looks, hence the sum. The camera sees somebody at `column` px of a picture
    `width` px wide along a ray beside its axis; with the horizontal `field_of_view` in degrees that is accounted for.
    """
    ray = 0.0
    if column is not None and width and field_of_view:
        focal = width / 2 / math.tan(math.radians(field_of_view) / 2)
        ray = -math.degrees(math.atan2(column - width / 2, focal))
    turned = (degrees + camera_yaw + ray) % 360.0
    return 0.0 if turned >= 360.0 else turned


def on_plan(degrees: float, *, camera_yaw: float) -> float:
    """A direction relative to the camera as one on the store's plan, degrees in [0, 360), clockwise from its top, as is
    `camera_yaw`, where the camera looks."""
    return (360.0 - in_shop_frame(degrees, camera_yaw=-camera_yaw)) % 360.0
