"""One sentence for each event, written by a describer from what was measured."""

from __future__ import annotations

import pandas as pd

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.facts import FactParameters, measured_events
from sentinel_assets.vision.protocols import Describer
from sentinel_assets.vision.tables import DESCRIPTIONS


def describe_events(
    behaviors: pd.DataFrame,
    demographics: pd.DataFrame,
    poses: pd.DataFrame,
    *,
    describer: Describer,
    parameters: FactParameters | None = None,
) -> pd.DataFrame:
    """A DESCRIPTIONS table: one row for each behavior that is not `unknown`, by start and track.

    Raises TableError for tables that do not fit together, ModelError for a describer that leaves an event without
    a sentence.
    """
    events = measured_events(behaviors, demographics, poses, parameters)
    sentences = describer.describe([event.facts for event in events])
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
                "describer": describer.name,
                "grounded": sentence.grounded,
            }
        )
    return DESCRIPTIONS.frame(rows)
