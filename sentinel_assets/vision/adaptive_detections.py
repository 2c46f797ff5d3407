"""Persons and faces of a video that is looked at where something happens: three looks, and one table of them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sentinel_assets.vision.adaptive import AdaptiveSampling, candidates, frames_from, instants, spans_around
from sentinel_assets.vision.detections import DetectionParameters, Progress, Sight, look, tracked
from sentinel_assets.vision.frames import Clip, sample_frames
from sentinel_assets.vision.protocols import JOINED, Detector, FaceDetector, PeopleDetector
from sentinel_assets.vision.tracking import Tracker

if TYPE_CHECKING:
    from sentinel_assets.vision.containers import DecodeDevice, DecodeWork

_SAME_TIME_S = 1e-6


def detect_adaptively(
    path: Path,
    clip: Clip,
    *,
    detector: Detector | PeopleDetector,
    face_detector: FaceDetector | None,
    sampling: AdaptiveSampling,
    parameters: DetectionParameters | None = None,
    device: DecodeDevice = "cpu",
    work: DecodeWork | None = None,
    on_damage: Callable[[str], None] | None = None,
    on_progress: Progress | None = None,
) -> pd.DataFrame:
    """The DETECTIONS table of samples that stand the closer the more may happen; their exact times are in its Sampling.

    The file is read once for the scout, and once more for each closer look that there is cause for; of a video without
    people nothing is read again. What was seen is kept, the pixels are not.
    """
    parameters = parameters or DetectionParameters()

    def tell(fraction: float) -> None:
        if on_progress:
            on_progress(min(1.0, fraction))

    scout = sample_frames(path, sampling.scout_hz, on_damage=on_damage, work=work, device=device)
    sights = []
    for sight in look(scout, detector, face_detector, parameters):
        sights.append(sight)
        tell(0.4 * sight.frame.time_s / max(clip.duration_s, 1e-6))
    end_s = sights[-1].frame.time_s if sights else 0.0
    present = spans_around((s.frame.time_s for s in sights if len(s.persons)), sampling.around_s)

    def look_closer(wanted: Sequence[float]) -> list[Sight]:
        # Damage was told of by the scout, who read the whole file.
        closer = frames_from(path, wanted, on_damage=lambda _: None, work=work, device=device)
        return _merged(sights, look(closer, detector, face_detector, parameters))

    sights = look_closer(instants(present, sampling.person_hz, but=sampling.scout_hz, end_s=end_s))
    tell(0.8)
    suspected = _suspected(sights, clip, sampling)
    sights = look_closer(instants(suspected, sampling.candidate_hz, but=sampling.person_hz, end_s=end_s))
    table = tracked(sights, clip, parameters, several=JOINED in detector.name)
    tell(1.0)
    return table


def _suspected(sights: Sequence[Sight], clip: Clip, sampling: AdaptiveSampling) -> list[tuple[float, float]]:
    """Around contacts and sudden changes of shape of the people seen so far, as a tracker joins them."""
    tracker = Tracker((clip.width, clip.height))
    ids = [tracker.update(s.frame.time_s, s.persons, s.appearance) for s in sights]
    times = [s.frame.time_s for s in sights]
    found = candidates(times, [s.persons.xyxy.astype(np.float64) for s in sights], ids, sampling)
    return spans_around(found, sampling.around_s)


def _merged(known: Sequence[Sight], more: Iterable[Sight]) -> list[Sight]:
    """All by time, each frame once, numbered anew. A frame may answer to instants of two grids."""
    by_time = sorted([*known, *more], key=lambda sight: sight.frame.time_s)
    kept = by_time[:1] + [b for a, b in pairwise(by_time) if b.frame.time_s - a.frame.time_s > _SAME_TIME_S]
    return [replace(sight, frame=replace(sight.frame, sample=sample)) for sample, sight in enumerate(kept)]
