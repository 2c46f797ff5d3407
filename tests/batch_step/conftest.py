"""A Batch with queues and a job definition, a Dagster instance, and jobs that start warm."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import dagster as dg
import pytest

from tests.batch_step.runs import Toys
from tests.batch_step.warm_start import command

if TYPE_CHECKING:
    from infra.local.aws import LocalAws

CHECKOUT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="session")
def warm_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The worker command that starts in a fifth of a second."""
    address = tmp_path_factory.mktemp("warm") / "s"
    arguments = [sys.executable, "-m", "tests.batch_step.warm_start", str(address)]
    with subprocess.Popen(arguments, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n", "the warm worker did not start"
        yield command(address)
        server.stdin.close()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """In memory: an event costs a millisecond, in SQLite files a tenth of a second."""
    with dg.DagsterInstance.ephemeral(str(tmp_path)) as instance:
        yield instance


def create_queue(name: str, vcpus: int = 16, policy: str | None = None) -> None:
    batch = boto3.client("batch")
    batch.create_compute_environment(
        computeEnvironmentName=f"{name}-hosts",
        type="MANAGED",
        computeResources={
            "type": "EC2",
            "minvCpus": 0,
            "maxvCpus": vcpus,
            "instanceTypes": ["g5.xlarge"],
            "subnets": ["s"],
            "instanceRole": "r",
        },
    )
    batch.create_job_queue(
        jobQueueName=name,
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": f"{name}-hosts"}],
        **({"schedulingPolicyArn": policy} if policy else {}),
    )


def fill() -> None:
    """Queues `gpu` and `on-demand`, job definition `toy`, bucket `steps`."""
    create_queue("gpu")
    create_queue("on-demand")
    boto3.client("batch").register_job_definition(
        jobDefinitionName="toy",
        type="container",
        containerProperties={
            "image": "toy",
            "command": ["true"],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
            "environment": [
                {"name": "PYTHONPATH", "value": str(CHECKOUT)},
                {"name": "BATCH_STEP_INSTANCE_TYPE", "value": "g5.xlarge"},
                {"name": "BATCH_STEP_PURCHASE", "value": "spot"},
            ],
        },
    )
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="steps", CreateBucketConfiguration={"LocationConstraint": os.environ["AWS_REGION"]})


def quick_settings(channel: str, worker_command: list[str]) -> dict[str, Any]:
    """The launcher's settings with all that a test would wait for shortened."""
    return {
        "channel": channel,
        "queue": "gpu",
        "job_definition": "toy",
        "worker_command": worker_command,
        "poll_seconds": 0.1,
        "describe_seconds": 0.25,
        "unknown_after_seconds": 2,
        "retry_delay_seconds": 0.1,
        "lease_seconds": 10,
        "takeover_seconds": 2,
        "idle_seconds": 20,
    }


@pytest.fixture
def batch(aws: LocalAws) -> LocalAws:
    """The local AWS, filled."""
    fill()
    return aws


@pytest.fixture
def toys(batch: LocalAws, instance: dg.DagsterInstance, warm_worker: list[str], tmp_path: Path) -> Toys:
    """Runs the toy assets; jobs start warm and exchange through a folder."""
    return Toys(instance, tmp_path / "outputs", quick_settings(str(tmp_path / "channel"), warm_worker))
