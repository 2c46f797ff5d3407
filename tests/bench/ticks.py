"""A tick of the upload sensor over a real bucket, queue and warehouse, with many videos that were uploaded before."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import boto3
import dagster as dg
import sqlalchemy as db
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable
from dagster._serdes import serialize_value

from infra.local.aws import LocalAws
from infra.local.batch.settings import BatchSettings
from resources.provided import Footage
from resources.upload_queue import UploadQueue
from sensors.uploads import uploads_sensor
from sentinel_assets.definitions import ANALYSIS, defs
from tests.builders.bucket import UploadBucket

UPLOADS = 10


def remember_runs(instance: dg.DagsterInstance, partitions: Sequence[str]) -> None:
    """A finished run for each of them, as an upload asks for it, written in bulk."""
    run = dg.DagsterRun(job_name=ANALYSIS.name, run_id="the-run", status=dg.DagsterRunStatus.SUCCESS)
    body, now = serialize_value(run), datetime.now(UTC).replace(tzinfo=None)
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        for start in range(0, len(partitions), 20_000):
            part = partitions[start : start + 20_000]
            rows = [
                {
                    "run_id": f"run-{key}",
                    "pipeline_name": run.job_name,
                    "status": run.status.value,
                    "run_body": body.replace("the-run", f"run-{key}"),
                    "create_timestamp": now,
                    "update_timestamp": now,
                }
                for key in part
            ]
            connection.execute(RunsTable.insert(), rows)
            tags = [
                {"run_id": f"run-{key}", "key": name, "value": value}
                for key in part
                for name, value in (
                    ("dagster/partition", key),
                    ("dagster/sensor_name", "uploads"),
                    ("dagster/run_key", f"{key}:{key}"),
                )
            ]
            connection.execute(RunTagsTable.insert(), tags)
        connection.execute(db.text("ANALYZE"))


@contextmanager
def upload_bucket() -> Iterator[UploadBucket]:
    """Named in the environment, as a deployment does; which is as it was before, afterwards."""
    before = dict(os.environ)
    with LocalAws(BatchSettings()) as aws, tempfile.TemporaryDirectory() as home:
        try:
            os.environ.update(aws.environment())
            boto3.setup_default_session(region_name=aws.settings.region)
            made = UploadBucket.new()
            os.environ.update(SENTINEL_HOME=home, SENTINEL_FOOTAGE_BUCKET=made.bucket, SENTINEL_UPLOAD_QUEUE=made.queue)
            yield made
        finally:
            os.environ.clear()
            os.environ.update(before)


def tick(instance: dg.DagsterInstance, bucket: UploadBucket, artifacts: str, first: int) -> float:
    """Seconds of a tick for which ten uploads wait, the first of that number; a run is asked for of each. The database
    is that of the environment."""
    for number in range(first, first + UPLOADS):
        bucket.put(f"videos/{number}/clip.mp4", b"frames")
    sensor = uploads_sensor(defs.resolve_job_def(ANALYSIS.name))
    context = dg.build_sensor_context(
        instance=instance,
        definitions=defs,
        sensor_name="uploads",
        resources={
            "upload_queue": UploadQueue(url=bucket.queue, visibility_s=3600, wait_s=1),
            "footage": Footage(base=artifacts),
        },
    )
    began = time.perf_counter()
    logging.disable(logging.INFO)  # a line for each upload
    try:
        result = sensor(context)
    finally:
        logging.disable(logging.NOTSET)
    took = time.perf_counter() - began
    assert isinstance(result, dg.SensorResult)
    assert len(result.run_requests or []) == UPLOADS, result.skip_reason
    return took
