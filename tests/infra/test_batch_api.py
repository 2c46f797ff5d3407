"""What the local Batch says of its jobs, definitions, queues and environments, and what it lets change."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.builders.queues import CommandQueue, definition

if TYPE_CHECKING:
    from infra.local.aws import LocalAws


# Finding jobs


def test_describe_jobs_leaves_out_what_it_does_not_know(queue: CommandQueue) -> None:
    job_id = queue.submit("true")
    arn = queue.job(job_id)["jobArn"]
    found = queue.batch.describe_jobs(jobs=["unknown", arn, job_id])["jobs"]
    assert {job["jobId"] for job in found} == {job_id}
    with pytest.raises(queue.batch.exceptions.ClientException, match="Maximum number of jobs supported is  100"):
        queue.batch.describe_jobs(jobs=[f"id-{i}" for i in range(101)])


def test_jobs_are_listed_by_status_or_by_filter(queue: CommandQueue) -> None:
    """RUNNING ones, if nothing is said; newest first; a name matches any status and any case."""
    done = [queue.run("true", name=name)["jobId"] for name in ("Step-1", "step-1-a2", "other")]
    moment = queue.job(done[2])["createdAt"]
    running = queue.submit("sleep", "60", name="step-1")
    queue.wait(running, "RUNNING")

    def listed(**request: Any) -> list[str]:
        return [job["jobId"] for job in queue.batch.list_jobs(jobQueue="queue", **request)["jobSummaryList"]]

    def by(name: str, value: str) -> dict[str, Any]:
        return {"filters": [{"name": name, "values": [value]}]}

    assert listed() == [running]
    assert listed(jobStatus="SUCCEEDED") == done[::-1]
    assert set(listed(**by("JOB_NAME", "step-1"))) == {running, done[0]}
    assert set(listed(**by("JOB_NAME", "STEP-1*"))) == {running, done[0], done[1]}
    assert set(listed(**by("JOB_NAME", "step-1*"), jobStatus="FAILED")) == {running, done[0], done[1]}, "status ignored"
    assert listed(**by("JOB_DEFINITION", "que*")) == [running, *done[::-1]]
    assert listed(**by("JOB_DEFINITION", "Queue")) == []
    assert listed(**by("AFTER_CREATED_AT", str(moment))) == [running]
    assert done[0] in listed(**by("BEFORE_CREATED_AT", str(moment)))
    assert running not in listed(**by("BEFORE_CREATED_AT", str(moment)))
    pages = queue.batch.get_paginator("list_jobs").paginate(
        jobQueue="queue", jobStatus="SUCCEEDED", PaginationConfig={"PageSize": 2}
    )
    assert [len(page["jobSummaryList"]) for page in pages] == [2, 1]


def test_the_snapshot_shows_who_is_next(queue: CommandQueue) -> None:
    queue.wait(queue.submit("sleep", "60", vcpus=4), "RUNNING")
    ids = [queue.submit("true", vcpus=4) for _ in range(3)]
    for job_id in ids:
        queue.wait(job_id, "RUNNABLE")
    front = queue.batch.get_job_queue_snapshot(jobQueue="queue")["frontOfQueue"]["jobs"]
    assert [place["jobArn"].split("/")[1] for place in front] == ids
    queue.batch.terminate_job(jobId=ids[0], reason="x")
    queue.wait(ids[0])
    deadline = time.monotonic() + 5
    while len(front := queue.batch.get_job_queue_snapshot(jobQueue="queue")["frontOfQueue"]["jobs"]) != 2:
        assert time.monotonic() < deadline
    assert front[0]["jobArn"].endswith(ids[1])


# Definitions, queues, tags


def test_a_definition_without_a_revision_is_the_latest_active_one(queue: CommandQueue) -> None:
    second = queue.batch.register_job_definition(**definition("queue", containerProperties={"command": ["false"]}))
    assert second["revision"] == 2
    assert queue.run()["status"] == "FAILED"
    assert queue.run(jobDefinition="queue:1")["status"] == "SUCCEEDED"
    queue.batch.deregister_job_definition(jobDefinition=second["jobDefinitionArn"])
    assert queue.run()["status"] == "SUCCEEDED"
    shown = queue.batch.describe_job_definitions(jobDefinitionName="queue")["jobDefinitions"]
    assert [(d["revision"], d["status"]) for d in shown] == [(2, "INACTIVE"), (1, "ACTIVE")]
    with pytest.raises(queue.batch.exceptions.ClientException, match="does not exist or is not in ACTIVE status"):
        queue.submit(jobDefinition="queue:2")


def test_a_disabled_queue_takes_no_jobs_and_finishes_those_it_has(queue: CommandQueue) -> None:
    queue.wait(queue.submit("sleep", "0.3", vcpus=4), "STARTING", "RUNNING")
    job_id = queue.submit("true")
    queue.batch.update_job_queue(jobQueue="queue", state="DISABLED")
    with pytest.raises(queue.batch.exceptions.ClientException, match="not ENABLED"):
        queue.submit("true")
    assert queue.wait(job_id)["status"] == "SUCCEEDED"
    assert queue.batch.describe_job_queues(jobQueues=["queue"])["jobQueues"][0]["state"] == "DISABLED"


def test_queues_and_environments_are_deleted_in_that_order(queue: CommandQueue) -> None:
    with pytest.raises(queue.batch.exceptions.ClientException, match="ENABLED"):
        queue.batch.delete_job_queue(jobQueue="queue")
    queue.batch.update_compute_environment(computeEnvironment="queue", state="DISABLED")
    with pytest.raises(queue.batch.exceptions.ClientException, match="JobQueue relationship"):
        queue.batch.delete_compute_environment(computeEnvironment="queue")
    queue.batch.update_job_queue(jobQueue="queue", state="DISABLED")
    queue.batch.delete_job_queue(jobQueue="queue")
    queue.batch.delete_compute_environment(computeEnvironment="queue")
    assert queue.batch.describe_job_queues()["jobQueues"] == []
    assert queue.batch.describe_compute_environments()["computeEnvironments"] == []


def test_tags_can_be_read_and_changed(queue: CommandQueue) -> None:
    job_id = queue.submit("true", tags={"run": "r1", "old": "x"}, propagateTags=True)
    job = queue.wait(job_id)
    assert (job["tags"], job["propagateTags"]) == ({"run": "r1", "old": "x"}, True)
    queue.batch.tag_resource(resourceArn=job["jobArn"], tags={"run": "r2"})
    queue.batch.untag_resource(resourceArn=job["jobArn"], tagKeys=["old"])
    assert queue.batch.list_tags_for_resource(resourceArn=job["jobArn"])["tags"] == {"run": "r2"}


def test_what_ecs_refuses_fails_the_job_only_when_it_starts(aws: LocalAws) -> None:
    """Overrides over 8,192 bytes, and more than 50 tags to propagate: SubmitJob takes them."""
    queue = CommandQueue(definition={"tags": {f"d{i}": "" for i in range(30)}})
    job = queue.run("true", "x" * 8192)
    assert (job["status"], job["statusReason"]) == ("FAILED", "Container Overrides length must be at most 8192")
    assert job["attempts"] == []
    tags = {f"j{i}": "" for i in range(21)}
    assert queue.run("true", tags=tags)["status"] == "SUCCEEDED", "not propagated"
    job = queue.run("true", tags=tags, propagateTags=True)
    assert (job["status"], "tags" in job["statusReason"]) == ("FAILED", True)


def test_a_share_is_asked_for_where_there_is_a_policy(aws: LocalAws) -> None:
    policy = boto3.client("batch").create_scheduling_policy(name="fair")["arn"]
    queue = CommandQueue(queue={"schedulingPolicyArn": policy})
    with pytest.raises(queue.batch.exceptions.ClientException, match="shareIdentifier must be specified"):
        queue.submit("true")


def test_a_policy_is_deleted_once_no_queue_has_it(aws: LocalAws) -> None:
    batch = boto3.client("batch")
    policy = batch.create_scheduling_policy(name="fair")["arn"]
    queue = CommandQueue(queue={"schedulingPolicyArn": policy})
    with pytest.raises(batch.exceptions.ClientException, match="found existing JobQueue relationship"):
        batch.delete_scheduling_policy(arn=policy)
    batch.update_job_queue(jobQueue="queue", state="DISABLED")
    queue.batch.delete_job_queue(jobQueue="queue")
    batch.delete_scheduling_policy(arn=policy)
    assert batch.describe_scheduling_policies(arns=[policy])["schedulingPolicies"] == []
