"""`terraform apply` against the local AWS; sensor and launcher use what it made; `destroy` leaves nothing."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import dagster as dg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from resources.settings import Settings
from sentinel_assets.definitions import definitions
from sentinel_assets.partitions import videos
from tests.builders.deployment import Deployment
from tests.builders.terraform import CHECKOUT, Workspace, workspace
from tests.infra.terraform.stand_in import WITH_DATABASE, files

if TYPE_CHECKING:
    from infra.local.postgres import Server

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
def test_apply_use_destroy(
    own_aws: None, postgres: Server, database_url: str, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Deployment.made(tmp_path / "control plane", postgres, database_url, "permissive") as control_plane:
        image = {
            "PYTHONPATH": str(CHECKOUT),
            "SENTINEL_HOME": str(control_plane.job_home),
            "SENTINEL_WEIGHTS": str(Settings.from_env().weights),
        }
        made = workspace(tmp_path, files(image, with_database=bool(os.environ.get(WITH_DATABASE))), backend=True)
        variables = {
            "certificate_arn": _certificate(),
            "control_plane_image": _IMAGE,
            "worker_image": _IMAGE,
            "alarm_emails": ["on-call@example.com"],
            "operator_cidrs": ["10.8.0.0/16"],
            "profile": control_plane.profile,
            "spot": True,
            "deletion_protection": False,
        }
        (made.folder / "test.auto.tfvars.json").write_text(json.dumps(variables))
        made.must("apply", "-auto-approve", "-input=false", "-no-color", "-parallelism=20")
        outputs = {name: one["value"] for name, one in json.loads(made.must("output", "-json")).items()}
        _holds_no_password(made)
        _jobs_run(outputs)
        control_plane.become(outputs["environment"])
        for name, value in control_plane.environment.items():
            monkeypatch.setenv(name, value)
        request = _upload_is_seen(outputs, control_plane, people)
        _gpu_step_runs(outputs, control_plane, request)
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


def _upload_is_seen(outputs: dict[str, Any], control_plane: Deployment, clip: Path) -> dg.RunRequest:
    """Bucket, notification, queue, sensor: a table announces nothing, a video becomes a partition and one run."""
    s3 = boto3.client("s3")
    s3.put_object(Bucket=outputs["footage_bucket"], Key="artifacts/detections/1.parquet", Body=b"x")
    s3.upload_file(str(clip), outputs["footage_bucket"], "videos/7/people.mp4")
    location = definitions(Settings.from_env())
    resources = location.resources or {}
    with control_plane.instance() as instance:
        result = location.resolve_sensor_def("uploads")(
            dg.build_sensor_context(
                instance=instance,
                definitions=location,
                sensor_name="uploads",
                resources={name: resources[name] for name in ("upload_queue", "footage")},
            )
        )
        assert isinstance(result, dg.SensorResult)
        (request,) = result.run_requests or []
        assert (request.partition_key, request.tags["sentinel/origin"]) == ("7", "upload")
        (partitions,) = result.dynamic_partitions_requests or []
        instance.add_dynamic_partitions(str(videos.name), list(partitions.partition_keys))
        for event in result.asset_events:
            instance.report_runless_asset_event(event)
    assert outputs["environment"]["SENTINEL_UPLOAD_QUEUE"] == outputs["upload_queue_url"]
    return request


def _gpu_step_runs(outputs: dict[str, Any], control_plane: Deployment, request: dg.RunRequest) -> None:
    """In a run of that partition: a job on the applied queue, by the applied definition, its table in the bucket."""
    assert request.partition_key is not None
    done = control_plane.materialize(request.partition_key, "key:detections")
    assert done.returncode == 0, done.stderr
    batch = boto3.client("batch")
    found = batch.list_jobs(jobQueue=outputs["batch_queue"], jobStatus="SUCCEEDED")["jobSummaryList"]
    jobs = batch.describe_jobs(jobs=[job["jobId"] for job in found])["jobs"]
    (job,) = [job for job in jobs if "batch_step.worker" in job["container"]["command"]]
    assert (job["jobDefinition"], job["shareIdentifier"]) == (outputs["job_definition"], "uploads")
    assert job["container"]["logConfiguration"]["options"]["awslogs-group"] == outputs["job_log_group"]
    assert control_plane.artifacts == outputs["environment"]["SENTINEL_ARTIFACTS"]
    assert control_plane.table("detections", request.partition_key)["confidence"].gt(0).any()


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
