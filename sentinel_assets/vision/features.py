"""What is measured of a tracked person in every sample: unitless, in standing heights, nan where it cannot be seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sentinel_assets.vision.behavior_parameters import BehaviorParameters
from sentinel_assets.vision.errors import TableError
from sentinel_assets.vision.skeleton import ANKLES, ELBOWS, HIPS, KNEES, SHOULDERS, WRISTS, angle_deg, lean_deg, middle
from sentinel_assets.vision.stature import standing_heights
from sentinel_assets.vision.tables import Sampling
from sentinel_assets.vision.windows import windows

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_SAME_HEIGHT, _SAME_HEIGHT_OF_SLOW = 0.35, 0.2
"""Natural logarithm of the ratio of box heights within which two samples show the same posture: of somebody who comes
on quickly, and of others."""


@dataclass(frozen=True)
class TrackFeatures:
    """N samples of one track, by time. Angles are degrees, lengths standing heights H, speeds H/s; nan = not seen."""

    track: int
    samples: NDArray[np.int64]
    times_s: Array
    interval_s: float
    """Usual time between two samples of the video while the track lasts, s."""
    boxes: Array
    """(N, 4) px."""
    cut: Mask
    """(N, 4) whether the box's left, top, right and bottom side is cut off by the frame."""
    keypoints: Array
    """(N, 17, 3); x and y are nan where the score is too low."""
    height: Array
    """H in px."""
    height_source: str
    """upright (seen standing), camera (others stood there), trunk (its length / 0.29) or none."""
    body: Mask
    """Whether enough of the body is in the picture for its posture to be judged."""
    rho: Array
    """Box height over H."""
    aspect: Array
    """Box height over width."""
    trunk_deg: Array
    """Lean of the trunk from the vertical: 0 upright, 90 level, 180 head down."""
    trunk: Array
    """Length of the trunk as seen; short when it points at the camera."""
    leg_drop: Array
    """Ankles below hips."""
    thigh_drop: Array
    """Knees below hips."""
    thigh_share: Array
    """Knees below hips, over ankles below hips: half for straight legs, little for legs of somebody who sits."""
    hip_height: Array
    """Hips above the lowest point of the box."""
    reach: Array
    """(N, 2) distance of the left and right wrist from the axis of the trunk."""
    wrist_drop: Array
    """(N, 2) wrists below the knees (negative: above)."""
    pocket: Array
    """(N, 2) distance of the wrist from the hip of its side."""
    elbow_deg: Array
    """(N, 2) angle at the elbow; 180 = straight."""
    speed: Array
    """Net speed over the ground."""
    facing: Array
    """Where the body faces, degrees as the orientation in poses, averaged over the seconds around; nan = unknown."""

    def __len__(self) -> int:
        return len(self.times_s)

    @property
    def feet(self) -> Array:
        """(N, 2) px, middle of the lower edge of the box."""
        return np.column_stack([(self.boxes[:, 0] + self.boxes[:, 2]) / 2, self.boxes[:, 3]])


def measure(detections: pd.DataFrame, poses: pd.DataFrame, parameters: BehaviorParameters) -> list[TrackFeatures]:
    """The features of every tracked person, by track. Of two boxes of one track in one sample the larger counts:
    the other is a part of it.

    Raises TableError when `poses` has a row of a person whom `detections` does not have.
    """
    sampling = Sampling.of(detections)
    people = detections[(detections["kind"] == "person") & detections["track"].notna()]
    area = (people["x2"] - people["x1"]) * (people["y2"] - people["y1"])
    people = people.assign(area=area).sort_values(
        ["track", "sample", "area", "x1"], ascending=[True, True, False, True]
    )
    people = people.drop_duplicates(["track", "sample"])
    known = set(zip(people["track"].astype(int), people["sample"].astype(int), strict=True))
    points = {}
    owners, ordinals = poses["track"].astype(int).tolist(), poses["sample"].astype(int).tolist()
    for track, sample, keypoints in zip(owners, ordinals, poses["keypoints"], strict=True):
        if (track, sample) not in known:
            raise TableError(
                f"a pose of track {track} in sample {sample} that detections do not have",
                where="poses",
                remedy="materialize poses again",
            )
        points[track, sample] = _keypoints(keypoints, parameters.keypoint_score)
    directions = dict(
        zip(
            zip(owners, ordinals, strict=True),
            zip(poses["orientation"].astype(float), poses["orientation_confidence"].astype(float), strict=True),
            strict=True,
        )
    )
    raw = [
        _RawTrack(
            int(rows["track"].iloc[0]),
            rows["sample"].to_numpy(np.int64),
            rows["time_s"].to_numpy(np.float64),
            rows[["x1", "y1", "x2", "y2"]].to_numpy(np.float64),
            np.array([points.get((int(rows["track"].iloc[0]), int(s)), _NO_KEYPOINTS) for s in rows["sample"]]),
            np.array([directions.get((int(rows["track"].iloc[0]), int(s)), (np.nan, 0.0)) for s in rows["sample"]]),
        )
        for _, rows in people.groupby("track", sort=True)
    ]
    heights = standing_heights([(t.boxes, t.keypoints, t.times_s, _cut(t.boxes, sampling, parameters)) for t in raw])
    return [
        _features(track, height, source, interval_s=_interval(track, sampling), sampling=sampling, p=parameters)
        for track, (height, source) in zip(raw, heights, strict=True)
    ]


