"""What hands do: reaching for an item and drawing back (picking), and hiding it afterwards (suspected theft)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel_assets.vision.behavior_parameters import BehaviorParameters
from sentinel_assets.vision.features import Array, Mask, TrackFeatures
from sentinel_assets.vision.findings import Finding
from sentinel_assets.vision.postures import Stretch
from sentinel_assets.vision.windows import windows

_NO_ZONES = "no shelf zones are known: a reach and a draw back, not seen to be of goods"
_TIME_TOLERANCE_S = 0.1
_STEADY_S = 0.25
_UPRIGHT_DEG = 30.0
_HIDING_SAMPLES = 3
"""A suspicion must rest on more than two skeletons: at 1 fps the hand is there for two seconds at least."""


def postures_by_sample(track: TrackFeatures, stretches: list[Stretch]) -> NDArray[np.str_]:
    """(N,) the posture of every sample."""
    postures = np.full(len(track), "unknown", dtype="<U8")
    for stretch in stretches:
        postures[stretch.first : stretch.last + 1] = stretch.posture
    return postures


def runs_of(mask: Mask) -> list[tuple[int, int]]:
    """(first, last) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def find_picking(track: TrackFeatures, stretches: list[Stretch], parameters: BehaviorParameters) -> list[Finding]:
    """A hand goes out, or down, and comes back within three seconds, while the person does not walk or lie."""
    p = parameters
    postures = postures_by_sample(track, stretches)
    out = _steady(track, np.nan_to_num(np.fmax(track.reach[:, 0], track.reach[:, 1]), nan=0.0))
    down = _steady(track, np.nan_to_num(np.fmax(track.wrist_drop[:, 0], track.wrist_drop[:, 1]), nan=-1.0))
    still = ~(track.speed > p.reach_speed)
    seen = track.body & ~np.isin(postures, ["lying", "unknown"])
    away = seen & still & ((out >= p.reach) | (down >= 0))
    at_rest = seen & ~away
    shortest = min(p.reach_s, track.interval_s)
    found: list[Finding] = []
    for first, last in runs_of(away):
        lasted = float(track.times_s[last] - track.times_s[first])
        if lasted + track.interval_s < shortest + 1e-6 or lasted > p.retract_s:
            continue
        before, after = _neighbour(track, at_rest, first, -1, p), _neighbour(track, at_rest, last, +1, p)
        if before is None or after is None:
            continue
        peak = first + int(np.argmax(np.maximum(out, down)[first : last + 1]))
        clear = float(np.clip((max(out[peak], down[peak] + p.reach) - p.reach) / 0.15, 0, 1))
        lasting = float(np.clip((lasted + track.interval_s) / 1.0, 0, 1))
        found.append(
            Finding(
                track=track.track,
                behavior="picking",
                start_s=float(track.times_s[before]),
                peak_s=float(track.times_s[peak]),
                end_s=float(track.times_s[after]),
                confidence=p.picking_confidence * (0.5 + 0.3 * clear + 0.2 * lasting),
                rule="picking",
                values={
                    "reach": round(float(out[peak]), 3),
                    "hand_below_knee": round(float(down[peak]), 3),
                    "reached_s": round(lasted + track.interval_s, 2),
                    "posture": str(postures[peak]),
                },
                thresholds={"reach": p.reach, "retract_s": p.retract_s, "reach_speed": p.reach_speed},
                samples=track.samples[before : after + 1].tolist(),
                note=_NO_ZONES,
            )
        )
    return found


def _steady(track: TrackFeatures, values: Array) -> Array:
    """(N,) median over a quarter of a second to each side: a wrist that jumps for one sample has not moved."""
    return np.array([float(np.median(values[window])) for window in windows(track.times_s, _STEADY_S)])


def _neighbour(
    track: TrackFeatures, at_rest: Mask, index: int, step: int, parameters: BehaviorParameters
) -> int | None:
    """The sample before or after a reach in which the hands are at rest; None when it was not seen soon enough."""
    other = index + step
    soon = max(1.0, 1.5 * track.interval_s)
    if not 0 <= other < len(track) or not at_rest[other]:
        return None
    near = (
        abs(float(track.times_s[other] - track.times_s[index])) <= min(soon, parameters.retract_s) + _TIME_TOLERANCE_S
    )
    return other if near else None


def find_theft(
    track: TrackFeatures, stretches: list[Stretch], picks: list[Finding], parameters: BehaviorParameters
) -> list[Finding]:
    """A hand that stays at the own hip with a bent elbow, soon after picking, and was not there before. A suspicion for
    a person to look at, never a verdict."""
    p = parameters
    hiding = _hiding(track, stretches, p)
    found: list[Finding] = []
    for pick in picks:
        before = track.times_s <= pick.start_s + 1e-6
        if before.any() and hiding[np.flatnonzero(before)[-1]]:
            continue
        window = (track.times_s > pick.peak_s) & (track.times_s <= pick.end_s + p.pocket_after_s)
        for first, last in runs_of(hiding & window):
            lasted = float(track.times_s[last] - track.times_s[first])
            if last - first + 1 < _HIDING_SAMPLES or lasted < p.pocket_s - _TIME_TOLERANCE_S:
                continue
            found.append(
                Finding(
                    track=track.track,
                    behavior="theft",
                    start_s=pick.start_s,
                    peak_s=float(track.times_s[first]),
                    end_s=float(track.times_s[last]),
                    confidence=p.theft_confidence * (0.6 + 0.4 * min(1.0, lasted / (3 * p.pocket_s))),
                    rule="concealment_after_picking",
                    values={
                        "hand_at_hip_s": round(lasted, 2),
                        "after_picking_s": round(float(track.times_s[first]) - pick.peak_s, 2),
                        "pocket": _least(track.pocket[first : last + 1]),
                    },
                    thresholds={
                        "pocket": p.pocket,
                        "pocket_elbow_deg": p.pocket_elbow_deg,
                        "pocket_s": p.pocket_s,
                        "pocket_after_s": p.pocket_after_s,
                    },
                    samples=sorted({*pick.samples, *track.samples[first : last + 1].tolist()}),
                    needs_review=True,
                    note="a suspicion from hand movements only; no goods, bag, checkout or exit were seen",
                )
            )
            break
    return found


def _hiding(track: TrackFeatures, stretches: list[Stretch], parameters: BehaviorParameters) -> Mask:
    """(N,) a hand at the hip of its side with a bent elbow, of somebody who stands or walks: sitters rest it there."""
    hand = (track.pocket <= parameters.pocket) & (track.elbow_deg <= parameters.pocket_elbow_deg)
    upright = np.isin(postures_by_sample(track, stretches), ["standing", "walking"])
    return np.asarray(hand.any(axis=1) & upright & ~(track.trunk_deg >= _UPRIGHT_DEG), np.bool_)


def _least(values: Array) -> float:
    return round(float(np.nanmin(values)), 3)
