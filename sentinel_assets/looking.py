"""The people in a video by the models and the sampling of the environment: the one call of all who want them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from resources.settings import Settings
from sentinel_assets import models
from sentinel_assets.parameters import sampling
from sentinel_assets.vision.adaptive import AdaptiveSampling
from sentinel_assets.vision.adaptive_detections import detect_adaptively
from sentinel_assets.vision.detections import DetectionParameters, detect_people
from sentinel_assets.vision.frames import Clip, sample_frames
from sentinel_assets.vision.held_frames import HELD

if TYPE_CHECKING:
    from sentinel_assets.vision.containers import DecodeWork


def people_in(
    path: Path,
    clip: Clip,
    *,
    own_sampling: Mapping[str, Any] | None = None,
    work: DecodeWork | None = None,
    on_damage: Callable[[str], None] | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """The DETECTIONS table of the video, sampled as its camera wants it (`parameters.sampling`). What is damaged is
    told at the end, by the thread that calls. `work` counts what was decoded, and says where."""
    damage: list[str] = []
    table = _people_in(path, clip, own_sampling, work, damage.append if on_damage else None, on_progress)
    for line in damage:
        assert on_damage
        on_damage(line)
    return table


def _people_in(
    path: Path,
    clip: Clip,
    own_sampling: Mapping[str, Any] | None,
    work: DecodeWork | None,
    on_damage: Callable[[str], None] | None,
    on_progress: Callable[[float], None] | None,
) -> pd.DataFrame:
    chosen, settings = sampling(own_sampling), Settings.from_env()
    HELD.bound_bytes = int(settings.held_frames_mb * 2**20)
    detector, face_detector, parameters = models.detector(), models.face_detector(), DetectionParameters()
    if isinstance(chosen, AdaptiveSampling):
        return detect_adaptively(
            path,
            clip,
            detector=detector,
            face_detector=face_detector,
            sampling=chosen,
            parameters=parameters,
            device=settings.decode_device,
            work=work,
            on_damage=on_damage,
            on_progress=on_progress,
        )
    return detect_people(
        sample_frames(path, chosen.rate_hz, on_damage=on_damage, work=work, device=settings.decode_device),
        clip,
        detector=detector,
        face_detector=face_detector,
        parameters=parameters,
        on_progress=on_progress,
    )
