"""What happens between two people: blows and shoves. Passing, queueing and talking are none of it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from sentinel_assets.vision.behavior_parameters import BehaviorParameters
from sentinel_assets.vision.features import Array, TrackFeatures
from sentinel_assets.vision.findings import Finding
from sentinel_assets.vision.skeleton import HIPS, NOSE, SHOULDERS, WRISTS, middle

Indices = NDArray[np.int64]

_TOUCH = 0.2
"""H. From a wrist to the other's trunk at which a hand is on the body."""
_BLOW_S = 0.3
"""One blow, out and back, takes this long at least (3 blows a second)."""
_FASTEST = 4.0
"""H/s. A wrist that is faster (about 7 m/s) has been confused with another joint."""


@dataclass(frozen=True)
class _Pair:
    """Samples in which both are seen: `a` and `b` are the rows in either track."""

    one: TrackFeatures
    other: TrackFeatures
    a: Indices
    b: Indices
    gap: Array
    """(M,) distance of the feet, in H; rows count double, they are foreshortened."""


def find_violence(tracks: list[TrackFeatures], parameters: BehaviorParameters) -> list[Finding]:
    """Strikes where the sampling can show them (8 Hz and more), shoves from 4 Hz on; each by one against another."""
    found: list[Finding] = []
    for one, other in permutations(tracks, 2):
        pair = _pair(one, other, parameters)
        if pair is None:
            continue
        steps = np.diff(one.times_s[pair.a])
        if (steps <= 1 / parameters.strike_rate_hz + 1e-3).any():
            found += _strikes(pair, parameters)
        if one.interval_s <= parameters.shove_s / 2 + 1e-3:
            found += _shoves(pair, parameters)
    return found


def _pair(one: TrackFeatures, other: TrackFeatures, parameters: BehaviorParameters) -> _Pair | None:
    if one.samples[-1] < other.samples[0] or other.samples[-1] < one.samples[0]:
        return None
    _, a, b = np.intersect1d(one.samples, other.samples, return_indices=True)
    if len(a) < 2:
        return None
    apart = (one.feet[a] - other.feet[b]) / np.array([1.0, parameters.foreshortening])
    gap = np.hypot(*apart.T) / ((one.height[a] + other.height[b]) / 2)
    return _Pair(one, other, a.astype(np.int64), b.astype(np.int64), gap) if (gap <= parameters.near).any() else None


def _distance_to_body(pair: _Pair) -> Array:
    """(M, 2) from each wrist of `one` to the nearest of nose, shoulders, trunk and hips of the `other`, in H."""
    wrists = pair.one.keypoints[pair.a][:, WRISTS, :2]
    body = pair.other.keypoints[pair.b]
    shoulders, hips = middle(body, SHOULDERS), middle(body, HIPS)
    targets = np.stack([body[:, NOSE, :2], shoulders, (shoulders + hips) / 2, hips], axis=1)
    away = np.linalg.norm(wrists[:, :, None] - targets[:, None], axis=-1)
    away = np.where(np.isnan(away), np.inf, away).min(axis=-1)
    return np.asarray(away / pair.one.height[pair.a][:, None])


