"""Being somewhere at all, where or when nobody should be: restricted zones, closed hours, too many people at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from sentinel_assets.vision.behavior_parameters import BehaviorParameters
from sentinel_assets.vision.cameras import Camera
from sentinel_assets.vision.features import Mask, TrackFeatures
from sentinel_assets.vision.findings import Finding
from sentinel_assets.vision.zones import Zone

_TIME_TOLERANCE_S = 0.1
_CONFIDENCE = 0.6
"""A foot point is known to a few px, but whether it is a person at all the detector knows in nine of ten."""


def find_presence(
    tracks: Sequence[TrackFeatures], parameters: BehaviorParameters, camera: Camera, recorded_at: datetime | None
) -> list[Finding]:
    """Who was in a restricted zone, who was there while the store was closed, and when there were too many.

    Things that never move are nobody. Without opening hours, or the time at which the video began, nothing is said of
    hours.
    """
    moving = [track for track in tracks if displacement(track) >= parameters.least_displacement]
    found = [f for track in moving for zone in camera.of_kind("restricted") for f in _inside(track, zone, parameters)]
    if recorded_at is not None and camera.opening_hours:
        found += [f for track in moving for f in _after_hours(track, camera, recorded_at, parameters)]
    return [*found, *_crowds(moving, parameters)]


def displacement(track: TrackFeatures) -> float:
    """H. How far the feet, or where those are cut off the head, get from where the person was seen first; one sample in
    twenty may be wrong."""
    boxes, first = track.boxes, track.boxes[0]
    across = (boxes[:, 0] + boxes[:, 2] - first[0] - first[2]) / 2
    down = np.where(track.cut[:, 3] | track.cut[0, 3], boxes[:, 1] - first[1], boxes[:, 3] - first[3])
    away = np.hypot(across, down) / track.height
    return float(np.quantile(away, 0.95)) if not np.isnan(away).any() else np.inf


def seconds_in(track: TrackFeatures, zones: Sequence[Zone]) -> float:
    """How long the feet stood in any of the zones; a time without a sample counts for what was before it."""
    inside = np.zeros(len(track), np.bool_)
    for zone in zones:
        inside |= zone.contains(track.feet)
    return float(np.append(np.diff(track.times_s), 0.0)[inside].sum())


def _inside(track: TrackFeatures, zone: Zone, parameters: BehaviorParameters) -> list[Finding]:
    return [
        _finding(
            track,
            spell,
            rule="restricted_zone",
            values={"zone": zone.name, "stayed_s": round(_lasted(track, spell), 2)},
            thresholds={"restricted_s": parameters.restricted_s},
        )
        for spell in _spells(track, zone.contains(track.feet), parameters)
        if _lasted(track, spell) >= parameters.restricted_s - _TIME_TOLERANCE_S
    ]


def _after_hours(
    track: TrackFeatures, camera: Camera, recorded_at: datetime, parameters: BehaviorParameters
) -> list[Finding]:
    closed = np.array([camera.is_open(recorded_at + timedelta(seconds=float(t))) is False for t in track.times_s])
    return [
        _finding(
            track,
            spell,
            rule="after_hours",
            values={
                "seen_at": (recorded_at + timedelta(seconds=float(track.times_s[spell[0]]))).isoformat(" ", "seconds"),
                "stayed_s": round(_lasted(track, spell), 2),
            },
            thresholds={"after_hours_s": parameters.after_hours_s},
        )
        for spell in _spells(track, closed, parameters)
        if _lasted(track, spell) >= parameters.after_hours_s - _TIME_TOLERANCE_S
    ]


def _crowds(tracks: Sequence[TrackFeatures], parameters: BehaviorParameters) -> list[Finding]:
    """Told of the person who was there the longest of those in view at the peak."""
    if not parameters.crowd or not tracks:
        return []
    times: dict[int, float] = {}
    there: dict[int, list[TrackFeatures]] = {}
    for track in tracks:
        for sample, time_s in zip(track.samples.tolist(), track.times_s.tolist(), strict=True):
            times[sample] = time_s
            there.setdefault(sample, []).append(track)
    crowded = [sample for sample in sorted(there) if len(there[sample]) > parameters.crowd]
    found = []
    for group in _close_together(crowded, times, parameters.bridge_s):
        lasted = times[group[-1]] - times[group[0]]
        if lasted < parameters.crowd_s - _TIME_TOLERANCE_S:
            continue
        peak = max(group, key=lambda sample: (len(there[sample]), -sample))
        eldest = min(there[peak], key=lambda track: (track.times_s[0], track.track))
        spell = [i for i, sample in enumerate(eldest.samples.tolist()) if group[0] <= sample <= group[-1]]
        values: dict[str, Any] = {"people": len(there[peak]), "lasted_s": round(lasted, 2)}
        limits = {"crowd": parameters.crowd, "crowd_s": parameters.crowd_s}
        found.append(_finding(eldest, (spell[0], spell[-1]), rule="crowd", values=values, thresholds=limits))
    return found


def _close_together(samples: list[int], times: dict[int, float], longest_s: float) -> list[list[int]]:
    groups: list[list[int]] = []
    for sample in samples:
        if groups and times[sample] - times[groups[-1][-1]] <= longest_s + _TIME_TOLERANCE_S:
            groups[-1].append(sample)
        else:
            groups.append([sample])
    return groups


def _spells(track: TrackFeatures, inside: Mask, parameters: BehaviorParameters) -> list[tuple[int, int]]:
    """(first, last) of the stays; a foot point outside for a moment does not end one."""
    spells: list[tuple[int, int]] = []
    for i in np.flatnonzero(inside).tolist():
        near = max(parameters.bridge_s, track.interval_s) + _TIME_TOLERANCE_S
        if spells and track.times_s[i] - track.times_s[spells[-1][1]] <= near:
            spells[-1] = (spells[-1][0], i)
        else:
            spells.append((i, i))
    return spells


def _lasted(track: TrackFeatures, spell: tuple[int, int]) -> float:
    return float(track.times_s[spell[1]] - track.times_s[spell[0]])


def _finding(
    track: TrackFeatures,
    spell: tuple[int, int],
    *,
    rule: str,
    values: dict[str, Any],
    thresholds: dict[str, float],
) -> Finding:
    first, last = spell
    start_s, end_s = float(track.times_s[first]), float(track.times_s[last])
    return Finding(
        track=track.track,
        behavior="anomaly",
        start_s=start_s,
        peak_s=float(track.times_s[(first + last) // 2]),
        end_s=end_s,
        confidence=_CONFIDENCE,
        rule=rule,
        values=values,
        thresholds=thresholds,
        samples=track.samples[first : last + 1].tolist(),
        needs_review=True,
    )
