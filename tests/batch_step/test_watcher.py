"""One DescribeJobs for all that this process waits for, slower when Batch asks for it, and nothing waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from botocore.exceptions import ClientError

from batch_step.watcher import JobWatcher


class Jobs:
    """Describes whatever it is asked for, as `answer` says."""

    def __init__(self, answer: Callable[[list[str]], dict[str, Any]] | None = None) -> None:
        self.calls: list[list[str]] = []
        self.ended: list[str] = []
        self.answer = answer or (lambda ids: {i: {"jobId": i, "status": "RUNNING"} for i in ids})

    def describe(self, ids: list[str]) -> dict[str, Any]:
        self.calls.append(ids)
        return self.answer(ids)

    def try_to_terminate(self, job_id: str, reason: str) -> None:
        self.ended.append(job_id)


def watcher(jobs: Jobs, **more: float) -> JobWatcher:
    return JobWatcher(jobs, **{"every_seconds": 0.1, "unknown_after": 0.3, **more})  # type: ignore[arg-type]


def test_250_jobs_are_three_calls_a_round() -> None:
    jobs = Jobs()
    with ExitStack() as stack:
        watching = watcher(jobs, every_seconds=10)
        watches = [stack.enter_context(watching.watch(f"job-{n}")) for n in range(250)]
        for watch in watches:
            assert watch.changed.wait(5)
    assert max(len(ids) for ids in jobs.calls) <= 100
    assert len(jobs.calls) <= 6


def test_throttling_slows_the_watcher_down_and_loses_nothing() -> None:
    throttled = ClientError({"Error": {"Code": "TooManyRequestsException"}}, "DescribeJobs")
    fine = threading.Event()

    def answer(ids: list[str]) -> dict[str, Any]:
        if not fine.is_set():
            raise throttled
        return {i: {"jobId": i, "status": "SUCCEEDED"} for i in ids}

    jobs = Jobs(answer)
    with watcher(jobs, every_seconds=0.02).watch("a") as watch:
        time.sleep(1.5)
        calls = len(jobs.calls)
        assert 1 < calls < 14  # 7 or so; 20 without the back-off
        assert watch.status == "SUBMITTED"
        fine.set()
        assert watch.changed.wait(5)
        assert watch.status == "SUCCEEDED"


def test_a_job_that_batch_does_not_know_is_unknown_after_a_while_and_not_at_once() -> None:
    """DescribeJobs may lag SubmitJob; others poll such a job for ever."""
    with watcher(Jobs(lambda ids: {})).watch("a") as watch:
        assert watch.changed.wait(5)
        assert not watch.ended
        time.sleep(0.6)
        assert watch.ended
        assert watch.status == "UNKNOWN"


def test_a_job_that_shows_up_late_is_watched() -> None:
    began = time.monotonic()
    jobs = Jobs(lambda ids: {i: {"jobId": i, "status": "RUNNING"} for i in ids if time.monotonic() - began > 0.2})
    with watcher(jobs, unknown_after=5).watch("a") as watch:
        time.sleep(0.6)
        assert watch.status == "RUNNING"


def test_the_thread_ends_when_nobody_waits() -> None:
    watching = watcher(Jobs())
    with watching.watch("a") as watch, watching.watch("a") as same:
        assert watch is same
        assert watch.changed.wait(5)
    time.sleep(0.4)
    assert watching._thread is None
    with watching.watch("b") as again:
        assert again.changed.wait(5)


@pytest.mark.parametrize(("status", "ended"), [("RUNNING", ["a"]), ("SUCCEEDED", [])])
def test_a_job_that_hangs_after_its_step_is_over_is_ended(status: str, ended: list[str]) -> None:
    jobs = Jobs(lambda ids: {i: {"jobId": i, "status": status} for i in ids})
    watcher(jobs).end_later("a", 0.4)
    time.sleep(1.0)
    assert jobs.ended == ended
