"""Events as they stand in the warehouse: what was measured, the sentence, and the vector, in one row each."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from sentinel_assets.vision.errors import TableError
from sentinel_assets.vision.facts import FactParameters, MeasuredEvent, event_key, measured_events
from sentinel_assets.vision.tables import EVENTS

__all__ = ["assemble_events", "event_key"]


def assemble_events(
    behaviors: pd.DataFrame,
    demographics: pd.DataFrame,
    poses: pd.DataFrame,
    descriptions: pd.DataFrame,
    embeddings: pd.DataFrame,
    *,
    parameters: FactParameters | None = None,
) -> pd.DataFrame:
    """An EVENTS table: one row for each behavior that is not `unknown`, by start and track.

    Raises TableError when the tables are not of one analysis: an event without its track, sentence or vector, or a
    sentence or vector without its event.
    """
    measured = measured_events(behaviors, demographics, poses, parameters)
    keys = [event.facts.event_key for event in measured]
    sentences = _by_event(descriptions, "description", keys)
    vectors = _by_event(embeddings, "vector", keys)
    return EVENTS.frame([_row(event, sentences, vectors) for event in measured])


def _row(event: MeasuredEvent, sentences: dict[str, Any], vectors: dict[str, Any]) -> dict[str, Any]:
    facts = event.facts
    return {
        "event_key": facts.event_key,
        "timestamp": facts.start_s,
        "peak_s": event.peak_s,
        "end_s": facts.end_s,
        "event_type": facts.behavior,
        "track": facts.track,
        "other_track": facts.other_track,
        "confidence": facts.confidence,
        "needs_review": event.needs_review,
        "age": event.age,
        "age_low": facts.age_low,
        "age_high": facts.age_high,
        "gender": facts.gender,
        "orientation": facts.orientation,
        "attributes": _json(event.attributes, facts.event_key),
        "evidence": _json(facts.evidence, facts.event_key),
        "description": sentences[facts.event_key],
        "embedding": vectors[facts.event_key],
    }


def _by_event(table: pd.DataFrame, column: str, keys: list[str]) -> dict[str, Any]:
    found = dict(zip(table["event_key"], table[column], strict=True))
    if len(found) != len(table):
        raise TableError(f"{len(table) - len(found)} events have more than one {column}")
    missing, surplus = sorted(set(keys) - set(found)), sorted(set(found) - set(keys))
    if missing or surplus:
        raise TableError(
            f"no {column} for {missing[:3] or 'none'}, {column} without its event: {surplus[:3] or 'none'}",
            remedy="Materialize descriptions and embeddings again",
        )
    return found


def _json(value: dict[str, Any], key: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True)
    except ValueError as error:
        raise TableError(f"evidence holds a number that is not finite: {error}", where=key) from error
