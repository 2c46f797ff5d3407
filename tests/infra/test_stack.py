"""The cloud of `sentinel dev`: a bucket that tells its queue, jobs that know everything but the database."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import boto3.session
import pytest

from infra.local import provision
from infra.local.stack import LocalCloud
from resources.settings import Settings


def client(cloud: LocalCloud, service: str) -> Any:
    key, region = cloud.environment["AWS_ACCESS_KEY_ID"], cloud.environment["AWS_REGION"]
    return boto3.session.Session(key, key, region_name=region).client(
        service, endpoint_url=cloud.environment["AWS_ENDPOINT_URL"]
    )


def told(cloud: LocalCloud) -> list[str]:
    """Keys of the objects that the upload queue tells of, each message deleted."""
    sqs, queue = client(cloud, "sqs"), cloud.environment["SENTINEL_UPLOAD_QUEUE"]
    keys = []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            records = json.loads(message["Body"]).get("Records", [])
            keys += [unquote_plus(record["s3"]["object"]["key"]) for record in records]
    sqs.close()
    return sorted(keys)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("SENTINEL_HOME", str(tmp_path))
    monkeypatch.setenv("SENTINEL_PROFILE", "permissive")
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebody:secret@127.0.0.1/warehouse")
    return Settings.from_env()


def test_only_what_was_never_analysed_is_announced_after_a_restart(settings: Settings) -> None:
    """Under the ETag that it had; what was analysed is there and not spoken of."""
    with LocalCloud.opened(settings, lambda uri, etag: False) as cloud:
        s3 = client(cloud, "s3")
        etags = {k: s3.put_object(Bucket=provision.BUCKET, Key=k, Body=k.encode())["ETag"] for k in ("done", "lost ü")}
        assert (cloud.announced, told(cloud)) == (0, ["done", "lost ü"])
        s3.close()
    done = (f"s3://{provision.BUCKET}/done", etags["done"].strip('"'))
    with LocalCloud.opened(settings, lambda uri, etag: (uri, etag) == done) as cloud:
        s3 = client(cloud, "s3")
        assert (cloud.announced, told(cloud)) == (1, ["lost ü"])
        assert s3.head_object(Bucket=provision.BUCKET, Key="done")["ETag"] == etags["done"]
        s3.close()


def test_a_message_goes_to_the_dead_letters_after_five_receives(settings: Settings) -> None:
    with LocalCloud.opened(settings, lambda uri, etag: True) as cloud:
        sqs, queue = client(cloud, "sqs"), cloud.environment["SENTINEL_UPLOAD_QUEUE"]
        attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        assert int(attributes["VisibilityTimeout"]) >= 120
        assert json.loads(attributes["RedrivePolicy"])["maxReceiveCount"] in (5, "5")
        sqs.purge_queue(QueueUrl=queue)  # of S3's test event
        sqs.send_message(QueueUrl=queue, MessageBody="poison")
        for _ in range(5):
            (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
            sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
        assert "Messages" not in sqs.receive_message(QueueUrl=queue)
        dead = sqs.get_queue_url(QueueName=provision.DEAD_LETTERS)["QueueUrl"]
        assert [m["Body"] for m in sqs.receive_message(QueueUrl=dead)["Messages"]] == ["poison"]
        sqs.close()


def test_a_job_knows_the_settings_and_no_database(settings: Settings, tmp_path: Path) -> None:
    """It loads our code wherever it runs, and sees what `Settings` reads there."""
    script = (
        "import json, os, sys; from resources.settings import Settings; s = Settings.from_env();"
        "json.dump([s.profile, str(s.home), s.artifacts, s.cloud.batch_queue, s.cloud.step_channel, s.database_url],"
        f"open({str(tmp_path / 'seen')!r}, 'w'))"
    )
    with LocalCloud.opened(settings, lambda uri, etag: True) as cloud:
        batch = client(cloud, "batch")
        job = batch.submit_job(
            jobName="job",
            jobQueue=cloud.environment["SENTINEL_BATCH_QUEUE"],
            jobDefinition=cloud.environment["SENTINEL_JOB_DEFINITION"],
            containerOverrides={"command": ["python", "-c", script]},
        )["jobId"]
        deadline = time.monotonic() + 60
        while (found := batch.describe_jobs(jobs=[job])["jobs"][0])["status"] not in ("SUCCEEDED", "FAILED"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        batch.close()
    assert found["status"] == "SUCCEEDED"
    seen = json.loads((tmp_path / "seen").read_text())
    assert seen == ["permissive", str(tmp_path), str(tmp_path / "artifacts"), "sentinel", str(tmp_path / "steps"), None]
