"""The job's command: `python -m batch_step.worker CHANNEL` runs one step, `--serve` the steps of a run, one by one.

User code runs at most once in a channel: the first worker to write `execution.json` runs the step, every other one
leaves. A failure that the machine is to blame for leaves no final event, so that the launcher can run the step
elsewhere and the user's RetryPolicy is not charged.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from uuid import uuid4

from batch_step.channel import ERROR, EXECUTION, MANIFEST, REFERENCE, Channel, open_channel
from batch_step.errors import BatchStepError, CodeMismatch, ReferenceInvalid
from batch_step.records import (
    EXIT_ALREADY_BEGUN,
    EXIT_DONE,
    EXIT_HOST_SILENT,
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    EXIT_TIMED_OUT,
    Execution,
    Manifest,
    WorkerError,
)

_PROCESS_STARTED = time.time()
_LOOK_S = 10.0  # how long the guard waits for an answer: it has a time limit to watch, too
_GUARD_EXITS: dict[Any, int] = {"host-silent": EXIT_HOST_SILENT, "timeout": EXIT_TIMED_OUT}


def main(arguments: list[str] | None = None) -> int:
    """The exit code; see `batch_step.records`."""
    parser = argparse.ArgumentParser(prog="python -m batch_step.worker", description=__doc__)
    parser.add_argument("channel", help="s3://bucket/prefix, or a folder")
    parser.add_argument("--serve", type=float, metavar="IDLE_SECONDS", help="serve steps until none came for so long")
    options = parser.parse_args(arguments)
    from batch_step.dagster_internals import capture_interrupts

    with capture_interrupts():  # SIGTERM (reclaim, TerminateJob) reaches user code as Dagster's interrupt
        if options.serve is not None:
            from batch_step.shared_job import serve

            return serve(open_channel(options.channel), run_channel, options.serve)
        return run_channel(open_channel(options.channel))


def run_channel(channel: Channel, taken_at: float = _PROCESS_STARTED) -> int:
    """Runs the step of a channel unless that has been done or begun. Returns the exit code."""
    from batch_step.machine import Machine

    if channel.get(MANIFEST) is not None:
        return EXIT_DONE
    machine = Machine.here()
    mine = Execution(
        token=uuid4().hex,
        job_id=os.environ.get("AWS_BATCH_JOB_ID", ""),
        attempt=int(os.environ.get("AWS_BATCH_JOB_ATTEMPT", "1")),
        started_at=taken_at,
        instance_type=machine.instance_type,
        purchase=machine.purchase,
    )
    if not mine.write_once(channel, EXECUTION):
        return _leave(channel, mine)
    return StepRun(channel, taken_at).run()


def _leave(channel: Channel, mine: Execution) -> int:
    """Another worker has the step. If that was this very job, its attempt is lost and the launcher must know."""
    holder = Execution.read(channel, EXECUTION)
    if holder is None or holder.job_id != mine.job_id or channel.get(MANIFEST) is not None:
        print("batch_step: another job runs this step", flush=True)  # noqa: T201
        return EXIT_DONE
    message = f"attempt {holder.attempt} of this job began the step and did not finish it"
    WorkerError(kind="already-begun", message=message).write_once(channel, ERROR)
    return EXIT_ALREADY_BEGUN


class StepRun:
    """One execution of one step, and what it leaves in the channel."""

    def __init__(self, channel: Channel, taken_at: float) -> None:
        from batch_step.streaming import EventWriter

        self._channel = channel
        self._marks = {"taken": taken_at}  # the step pays from here on
        if taken_at != _PROCESS_STARTED:
            self._mark("begun")
        self._final: str | None = None
        self._withheld: WorkerError | None = None
        self._writer = EventWriter(channel)

    def run(self) -> int:
        from batch_step.guard import Guard
        from batch_step.reference import StepReference

        guard: AbstractContextManager[Any] = nullcontext()
        try:
            data = self._channel.get(REFERENCE)
            if data is None:
                raise ReferenceInvalid("there is none", where=self._channel.uri)
            reference = StepReference.load(data)
            terms = (reference.lease_seconds, reference.timeout_seconds, reference.resume_seconds)
            guard = Guard(self._channel.hasty(_LOOK_S), *terms, _GUARD_EXITS)
            with guard:
                self._run(reference)
        except (CodeMismatch, ReferenceInvalid) as e:
            return self._end(WorkerError("refused", str(e), permanent=True), EXIT_REFUSED)
        except BatchStepError as e:
            return self._end(_describe(e, "setup"), 1)
        except BaseException as e:  # noqa: BLE001 - the top of the process: the host must learn of it
            traceback.print_exc()
            return self._end(_describe(e, "interrupted" if _is_interrupt_name(type(e).__name__) else "setup"), 1, guard)
        if self._withheld is not None:
            return self._end(self._withheld, 1, guard)
        return self._end(None, EXIT_DONE)

    def _run(self, reference: Any) -> None:
        from batch_step.execution import run_step

        run_step(reference, self._on_entry, on_loaded=lambda: self._mark("loaded"))

    def _mark(self, name: str, at: float | None = None) -> None:
        self._marks.setdefault(name, at or time.time())

    def _on_entry(self, entry: Any, raised: BaseException | None) -> None:
        """Each event log entry, in the thread that makes it; `raised` is what ended the step, where it is known."""
        if _is_vain_retry(entry, raised):
            entry = _as_failure(entry)
        event = entry.dagster_event
        if event is not None:
            if event.is_step_start or event.is_step_restarted:
                self._mark("user_code", entry.timestamp)
            elif event.is_step_success or event.is_step_failure or event.is_step_up_for_retry:
                self._mark("user_code_end", entry.timestamp)
                if not event.is_step_success and self._is_machines_fault(event, raised):
                    return
                self._final = event.event_type_value
            elif event.is_job_event and not event.is_step_event:
                return  # this process is not the run
        self._writer.put(entry)

    def _is_machines_fault(self, event: Any, raised: BaseException | None) -> bool:
        """Writes down what failed, before the event goes out; True when the final event is to be withheld."""
        from batch_step.failures import Evidence, RetriedBy, classify

        data = event.step_failure_data if event.is_step_failure else event.step_retry_data
        error = _from_dagster(data.error, permanent=_is_permanent(raised))
        if classify(Evidence(error=error)).retried_by is RetriedBy.LAUNCHER:  # an interrupt, too
            self._withheld = error
            return True
        error.write(self._channel, ERROR)
        return False

    def _end(self, error: WorkerError | None, code: int, guard: Any = None) -> int:
        verdict = getattr(guard, "verdict", None)
        if error is not None and verdict is not None:
            error, code = WorkerError(verdict, guard.why, error.types), _GUARD_EXITS[verdict]
        elif error is not None and error.kind == "interrupted":
            from batch_step.machine import spot_notice

            error, code = (
                WorkerError(error.kind, error.message, error.types, spot_notice=spot_notice()),
                EXIT_INTERRUPTED,
            )
        self._writer.close()
        if error is not None:
            error.write(self._channel, ERROR)
        self._mark("uploaded")
        Manifest(self._final, self._writer.chunks, self._marks).write(self._channel, MANIFEST)
        return code


def _from_dagster(info: Any, permanent: bool) -> WorkerError:
    """What Dagster recorded of an exception and its causes."""
    types: list[str] = []
    messages: list[str] = []
    while info is not None:
        types.append(info.cls_name or "")
        messages.append(info.message.strip())
        info = info.cause
    kind = "interrupted" if any(_is_interrupt_name(name) for name in types) else "user"
    return WorkerError(kind, "\n".join(messages), types, permanent)


def _describe(error: BaseException, kind: str) -> WorkerError:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    message = "\n".join(f"{type(e).__name__}: {e}" for e in chain)
    return WorkerError(kind, message, [type(e).__name__ for e in chain], _is_permanent(error))


def _is_permanent(error: BaseException | None) -> bool:
    """Whether an exception, or what it was raised from, says `is_retryable = False` of itself."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if getattr(error, "is_retryable", None) is False:
            return True
        seen.add(id(error))
        error = error.__cause__
    return False


