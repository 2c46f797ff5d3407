"""The posture timeline: what each person's body does, for every moment between first and last sight.

Each sample is compared with what every posture looks like (fuzzy membership, a table below), then the cheapest
sequence of postures is sought (Viterbi). Evidence counts by the time that a sample stands for, not by the number of
samples, so the same movement gives the same labels at any rate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel_assets.vision.behavior_parameters import BehaviorParameters
from sentinel_assets.vision.features import TrackFeatures

Array = NDArray[np.float64]

POSTURES = ("walking", "standing", "bending", "sitting", "lying", "unknown")
"""`bending` and `lying` are internal: bending is a way of standing, lying becomes a collapse or an anomaly."""

UPRIGHT = ("walking", "standing", "bending")

# What a posture looks like: feature -> (from, fully from, fully to, to); full membership between the middle two, none
# outside of the outer two. None = open. Lengths are in standing heights.
# Proportions: Drillis and Contini 1966 (hip 0.53 H, knee 0.285, trunk 0.29); a seat is 0.27 H high, so a sitting person
# is 0.74 H tall; a lying body seen from the side is 0.15-0.25 H high, seen along its length from above up to 0.5 H.
_LOOKS: dict[str, dict[str, tuple[float | None, float | None, float | None, float | None]]] = {
    "standing": {
        "rho": (0.72, 0.86, None, None),
        "trunk_deg": (None, None, 25, 45),
        "leg_drop": (0.28, 0.40, None, None),
        "thigh_share": (0.36, 0.46, None, None),
        "aspect": (1.2, 1.8, None, None),
    },
    "bending": {
        "rho": (0.45, 0.55, 0.88, 1.0),
        "trunk_deg": (30, 50, 150, 170),
        "leg_drop": (0.22, 0.33, None, None),
        "thigh_share": (0.30, 0.40, None, None),
        "aspect": (0.6, 0.8, 2.0, 2.6),
    },
    "sitting": {
        "rho": (0.40, 0.50, 0.80, 0.92),
        "trunk_deg": (None, None, 45, 75),
        "leg_drop": (0.0, 0.08, 0.32, 0.42),
        "thigh_share": (None, None, 0.40, 0.48),
        "aspect": (0.7, 0.95, 2.3, 3.2),
    },
    "lying": {
        "rho": (None, None, 0.42, 0.58),
        "trunk_deg": (40, 60, None, None),
        "leg_drop": (None, None, 0.15, 0.30),
        "thigh_drop": (None, None, 0.12, 0.20),
        "aspect": (None, None, 0.8, 1.4),
    },
}
_WEIGHTS = {"rho": 2.0, "trunk_deg": 1.5, "leg_drop": 1.5, "thigh_drop": 1.0, "thigh_share": 1.5, "aspect": 1.0}
"""How much a feature says about the posture: height says most, aspect is changed by arms and by clothes."""
_GUESSED_HEIGHT = 0.25
"""What the weight of a length becomes when H was derived from the trunk only."""
_SHORT_TRUNK = 0.17
"""H. A trunk that looks shorter points at the camera; its lean says nothing."""
_LEAST_WEIGHT = 2.4
"""Total weight below which a posture is not judged: one feature is not enough."""
_FLOOR = 0.03
"""Least membership in one feature: a single wrong keypoint must not rule a posture out."""
_NOT_JUDGED = 0.2
"""Highest membership in any posture of a sample that shows too little; less than `unknown_score`, yet a posture before
and after it may go on through it."""


@dataclass(frozen=True)
class Stretch:
    """A stretch of one posture: samples `first` to `last` of the track (both included), from `start_s` to `end_s`."""

    posture: str
    first: int
    last: int
    start_s: float
    end_s: float
    confidence: float
    """Mean membership of its samples."""

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s

    @property
    def label(self) -> str:
        return "standing" if self.posture == "bending" else self.posture


def memberships(track: TrackFeatures, parameters: BehaviorParameters) -> Array:
    """(N, 6) in [0, 1], how well each sample fits each of POSTURES."""
    scores = np.zeros((len(track), len(POSTURES)))
    fits = {posture: _fit(track, looks) for posture, looks in _LOOKS.items()}
    enough = track.body & (fits["standing"][1] >= _LEAST_WEIGHT)
    moving = _ramp(track.speed, parameters.walking_leave, parameters.walking_enter)
    moving = np.where(np.isnan(moving), 0.0, moving)
    upright = np.maximum(fits["standing"][0], fits["bending"][0])
    scores[:, 0] = upright * moving
    scores[:, 1] = fits["standing"][0] * (1 - moving)
    scores[:, 2] = fits["bending"][0] * (1 - moving)
    scores[:, 3] = fits["sitting"][0] * (1 - 0.8 * moving)
    scores[:, 4] = fits["lying"][0]
    # A shelf or somebody else may hide the legs: then a low box is not proof of a seat, nor of a bent back.
    legs = ~np.isnan(track.leg_drop) | (~np.isnan(track.thigh_drop) & (track.height_source in ("upright", "camera")))
    scores[~legs, 3] = np.minimum(scores[~legs, 3], _NOT_JUDGED)
    straight = np.isnan(track.trunk_deg)
    scores[straight, 2] = np.minimum(scores[straight, 2], _NOT_JUDGED)
    scores[~enough] = np.minimum(scores[~enough], _NOT_JUDGED)
    scores[:, 5] = parameters.unknown_score
    return scores


def judged(scores: Array) -> NDArray[np.bool_]:
    """(N,) whether the sample itself says anything on the posture, given its `memberships`."""
    return np.asarray(scores[:, :-1].max(axis=1) > _NOT_JUDGED)


def _ramp(values: Array, low: float, high: float) -> Array:
    return np.asarray(np.clip((values - low) / (high - low), 0.0, 1.0))


def _fit(
    track: TrackFeatures, looks: dict[str, tuple[float | None, float | None, float | None, float | None]]
) -> tuple[Array, Array]:
    """Weighted geometric mean of the memberships of the features that were seen, and the total weight of those."""
    total, weight = np.zeros(len(track)), np.zeros(len(track))
    for name, (low, full_low, full_high, high) in looks.items():
        values: Array = getattr(track, name)
        member = np.ones(len(track))
        if low is not None and full_low is not None:
            member = np.minimum(member, _ramp(values, low, full_low))
        if full_high is not None and high is not None:
            member = np.minimum(member, 1 - _ramp(values, full_high, high))
        seen = ~np.isnan(values)
        if name == "trunk_deg":
            seen &= ~(track.trunk < _SHORT_TRUNK)
        if name in ("rho", "aspect") and low is not None:
            # Of a box that is cut off above and below the person is higher still: it can only say what is too high.
            seen &= ~(track.cut[:, 1] & track.cut[:, 3])
        share = _WEIGHTS[name]
        if track.height_source == "trunk" and name in ("rho", "leg_drop", "thigh_drop"):
            share *= _GUESSED_HEIGHT
        total += np.where(seen, share * np.log(np.maximum(np.where(seen, member, 1.0), _FLOOR)), 0.0)
        weight += np.where(seen, share, 0.0)
    return np.exp(total / np.maximum(weight, 1e-9)), weight


def timeline(track: TrackFeatures, parameters: BehaviorParameters) -> list[Stretch]:
    """The postures of a track one after another; they touch, and together they are its time, first to last sample."""
    scores = memberships(track, parameters)
    stretches: list[Stretch] = []
    for first, last in _visible(track, parameters):
        if stretches:
            stretches.append(_gap(track, stretches[-1], first))
        path = _viterbi(scores[first : last + 1], _durations(track.times_s[first : last + 1]), parameters)
        stretches += _stretches(track, scores, path, first)
    return _merged(_strolls_last(track, _squats_stand(stretches, parameters), parameters))


def _visible(track: TrackFeatures, parameters: BehaviorParameters) -> list[tuple[int, int]]:
    """Runs of samples (first, last) without a gap longer than what may be bridged."""
    longest = max(parameters.bridge_s, track.interval_s) + track.interval_s / 2
    breaks = np.flatnonzero(np.diff(track.times_s) > longest)
    return list(zip([0, *(breaks + 1)], [*breaks, len(track) - 1], strict=True))


def _gap(track: TrackFeatures, before: Stretch, after: int) -> Stretch:
    """The time in which nobody was seen; it rests on the last sample before."""
    return Stretch("unknown", before.last, before.last, before.end_s, float(track.times_s[after]), 1.0)


def _durations(times_s: Array) -> Array:
    """Seconds that each sample stands for: half way to its neighbours; one alone stands for a second."""
    if len(times_s) < 2:
        return np.ones(len(times_s))
    edges = np.concatenate([[times_s[0]], (times_s[1:] + times_s[:-1]) / 2, [times_s[-1]]])
    lasting = np.diff(edges)
    # The first and the last sample stand for as much as if the track went on.
    lasting[0] = times_s[1] - times_s[0]
    lasting[-1] = times_s[-1] - times_s[-2]
    return np.asarray(lasting)


def _viterbi(scores: Array, lasting: Array, parameters: BehaviorParameters) -> NDArray[np.int64]:
    """(N,) index of the posture: the sequence with the most membership-seconds, less a price for each change."""
    gain = scores * lasting[:, None]
    best = gain[0].copy()
    came_from = np.zeros(scores.shape, np.int64)
    for i in range(1, len(gain)):
        leap = int(best.argmax())
        stay = best >= best[leap] - parameters.switch_cost_s
        came_from[i] = np.where(stay, np.arange(len(best)), leap)
        best = np.where(stay, best, best[leap] - parameters.switch_cost_s) + gain[i]
    path = np.zeros(len(gain), np.int64)
    path[-1] = int(best.argmax())
    for i in range(len(gain) - 1, 0, -1):
        path[i - 1] = came_from[i, path[i]]
    return path


def _stretches(track: TrackFeatures, scores: Array, path: NDArray[np.int64], offset: int) -> list[Stretch]:
    times = track.times_s[offset : offset + len(path)]
    edges = np.concatenate([[times[0]], (times[1:] + times[:-1]) / 2, [times[-1]]])
    cuts = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)]
    return [
        Stretch(
            POSTURES[path[a]],
            offset + a,
            offset + b - 1,
            float(edges[a]),
            float(edges[b]),
            float(scores[offset + a : offset + b, path[a]].mean()),
        )
        for a, b in pairwise(cuts)
    ]


def _squats_stand(stretches: list[Stretch], parameters: BehaviorParameters) -> list[Stretch]:
    """A short low posture between two upright ones is a squat of somebody who stands."""
    judged = list(stretches)
    for i in range(1, len(stretches) - 1):
        around = stretches[i - 1].posture in UPRIGHT and stretches[i + 1].posture in UPRIGHT
        if stretches[i].posture == "sitting" and around and stretches[i].duration_s < parameters.crouch_s:
            judged[i] = replace(stretches[i], posture="bending")
    return judged


def _strolls_last(track: TrackFeatures, stretches: list[Stretch], parameters: BehaviorParameters) -> list[Stretch]:
    """A slow move that is over at once is somebody who stands: bending and turning move a body as well."""
    lasting = _durations(track.times_s)
    judged = list(stretches)
    for i, stretch in enumerate(stretches):
        seen = slice(stretch.first, stretch.last + 1)
        is_slow = not (track.speed[seen] >= parameters.brisk).any()
        if stretch.posture == "walking" and is_slow and lasting[seen].sum() < parameters.stroll_s:
            judged[i] = replace(stretch, posture="standing")
    return judged


def _merged(stretches: list[Stretch]) -> list[Stretch]:
    """Neighbours that say the same to the outside become one, except that bending stays apart."""
    merged: list[Stretch] = []
    for stretch in stretches:
        if merged and merged[-1].posture == stretch.posture:
            before = merged[-1]
            weights = np.array([before.last - before.first + 1, stretch.last - stretch.first + 1])
            merged[-1] = replace(
                before,
                last=stretch.last,
                end_s=stretch.end_s,
                confidence=float(np.average([before.confidence, stretch.confidence], weights=weights)),
            )
        else:
            merged.append(stretch)
    return merged


def looks_of(track: TrackFeatures, first: int, last: int) -> dict[str, Any]:
    """Median of every feature that the posture of these samples rests on, for evidence; None where never seen."""
    chosen: dict[str, Any] = {}
    for name in (*_WEIGHTS, "speed"):
        values = getattr(track, name)[first : last + 1]
        seen = values[~np.isnan(values)]
        chosen[name] = round(float(np.median(seen)), 3) if len(seen) else None
    return chosen