def _interval(track: _RawTrack, sampling: Sampling) -> float:
    """The usual time between two samples of the video while the track lasts: it is sampled denser where people are."""
    times = np.asarray(sampling.times_s)
    during = times[(times >= track.times_s[0] - 1e-6) & (times <= track.times_s[-1] + 1e-6)]
    for steps in (np.diff(during), np.diff(times)):
        if len(steps):
            return float(np.median(steps))
    return 1 / sampling.rate_hz


_NO_KEYPOINTS: Array = np.full((17, 3), np.nan)


@dataclass(frozen=True)
class _RawTrack:
    track: int
    samples: NDArray[np.int64]
    times_s: Array
    boxes: Array
    keypoints: Array
    directions: Array
    """(N, 2) orientation in degrees and its confidence."""


def _keypoints(numbers: object, least_score: float) -> Array:
    if numbers is None or (isinstance(numbers, float) and np.isnan(numbers)):
        return _NO_KEYPOINTS
    keypoints = np.asarray(numbers, np.float64)
    if keypoints.size != 51:
        raise TableError(f"a pose of {keypoints.size} numbers, expected 51", where="poses")
    keypoints = keypoints.reshape(17, 3).copy()
    keypoints[~(keypoints[:, 2] >= least_score), :2] = np.nan
    return keypoints


def _cut(boxes: Array, sampling: Sampling, parameters: BehaviorParameters) -> Mask:
    width, height = sampling.width, sampling.height
    margin = np.column_stack([boxes[:, 0], boxes[:, 1], width - boxes[:, 2], height - boxes[:, 3]])
    return np.asarray(margin <= np.array([width, height, width, height]) * parameters.edge_share)


def _features(
    track: _RawTrack, height: Array, source: str, *, interval_s: float, sampling: Sampling, p: BehaviorParameters
) -> TrackFeatures:
    boxes, keypoints = track.boxes, track.keypoints
    cut = _cut(boxes, sampling, p)
    shoulders, hips = middle(keypoints, SHOULDERS), middle(keypoints, HIPS)
    knees, ankles = middle(keypoints, KNEES), middle(keypoints, ANKLES)
    tall = boxes[:, 3] - boxes[:, 1]
    trunk_px = np.hypot(*(shoulders - hips).T)
    # Somebody who leaves through the frame's lower edge is not flat: legs must be seen, or the feet be in the picture.
    legs = ~np.isnan(hips[:, 0]) & ~(np.isnan(knees[:, 0]) & np.isnan(ankles[:, 0]))
    body = ~cut[:, 3] | legs
    drop = ankles[:, 1] - hips[:, 1]
    wrists, same_hips, elbows = keypoints[:, WRISTS, :2], keypoints[:, HIPS, :2], keypoints[:, ELBOWS, :2]
    same_shoulders = keypoints[:, SHOULDERS, :2]
    axis = (shoulders - hips) / np.maximum(trunk_px, 1e-9)[:, None]
    from_hip = wrists - hips[:, None]
    off_axis = np.abs(from_hip[:, :, 0] * axis[:, None, 1] - from_hip[:, :, 1] * axis[:, None, 0])
    return TrackFeatures(
        track=track.track,
        samples=track.samples,
        times_s=track.times_s,
        interval_s=interval_s,
        boxes=boxes,
        cut=cut,
        keypoints=keypoints,
        height=height,
        height_source=source,
        body=body,
        rho=tall / height,
        aspect=tall / np.maximum(boxes[:, 2] - boxes[:, 0], 1e-9),
        trunk_deg=lean_deg(hips, shoulders),
        trunk=trunk_px / height,
        leg_drop=drop / height,
        thigh_drop=(knees[:, 1] - hips[:, 1]) / height,
        thigh_share=np.where(drop > 0.1 * height, (knees[:, 1] - hips[:, 1]) / np.maximum(drop, 1e-9), np.nan),
        hip_height=(boxes[:, 3] - hips[:, 1]) / height,
        reach=off_axis / height[:, None],
        wrist_drop=(wrists[:, :, 1] - knees[:, None, 1]) / height[:, None],
        pocket=np.hypot(*np.moveaxis(wrists - same_hips, -1, 0)) / height[:, None],
        elbow_deg=angle_deg(same_shoulders, elbows, wrists),
        speed=_speed(
            track.times_s,
            boxes,
            cut,
            keypoints,
            height,
            interval_s=interval_s,
            long_side=max(sampling.width, sampling.height),
            p=p,
        ),
        facing=_facing(track.times_s, track.directions, p.facing_window_s),
    )


