"""`terraform apply` against the local AWS, the code against what it made, and `destroy`, which leaves nothing."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.builders.terraform import CHECKOUT, Workspace, workspace
from tests.infra.terraform.stand_in import OVERRIDES

_IMAGE = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/sentinel@sha256:" + "0" * 64


@pytest.fixture
def own_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A local AWS in a process of its own: moto reads what managed policies there are when it is imported."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
    command = [sys.executable, "-m", "infra.local.aws"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                monkeypatch.delenv(name)
            for _ in range(9):
                name, _, value = server.stdout.readline().removeprefix("export ").strip().partition("=")
                monkeypatch.setenv(name, value.strip("'"))
            monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
            yield
        finally:
            server.terminate()
            server.wait(30)


@pytest.mark.drill
def test_apply_use_destroy(own_aws: None, tmp_path: Path) -> None:
    made = workspace(tmp_path, OVERRIDES, backend=True)
    variables = {
        "certificate_arn": _certificate(),
        "control_plane_image": _IMAGE,
        "worker_image": _IMAGE,
        "alarm_emails": ["on-call@example.com"],
        "operator_cidrs": ["10.8.0.0/16"],
        "spot": True,
        "deletion_protection": False,
    }
    (made.folder / "test.auto.tfvars.json").write_text(json.dumps(variables))
    made.must("apply", "-auto-approve", "-input=false", "-no-color", "-parallelism=20")
    outputs = {name: one["value"] for name, one in json.loads(made.must("output", "-json")).items()}
    _holds_no_password(made)
    _uploads_are_announced(outputs)
    _jobs_run(outputs)
    boto3.resource("s3").Bucket(outputs["footage_bucket"]).object_versions.delete()
    made.must("destroy", "-auto-approve", "-input=false", "-no-color", "-parallelism=20")
    _is_empty(made)


def _certificate() -> str:
    """A self-signed one, imported as infra/README.md does."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sentinel")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    imported = boto3.client("acm").import_certificate(
        Certificate=made.public_bytes(serialization.Encoding.PEM), PrivateKey=pem
    )
    return str(imported["CertificateArn"])


def _holds_no_password(made: Workspace) -> None:
    """The secret has the address as the code reads it; the state has nothing of it."""
    (secret,) = boto3.client("secretsmanager").list_secrets()["SecretList"]
    value = json.loads(boto3.client("secretsmanager").get_secret_value(SecretId=secret["ARN"])["SecretString"])
    assert set(value) == {"engine", "host", "port", "dbname", "username", "password", "url"}
    assert len(value["password"]) == 40
    assert value["url"].startswith(f"postgresql://sentinel:{value['password']}@{value['host']}:")
    assert value["password"] not in (made.folder / "terraform.tfstate").read_text()


def _uploads_are_announced(outputs: dict[str, Any]) -> None:
    """A video is, a table is not."""
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    for key in ("artifacts/detections/1.parquet", "videos/1/original.mp4"):
        s3.put_object(Bucket=outputs["footage_bucket"], Key=key, Body=b"x")
    keys: list[str] = []
    deadline = time.monotonic() + 60
    while not keys:
        assert time.monotonic() < deadline
        answer = sqs.receive_message(QueueUrl=outputs["upload_queue_url"], WaitTimeSeconds=2, MaxNumberOfMessages=10)
        bodies = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
        keys += [record["s3"]["object"]["key"] for body in bodies for record in body.get("Records", [])]
    assert [key.replace("%2F", "/") for key in keys] == ["videos/1/original.mp4"]


def _jobs_run(outputs: dict[str, Any]) -> None:
    """Through the launcher's own calls, in both queues, with a share; the job's environment names no database."""
    from batch_step.jobs import BatchJobs, JobRequest
    from resources.cloud import Cloud

    cloud = Cloud.from_env(outputs["environment"])
    assert (cloud.batch_queue, cloud.on_demand_queue) == (outputs["batch_queue"], outputs["on_demand_queue"])
    assert cloud.batch_queue != cloud.on_demand_queue
    jobs = BatchJobs(boto3.client("batch"), boto3.client("batch"))
    for queue in (cloud.require("batch_queue"), cloud.require("on_demand_queue")):
        request = JobRequest(
            name=f"sentinel-{queue}",
            queue=queue,
            definition=cloud.require("job_definition"),
            command=["sh", "-c", 'test -z "$SENTINEL_DATABASE_SECRET" && echo "$SENTINEL_STEP_CHANNEL"'],
            share=outputs["environment"]["SENTINEL_UPLOAD_SHARE"],
            priority=1,
        )
        job_id, adopted = jobs.submit_or_adopt(request)
        assert not adopted
        deadline = time.monotonic() + 60
        while (job := jobs.describe([job_id])[job_id])["status"] not in ("SUCCEEDED", "FAILED"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert job["status"] == "SUCCEEDED", job
        container = job["container"]
        assert container["logConfiguration"]["options"]["awslogs-group"] == outputs["job_log_group"]
        lines = boto3.client("logs").get_log_events(
            logGroupName=outputs["job_log_group"], logStreamName=container["logStreamName"], startFromHead=True
        )["events"]
        assert [line["message"] for line in lines] == [cloud.require("step_channel")]


def _is_empty(made: Workspace) -> None:
    assert made.must("state", "list").strip() == ""
    assert boto3.client("s3").list_buckets()["Buckets"] == []
    assert "QueueUrls" not in boto3.client("sqs").list_queues()
    assert boto3.client("batch").describe_job_queues()["jobQueues"] == []
    assert boto3.client("batch").describe_compute_environments()["computeEnvironments"] == []
    assert boto3.client("rds").describe_db_instances()["DBInstances"] == []
    assert boto3.client("elbv2").describe_load_balancers()["LoadBalancers"] == []
    assert boto3.client("logs").describe_log_groups(logGroupNamePrefix="/sentinel")["logGroups"] == []
    roles = boto3.client("iam").list_roles()["Roles"]
    assert not [role["RoleName"] for role in roles if role["RoleName"].startswith("sentinel")]
    vpcs = boto3.client("ec2").describe_vpcs(Filters=[{"Name": "tag:Project", "Values": ["sentinel"]}])["Vpcs"]
    assert vpcs == []
