"""A step's failure in one line: the same whether the exception is at hand or only the run's record of it."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import pytest

from batch_step.errors import LimitExceeded, StepLost
from sentinel_assets import failure_reasons
from sentinel_assets.vision.errors import NotAVideo, StoreUnavailable
from sentinel_assets.wiring import acting_on_errors


def _ours() -> None:
    with acting_on_errors():
        raise NotAVideo("not a video", where="a.mp4", remedy="Upload another")


def _ours_bare() -> None:
    raise StoreUnavailable("the disk is full", where="/x")


def _again_in_vain() -> None:
    raise dg.RetryRequested(max_retries=0) from StoreUnavailable("S3 is away", where="s3://x")


def _job_lost() -> None:
    raise dg.RetryRequested(max_retries=0) from StepLost("the step ran past its time limit", where="step poses")


def _job_refused() -> None:
    raise LimitExceeded("timeout of 5 s: Batch takes 60 s or more")


def _bug() -> None:
    try:
        [].pop()
    except IndexError as error:
        raise KeyError("a: b") from error


def _no_words() -> None:
    raise ValueError


CASES = [
    (_ours, "a.mp4: not a video. Upload another"),
    (_ours_bare, "/x: the disk is full"),
    (_again_in_vain, "s3://x: S3 is away"),
    (_job_lost, "step poses: the step ran past its time limit"),
    (_job_refused, "timeout of 5 s: Batch takes 60 s or more"),
    (_bug, "KeyError: 'a: b'. This is a defect of Sentinel: please report it with the run's id"),
    (_no_words, "ValueError: . This is a defect of Sentinel: please report it with the run's id"),
]


@pytest.mark.parametrize(("fail", "reason"), CASES, ids=[case[0].__name__ for case in CASES])
def test_the_reason_reads_alike_from_exception_and_event(fail: Callable[[], None], reason: str) -> None:
    """In process Dagster hands over the exception; of a job there is the event."""
    seen: list[str] = []

    @dg.failure_hook
    def note_down(context: dg.HookContext) -> None:
        seen.append(failure_reasons.of_exception(context.op_exception))
        seen.append(failure_reasons.of_event(context.instance, context.run_id, context.step_key))

    @dg.op
    def step() -> None:
        fail()

    @dg.job(hooks={note_down})
    def job() -> None:
        step()

    with dg.DagsterInstance.ephemeral() as instance:
        job.execute_in_process(instance=instance, raise_on_error=False)
    assert seen == [reason, reason]


def test_a_step_without_a_record_has_failed_without_a_reason() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert failure_reasons.of_event(instance, "no such run", "step") == "failed without a reason"
