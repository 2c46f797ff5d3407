"""The life of a job on the local Batch, seen through plain boto3. Each answer is checked against the service model."""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from infra.local.batch.retries import is_retried
from tests.builders.queues import FINAL, CommandQueue, create_environment, definition

if TYPE_CHECKING:
    from infra.local.aws import LocalAws

EXITED = "Essential container in task exited"
KILLED = "OutOfMemoryError: Container killed due to memory usage"


def test_a_job_runs_its_command_and_says_when(queue: CommandQueue) -> None:
    """Times are milliseconds in their order; stdout and stderr are in one log stream, a line an event."""
    before = int(time.time() * 1000)
    job = queue.shell("echo out; echo err >&2; printf 'no newline'")
    assert (job["status"], job["container"]["exitCode"], job["statusReason"]) == ("SUCCEEDED", 0, EXITED)
    assert before <= job["createdAt"] <= job["startedAt"] <= job["stoppedAt"] <= int(time.time() * 1000)
    assert re.fullmatch(r"queue/default/[0-9a-f]{32}", job["container"]["logStreamName"])
    assert queue.lines(job) == ["out", "err", "no newline"]
    (attempt,) = job["attempts"]
    assert attempt["container"]["logStreamName"] == job["container"]["logStreamName"]
    assert (attempt["startedAt"], attempt["container"]["exitCode"]) == (job["startedAt"], 0)
    assert job["jobQueue"] == "arn:aws:batch:ap-northeast-2:123456789012:job-queue/queue"
    assert job["jobDefinition"] == "arn:aws:batch:ap-northeast-2:123456789012:job-definition/queue:1"


@pytest.mark.parametrize(
    ("command", "exit_code", "reason", "status_reason"),
    [
        (["sh", "-c", "exit 3"], 3, None, EXITED),
        # What the kernel kills when memory is short
        (["sh", "-c", "kill -KILL $$"], 137, KILLED, EXITED),
        # The same code from a shell whose child was killed: Batch knows of no reason
        (["sh", "-c", "exit 137"], 137, None, EXITED),
        (["sh", "-c", "kill -TERM $$"], 143, None, EXITED),
        (["sh", "-c", "kill -SEGV $$"], 139, None, EXITED),
        (["/no/such/program"], None, "CannotStartContainerError: ", "Task failed to start"),
        (["/etc/passwd"], None, "CannotStartContainerError: ", "Task failed to start"),
    ],
)
def test_how_a_job_fails(
    queue: CommandQueue, command: list[str], exit_code: int | None, reason: str | None, status_reason: str
) -> None:
    job = queue.run(*command)
    container = job["attempts"][-1]["container"]
    assert (job["status"], job["statusReason"]) == ("FAILED", status_reason)
    assert (container.get("exitCode"), job["container"].get("exitCode")) == (exit_code, exit_code)
    assert container.get("reason", "").startswith(reason) if reason else "reason" not in container
    assert ("logStreamName" in container) == (exit_code is not None), "a stream belongs to a container that ran"


