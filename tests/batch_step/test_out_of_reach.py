"""The way to AWS is gone for a while: what needs it waits, and nothing is done twice."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, NoCredentialsError

from batch_step import clients
from batch_step.channel import S3Channel
from batch_step.errors import BatchUnavailable, ChannelUnavailable
from batch_step.following import StepEvents
from batch_step.jobs import BatchJobs, JobRequest
from tests.batch_step.runs import Toys, ran
from tests.builders.doors import TcpDoor

if TYPE_CHECKING:
    from infra.local.aws import LocalAws

REQUEST = JobRequest("dagster-x", "gpu", "toy", ["sleep", "30"])
ONE_TRY = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30)


class Away:
    """Batch behind a door, which opens again when somebody has paused so many times."""

    def __init__(self, door: TcpDoor, monkeypatch: pytest.MonkeyPatch, pauses: int) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", door.address)
        self.client = boto3.client("batch", config=ONE_TRY)
        self.door, self.left, self.waited = door, pauses, 0.0

    def pause(self, seconds: float) -> None:
        self.waited += seconds
        self.left -= 1
        if self.left == 0:
            self.door.open()


@pytest.fixture
def away(batch: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Away]:
    with TcpDoor(batch.environment()["AWS_ENDPOINT_URL"]) as door:
        yield Away(door, monkeypatch, pauses=4)


def test_batch_out_of_reach_before_a_submission_delays_it(away: Away) -> None:
    """ListJobs, which comes first, is asked again until somebody answers."""
    away.door.shut()
    jobs = BatchJobs(away.client, away.client, away.pause)
    job_id, was_there = jobs.submit_or_adopt(REQUEST)
    assert not was_there
    assert away.waited > 5
    assert jobs.in_flight("gpu", "dagster-x") == [job_id]


@pytest.mark.parametrize("accepted", [False, True])
def test_batch_out_of_reach_at_a_submission_makes_one_job(away: Away, accepted: bool) -> None:
    """Whether the connection was lost before SubmitJob arrived or after, which the two sides see alike."""

    class Losing:
        def submit_job(self, **parameters: Any) -> Any:
            if away.left == 4 and accepted:
                away.client.submit_job(**parameters)
            if away.left == 4:
                away.door.shut()
            return away.client.submit_job(**parameters)

    jobs = BatchJobs(away.client, Losing(), away.pause)
    job_id, was_there = jobs.submit_or_adopt(REQUEST)
    assert was_there is accepted
    assert jobs.in_flight("gpu", "dagster-x") == [job_id]


def test_batch_out_of_reach_for_long_is_told(away: Away) -> None:
    away.door.shut()
    away.left = 10_000
    with pytest.raises(BatchUnavailable, match="route to AWS Batch"):
        BatchJobs(away.client, away.client, away.pause).submit_or_adopt(REQUEST)
    assert 300 <= away.waited < 330


def test_a_mistake_of_ours_is_not_tried_again(batch: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials, no such queue: waiting helps neither."""
    waited: list[float] = []
    jobs = BatchJobs(boto3.client("batch"), boto3.client("batch"), waited.append)
    with pytest.raises(ClientError, match="no-such-queue"):
        jobs.submit_or_adopt(replace(REQUEST, queue="no-such-queue"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    stranger = boto3.session.Session().client("batch")
    with pytest.raises(NoCredentialsError):
        BatchJobs(stranger, stranger, waited.append).submit_or_adopt(REQUEST)
    assert waited == []


def test_batch_out_of_reach_while_a_step_waits_or_is_terminated_fails_nothing(away: Away) -> None:
    away.door.shut()
    jobs = BatchJobs(away.client, away.client, away.pause)
    assert jobs.queue_position("gpu", "j") is None
    jobs.try_to_terminate("j", "the run was terminated")


@pytest.mark.parametrize("reuse", ["step", "run"])
def test_a_step_survives_that_batch_is_out_of_reach_when_its_job_is_due(
    toys: Toys, batch: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reuse: str
) -> None:
    """With a job of its own and in a shared one; refused connections, as where a route is down."""
    with TcpDoor(batch.environment()["AWS_ENDPOINT_URL"]) as door:
        monkeypatch.setenv("AWS_ENDPOINT_URL", door.address)
        real = BatchJobs.find
        found: list[str | None] = []

        def find(jobs: BatchJobs, name: str, queue: str) -> str | None:
            if not found:
                door.shut()
                threading.Timer(1.0, door.open).start()
            found.append("asked")
            return real(jobs, name, queue)

        monkeypatch.setattr(BatchJobs, "find", find)
        monkeypatch.setattr(clients, "client", lambda service, **_: boto3.client(service, config=ONE_TRY))
        result = toys.run("behaving", ops={"behaving": {"folder": str(tmp_path / "ran")}}, reuse=reuse)
        assert result.success
        assert len(found) > 1  # the first was refused
        assert ran(tmp_path / "ran") == {"behaving": 1}
        assert len(toys.jobs()) == 1


def test_s3_out_of_reach_delays_what_is_read_and_written(away: Away) -> None:
    channel = S3Channel("s3://steps/x", boto3.client("s3", config=ONE_TRY), pause=away.pause)
    away.door.shut()
    assert channel.put_if_absent("claim", b"mine")
    away.left = 4
    away.door.shut()
    assert channel.get("claim") == b"mine"
    away.left = 4
    away.door.shut()
    assert channel.get("nothing") is None
    assert away.waited > 15


def test_s3_out_of_reach_for_long_is_told(away: Away) -> None:
    away.door.shut()
    away.left = 10_000
    with pytest.raises(ChannelUnavailable):
        S3Channel("s3://steps/x", boto3.client("s3", config=ONE_TRY), pause=away.pause).put("a", b"")
    assert 300 <= away.waited < 330


def test_a_beat_has_no_patience(away: Away) -> None:
    """The next one comes soon enough."""
    away.door.shut()
    with pytest.raises(ChannelUnavailable):
        S3Channel("s3://steps/x", pause=away.pause).hasty(2).put("lease.json", b"")
    assert away.waited == 0


def test_a_bucket_that_is_not_there_is_not_waited_for(batch: LocalAws) -> None:
    waited: list[float] = []
    with pytest.raises(ChannelUnavailable, match="NoSuchBucket"):
        S3Channel("s3://no-such-bucket/x", pause=waited.append).get("a")
    assert waited == []


def test_a_step_survives_that_s3_is_out_of_reach_of_its_host(
    toys: Toys, batch: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of the step's events, which are stored once each all the same."""
    with TcpDoor(batch.environment()["AWS_ENDPOINT_URL"]) as door:
        monkeypatch.setenv("AWS_ENDPOINT_URL", door.address)
        monkeypatch.setattr(clients, "client", lambda service, **_: boto3.client(service, config=ONE_TRY))
        real = StepEvents._store
        stored: list[str] = []

        def store(events: StepEvents, entry: Any) -> Any:
            if not stored:
                door.shut()
                threading.Timer(1.0, door.open).start()
            stored.append(entry.dagster_event.event_type_value if entry.dagster_event else "")
            return real(events, entry)

        monkeypatch.setattr(StepEvents, "_store", store)
        behavior = {"folder": str(tmp_path / "ran"), "sleep_s": 2}
        result = toys.run("behaving", ops={"behaving": behavior}, channel="s3://steps/y")
        assert result.success
        assert ran(tmp_path / "ran") == {"behaving": 1}
        for kind in ("STEP_START", "ASSET_MATERIALIZATION", "STEP_SUCCESS"):
            assert stored.count(kind) == 1
