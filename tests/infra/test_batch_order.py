"""Which job is next on the local Batch, and where: dependencies, arrays, places, priorities and shares."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import boto3
import pytest

from tests.builders.queues import FINAL, CommandQueue, create_environment

if TYPE_CHECKING:
    from infra.local.aws import LocalAws


# Dependencies and arrays


def test_a_job_waits_for_those_it_depends_on(queue: CommandQueue) -> None:
    first = queue.submit("sleep", "0.3")
    second = queue.submit("true", dependsOn=[{"jobId": first}])
    queue.wait(second, "PENDING")
    assert queue.wait(second)["createdAt"] <= queue.job(first)["stoppedAt"] <= queue.job(second)["startedAt"]
    failed = queue.submit("false")
    job = queue.run("true", dependsOn=[{"jobId": failed}])
    assert (job["status"], job["statusReason"]) == ("FAILED", "Dependent Job failed")


def test_a_pending_job_is_cancelled_when_its_dependencies_are_over(queue: CommandQueue) -> None:
    """So says the service model, of CancelJob."""
    first = queue.submit("sleep", "0.4")
    second = queue.submit("true", dependsOn=[{"jobId": first}])
    queue.wait(second, "PENDING")
    queue.batch.cancel_job(jobId=second, reason="changed my mind")
    assert queue.status(second) == "PENDING"
    job = queue.wait(second)
    assert (job["statusReason"], queue.status(first)) == ("changed my mind", "SUCCEEDED")


def test_an_array_job_runs_a_child_for_each_index(queue: CommandQueue) -> None:
    """The parent waits in PENDING, counts its children by status, and fails when one of them has."""
    script = "echo $AWS_BATCH_JOB_ARRAY_INDEX of $AWS_BATCH_JOB_ARRAY_SIZE; [ $AWS_BATCH_JOB_ARRAY_INDEX != 1 ]"
    parent = queue.submit("sh", "-c", script, arrayProperties={"size": 3})
    job = queue.wait(parent)
    assert (job["status"], job["statusReason"]) == ("FAILED", "Array Child Job failed")
    counts = job["arrayProperties"]["statusSummary"]
    assert (job["arrayProperties"]["size"], counts["SUCCEEDED"], counts["FAILED"], counts["RUNNING"]) == (3, 2, 1, 0)
    child = queue.job(f"{parent}:2")
    assert (child["arrayProperties"]["index"], queue.lines(child)) == (2, ["2 of 3"])
    listed = queue.batch.list_jobs(arrayJobId=parent, jobStatus="SUCCEEDED")["jobSummaryList"]
    assert {summary["jobId"] for summary in listed} == {f"{parent}:0", f"{parent}:2"}


def test_array_children_follow_each_other_or_their_like(queue: CommandQueue) -> None:
    """SEQUENTIAL: index by index. N_TO_N: each after the child of the same index."""
    one = queue.submit("sleep", "0.1", arrayProperties={"size": 2}, dependsOn=[{"type": "SEQUENTIAL"}])
    two = queue.submit("true", arrayProperties={"size": 2}, dependsOn=[{"jobId": one, "type": "N_TO_N"}])
    assert queue.wait(two)["status"] == "SUCCEEDED"
    first, second = (queue.job(f"{one}:{index}") for index in (0, 1))
    assert first["stoppedAt"] <= second["startedAt"]
    assert queue.job(f"{two}:0")["startedAt"] >= first["stoppedAt"]
    assert queue.job(f"{two}:1")["startedAt"] >= second["stoppedAt"]


def test_terminating_an_array_job_ends_its_children(queue: CommandQueue) -> None:
    parent = queue.submit("sleep", "60", arrayProperties={"size": 6})
    queue.wait(f"{parent}:0", "RUNNING")
    queue.batch.terminate_job(jobId=parent, reason="all")
    assert queue.wait(parent)["arrayProperties"]["statusSummary"]["FAILED"] == 6


# Places


def test_no_more_vcpus_are_in_use_than_the_environment_has(queue: CommandQueue) -> None:
    """4 jobs of 2 on 4. The queue is strict: behind one that does not fit, a small one waits."""
    ids = [queue.submit("sleep", "0.2", vcpus=2) for _ in range(4)]
    most = 0
    while not set(states := [job["status"] for job in queue.batch.describe_jobs(jobs=ids)["jobs"]]) <= set(FINAL):
        most = max(most, states.count("STARTING") + states.count("RUNNING"))
    assert most == 2
    half, whole, small = queue.submit("sleep", "0.5", vcpus=2), queue.submit("true", vcpus=4), queue.submit("true")
    queue.wait(small)
    assert queue.job(half)["stoppedAt"] <= queue.job(whole)["startedAt"] <= queue.job(small)["startedAt"]


def test_a_gpu_is_one_jobs_alone(queue: CommandQueue) -> None:
    """Jobs of two on four: disjoint devices, given back for the third; a job that asks for none sees none."""
    ids = [queue.submit("sh", "-c", "echo $CUDA_VISIBLE_DEVICES; sleep 0.4", gpus=2) for _ in range(3)]
    seen = [queue.lines(queue.wait(job_id))[0].split(",") for job_id in ids]
    assert sorted(seen[0] + seen[1]) == ["0", "1", "2", "3"]
    assert seen[2] in seen[:2]
    assert queue.job(ids[2])["startedAt"] >= min(queue.job(job_id)["stoppedAt"] for job_id in ids[:2])
    assert queue.lines(queue.shell("echo [$CUDA_VISIBLE_DEVICES]")) == ["[]"]


def test_a_second_environment_is_used_when_the_first_is_full(aws: LocalAws) -> None:
    """Spot first, then on demand: the order of the queue."""
    create_environment(boto3.client("batch"), "on-demand", 1)
    order = [{"order": 2, "computeEnvironment": "on-demand"}, {"order": 1, "computeEnvironment": "queue"}]
    queue = CommandQueue(vcpus=1, queue={"computeEnvironmentOrder": order})
    ids = [queue.submit("sh", "-c", "echo $AWS_BATCH_CE_NAME; sleep 0.3") for _ in range(2)]
    assert [queue.lines(queue.wait(job_id)) for job_id in ids] == [["queue"], ["on-demand"]]


def test_a_queue_of_higher_priority_is_served_first(queue: CommandQueue) -> None:
    order = [{"order": 1, "computeEnvironment": "queue"}]
    queue.batch.create_job_queue(jobQueueName="urgent", priority=10, computeEnvironmentOrder=order)
    blocker = queue.submit("sleep", "0.5", vcpus=4)
    queue.wait(blocker, "STARTING", "RUNNING")
    late, urgent = queue.submit("true", vcpus=4), queue.submit("true", vcpus=4, jobQueue="urgent")
    assert queue.wait(late)["startedAt"] >= queue.wait(urgent)["stoppedAt"]


def test_priority_counts_within_a_share(aws: LocalAws) -> None:
    """New uploads before backfills: the higher schedulingPriorityOverride starts first."""
    policy = boto3.client("batch").create_scheduling_policy(name="fair", fairsharePolicy={})["arn"]
    queue = CommandQueue(queue={"schedulingPolicyArn": policy})
    blocker = queue.submit("sleep", "0.5", vcpus=4, shareIdentifier="a")
    queue.wait(blocker, "STARTING", "RUNNING")
    backfill = queue.submit("true", vcpus=4, shareIdentifier="b", schedulingPriorityOverride=1)
    upload = queue.submit("true", vcpus=4, shareIdentifier="b", schedulingPriorityOverride=9)
    front = queue.batch.get_job_queue_snapshot(jobQueue="queue")
    assert [place["jobArn"].split("/")[1] for place in front["frontOfQueue"]["jobs"]] == [upload, backfill]
    assert front["queueUtilization"]["totalCapacityUsage"] == [{"capacityUnit": "VCPU", "quantity": 4.0}]
    assert queue.wait(backfill)["startedAt"] >= queue.wait(upload)["stoppedAt"]
    assert queue.job(upload)["schedulingPriority"] == 9


def test_the_share_that_uses_less_is_next(aws: LocalAws) -> None:
    policy = boto3.client("batch").create_scheduling_policy(name="fair", fairsharePolicy={})["arn"]
    queue = CommandQueue(queue={"schedulingPolicyArn": policy})
    busy = [
        queue.submit("sleep", "0.6", vcpus=2, shareIdentifier="a"),
        queue.submit("sleep", "0.3", vcpus=2, shareIdentifier="b"),
    ]
    again = queue.submit("sleep", "0.1", vcpus=2, shareIdentifier="a")
    other = queue.submit("sleep", "0.1", vcpus=2, shareIdentifier="c")
    for job_id in [*busy, again, other]:
        queue.wait(job_id)
    assert queue.job(other)["startedAt"] <= queue.job(again)["startedAt"], "a was still running another"


@pytest.mark.parametrize(
    ("needs", "code"),
    [
        ({"vcpus": 5}, "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"),
        ({"gpus": 5}, "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"),
    ],
)
def test_a_job_that_can_never_be_placed_says_why(aws: LocalAws, needs: dict[str, int], code: str) -> None:
    """It is RUNNABLE for ever, unless the queue has a limit to that."""
    limit = {"reason": code, "state": "RUNNABLE", "maxTimeSeconds": 1, "action": "CANCEL"}
    queue = CommandQueue(queue={"jobStateTimeLimitActions": [limit]})
    job_id = queue.submit("true", **needs)  # type: ignore[arg-type]
    assert queue.why_it_waits(job_id).startswith(f"{code} - ")
    assert queue.wait(job_id)["statusReason"] == f"Canceled by JobStateTimeLimit action due to reason: {code}"


def test_a_disabled_environment_gives_no_places(queue: CommandQueue) -> None:
    queue.batch.update_compute_environment(computeEnvironment="queue", state="DISABLED")
    job_id = queue.submit("true")
    time.sleep(0.2)
    assert queue.status(job_id) == "RUNNABLE"
    queue.batch.update_compute_environment(computeEnvironment="queue", state="ENABLED")
    assert queue.wait(job_id)["status"] == "SUCCEEDED"
