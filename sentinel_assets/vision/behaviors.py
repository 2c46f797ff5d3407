"""From tracked boxes and poses to behaviors: the rules, put together.

Each rule looks at the features of one track (or of two) and answers with findings. Postures cover a track's whole time;
collapse and lying take their time out of it; picking, theft, violence and the other anomalies lie over it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pandas as pd

from sentinel_assets.vision.alarms import cooled_down
from sentinel_assets.vision.anomalies import find_anomalies
from sentinel_assets.vision.behavior_parameters import BehaviorParameters
from sentinel_assets.vision.cameras import Camera
from sentinel_assets.vision.encounters import find_violence
from sentinel_assets.vision.facts import FactParameters, facing_around
from sentinel_assets.vision.falls import judge_lying
from sentinel_assets.vision.features import TrackFeatures, measure
from sentinel_assets.vision.findings import Finding
from sentinel_assets.vision.gestures import find_picking, find_theft
from sentinel_assets.vision.orientation import on_plan
from sentinel_assets.vision.postures import Stretch, looks_of, timeline
from sentinel_assets.vision.presence import find_presence
from sentinel_assets.vision.sights import with_sights
from sentinel_assets.vision.tables import BEHAVIORS_TABLE, DETECTIONS, POSES, Sampling

__all__ = ["BehaviorParameters", "recognise_behaviors"]


def recognise_behaviors(
    detections: pd.DataFrame,
    poses: pd.DataFrame,
    *,
    parameters: BehaviorParameters | None = None,
    camera: Camera | None = None,
    recorded_at: datetime | None = None,
) -> pd.DataFrame:
    """The behaviors of every tracked person, as BEHAVIORS_TABLE, by start, track and label.

    `detections` carries its Sampling; both tables may be empty. The `camera`'s zones say what a hand reached for and
    where nobody should be; without it picking, theft and anomaly say less. `recorded_at` is when the first frame was
    taken. Raises TableError when the tables do not belong together.
    """
    p = parameters or BehaviorParameters()
    for table, frame in ((DETECTIONS, detections), (POSES, poses)):
        table.conform(frame)
    if camera is not None:
        sampling = Sampling.of(detections)
        camera, p = camera.scaled(sampling.width, sampling.height), camera.parameters(p)
    tracks = measure(detections, poses, p)
    findings = [finding for track in tracks for finding in _of_one(track, p, camera)]
    findings += _merged(find_violence(tracks, p), p)
    if camera is not None:
        findings = cooled_down([*findings, *find_presence(tracks, p, camera, recorded_at)], p)
        findings = [_on_plan(replace(f, camera=camera.name), poses, camera) for f in findings]
    findings = [replace(f, confidence=min(f.confidence, p.highest_confidence)) for f in findings]
    findings.sort(key=lambda f: (f.start_s, f.track, f.behavior, f.end_s, f.other_track or 0, f.rule))
    by_number = {track.track: track for track in tracks}
    frame = BEHAVIORS_TABLE.frame([with_sights(finding, by_number).row() for finding in findings])
    frame["other_track"] = frame["other_track"].astype("Int32")
    return frame


def _on_plan(finding: Finding, poses: pd.DataFrame, camera: Camera) -> Finding:
    """With the direction that the person faced on the store's plan, where both that and the camera's are known."""
    if camera.yaw_deg is None:
        return finding
    facing = facing_around(poses[poses["track"] == finding.track], finding.peak_s, FactParameters())
    if facing.degrees is None:
        return finding
    degrees = round(on_plan(facing.degrees, camera_yaw=camera.yaw_deg), 1) % 360
    return replace(finding, values={**finding.values, "facing_on_plan_deg": degrees})


def _of_one(track: TrackFeatures, parameters: BehaviorParameters, camera: Camera | None) -> list[Finding]:
    seats, shelves, checkouts, exits = (
        camera.of_kind(kind) if camera else () for kind in ("seat", "shelf", "checkout", "exit")
    )
    stretches = timeline(track, parameters)
    falls, rest = judge_lying(track, stretches, parameters, seats)
    picks = _merged(find_picking(track, stretches, parameters, shelves), parameters)
    # On the way down and on the floor hands go everywhere.
    picks = [pick for pick in picks if not any(_overlap(pick, fall, parameters.bridge_s) for fall in falls)]
    thefts = find_theft(track, stretches, picks, parameters, checkouts=checkouts, exits=exits)
    postures = _joined([_posture(track, stretch, parameters) for stretch in rest])
    alarms = find_anomalies(track, stretches, parameters, camera)
    return [*postures, *falls, *picks, *_merged(thefts, parameters), *alarms]


def _posture(track: TrackFeatures, stretch: Stretch, parameters: BehaviorParameters) -> Finding:
    quality = {"upright": 1.0, "camera": 0.95, "trunk": 0.85, "none": 0.7}[track.height_source]
    shown = stretch.label
    return Finding(
        track=track.track,
        behavior=shown,
        start_s=stretch.start_s,
        peak_s=(stretch.start_s + stretch.end_s) / 2,
        end_s=stretch.end_s,
        confidence=0.0 if shown == "unknown" else min(1.0, stretch.confidence * quality),
        rule="posture",
        values={
            "height_source": track.height_source,
            **looks_of(track, stretch.first, stretch.last),
        },
        thresholds={
            "walking_enter": parameters.walking_enter,
            "walking_leave": parameters.walking_leave,
            "brisk": parameters.brisk,
            "stroll_s": parameters.stroll_s,
            "unknown_score": parameters.unknown_score,
        },
        samples=track.samples[stretch.first : stretch.last + 1].tolist(),
    )


def _joined(postures: list[Finding]) -> list[Finding]:
    """Postures that touch and have one label become one: bending is a way of standing."""
    joined: list[Finding] = []
    for posture in postures:
        before = joined[-1] if joined else None
        if before and before.behavior == posture.behavior and abs(before.end_s - posture.start_s) < 1e-6:
            joined[-1] = _union(before, posture)
        else:
            joined.append(posture)
    return joined


def _merged(findings: list[Finding], parameters: BehaviorParameters) -> list[Finding]:
    """Findings of one rule and the same people become one when no more than `bridge_s` lies between."""
    merged: list[Finding] = []
    for finding in sorted(findings, key=lambda f: (f.rule, f.track, f.other_track or 0, f.start_s)):
        before = merged[-1] if merged else None
        same = before and (before.rule, before.track, before.other_track) == (
            finding.rule,
            finding.track,
            finding.other_track,
        )
        if before and same and finding.start_s - before.end_s <= parameters.bridge_s:
            merged[-1] = _union(before, finding)
        else:
            merged.append(finding)
    return merged


def _union(one: Finding, other: Finding) -> Finding:
    """Both as one: the measured values and the peak are those of the surer one, or of the longer posture."""
    if one.rule == "posture":
        weights = max(one.end_s - one.start_s, 1e-3), max(other.end_s - other.start_s, 1e-3)
        best = one if weights[0] >= weights[1] else other
        confidence = (one.confidence * weights[0] + other.confidence * weights[1]) / sum(weights)
        peak_s = (one.start_s + other.end_s) / 2
    else:
        best = one if one.confidence >= other.confidence else other
        confidence, peak_s = best.confidence, best.peak_s
    return replace(
        best,
        start_s=one.start_s,
        peak_s=peak_s,
        end_s=max(one.end_s, other.end_s),
        confidence=confidence,
        samples=sorted({*one.samples, *other.samples}),
        needs_review=one.needs_review or other.needs_review,
    )


def _overlap(one: Finding, other: Finding, margin_s: float) -> bool:
    return one.start_s < other.end_s + margin_s and other.start_s < one.end_s + margin_s
