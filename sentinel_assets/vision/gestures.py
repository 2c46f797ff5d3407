"""What hands do: reaching for an item and drawing back (picking), and hiding it afterwards (suspected theft)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sentinel_assets.vision.behavior_parameters import BehaviorParameters
from sentinel_assets.vision.features import Array, Mask, TrackFeatures
from sentinel_assets.vision.findings import Finding
from sentinel_assets.vision.postures import Stretch
from sentinel_assets.vision.skeleton import WRISTS
from sentinel_assets.vision.windows import windows
from sentinel_assets.vision.zones import Zone, apart_deg, bearing

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


def find_picking(
    track: TrackFeatures, stretches: list[Stretch], parameters: BehaviorParameters, shelves: Sequence[Zone] = ()
) -> list[Finding]:
    """A hand goes out, or down, and comes back within three seconds, while the person does not walk or lie.

    Where shelves are known, it must have been at one; that says what it reached for, and is believed more.
    """
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
        shelf = _shelf_reached(track, range(first, last + 1), shelves, p)
        if shelves and shelf is None:
            continue
        pick = Finding(
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
        found.append(pick if shelf is None else _at_shelf(pick, *shelf, p))
    return found


def shelf_facing(track: TrackFeatures, shelf: Zone, parameters: BehaviorParameters) -> Array:
    """(N,) degrees between where the body faces and where the shelf is; nan where the body's direction is unknown."""
    if shelf.bearing_deg is not None:
        towards = np.full(len(track), shelf.bearing_deg)
    else:
        towards = bearing(track.feet, shelf.foot, parameters.foreshortening)
    return apart_deg(track.facing, towards)


def hand_to_shelf(track: TrackFeatures, shelf: Zone) -> Array:
    """(N,) H from the nearer wrist to the shelf's polygon, 0 inside; nan where no wrist is seen."""
    away = shelf.distance(track.keypoints[:, WRISTS, :2])
    return np.fmin(away[:, 0], away[:, 1]) / track.height


def _shelf_reached(
    track: TrackFeatures, reach: range, shelves: Sequence[Zone], parameters: BehaviorParameters
) -> tuple[Zone, float, float] | None:
    """The shelf that the hand came nearest to, how near (H), and how far it was turned away from it (degrees)."""
    rows = list(reach)
    best: tuple[Zone, float, float] | None = None
    for shelf in shelves:
        near = hand_to_shelf(track, shelf)[rows]
        if np.isnan(near).all() or float(np.nanmin(near)) > parameters.shelf_margin:
            continue
        turned = shelf_facing(track, shelf, parameters)[rows]
        aside = float(np.nanmedian(turned)) if not np.isnan(turned).all() else np.nan
        if best is None or float(np.nanmin(near)) < best[1]:
            best = shelf, float(np.nanmin(near)), aside
    return best


def _at_shelf(pick: Finding, shelf: Zone, near: float, aside: float, parameters: BehaviorParameters) -> Finding:
    """The reach, known to be at a shelf. A body that faces elsewhere reaches for something else, or past it."""
    certainty = pick.confidence / parameters.picking_confidence * parameters.shelf_confidence
    turned_away = aside > 2 * parameters.facing_deg
    return replace(
        pick,
        confidence=certainty * (0.7 if turned_away else 1.0),
        values={
            **pick.values,
            "shelf": shelf.name,
            "hand_to_shelf": round(near, 3),
            "facing_shelf_deg": None if np.isnan(aside) else round(aside, 1),
        },
        thresholds={
            **pick.thresholds,
            "shelf_margin": parameters.shelf_margin,
            "facing_deg": parameters.facing_deg,
        },
        note="turned away from the shelf" if turned_away else "",
    )


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
    track: TrackFeatures,
    stretches: list[Stretch],
    picks: list[Finding],
    parameters: BehaviorParameters,
    *,
    checkouts: Sequence[Zone] = (),
    exits: Sequence[Zone] = (),
) -> list[Finding]:
    """A hand that stays at the own hip with a bent elbow, soon after picking, and was not there before. A suspicion for
    a person to look at, never a verdict.

    Who stays at a checkout afterwards is not suspected; who is seen to leave without that is suspected more.
    """
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
    weighed = (_weighed(track, theft, checkouts, exits, p) for theft in found)
    return [theft for theft in weighed if theft is not None]


def _weighed(
    track: TrackFeatures,
    theft: Finding,
    checkouts: Sequence[Zone],
    exits: Sequence[Zone],
    parameters: BehaviorParameters,
) -> Finding | None:
    """The suspicion in the light of where the person went afterwards; None for somebody who stayed at a checkout."""
    if not checkouts and not exits:
        return theft
    since = track.times_s >= theft.peak_s
    lasting = np.append(np.diff(track.times_s), 0.0).clip(max=parameters.bridge_s)
    paying = np.zeros(len(track), np.bool_)
    for checkout in checkouts:
        paying |= checkout.contains(track.feet)
    at_checkout_s = float(lasting[since & paying].sum())
    if checkouts and at_checkout_s >= parameters.checkout_s - _TIME_TOLERANCE_S:
        return None
    end = len(track) - 1
    left = next((zone.name for zone in exits if zone.contains(track.feet[-2:]).any()), None)
    values = {**theft.values, "at_checkout_s": round(at_checkout_s, 2) if checkouts else None, "left_by": left}
    thresholds = {**theft.thresholds, "checkout_s": parameters.checkout_s}
    if left is None or not checkouts:
        note = "hand movements after picking; " + (
            "was not seen to leave" if left is None else f"left by {left}, and no checkout is known"
        )
        return replace(theft, values=values, thresholds=thresholds, note=note)
    return replace(
        theft,
        end_s=max(theft.end_s, float(track.times_s[end])),
        confidence=theft.confidence / parameters.theft_confidence * parameters.unpaid_confidence,
        values=values,
        thresholds=thresholds,
        samples=sorted({*theft.samples, int(track.samples[end])}),
        note=f"left by {left} without a stay at a checkout; what was in the hand was not seen",
    )


def _hiding(track: TrackFeatures, stretches: list[Stretch], parameters: BehaviorParameters) -> Mask:
    """(N,) a hand at the hip of its side with a bent elbow, of somebody who stands or walks: sitters rest it there."""
    hand = (track.pocket <= parameters.pocket) & (track.elbow_deg <= parameters.pocket_elbow_deg)
    upright = np.isin(postures_by_sample(track, stretches), ["standing", "walking"])
    return np.asarray(hand.any(axis=1) & upright & ~(track.trunk_deg >= _UPRIGHT_DEG), np.bool_)


def _least(values: Array) -> float:
    return round(float(np.nanmin(values)), 3)
