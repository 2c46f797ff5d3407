"""The life of a job on the local Batch, seen through plain boto3. Each answer is checked against the service model."""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import TYPE_CHECKING

import boto3
import pytest

from infra.local.batch.retries import is_retried
from tests.builders.queues import CommandQueue

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
    """Nothing of whoever submits it, or runs the server, comes through; nor does its folder, /tmp to it, outlive it."""
    monkeypatch.setenv("SECRET_OF_THE_HOST", "1")
    job = queue.shell("env; echo folder=$(pwd)", environment={"MINE": "a b"}, gpus=1)
    found = dict(line.split("=", 1) for line in queue.lines(job))
    shell = {"PWD", "OLDPWD", "SHLVL", "_"}
    assert set(found) - shell == {
        *("PATH", "HOME", "LANG", "NO_PROXY", "PYTHONUNBUFFERED", "CUDA_VISIBLE_DEVICES", "MINE", "folder", "TMPDIR"),
        *("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_REGION"),
        *("AWS_EC2_METADATA_DISABLED", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"),
        *("AWS_BATCH_JOB_ID", "AWS_BATCH_JOB_ATTEMPT", "AWS_BATCH_JQ_NAME", "AWS_BATCH_CE_NAME"),
    }
    assert (found["MINE"], found["AWS_BATCH_JOB_ID"], found["AWS_BATCH_JOB_ATTEMPT"]) == ("a b", job["jobId"], "1")
    assert (found["AWS_BATCH_JQ_NAME"], found["AWS_BATCH_CE_NAME"]) == ("queue", "queue")
    assert found["CUDA_VISIBLE_DEVICES"] == "0"
    assert found["TMPDIR"] == found["folder"]
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


def _lives(pid: int) -> bool:
    """A process that has ended, and that nobody has waited for, is over too."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(shown.stdout.strip()) and not shown.stdout.startswith("Z")