def _strikes(pair: _Pair, parameters: BehaviorParameters) -> list[Finding]:
    p = parameters
    times_s = pair.one.times_s[pair.a]
    points = pair.one.keypoints[pair.a]
    relative = (points[:, WRISTS, :2] - points[:, SHOULDERS, :2]) / pair.one.height[pair.a][:, None, None]
    steps = np.diff(times_s)
    speed = np.linalg.norm(np.diff(relative, axis=0), axis=-1) / steps[:, None]
    coarse = steps > 1 / p.strike_rate_hz + 1e-3
    speed[np.isnan(speed) | (speed > _FASTEST) | coarse[:, None]] = 0.0
    close = _distance_to_body(pair)
    close = np.minimum(close[1:], close[:-1])
    near = np.minimum(pair.gap[1:], pair.gap[:-1]) <= p.near
    blow = (speed >= p.strike_speed) & (close <= p.strike_distance) & near[:, None]
    blows = np.flatnonzero(blow.any(axis=1))
    blows = _apart(blows, times_s[1:], _BLOW_S)
    found: list[Finding] = []
    start = 0
    for i in range(1, len(blows) + 1):
        if i < len(blows) and times_s[blows[i] + 1] - times_s[blows[i - 1] + 1] <= p.strikes_within_s / 2:
            continue
        group = blows[start:i]
        start = i
        if len(group) < p.strikes:
            continue
        peak = group[int(np.argmax(speed[group].max(axis=1)))]
        count = len(group)
        found.append(
            Finding(
                track=pair.one.track,
                other_track=pair.other.track,
                behavior="violent",
                start_s=float(times_s[group[0]]),
                peak_s=float(times_s[peak + 1]),
                end_s=float(times_s[group[-1] + 1]),
                confidence=p.violent_confidence * min(1.0, 0.5 + 0.1 * count),
                rule="strikes",
                values={
                    "strikes": count,
                    "wrist_speed": round(float(speed[peak].max()), 2),
                    "distance": round(float(close[peak].min()), 2),
                    "gap": round(float(pair.gap[peak]), 2),
                },
                thresholds={
                    "strikes": p.strikes,
                    "strike_speed": p.strike_speed,
                    "strike_distance": p.strike_distance,
                    "near": p.near,
                },
                samples=pair.one.samples[pair.a][group[0] : group[-1] + 2].tolist(),
                needs_review=True,
            )
        )
    return found


def _apart(events: Indices, times_s: Array, least_s: float) -> Indices:
    """Those events that come at least so long after the one before."""
    kept: list[int] = []
    for event in events.tolist():
        if not kept or times_s[event] - times_s[kept[-1]] >= least_s - 1e-6:
            kept.append(event)
    return np.array(kept, np.int64)


def _shoves(pair: _Pair, parameters: BehaviorParameters) -> list[Finding]:
    """A hand on the other's body, who is then suddenly away and leans; only a candidate."""
    p = parameters
    times_s = pair.one.times_s[pair.a]
    touch = _distance_to_body(pair).min(axis=1) <= _TOUCH
    trunk = pair.other.trunk_deg[pair.b]
    still = ~(pair.other.speed[pair.b] > p.running)
    found: list[Finding] = []
    for i in np.flatnonzero(touch & (pair.gap <= p.near) & still):
        later = np.flatnonzero((times_s > times_s[i]) & (times_s <= times_s[i] + p.shove_s + 1e-3))
        if not len(later):
            continue
        opened = float(pair.gap[later].max() - pair.gap[i])
        tilted = trunk[later] - trunk[i]
        tilt = float(np.nanmax(tilted)) if not np.isnan(tilted).all() else 0.0
        if opened < p.shove_opening or tilt < p.shove_tilt_deg:
            continue
        if found and times_s[i] - found[-1].end_s <= p.bridge_s:
            continue
        found.append(
            Finding(
                track=pair.one.track,
                other_track=pair.other.track,
                behavior="violent",
                start_s=float(times_s[i]),
                peak_s=float(times_s[later[-1]]),
                end_s=float(times_s[later[-1]]),
                confidence=p.candidate_confidence,
                rule="shove",
                values={"opened": round(opened, 2), "tilt_deg": round(tilt, 1), "gap": round(float(pair.gap[i]), 2)},
                thresholds={
                    "shove_opening": p.shove_opening,
                    "shove_s": p.shove_s,
                    "shove_tilt_deg": p.shove_tilt_deg,
                    "near": p.near,
                },
                samples=pair.one.samples[pair.a][i : later[-1] + 1].tolist(),
                needs_review=True,
                note="a candidate: contact and a sudden separation, no blows",
            )
        )
    return found
