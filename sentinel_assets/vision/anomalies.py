"""What is out of the ordinary in a shop and has no label of its own: running, loitering, staying on the floor."""

from __future__ import annotations

import numpy as np

from sentinel_assets.vision.behavior_parameters import BehaviorParameters
from sentinel_assets.vision.cameras import Camera
from sentinel_assets.vision.features import TrackFeatures
from sentinel_assets.vision.findings import Finding
from sentinel_assets.vision.gestures import runs_of
from sentinel_assets.vision.postures import UPRIGHT, Stretch
from sentinel_assets.vision.presence import displacement, seconds_in

_LOW = 0.6
"""Box height over H below which somebody of unknown posture is on the floor or close to it."""


def find_anomalies(
    track: TrackFeatures, stretches: list[Stretch], parameters: BehaviorParameters, camera: Camera | None = None
) -> list[Finding]:
    """Running, loitering and an unknown posture on the floor; lying is judged with the falls."""
    return [
        *_running(track, stretches, parameters),
        *_loitering(track, parameters, camera),
        *_on_the_floor(track, stretches, parameters),
    ]


def _running(track: TrackFeatures, stretches: list[Stretch], parameters: BehaviorParameters) -> list[Finding]:
    fast = np.nan_to_num(track.speed, nan=0.0) >= parameters.running
    upright = np.zeros(len(track), np.bool_)
    for stretch in stretches:
        if stretch.posture in UPRIGHT:
            upright[stretch.first : stretch.last + 1] = True
    found = []
    for first, last in runs_of(fast & upright):
        lasted = float(track.times_s[last] - track.times_s[first])
        if last == first or lasted < parameters.running_s - 0.1:
            continue
        peak = first + int(np.argmax(track.speed[first : last + 1]))
        speed = float(np.median(track.speed[first : last + 1]))
        found.append(
            Finding(
                track=track.track,
                behavior="anomaly",
                start_s=float(track.times_s[first]),
                peak_s=float(track.times_s[peak]),
                end_s=float(track.times_s[last]),
                confidence=float(np.clip(0.4 + 0.5 * (speed - parameters.running) / parameters.running, 0.4, 0.8)),
                rule="running",
                values={"speed": round(speed, 2), "lasted_s": round(lasted, 2)},
                thresholds={"running": parameters.running, "running_s": parameters.running_s},
                samples=track.samples[first : last + 1].tolist(),
            )
        )
    return found


def _loitering(track: TrackFeatures, parameters: BehaviorParameters, camera: Camera | None) -> list[Finding]:
    """Time in view; where a camera is known, without that on seats and at checkouts, and of people who move at all."""
    start_s, end_s = float(track.times_s[0]), float(track.times_s[-1])
    dwell_s = end_s - start_s
    if camera is not None:
        meant = (*camera.of_kind("seat"), *camera.of_kind("checkout"))
        dwell_s -= seconds_in(track, meant)
        if displacement(track) < parameters.least_displacement:
            return []
    if dwell_s <= parameters.loitering_s:
        return []
    return [
        Finding(
            track=track.track,
            behavior="anomaly",
            start_s=start_s,
            peak_s=start_s + parameters.loitering_s,
            end_s=end_s,
            confidence=0.5,
            rule="loitering",
            values={"dwell_s": round(dwell_s, 1)},
            thresholds={"loitering_s": parameters.loitering_s},
            samples=[int(track.samples[0]), int(track.samples[-1])],
            note="time in view; what is usual here is not known" if camera is None else "",
        )
    ]


def _on_the_floor(track: TrackFeatures, stretches: list[Stretch], parameters: BehaviorParameters) -> list[Finding]:
    found = []
    for stretch in stretches:
        rho = track.rho[stretch.first : stretch.last + 1]
        low = len(rho) > 1 and not np.isnan(rho).all() and float(np.nanmedian(rho)) <= _LOW
        if stretch.posture != "unknown" or stretch.duration_s < parameters.floor_unknown_s or not low:
            continue
        found.append(
            Finding(
                track=track.track,
                behavior="anomaly",
                start_s=stretch.start_s,
                peak_s=stretch.start_s + parameters.floor_unknown_s,
                end_s=stretch.end_s,
                confidence=0.4,
                rule="unknown_posture_on_floor",
                values={"lasted_s": round(stretch.duration_s, 1), "rho": round(float(np.nanmedian(rho)), 3)},
                thresholds={"floor_unknown_s": parameters.floor_unknown_s, "rho": _LOW},
                samples=track.samples[stretch.first : stretch.last + 1].tolist(),
                needs_review=True,
            )
        )
    return found
