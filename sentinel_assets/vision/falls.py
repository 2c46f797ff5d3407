"""Who lies, and whether he fell: collapse, lying without a fall seen, or neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sentinel_assets.vision.behavior_parameters import BehaviorParameters
from sentinel_assets.vision.features import Array, Mask, TrackFeatures
from sentinel_assets.vision.findings import Finding
from sentinel_assets.vision.postures import POSTURES, UPRIGHT, Stretch, judged, looks_of, memberships
from sentinel_assets.vision.skeleton import HIPS, middle
from sentinel_assets.vision.zones import Zone

_TIME_TOLERANCE_S = 0.1
"""Presentation times of samples a second apart differ from it by up to a frame."""


@dataclass(frozen=True)
class _Seen:
    """What each sample (N) says by itself."""

    up: Mask
    """The person stands, walks, bends or sits."""
    judged: Mask
    """Something was seen of the posture at all."""

    @classmethod
    def of(cls, track: TrackFeatures, parameters: BehaviorParameters) -> _Seen:
        scores = memberships(track, parameters)
        up = scores[:, [POSTURES.index(posture) for posture in (*UPRIGHT, "sitting")]].max(axis=1)
        return cls(np.asarray(up >= parameters.unknown_score), judged(scores))


@dataclass(frozen=True)
class _Descent:
    """How the person came to lie."""

    from_posture: str
    before: int
    """Last sample in which the person was up."""
    leaving: int
    """Last sample that looks upright by itself: with the next one the way down has begun."""
    start_s: float
    transition_s: float
    hip_drop: float
    rise: float


def judge_lying(
    track: TrackFeatures, stretches: list[Stretch], parameters: BehaviorParameters, seats: Sequence[Zone] = ()
) -> tuple[list[Finding], list[Stretch]]:
    """What the lying in a timeline means, and the timeline without the time that those findings take.

    A collapse begins where the person was last up, so the way down belongs to it. On a seat nobody collapses.
    """
    findings: list[Finding] = []
    rest: list[Stretch] = []
    seen = _Seen.of(track, parameters)
    for first, last in _lyings(stretches, parameters):
        lying = replace(stretches[first], last=stretches[last].last, end_s=stretches[last].end_s)
        recovered = last + 1 < len(stretches) and stretches[last + 1].posture in UPRIGHT
        descent = _descent(track, seen, stretches, first, parameters)
        seat = _seat_under(track, lying, seats)
        fell = descent if seat is None else None
        finding = _collapse(track, lying, fell, recovered, parameters) if fell is not None else None
        if finding is None:
            finding = _merely_lying(track, lying, descent, recovered, parameters)
            finding = replace(finding, note=f"lies on the seat {seat}") if seat is not None else finding
        findings.append(finding)
    taken = [(f.start_s, f.end_s) for f in findings]
    for stretch in stretches:
        if stretch.posture == "lying" or any(a <= stretch.start_s and stretch.end_s <= b for a, b in taken):
            continue
        cuts = [f.start_s for f in findings if stretch.start_s < f.start_s < stretch.end_s]
        rest.append(replace(stretch, end_s=min(cuts)) if cuts else stretch)
    return findings, rest


def _seat_under(track: TrackFeatures, lying: Stretch, seats: Sequence[Zone]) -> str | None:
    """The seat on which the middle of the body lies for most of the time."""
    boxes = track.boxes[lying.first : lying.last + 1]
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    return next((seat.name for seat in seats if seat.contains(middles).mean() > 0.5), None)


def _lyings(stretches: list[Stretch], parameters: BehaviorParameters) -> list[tuple[int, int]]:
    """(first, last) index of lying stretches; two that nothing upright and no long time separates are one."""
    runs: list[tuple[int, int]] = []
    for i, stretch in enumerate(stretches):
        if stretch.posture != "lying":
            continue
        if runs:
            between = stretches[runs[-1][1] + 1 : i]
            unseen = all(s.posture == "unknown" for s in between)
            longest = parameters.lying_unseen_s if unseen else parameters.bridge_s
            short = sum(s.duration_s for s in between) <= longest + _TIME_TOLERANCE_S
            if short and all(s.posture not in UPRIGHT for s in between):
                runs[-1] = (runs[-1][0], i)
                continue
        runs.append((i, i))
    return runs


def _descent(
    track: TrackFeatures, seen: _Seen, stretches: list[Stretch], lying: int, parameters: BehaviorParameters
) -> _Descent | None:
    """How the person went from the last posture that counts to lying; None where that was not seen."""
    first = stretches[lying].first
    quick = parameters.fall_transition_s - max(0.0, 1.0 - min(track.interval_s, 1.0)) + _TIME_TOLERANCE_S
    upright = _last_up(track, stretches, lying)
    if upright is not None:
        stretch, before = upright
        unseen_s = min(_unseen_s(track, seen, before, first), parameters.fall_unseen_s)
        if track.times_s[first] - track.times_s[before] - unseen_s <= quick:
            return _measured(track, seen, stretch, before, stretches[lying])
    seat = stretches[lying - 1] if lying > 0 and stretches[lying - 1].posture == "sitting" else None
    if seat is None or track.times_s[first] - track.times_s[seat.last] > quick:
        return None
    descent = _measured(track, seen, seat, seat.last, stretches[lying])
    return descent if descent.hip_drop >= parameters.fall_hip_drop else None


def _unseen_s(track: TrackFeatures, seen: _Seen, before: int, first: int) -> float:
    """Time between two samples in which there was no sample, or none that says anything."""
    gaps = np.diff(track.times_s[before : first + 1]) - track.interval_s
    blank = np.count_nonzero(~seen.judged[before + 1 : first])
    return float(np.maximum(gaps, 0.0).sum() + blank * track.interval_s)


def _last_up(track: TrackFeatures, stretches: list[Stretch], lying: int) -> tuple[Stretch, int] | None:
    """The last upright stretch before, and its last sample. Somebody so close that head and feet are outside of the
    picture stands, although the posture is unknown."""
    for stretch in reversed(stretches[:lying]):
        if stretch.posture in UPRIGHT:
            return stretch, stretch.last
        if stretch.posture == "unknown":
            towering = [
                i
                for i in range(stretch.first, stretch.last + 1)
                if track.cut[i, 1] and track.cut[i, 3] and track.aspect[i] >= 1.0
            ]
            if towering:
                return stretch, towering[-1]
    return None


def _measured(track: TrackFeatures, seen: _Seen, stretch: Stretch, before: int, lying: Stretch) -> _Descent:
    """Drop of the hips and rise of the lowest point, H, from the time up to the time down.

    Medians over the seconds before and after: the samples next to the change may lie on the way.
    """
    settled_s = min(1.0, (track.times_s[lying.last] - track.times_s[lying.first]) / 2)
    since, until = track.times_s[lying.first] + settled_s - 1e-6, track.times_s[lying.first] + settled_s + 2.0
    after = np.flatnonzero((track.times_s >= since) & (track.times_s <= until))
    after = after[(after >= lying.first) & (after <= lying.last)]
    previous = np.arange(stretch.first, before + 1)
    previous = previous[track.times_s[previous] >= track.times_s[before] - 2.0]
    hips = middle(track.keypoints, HIPS)[:, 1]
    height = track.height[before]
    drop = (_median(hips[after]) - _median(hips[previous])) / height
    # Feet below the frame's edge stood lower still, so there the rise is at least this.
    rise = (_median(track.boxes[previous, 3]) - _median(track.boxes[after, 3])) / height
    surely = np.flatnonzero(seen.up[stretch.first : before + 1])
    leaving = stretch.first + int(surely[-1]) if len(surely) else before
    return _Descent(
        stretch.label,
        before,
        leaving,
        float(track.times_s[leaving : leaving + 2].mean()),
        float(track.times_s[lying.first] - track.times_s[before]),
        float(drop),
        float(rise),
    )


def _collapse(
    track: TrackFeatures, lying: Stretch, descent: _Descent, recovered: bool, parameters: BehaviorParameters
) -> Finding | None:
    """A fall after which the person stays down; None when he got up soon, or lies on something."""
    hold_s = float(track.times_s[lying.last] - track.times_s[lying.first])
    needed = parameters.hold_s if recovered else parameters.hold_least_s
    if hold_s < needed - _TIME_TOLERANCE_S:
        return None
    if descent.rise > parameters.fall_rise:
        return None
    certainty = 0.5 + 0.4 * min(1.0, hold_s / parameters.hold_s)
    if descent.from_posture == "sitting":
        certainty *= 0.8
    if track.height_source != "upright":
        certainty *= 0.85
    return Finding(
        track=track.track,
        behavior="collapse",
        start_s=descent.start_s,
        peak_s=float(track.times_s[lying.first]),
        end_s=lying.end_s,
        confidence=certainty * (0.5 + 0.5 * lying.confidence),
        rule="collapse",
        values={
            "from": descent.from_posture,
            "transition_s": round(descent.transition_s, 2),
            "hold_s": round(hold_s, 2),
            "hip_drop": _rounded(descent.hip_drop),
            "rise": _rounded(descent.rise),
            "height_source": track.height_source,
            **looks_of(track, lying.first, lying.last),
        },
        thresholds={
            "fall_transition_s": parameters.fall_transition_s,
            "hold_least_s": parameters.hold_least_s,
            "hold_s": parameters.hold_s,
            "fall_rise": parameters.fall_rise,
            "fall_hip_drop": parameters.fall_hip_drop,
        },
        samples=track.samples[descent.leaving : lying.last + 1].tolist(),
        needs_review=hold_s < parameters.hold_s,
    )


def _merely_lying(
    track: TrackFeatures, lying: Stretch, descent: _Descent | None, recovered: bool, parameters: BehaviorParameters
) -> Finding:
    """Lying that no fall led to: an anomaly when it lasts, else of unknown meaning."""
    hold_s = float(track.times_s[lying.last] - track.times_s[lying.first])
    lasts = hold_s >= parameters.lying_s - _TIME_TOLERANCE_S
    if descent is None:
        note = "lies; no fall was seen"
    elif descent.rise > parameters.fall_rise:
        note = "lies higher than the feet stood: on a bed or a bench"
    else:
        note = "went down and got up soon" if recovered else "went down; how long for was not seen"
    return Finding(
        track=track.track,
        behavior="anomaly" if lasts else "unknown",
        start_s=lying.start_s,
        peak_s=(lying.start_s + lying.end_s) / 2,
        end_s=lying.end_s,
        confidence=0.6 * lying.confidence if lasts else lying.confidence * 0.5,
        rule="person_lying",
        values={"hold_s": round(hold_s, 2), "posture": "lying", **looks_of(track, lying.first, lying.last)},
        thresholds={"lying_s": parameters.lying_s},
        samples=track.samples[lying.first : lying.last + 1].tolist(),
        needs_review=lasts,
        note=note,
    )


def _median(values: Array) -> float:
    seen = values[~np.isnan(values)]
    return float(np.median(seen)) if len(seen) else np.nan


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 3)
