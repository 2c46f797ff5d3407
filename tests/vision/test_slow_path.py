"""No accuracy is given for speed: a video looked at the slow way gives the same people, poses, behaviors and events.

The slow way decodes every frame of the file, gives each model one picture at a time and keeps nothing between stages.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sentinel_assets import models
from sentinel_assets.vision.behaviors import BehaviorParameters, recognise_behaviors
from sentinel_assets.vision.containers import DecodeWork, OpenVideo
from sentinel_assets.vision.demographics import estimate_demographics
from sentinel_assets.vision.descriptions import describe_events
from sentinel_assets.vision.detections import DetectionParameters, detect_people
from sentinel_assets.vision.embeddings import embed_descriptions
from sentinel_assets.vision.events import assemble_events
from sentinel_assets.vision.frames import probe, sample_frames
from sentinel_assets.vision.held_frames import DEFAULT_MB, HELD
from sentinel_assets.vision.poses import PoseParameters, estimate_poses

_EXACT = {"time_s", "timestamp", "start_s", "end_s", "peak_s", "track", "sample", "event_type", "behavior", "event_key"}
SAME: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-3}
"""px and shares: sums over a batch of pictures are rounded otherwise than those over one."""


@dataclass(frozen=True)
class Found:
    """The tables of one analysis, and how much was decoded for its samples."""

    tables: dict[str, pd.DataFrame]
    work: DecodeWork


def analysed(path: Path, profile: str, *, at_once: int, rate_hz: float) -> Found:
    work, clip = DecodeWork(), probe(path)
    HELD.forget()
    with HELD.known_as(path, "its content"):
        detections = detect_people(
            sample_frames(path, rate_hz, work=work),
            clip,
            detector=models.detector(profile),
            face_detector=models.face_detector(profile),
            parameters=DetectionParameters(batch=at_once),
        )
        people = estimate_demographics(path, detections, attribute_model=models.attribute_model(profile))
        poses = estimate_poses(
            path, detections, pose_models=models.pose_models(profile), parameters=PoseParameters(batch=at_once)
        )
        acts = recognise_behaviors(detections, poses, parameters=BehaviorParameters())
        sentences = describe_events(acts, people, poses, describer=models.describer(profile))
    vectors = embed_descriptions(sentences, encoder=models.text_encoder(profile))
    events = assemble_events(acts, people, poses, sentences, vectors)
    tables = {"detections": detections, "demographics": people, "poses": poses, "behaviors": acts, "events": events}
    return Found(tables, work)


@pytest.mark.parametrize(
    ("profile", "clip", "rate_hz"),
    [
        pytest.param("permissive", "people", 2.0, id="composed of photos"),
        pytest.param("cpu", "gmdcsa24/Subject_1_Fall_13.mp4", 2.0, id="a fall, variable rate"),
        pytest.param("cpu", "gmdcsa24/Subject_2_ADL_23.mp4", 1.0, id="daily life"),
    ],
)
def test_the_slow_way_finds_the_same(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, profile: str, clip: str, rate_hz: float
) -> None:
    path = request.getfixturevalue("people") if clip == "people" else request.getfixturevalue("footage") / clip
    monkeypatch.setattr(HELD, "bound_bytes", DEFAULT_MB << 20)
    fast = analysed(path, profile, at_once=8, rate_hz=rate_hz)
    monkeypatch.setattr(OpenVideo, "can_be_planned", property(lambda _: False))
    monkeypatch.setattr(HELD, "bound_bytes", 0)
    slow = analysed(path, profile, at_once=1, rate_hz=rate_hz)
    assert slow.work.decoded == slow.work.packets
    assert not slow.work.planned
    assert fast.work.planned
    assert len(fast.tables["events"]) > 0
    for name, table in slow.tables.items():
        same(fast.tables[name], table)
    assert fast.tables["detections"].attrs == slow.tables["detections"].attrs  # times of all samples, exactly


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    for column in other.columns:
        if column == "evidence":
            continue  # the same numbers as text; events that differ in them differ in kind, time or confidence
        exact = column in _EXACT
        pd.testing.assert_series_equal(one[column], other[column], check_exact=exact, **({} if exact else SAME))
