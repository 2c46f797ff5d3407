"""One sentence for each event, written by a describer from what was measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.facts import FactParameters, MeasuredEvent, measured_events
from sentinel_assets.vision.key_frames import KeyFrameParameters, with_pictures
from sentinel_assets.vision.protocols import Describer, Description, LookingDescriber
from sentinel_assets.vision.tables import DESCRIPTIONS

_SHOWN_AT_ONCE = 32
"""Events whose pictures are in memory together."""


def describe_events(
    behaviors: pd.DataFrame,
    demographics: pd.DataFrame,
    poses: pd.DataFrame,
    *,
    describer: Describer,
    parameters: FactParameters | None = None,
    path: Path | None = None,
    detections: pd.DataFrame | None = None,
    key_frames: KeyFrameParameters | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """A DESCRIPTIONS table: one row for each behavior that is not `unknown`, by start and track.

    `path` and `detections`, the video and who was found in it, are for a describer that looks.

    Raises TableError for tables that do not fit together, ModelError for a describer that leaves an event without
    a sentence.
    """
    events = measured_events(behaviors, demographics, poses, parameters)
    sentences: list[Description] = []
    if not isinstance(describer, LookingDescriber):
        sentences = describer.describe([event.facts for event in events])
    elif path is None or detections is None:
        raise ModelError("is to look at the events, and has no video", where=describer.name)
    else:
        for first in range(0, len(events), _SHOWN_AT_ONCE):
            some: list[MeasuredEvent] = events[first : first + _SHOWN_AT_ONCE]
            sentences += describer.describe(with_pictures(path, some, detections, describer.key_frames, key_frames))
            if on_progress:
                on_progress(len(sentences) / len(events))
    if len(sentences) != len(events):
        raise ModelError(f"{len(sentences)} sentences for {len(events)} events", where=describer.name)
    rows = []
    for event, sentence in zip(events, sentences, strict=True):
        facts = event.facts
        if not sentence.text.strip():
            raise ModelError(f"no sentence for {facts.event_key}", where=describer.name)
        rows.append(
            {
                "event_key": facts.event_key,
                "track": facts.track,
                "behavior": facts.behavior,
                "start_s": facts.start_s,
                "peak_s": event.peak_s,
                "end_s": facts.end_s,
                "description": " ".join(sentence.text.split()),
                "language": sentence.language,
                "describer": sentence.writer or describer.name,
                "grounded": sentence.grounded,
                "remark": sentence.remark or None,
            }
        )
    return DESCRIPTIONS.frame(rows)