def _facing(times_s: Array, directions: Array, window_s: float) -> Array:
    """(N,) mean direction around each sample, as unit vectors weighted by their confidences."""
    weights = np.where(np.isnan(directions[:, 0]), 0.0, directions[:, 1])
    angles = np.radians(np.nan_to_num(directions[:, 0]))
    unit = np.column_stack([np.cos(angles), np.sin(angles)]) * weights[:, None]
    sums = np.array([unit[window].sum(axis=0) for window in windows(times_s, window_s / 2)]).reshape(-1, 2)
    degrees = np.degrees(np.arctan2(sums[:, 1], sums[:, 0])) % 360
    return np.where(np.hypot(*sums.T) > 1e-6, degrees, np.nan)


def _speed(
    times_s: Array,
    boxes: Array,
    cut: Mask,
    keypoints: Array,
    height: Array,
    *,
    interval_s: float,
    long_side: int,
    p: BehaviorParameters,
) -> Array:
    """Net speed over the ground, H/s: slope of a line through the window around each sample.

    Samples in which the person is taller or shorter tell of another posture, not of a way. Along the line of sight
    rows are foreshortened; there the change of size helps, as far as the rows agree with it. An arm that reaches moves
    the middle of the box, but neither hips nor ankles.
    """
    hips = middle(keypoints, HIPS)[:, 0]
    columns = np.column_stack([(boxes[:, 0] + boxes[:, 2]) / 2, hips, middle(keypoints, ANKLES)[:, 0]])
    tall = np.log(np.maximum(boxes[:, 3] - boxes[:, 1], 1.0))
    ankles = np.fmax(keypoints[:, ANKLES[0], 1], keypoints[:, ANKLES[1], 1])
    rows = np.column_stack([np.where(cut[:, 3], np.nan, boxes[:, 3]), np.where(cut[:, 1], np.nan, boxes[:, 1]), ankles])
    half = max(p.speed_window_s / 2, interval_s) + interval_s / 4

    def between(near: NDArray[np.int64], i: int) -> float:
        if len(near) < 2:
            return np.nan
        down, across = (
            _agreed([_slope(times_s[near], line[near]) for line in lines.T if not np.isnan(line[near]).any()])
            for lines in (rows, columns)
        )
        depth = abs(down) / p.foreshortening
        growth = _slope(times_s[near], tall[near]) * p.focal_share * long_side
        if growth * down > 0:
            depth = max(depth, min(abs(growth), abs(down) / (0.4 * p.foreshortening)))
        return float(np.hypot(across, depth) / height[i])

    speed = np.full(len(times_s), np.nan)
    for i, window in enumerate(windows(times_s, half)):
        change = np.abs(tall[window] - tall[i])
        speed[i] = between(window.start + np.flatnonzero(change < _SAME_HEIGHT), i)
        if speed[i] < p.brisk:
            speed[i] = between(window.start + np.flatnonzero(change < _SAME_HEIGHT_OF_SLOW), i)
    return speed


def _agreed(slopes: list[float]) -> float:
    """What they agree on: the median of three, the smaller of two, else none. Each of them jumps at times: legs are
    hidden by a shelf, an ankle is guessed."""
    if len(slopes) == 3:
        return float(np.median(slopes))
    return min(slopes, key=abs) if len(slopes) == 2 else 0.0


def _slope(times_s: Array, values: Array) -> float:
    """Least-squares slope per second."""
    centred = times_s - times_s.mean()
    return float((centred * (values - values.mean())).sum() / max(float((centred**2).sum()), 1e-12))
