"""Why a step failed, in one line for the video's row: of the exception where it was raised here, else of the event."""

from __future__ import annotations

from typing import Any

import dagster as dg

from batch_step import errors as of_batch
from batch_step.errors import BatchStepError
from sentinel_assets.vision import errors
from sentinel_assets.vision.errors import SentinelError

_MOST_LETTERS = 300
_SPEAKING = (SentinelError, BatchStepError)  # what they are raised with is for people to read
_OURS = {
    name
    for module in (errors, of_batch)
    for name, thing in vars(module).items()
    if isinstance(thing, type) and issubclass(thing, _SPEAKING)
}
_WRAPPERS = ("DagsterExecutionStepExecutionError", "RetryRequested", "RetryRequestedFromPolicy")


def of_exception(error: BaseException | None) -> str:
    """Our own errors as they read, all else as the bug that it is."""
    if isinstance(error, dg.RetryRequested):
        error = error.__cause__
    if isinstance(error, dg.Failure):
        return error.description or "failed without a reason"
    if isinstance(error, _SPEAKING):
        return str(error)
    return _defect(type(error).__name__, str(error))


def of_event(instance: dg.DagsterInstance, run_id: str, step_key: str) -> str:
    """The same, of the step's failure as the run has it recorded."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    events = [r.event_log_entry.dagster_event for r in records if r.event_log_entry.step_key == step_key]
    if not events or events[-1] is None:
        return "failed without a reason"
    data = events[-1].step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    error: Any = data.error
    while error is not None and error.cls_name in _WRAPPERS and error.cause is not None:
        error = error.cause
    if error is None:
        return "failed without a reason"
    kind, _, said = error.message.strip().partition(": ")  # as Python prints an exception: `module.Kind: words`
    kind = error.cls_name or kind
    return said if kind in _OURS else _defect(kind, said)


def _defect(kind: str, said: str) -> str:
    detail = " ".join(said.split())[:_MOST_LETTERS]
    return f"{kind}: {detail}. This is a defect of Sentinel: please report it with the run's id"
