"""A deployment on the local AWS: one upload in a bucket, a Batch queue whose jobs start `python` for real, and run
workers as processes of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import dagster as dg
import pandas as pd
import yaml

from resources.artifacts import ArtifactStore
from resources.footage import FootageRecord, FootageStore
from resources.settings import Settings
from resources.warehouse import Warehouse
from sentinel_assets.assets.video import video_materialization
from sentinel_assets.definitions import ANALYSIS
from sentinel_assets.instance import postgres_storage
from sentinel_assets.partitions import videos
from sentinel_assets.vision.frames import Clip
from sentinel_assets.vision.tables import TABLES

if TYPE_CHECKING:
    from infra.local.postgres import Server

CHECKOUT = Path(__file__).resolve().parent.parent.parent
BUCKET, BATCH = "sentinel-footage", "sentinel"
_TIMEOUT_S = 900  # a process for each of several steps, on a machine that does other things too


@dataclass
class Deployment:
    """One home, one warehouse, one Dagster; `artifacts` is a folder or an s3:// prefix."""

    home: Path
    database_url: str
    dagster_url: str
    artifacts: str
    profile: str
    on_batch: Mapping[str, str] = field(default_factory=dict)
    """Of the settings, those that send GPU steps to Batch."""

    @classmethod
    @contextmanager
    def made(
        cls, home: Path, postgres: Server, database_url: str, profile: str, artifacts: str | None = None
    ) -> Iterator[Deployment]:
        home.mkdir(parents=True)
        name = f"dagster_{database_url.rpartition('/')[2].partition('?')[0]}"
        postgres.create_database(name)
        url = postgres.url(name).replace("postgresql://", "postgresql+psycopg2://", 1)
        config = {"storage": postgres_storage({"postgres_url": url}), "telemetry": {"enabled": False}}
        (home / "dagster.yaml").write_text(yaml.safe_dump(config))
        try:
            yield cls(home, database_url, url, artifacts or str(home / "artifacts"), profile)
        finally:
            postgres.drop_database(name)

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("SENTINEL_")}
        own = {
            "DAGSTER_HOME": str(self.home),
            "DATABASE_URL": self.database_url,
            "PYTHONPATH": str(CHECKOUT),
            "SENTINEL_HOME": str(self.home),
            "SENTINEL_PROFILE": self.profile,
            "SENTINEL_ARTIFACTS": self.artifacts,
            "SENTINEL_WEIGHTS": str(Settings.from_env().weights),
        }
        return {**inherited, **own, **self.on_batch}

    def send_gpu_steps_to_batch(self, channel: str, name: str = BATCH) -> None:
        """To a queue that is made here. Its jobs are given no address of a database, and a home in which none runs."""
        batch = boto3.client("batch")
        batch.create_compute_environment(
            computeEnvironmentName=name,
            type="MANAGED",
            computeResources={"type": "SPOT", "maxvCpus": 4, "instanceTypes": ["g5.xlarge"], "subnets": ["s"]},
        )
        order = [{"order": 1, "computeEnvironment": name}]
        batch.create_job_queue(jobQueueName=name, priority=1, computeEnvironmentOrder=order)
        environment = {
            "PYTHONPATH": str(CHECKOUT),
            "SENTINEL_HOME": str(self.job_home),
            "SENTINEL_WEIGHTS": str(Settings.from_env().weights),
            "SENTINEL_PROFILE": "of-the-image",  # what the run worker has must win
            "BATCH_STEP_INSTANCE_TYPE": "g5.xlarge",
            "BATCH_STEP_PURCHASE": "spot",
        }
        batch.register_job_definition(
            jobDefinitionName=name,
            type="container",
            containerProperties={
                "image": "sentinel",
                "command": ["true"],
                "resourceRequirements": [{"type": "VCPU", "value": "4"}, {"type": "MEMORY", "value": "4096"}],
                "environment": [{"name": k, "value": v} for k, v in environment.items()],
            },
        )
        self.on_batch = {
            "SENTINEL_BATCH_QUEUE": name,
            "SENTINEL_JOB_DEFINITION": name,
            "SENTINEL_STEP_CHANNEL": channel,
        }

    def become(self, environment: Mapping[str, str]) -> None:
        """The control plane of the deployment whose environment this is, with the database that is here."""
        self.artifacts, self.profile = environment["SENTINEL_ARTIFACTS"], environment["SENTINEL_PROFILE"]
        self.on_batch = environment

    @property
    def job_home(self) -> Path:
        return self.home / "home of jobs"

    def upload(self, path: Path, clip: Clip | None = None) -> str:
        """The partition of a clip that is now in the bucket, registered as the upload sensor has it."""
        s3 = boto3.client("s3")
        key = f"videos/7/{path.name}"
        s3.upload_file(str(path), BUCKET, key)
        etag = s3.head_object(Bucket=BUCKET, Key=key)["ETag"].strip('"')
        record = FootageRecord(uri=f"s3://{BUCKET}/{key}", etag=etag, size_bytes=path.stat().st_size)
        with Warehouse(self.database_url) as warehouse:
            partition = warehouse.register_video(record.uri, name=record.name, etag=etag).partition_key
        FootageStore(ArtifactStore(self.artifacts)).register(partition, record)
        with self.instance() as instance:
            instance.add_dynamic_partitions(str(videos.name), [partition])
            if clip is not None:
                instance.report_runless_asset_event(video_materialization(partition, record, clip))
        return partition

    def materialize(
        self, partition: str, select: str = "*", *, varied: tuple[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A run in a run worker of its own; `varied`: executor and reuse, where the product's are not meant."""
        module = "tests.builders.location" if varied else "sentinel_assets.definitions"
        environment = {**self.environment, **dict(zip(("TEST_EXECUTOR", "TEST_REUSE"), varied or (), strict=False))}
        command = ["asset", "materialize", "-m", module, "-a", "defs", "--select", select, "--partition", partition]
        return _dagster(command, environment)

    def materialize_in_backfill(self, partition: str, backfill: str) -> subprocess.CompletedProcess[str]:
        """All assets, in a run as the backfill daemon asks for one."""
        tags = json.dumps({"dagster/partition": partition, "dagster/backfill": backfill})
        command = ["job", "execute", "-m", "sentinel_assets.definitions", "-a", "defs"]
        return _dagster([*command, "-j", ANALYSIS.name, "--tags", tags], self.environment)

    def expect_a_run(self, backfill: str) -> None:
        """One of the backfill that never begins: as long as it is there, others leave their jobs to it."""
        with self.instance() as instance:
            tags = {"dagster/backfill": backfill}
            instance.add_run(dg.DagsterRun(job_name=ANALYSIS.name, run_id=str(uuid4()), tags=tags))

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            yield instance

    def table(self, asset: str, partition: str) -> pd.DataFrame:
        return ArtifactStore(self.artifacts).read_table(TABLES[asset], partition)

    def jobs(self) -> list[dict[str, Any]]:
        """All Batch jobs, in full."""
        batch = boto3.client("batch")
        name = [{"name": "JOB_NAME", "values": ["sentinel*"]}]
        found = batch.list_jobs(jobQueue=BATCH, filters=name)["jobSummaryList"]
        ids = [job["jobId"] for job in found]
        return list(batch.describe_jobs(jobs=ids)["jobs"]) if ids else []


def _dagster(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dagster", *command],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
