"""What a step and its host tell each other.

A job has no route to what the host alone may read and write, such as a database. While the step runs, it sends notes:
engine events of its step, shown on the run's page, which the host hands to `BatchStepLauncher.on_event` with all other
events. What the host knows and the step needs is told with the step (`BatchStepLauncher.tells`), and read with `told`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import dagster as dg

from batch_step.dagster_internals import EngineEventData

_KEY = "batch_step/note"
_TOLD: ContextVar[Mapping[str, Any] | None] = ContextVar("batch_step_told", default=None)


def in_job() -> bool:
    """Whether the step that runs here was sent by a launcher: then there is a host that reads notes."""
    return _TOLD.get() is not None


def told() -> Mapping[str, Any]:
    """What the host told the step that runs here, as JSON types; nothing where no launcher sent it."""
    return _TOLD.get() or {}


@contextmanager
def running_a_job(what: Mapping[str, Any]) -> Iterator[None]:
    """The worker's: `in_job` says so while it runs a step, and `told` says `what`."""
    token = _TOLD.set(what)
    try:
        yield
    finally:
        _TOLD.reset(token)


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
