"""The pictures of docs/frame-to-event.md, drawn of a clip: `python -m tests.bench.story CLIP FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image as Pillow

from sentinel_assets import models
from sentinel_assets.looking import people_in
from sentinel_assets.previews import canvas, contacts, encoding, lanes, moments, skeletons
from sentinel_assets.previews.palette import BEHAVIOR_COLOURS, BLUE, FAINT, INK, VERMILION
from sentinel_assets.vision.behaviors import BehaviorParameters, recognise_behaviors
from sentinel_assets.vision.features import TrackFeatures, measure
from sentinel_assets.vision.frames import frames_at, probe
from sentinel_assets.vision.poses import PoseParameters, estimate_poses
from sentinel_assets.vision.postures import POSTURES, memberships
from sentinel_assets.vision.tables import Sampling

_LIMIT = 30_000
"""Bytes of one picture: the page is to load at once."""


def measured(track: TrackFeatures) -> Pillow.Image:
    """The features that tell standing from lying, and how well each sample fits each posture."""
    figure, axes = canvas.figure(560, 3, sharex=True)
    p = BehaviorParameters()
    for axis, values, title in (
        (axes[0], track.rho, "Height of the box, in standing heights"),
        (axes[1], track.trunk_deg, "Lean of the trunk, degrees"),
    ):
        canvas.plain(axis)
        canvas.title(axis, title)
        axis.plot(track.times_s, values, "o-", color=BLUE, markeredgecolor=INK)
    axes[0].axhline(0.58, color=VERMILION, linewidth=1)
    axes[1].axhline(40, color=VERMILION, linewidth=1)
    canvas.plain(axes[2])
    canvas.title(axes[2], "How well each posture fits", f"below {p.unknown_score:g} it is unknown")
    scores = memberships(track, p)
    for posture in ("walking", "standing", "lying"):
        colour = BEHAVIOR_COLOURS["collapse" if posture == "lying" else posture]
        axes[2].plot(track.times_s, scores[:, POSTURES.index(posture)], "o-", color=colour, label=posture)
    axes[2].axhline(p.unknown_score, color=FAINT, linewidth=1, linestyle=":")
    axes[2].legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1.0, 0.98))
    canvas.time_axis(axes[2], float(track.times_s[-1]) + 0.5)
    return canvas.rendered(figure)


def evidence(path: Path, row: pd.Series[object], detections: pd.DataFrame, poses: pd.DataFrame) -> Pillow.Image:
    """The start, the peak and the end of an event side by side."""
    frames = json.loads(str(row["evidence"]))["frames"]
    near = [moments.sampled_near(detections, float(frame["time_s"])) for frame in frames]
    times = sorted({time_s for time_s in near if time_s is not None})
    names = ("start", "peak", "end") if len(times) == 3 else [""] * len(times)
    drawn = [
        moments.draw(frame, detections, poses, f"{row['behavior']}: {name}", width=360)
        for frame, name in zip(frames_at(path, times), names, strict=True)
    ]
    sheet = Pillow.new("RGB", (sum(p.width for p in drawn) + 6 * (len(drawn) - 1), drawn[0].height), "#fcfcfa")
    for place, picture in enumerate(drawn):
        sheet.paste(picture, (place * (picture.width + 6), 0))
    return sheet


def main() -> None:
    path, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    detections = people_in(path, probe(path))
    poses = estimate_poses(path, detections, pose_models=models.pose_models(), parameters=PoseParameters())
    behaviors = recognise_behaviors(detections, poses)
    track = max(measure(detections, poses, BehaviorParameters()), key=len)
    chosen = skeletons.telling_poses(poses)
    pictures = {
        "1-frames": contacts.draw(frames_at(path, contacts.telling_times(detections)), detections),
        "2-skeletons": skeletons.draw(frames_at(path, sorted(set(chosen["time_s"]))), chosen, detections),
        "5-event": evidence(path, behaviors[behaviors["behavior"] == "collapse"].iloc[0], detections, poses),
    }
    for name, picture in pictures.items():
        (folder / f"{name}.webp").write_bytes(encoding.photo(picture, _LIMIT))
    (folder / "3-measured.png").write_bytes(encoding.chart(measured(track), _LIMIT))
    (folder / "4-behaviors.png").write_bytes(encoding.chart(lanes.draw(behaviors, Sampling.of(detections)), _LIMIT))
    for row in behaviors.to_dict("records"):
        told = json.loads(row["evidence"])
        print(
            row["behavior"], round(row["start_s"], 2), round(row["end_s"], 2), round(row["confidence"], 2), told["rule"]
        )
        print(json.dumps({"values": told["values"], "thresholds": told["thresholds"]}))
    print(np.column_stack([track.times_s, track.rho, track.trunk_deg, track.speed]).round(2))


if __name__ == "__main__":
    main()
