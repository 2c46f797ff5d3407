"""What the local Batch does wrong when told to: the words and shapes that a launcher has to cope with."""

from __future__ import annotations

import time
import urllib.error
from typing import Any

import boto3
import pytest
from botocore.config import Config

from infra.local.aws import LocalAws
from infra.local.batch.faults import (
    NO_INSTANCES,
    PULL_DENIED,
    Fault,
    Faults,
    LateLogs,
    NoCapacity,
    OutOfMemory,
    PullError,
    RemoteFaults,
    Slow,
    SpotReclaim,
    Stuck,
    Throttle,
    Vanish,
    from_json,
    to_json,
)
from tests.builders.queues import CommandQueue, create_environment

_SPOT_STRATEGY = {
    "attempts": 3,
    "evaluateOnExit": [{"onStatusReason": "Host EC2*", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}],
}


def test_a_reclaimed_host_takes_a_running_job_with_it(aws: LocalAws, queue: CommandQueue) -> None:
    """No exit code and no reason of a container: only the job's statusReason tells. A retry is a new attempt."""
    script = "echo $AWS_BATCH_JOB_ATTEMPT; [ $AWS_BATCH_JOB_ATTEMPT = 2 ] || sleep 60"
    job_id = queue.submit("sh", "-c", script, retryStrategy=_SPOT_STRATEGY)
    queue.lines_seen(job_id, 1)
    aws.faults.add(SpotReclaim(jobs=job_id, instance="i-0123456789abcdef0", times=1))
    job = queue.wait(job_id)
    lost, whole = job["attempts"]
    assert lost["statusReason"] == "Host EC2 (instance i-0123456789abcdef0) terminated."
    assert {"exitCode", "reason"}.isdisjoint(lost["container"])
    assert (job["status"], whole["container"]["exitCode"]) == ("SUCCEEDED", 0)
    assert [queue.lines(attempt) for attempt in (lost, whole)] == [["1"], ["2"]]


def test_a_reclaim_may_come_with_a_notice(aws: LocalAws, queue: CommandQueue) -> None:
    """SIGTERM before it: what is written in that time is not lost."""
    job_id = queue.submit("sh", "-c", "trap 'echo saved; exit 1' TERM; echo on; while :; do sleep 0.05; done")
    queue.lines_seen(job_id, 1)
    aws.faults.add(SpotReclaim(jobs=job_id, after_s=20, notice_s=20))
    job = queue.wait(job_id)
    assert job["statusReason"].startswith("Host EC2 (instance i-")
    assert queue.lines(job) == ["on", "saved"]


def test_a_job_without_memory_is_killed(aws: LocalAws, queue: CommandQueue) -> None:
    aws.faults.add(OutOfMemory(jobs="big-*"))
    job = queue.run("sleep", "60", name="big-1")
    container = job["attempts"][0]["container"]
    assert (container["exitCode"], container["reason"]) == (
        137,
        "OutOfMemoryError: Container killed due to memory usage",
    )
    assert job["statusReason"] == "Essential container in task exited"
    assert queue.run("true", name="small")["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("fault", "status", "attempts"),
    [
        # A registry that is slow once
        (PullError(times=1), "SUCCEEDED", 2),
        # No right to the image: it will never be pulled
        (PullError(message=PULL_DENIED), "FAILED", 3),
    ],
)
def test_an_image_that_cannot_be_pulled(
    aws: LocalAws, queue: CommandQueue, fault: PullError, status: str, attempts: int
) -> None:
    aws.faults.add(fault)
    job = queue.run("true", retryStrategy={"attempts": 3})
    first = job["attempts"][0]
    assert first["statusReason"] == "Task failed to start"
    assert first["container"]["reason"] == fault.message[:255]
    assert {"exitCode", "logStreamName"}.isdisjoint(first["container"])
    assert "startedAt" not in first
    assert (job["status"], len(job["attempts"])) == (status, attempts)


def test_throttled_calls_are_answered_429() -> None:
    """Which botocore tries again by itself; without that, the caller sees TooManyRequestsException.

    A server of its own: who still asks after a job of an earlier test would be throttled, and counted, too.
    """
    with LocalAws() as aws:
        number = aws.faults.add(Throttle(every=2, operations="Describe*"))
        bare = _batch_client(aws, attempts=1)
        for _ in range(2):
            bare.describe_jobs(jobs=["x"])
            with pytest.raises(bare.exceptions.ClientError, match="TooManyRequestsException") as raised:
                bare.describe_jobs(jobs=["x"])
            assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
        retrying = _batch_client(aws, attempts=3)
        answers = [retrying.describe_jobs(jobs=["x"])["ResponseMetadata"]["RetryAttempts"] for _ in range(2)]
        assert answers == [0, 1]
        assert aws.faults.used(number) == 3
        with pytest.raises(bare.exceptions.ClientError, match="JobQueue queue not found"):
            bare.list_jobs(jobQueue="queue")  # is not a Describe, or it had been throttled
        assert aws.faults.used(number) == 3


def _batch_client(aws: LocalAws, *, attempts: int) -> Any:
    return boto3.client(
        "batch",
        endpoint_url=aws.url,
        region_name=aws.settings.region,
        aws_access_key_id=aws.access_key,
        aws_secret_access_key=aws.access_key,
        config=Config(retries={"total_max_attempts": attempts, "mode": "standard"}),
    )


def test_a_late_log_stream_comes_with_all_its_lines(aws: LocalAws, queue: CommandQueue) -> None:
    """Even after the job has ended."""
    aws.faults.add(LateLogs(seconds=0.8))
    job = queue.run("echo", "hello")
    with pytest.raises(queue.logs.exceptions.ResourceNotFoundException):
        queue.lines(job)
    assert queue.lines_once(job, 1) == ["hello"]