def _is_vain_retry(entry: Any, raised: BaseException | None) -> bool:
    """Whether a RetryPolicy would run a step again of which the exception says that this cannot help. Of a retry that
    user code asks for itself, user code knows better."""
    from batch_step.dagster_internals import RetryRequestedFromPolicy

    event = entry.dagster_event
    is_retry = event is not None and event.is_step_up_for_retry
    return is_retry and isinstance(raised, RetryRequestedFromPolicy) and _is_permanent(raised)


def _as_failure(entry: Any) -> Any:
    """STEP_FAILURE in place of STEP_UP_FOR_RETRY: for Dagster's policy every exception is worth another try."""
    import logging

    from batch_step.dagster_internals import ErrorSource, StepFailureData

    make: Any = StepFailureData

    event = entry.dagster_event
    error = event.step_retry_data.error._replace(message="Not tried again: the error says that it cannot help\n")
    message = f'Execution of step "{event.step_key}" failed.'
    failure = event._replace(
        event_type_value="STEP_FAILURE",
        event_specific_data=make(error, None, ErrorSource.USER_CODE_ERROR),
        message=message,
    )
    return entry._replace(dagster_event=failure, level=logging.ERROR, user_message=message)


def _is_interrupt_name(name: str) -> bool:
    return name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt")


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # all is written; ending Python in order costs 2 to 10 s with torch loaded, on a paid machine
