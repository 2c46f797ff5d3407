"""What AWS Batch refuses, the local one refuses: a launcher's own guard can be tested against it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from infra.local.batch.limits import Refused, check_timeout
from infra.local.batch.settings import BatchSettings
from tests.builders.queues import CommandQueue, definition

if TYPE_CHECKING:
    from infra.local.aws import LocalAws


@pytest.fixture(scope="module")
def idle(aws_server: LocalAws, aws_session: Any) -> Iterator[CommandQueue]:
    """A queue that takes jobs and starts none, for all tests of this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", aws_server.url)
        patch.setattr(boto3, "DEFAULT_SESSION", aws_session)
        queue = CommandQueue()
        queue.batch.update_compute_environment(computeEnvironment="queue", state="DISABLED")
        yield queue
    aws_server.reset()


def _many(number: int) -> dict[str, str]:
    return {f"k{i}": "v" for i in range(number)}


_RETRY = {"onReason": "x", "action": "RETRY"}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"jobName": "videos/1"}, "Job name should match valid pattern"),
        ({"jobName": "-x"}, "Job name should match valid pattern"),
        ({"jobName": "x" * 129}, "Job name should match valid pattern"),
        ({"jobName": "비디오"}, "Job name should match valid pattern"),
        ({"jobQueue": "nowhere"}, "JobQueue nowhere not found"),
        ({"jobDefinition": "nothing"}, "JobDefinition name nothing does not exist or is not in ACTIVE status"),
        ({"parameters": {"x": "y" * 31 * 1024}}, "Job size must be less than 30 KiB, got 32 KiB"),
        ({"timeout": {"attemptDurationSeconds": 0}}, "attemptDurationSeconds must be at least"),
        ({"retryStrategy": {"attempts": 11}}, "attempts must be between 1 and 10"),
        ({"retryStrategy": {"evaluateOnExit": [_RETRY]}}, "evaluateOnExit needs attempts"),
        ({"retryStrategy": {"attempts": 2, "evaluateOnExit": [_RETRY] * 6}}, "at most 5 rules"),
        ({"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "RETRY"}]}}, "needs onStatusReason"),
        ({"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"onReason": "*x", "action": "EXIT"}]}}, "valid pattern"),
        (
            {"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"onExitCode": "1-3", "action": "EXIT"}]}},
            "valid pattern",
        ),
        ({"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"onReason": "x", "action": "STOP"}]}}, "RETRY or EXIT"),
        ({"arrayProperties": {"size": 1}}, "Array size must be between 2 and 10000"),
        ({"arrayProperties": {"size": 10_001}}, "Array size must be between 2 and 10000"),
        ({"dependsOn": [{"jobId": f"j{i}"} for i in range(21)]}, "at most 20 jobs"),
        ({"dependsOn": [{"jobId": "j1"}]}, "Dependent job"),
        ({"dependsOn": [{"type": "SEQUENTIAL"}]}, "for array jobs"),
        ({"shareIdentifier": "a"}, "shareIdentifier must not be specified"),
        ({"schedulingPriorityOverride": 10_000}, "schedulingPriorityOverride must be between 0 and 9999"),
        ({"tags": _many(51)}, "at most 50"),
        ({"tags": {"k": "v" * 257}}, "at most 256 characters"),
        ({"tags": {"aws:x": "v"}}, "must not begin with aws:"),
        (
            {"containerOverrides": {"environment": [{"name": "AWS_BATCH_X", "value": "1"}]}},
            "must not start with AWS_BATCH",
        ),
        ({"containerOverrides": {"resourceRequirements": [{"type": "GPU", "value": "0.5"}]}}, "invalid value of GPU"),
        ({"containerOverrides": {"resourceRequirements": [{"type": "VCPU", "value": "two"}]}}, "not a number"),
    ],
)
def test_a_submission_out_of_bounds_is_refused(idle: CommandQueue, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(idle.batch.exceptions.ClientException, match=message) as raised:
        idle.submit(**request_)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize(
    "request_",
    [
        {"jobName": "x" * 128},
        {"parameters": {"x": "y" * 29 * 1024}},
        {"retryStrategy": {"attempts": 10, "evaluateOnExit": [{"onStatusReason": "Host EC2*", "action": "retry"}] * 5}},
        {"tags": {"k" * 128: "v" * 256, **_many(49)}},
        {"arrayProperties": {"size": 2}, "dependsOn": [{"type": "SEQUENTIAL"}]},
        {"containerOverrides": {"command": ["x" * 7000]}},
    ],
)
def test_a_submission_at_the_bound_is_taken(idle: CommandQueue, request_: dict[str, Any]) -> None:
    assert idle.status(idle.submit(**request_)) != "FAILED"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"jobDefinitionName": "a b"}, "Job definition name should match valid pattern"),
        ({"parameters": {"x": "y" * 25 * 1024}}, "Job definition size must be at most 24 KiB"),
        ({"containerProperties": {"resourceRequirements": []}}, "Container resource requirement VCPU must be provided"),
        ({"containerProperties": {"image": ""}}, "Container image must be provided"),
        ({"type": "multinode"}, "Only job definitions of type container"),
        ({"tags": _many(51)}, "at most 50"),
        ({"timeout": {"attemptDurationSeconds": -1}}, "attemptDurationSeconds must be at least"),
    ],
)
def test_a_definition_out_of_bounds_is_refused(idle: CommandQueue, more: dict[str, Any], message: str) -> None:
    with pytest.raises(idle.batch.exceptions.ClientException, match=message):
        idle.batch.register_job_definition(**definition("d", **more))


def test_the_least_timeout_is_that_of_aws_unless_a_test_lowers_it() -> None:
    check_timeout({"attemptDurationSeconds": 60}, BatchSettings())
    with pytest.raises(Refused, match="at least 60"):
        check_timeout({"attemptDurationSeconds": 59}, BatchSettings())


def test_what_is_not_emulated_says_so(idle: CommandQueue) -> None:
    with pytest.raises(idle.batch.exceptions.ClientError, match="The local Batch has no ListConsumableResources"):
        idle.batch.list_consumable_resources()