def test_a_vanished_job_runs_on_unseen(aws: LocalAws, queue: CommandQueue) -> None:
    job_id = queue.submit("sleep", "0.2", name="ghost")
    number = aws.faults.add(Vanish(jobs="ghost"))
    assert queue.batch.describe_jobs(jobs=[job_id])["jobs"] == []
    filters = [{"name": "JOB_NAME", "values": ["ghost"]}]
    assert queue.batch.list_jobs(jobQueue="queue", filters=filters)["jobSummaryList"] == []
    aws.faults.remove(number)
    assert queue.wait(job_id)["status"] == "SUCCEEDED"


def test_a_stuck_job_says_why_and_holds_up_those_behind_it(aws: LocalAws, queue: CommandQueue) -> None:
    aws.faults.add(Stuck(jobs="stuck", reason="MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS - x"))
    stuck, behind = queue.submit("true", name="stuck"), queue.submit("true", name="behind")
    queue.wait(behind, "RUNNABLE")
    job = queue.wait(stuck, "RUNNABLE")
    assert job["statusReason"] == "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS - x"
    assert "statusReason" not in queue.job(behind)
    aws.faults.clear()
    for job_id in (stuck, behind):
        assert queue.wait(job_id)["statusReason"] == "Essential container in task exited"


def test_a_dry_spot_market_leaves_jobs_runnable(aws: LocalAws, queue: CommandQueue) -> None:
    """Of another queue, on demand, too, unless the fault names the jobs."""
    create_environment(queue.batch, "on-demand", 4)
    order = [{"order": 1, "computeEnvironment": "on-demand"}]
    queue.batch.create_job_queue(jobQueueName="on-demand", priority=1, computeEnvironmentOrder=order)
    aws.faults.add(NoCapacity(jobs="spot-*"))
    waiting = queue.submit("true", name="spot-1")
    assert queue.run("true", name="od-1", jobQueue="on-demand")["status"] == "SUCCEEDED"
    assert queue.wait(waiting, "RUNNABLE")["statusReason"] == NO_INSTANCES


@pytest.mark.parametrize("state", ["SUBMITTED", "RUNNABLE", "STARTING", "RUNNING"])
def test_a_slow_state_lasts(aws: LocalAws, queue: CommandQueue, state: str) -> None:
    """RUNNING lasts beyond the process: the end is seen late."""
    aws.faults.add(Slow(state=state, seconds=0.4))
    began = time.monotonic()
    job_id = queue.submit("true")
    queue.wait(job_id, state)
    queue.wait(job_id)
    assert 0.4 <= time.monotonic() - began < 10


def test_a_starting_job_can_be_terminated(aws: LocalAws, queue: CommandQueue) -> None:
    aws.faults.add(Slow(state="STARTING", seconds=60))
    job_id = queue.submit("true")
    queue.wait(job_id, "STARTING")
    queue.batch.terminate_job(jobId=job_id, reason="no longer wanted")
    job = queue.wait(job_id)
    assert (job["statusReason"], "startedAt" in job) == ("no longer wanted", False)


class _Job:
    def __init__(self, number: int) -> None:
        self.id, self.name = f"id-{number}", f"step-{number}"


def test_one_in_so_many_attempts_so_many_times() -> None:
    """Each attempt is asked about often, and counts once; another job's name does not count."""
    faults = Faults()
    number = faults.add(OutOfMemory(jobs="step-*", every=3, times=2))
    struck = []
    for job in map(_Job, range(12)):
        answers = {bool(faults.on_job(OutOfMemory, job, 1)) for _ in range(3)}
        assert len(answers) == 1, "it changed its mind"
        struck += [job.name] * answers.pop()
    assert struck == ["step-2", "step-5"]
    assert faults.used(number) == 2
    faults = Faults()
    faults.add(OutOfMemory(jobs="id-7"))
    assert [job.name for job in map(_Job, range(9)) if faults.on_job(OutOfMemory, job)] == ["step-7"]


@pytest.mark.parametrize(
    "fault",
    [
        SpotReclaim(jobs="a*", every=10, times=2, after_s=1.5, notice_s=1, instance="i-1"),
        Throttle(every=5, operations="Submit*"),
        Slow(state="RUNNABLE", seconds=3),
        LateLogs(seconds=2),
    ],
)
def test_a_fault_goes_over_the_wire_whole(fault: Fault) -> None:
    assert from_json(to_json(fault)) == fault


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "Meteor"}, "kind must be one of .* got 'Meteor'"),
        ({"kind": "LateLogs"}, "seconds"),
        ({"kind": "Vanish", "job": "x"}, "job"),
        ({"kind": "Slow", "state": "DONE", "seconds": 1}, "not in 'DONE'"),
        ({"kind": "Vanish", "every": 0}, "count from 1"),
    ],
)
def test_what_is_no_fault_is_refused(data: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json(data)


def test_a_server_in_another_process_is_told_over_http(aws: LocalAws, queue: CommandQueue) -> None:
    faults = RemoteFaults(aws.url, aws.access_key)
    number = faults.add(PullError(jobs="x"))
    faults.add(Stuck(jobs="y"))
    assert list(faults.in_force().values()) == [PullError(jobs="x"), Stuck(jobs="y")]
    assert queue.run("true", name="x")["status"] == "FAILED"
    faults.remove(number)
    assert queue.run("true", name="x")["status"] == "SUCCEEDED"
    faults.clear()
    assert aws.faults.in_force() == {}
    with pytest.raises(urllib.error.HTTPError, match="403"):
        RemoteFaults(aws.url, "another key").clear()