def test_a_job_has_the_environment_of_a_container(queue: CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of whoever submits it, or runs the server, comes through; nor does its folder outlive it."""
    monkeypatch.setenv("SECRET_OF_THE_HOST", "1")
    job = queue.shell("env; echo folder=$(pwd)", environment={"MINE": "a b"}, gpus=1)
    found = dict(line.split("=", 1) for line in queue.lines(job))
    shell = {"PWD", "OLDPWD", "SHLVL", "_"}
    assert set(found) - shell == {
        *("PATH", "HOME", "LANG", "NO_PROXY", "PYTHONUNBUFFERED", "CUDA_VISIBLE_DEVICES", "MINE", "folder"),
        *("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_REGION"),
        *("AWS_EC2_METADATA_DISABLED", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"),
        *("AWS_BATCH_JOB_ID", "AWS_BATCH_JOB_ATTEMPT", "AWS_BATCH_JQ_NAME", "AWS_BATCH_CE_NAME"),
    }
    assert (found["MINE"], found["AWS_BATCH_JOB_ID"], found["AWS_BATCH_JOB_ATTEMPT"]) == ("a b", job["jobId"], "1")
    assert (found["AWS_BATCH_JQ_NAME"], found["AWS_BATCH_CE_NAME"]) == ("queue", "queue")
    assert found["CUDA_VISIBLE_DEVICES"] == "0"
    assert not os.path.exists(found["folder"])  # noqa: PTH110


def test_a_job_reaches_the_same_aws(queue: CommandQueue) -> None:
    """boto3 in the job needs no more than its environment, and `python` is ours."""
    boto3.client("sqs").create_queue(QueueName="inbox")
    job = queue.run("python", "-c", "import boto3; print(boto3.client('sqs').list_queues()['QueueUrls'])")
    assert job["status"] == "SUCCEEDED", queue.lines(job)
    assert queue.lines(job)[0].endswith("/inbox']")


def test_a_submission_overrides_its_definition(aws: LocalAws) -> None:
    """Command, environment and resources; Ref::name words are parameters, the submission's before the definition's."""
    environment = [{"name": "KEPT", "value": "1"}, {"name": "CHANGED", "value": "1"}]
    container = {"command": ["echo", "Ref::greeting", "Ref::whom", "Ref::unknown"], "environment": environment}
    queue = CommandQueue(definition={"parameters": {"greeting": "hi", "whom": "x"}, "containerProperties": container})
    job = queue.run(parameters={"whom": "there"})
    assert queue.lines(job) == ["hi there Ref::unknown"]
    assert job["parameters"] == {"greeting": "hi", "whom": "there"}
    job = queue.shell("echo $KEPT $CHANGED $NEW", environment={"CHANGED": "2", "NEW": "3"}, vcpus=2)
    assert queue.lines(job) == ["1 2 3"]
    assert {"type": "VCPU", "value": "2"} in job["container"]["resourceRequirements"]
    assert {"type": "MEMORY", "value": "512"} in job["container"]["resourceRequirements"]


def test_secrets_come_from_secrets_manager_and_ssm(aws: LocalAws) -> None:
    """A whole secret, one key of a JSON secret, and a parameter; a secret that is not there fails the start."""
    manager = boto3.client("secretsmanager")
    dsn = manager.create_secret(Name="dsn", SecretString="postgresql://x")["ARN"]
    keys = manager.create_secret(Name="keys", SecretString='{"api": "k1"}')["ARN"]
    boto3.client("ssm").put_parameter(Name="/sentinel/token", Value="t1", Type="SecureString")
    secrets = {"DSN": dsn, "KEY": f"{keys}:api::", "TOKEN": "/sentinel/token"}
    container = {"secrets": [{"name": name, "valueFrom": source} for name, source in secrets.items()]}
    queue = CommandQueue(definition={"containerProperties": container})
    assert queue.lines(queue.shell("echo $DSN $KEY $TOKEN")) == ["postgresql://x k1 t1"]
    manager.delete_secret(SecretId="dsn", ForceDeleteWithoutRecovery=True)
    job = queue.run("true")
    assert (job["status"], job["statusReason"]) == ("FAILED", "Task failed to start")
    assert job["container"]["reason"].startswith("ResourceInitializationError: unable to pull secrets")


# Attempts


def test_each_attempt_has_its_number_and_its_stream(queue: CommandQueue) -> None:
    script = "echo try $AWS_BATCH_JOB_ATTEMPT; [ $AWS_BATCH_JOB_ATTEMPT = 3 ]"
    job = queue.shell(script, retryStrategy={"attempts": 5})
    assert job["status"] == "SUCCEEDED"
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [1, 1, 0]
    assert [queue.lines(attempt) for attempt in job["attempts"]] == [["try 1"], ["try 2"], ["try 3"]]


_SPOT_ONLY = [{"onStatusReason": "Host EC2*", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}]


@pytest.mark.parametrize(
    ("rules", "exit_code", "reason", "status_reason", "retried"),
    [
        ([], 1, "", EXITED, True),
        # The pattern that AWS recommends for spot
        (_SPOT_ONLY, None, "", "Host EC2 (instance i-1) terminated.", True),
        (_SPOT_ONLY, 1, "", EXITED, False),
        # No rule matches: retried
        ([{"onExitCode": "3", "action": "EXIT"}], 1, "", EXITED, True),
        ([{"onExitCode": "3", "action": "EXIT"}], 3, "", EXITED, False),
        # A code matches as a whole, unless the pattern ends with an asterisk
        ([{"onExitCode": "1", "action": "EXIT"}], 137, "", EXITED, True),
        ([{"onExitCode": "1*", "action": "EXIT"}], 137, "", EXITED, False),
        # All patterns of a rule must match; case does not count, neither in text nor in action
        ([{"onExitCode": "1", "onReason": "cannotpull*", "action": "EXIT"}], 1, "", EXITED, True),
        ([{"onReason": "cannotPULL*", "action": "exit"}], None, "CannotPullContainerError: x", "", False),
        # The first that matches decides
        ([{"onExitCode": "*", "action": "RETRY"}, {"onExitCode": "3", "action": "EXIT"}], 3, "", EXITED, True),
    ],
)
def test_the_first_rule_that_matches_decides(
    rules: list[dict[str, str]], exit_code: int | None, reason: str, status_reason: str, retried: bool
) -> None:
    strategy = {"attempts": 2, "evaluateOnExit": rules}
    assert is_retried(strategy, 1, exit_code, reason, status_reason) is retried
    assert not is_retried(strategy, 2, exit_code, reason, status_reason), "no attempt is left"


def test_a_rule_to_exit_ends_the_job(queue: CommandQueue) -> None:
    """The submission's strategy takes the place of the definition's."""
    rules = [{"onExitCode": "3", "action": "EXIT"}]
    job = queue.shell("exit 3", retryStrategy={"attempts": 4, "evaluateOnExit": rules})
    assert (job["status"], len(job["attempts"])) == ("FAILED", 1)


def test_a_job_out_of_time_is_ended_and_not_retried(queue: CommandQueue) -> None:
    job = queue.shell("sleep 60", timeout={"attemptDurationSeconds": 1}, retryStrategy={"attempts": 3})
    assert (job["status"], job["statusReason"]) == ("FAILED", "Job attempt duration exceeded timeout")
    assert (len(job["attempts"]), job["container"]["exitCode"]) == (1, 143)
    assert 1000 <= job["stoppedAt"] - job["startedAt"] < 20_000


# Stopping


def test_a_terminated_job_may_end_in_its_own_way(queue: CommandQueue) -> None:
    """SIGTERM goes to its first process; it is FAILED whatever it exits with, and is not retried."""
    script = "trap 'echo saved; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    job_id = queue.submit("sh", "-c", script, retryStrategy={"attempts": 3})
    queue.lines_seen(job_id, 1)
    queue.batch.terminate_job(jobId=job_id, reason="the run was canceled")
    job = queue.wait(job_id)
    assert (job["status"], job["statusReason"], job["isTerminated"]) == ("FAILED", "the run was canceled", True)
    assert (job["container"]["exitCode"], len(job["attempts"])) == (0, 1)
    assert queue.lines(job) == ["ready", "saved"]


def test_a_stubborn_job_is_killed_after_the_grace_with_all_it_started(queue: CommandQueue) -> None:
    script = "trap '' TERM; sleep 600 & echo $!; while :; do sleep 600; done"
    job_id = queue.submit("sh", "-c", script)
    (child,) = queue.lines_seen(job_id, 1)
    began = time.monotonic()
    queue.batch.terminate_job(jobId=job_id, reason="enough")
    job = queue.wait(job_id)
    assert time.monotonic() - began >= 1.0, "the grace that the test server gives"
    assert (job["container"]["exitCode"], "reason" in job["container"]) == (137, False)
    assert not _lives(int(child))


def test_what_a_job_leaves_running_ends_with_it(queue: CommandQueue) -> None:
    (child,) = queue.lines(queue.shell("sleep 600 & echo $!"))
    assert not _lives(int(child))


def test_cancelling_leaves_alone_what_has_started(queue: CommandQueue) -> None:
    """And unknown jobs are passed over; both calls succeed."""
    running = queue.submit("sleep", "0.5", vcpus=4)
    waiting = queue.submit("true")
    queue.wait(running, "RUNNING")
    for job_id in (running, waiting, "00000000-0000-0000-0000-000000000000"):
        queue.batch.cancel_job(jobId=job_id, reason="not needed")
        queue.batch.terminate_job(jobId="00000000-0000-0000-0000-000000000000", reason="not needed")
    job = queue.wait(waiting)
    assert (job["status"], job["statusReason"], job["attempts"]) == ("FAILED", "not needed", [])
    assert job["isCancelled"]
    assert queue.wait(running)["status"] == "SUCCEEDED"


def test_many_jobs_are_terminated_in_one_call(queue: CommandQueue) -> None:
    ids = [queue.submit("sleep", "60") for _ in range(6)]
    answer = queue.batch.terminate_jobs(jobs=[*ids, "unknown"], reason="all of them")
    assert (answer["successful"], answer["errors"]) == ([*ids, "unknown"], [])
    assert {queue.wait(job_id)["statusReason"] for job_id in ids} == {"all of them"}


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


# Logs


def test_lines_can_be_read_while_the_job_runs(queue: CommandQueue) -> None:
    job_id = queue.submit("sh", "-c", "echo one; sleep 60")
    assert queue.lines_seen(job_id, 1) == ["one"]
    assert queue.status(job_id) == "RUNNING"


def test_all_lines_are_there_in_order_when_the_job_has_ended(queue: CommandQueue) -> None:
    """Of an output larger than a pipe, with lines longer than a log event can be, and blank ones (left out)."""
    script = "print('x' * 300_000); print(); [print('line', i) for i in range(3000)]"
    job = queue.run("python", "-c", script)
    stream, lines, token = job["container"]["logStreamName"], [], {}
    while True:
        page = queue.logs.get_log_events(
            logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True, **token
        )
        if token.get("nextToken") == page["nextForwardToken"]:
            break
        lines += [event["message"] for event in page["events"]]
        token = {"nextToken": page["nextForwardToken"]}
    assert [len(line) for line in lines[:2]] == [256 * 1024 - 26, 300_000 - (256 * 1024 - 26)]
    assert lines[2:] == [f"line {i}" for i in range(3000)]


def test_a_silent_job_has_a_stream_too(aws: LocalAws) -> None:
    """In the group, and with the prefix, of the definition's log configuration."""
    options = {"awslogs-group": "/sentinel/steps", "awslogs-stream-prefix": "gpu"}
    container = {"logConfiguration": {"logDriver": "awslogs", "options": options}}
    queue = CommandQueue(definition={"containerProperties": container})
    job = queue.run("true")
    assert job["container"]["logStreamName"].startswith("gpu/default/")
    (stream,) = queue.logs.describe_log_streams(logGroupName="/sentinel/steps")["logStreams"]
    assert stream["logStreamName"] == job["container"]["logStreamName"]


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


def _lives(pid: int) -> bool:
    """A process that has ended, and that nobody has waited for, is over too."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(shown.stdout.strip()) and not shown.stdout.startswith("Z")
