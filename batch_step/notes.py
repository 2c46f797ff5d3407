"""Notes: what a step tells its host while it runs.

A job has no route to what the host alone may write, such as a database. It sends a note in its place: an engine event
of its step, shown on the run's page, which the host hands to `BatchStepLauncher.on_event` with all other events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import dagster as dg

from batch_step.dagster_internals import EngineEventData

_KEY = "batch_step/note"
_IN_JOB: ContextVar[bool] = ContextVar("batch_step_in_job", default=False)


def in_job() -> bool:
    """Whether the step that runs here was sent by a launcher: then there is a host that reads notes."""
    return _IN_JOB.get()


@contextmanager
def running_a_job() -> Iterator[None]:
    """The worker's: `in_job` says so while it runs a step."""
    token = _IN_JOB.set(True)
    try:
        yield
    finally:
        _IN_JOB.reset(token)


def send_note(context: dg.OpExecutionContext | dg.AssetExecutionContext, message: str, note: Mapping[str, Any]) -> None:
    """Tells the host `note`, which is JSON; people read `message`. Events travel about once a second."""
    data = EngineEventData({_KEY: dg.MetadataValue.json(dict(note))})
    dg.DagsterEvent.engine_event(context.get_step_execution_context(), message, data)


def note_in(entry: dg.EventLogEntry) -> dict[str, Any] | None:
    """What `send_note` was given, where the entry is a note."""
    event = entry.dagster_event
    if event is None or event.event_type is not dg.DagsterEventType.ENGINE_EVENT:
        return None
    value = event.engine_event_data.metadata.get(_KEY)
    return dict(value.data) if isinstance(value, dg.JsonMetadataValue) and isinstance(value.data, dict) else None
