"""The cloud that `sentinel dev` puts on this machine: the local AWS with everything in it that a deployment has.

    with LocalCloud.opened(settings, is_done) as cloud:
        os.environ.update(cloud.environment)      # boto3, the aws CLI, Dagster and our own commands find it there

Footage outlives it, in `SENTINEL_HOME/s3`, and so do the tables between assets, in folders there. Queues and jobs do
not: so what was uploaded and never analysed is announced again at the next start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3.session
from botocore.config import Config

from batch_step.machine import INSTANCE_TYPE_ENV, PURCHASE_ENV
from infra.local import provision
from infra.local.aws import LocalAws
from infra.local.batch.settings import BatchSettings
from infra.local.mirror import BucketMirror
from resources.cloud import Cloud, variable
from resources.settings import Settings

_CODE = Path(__file__).resolve().parents[2]  # a job's `python` finds our packages there, installed or not
_JOB_VARIABLES = (
    # What a job needs to know of the settings besides where things are. No address of a database is among them.
    "SENTINEL_WEIGHTS",
    "SENTINEL_PROFILE",
    "SENTINEL_SAMPLE_RATE",
    "SENTINEL_ACCEPT_TRUNCATED",
    "SENTINEL_SHOW_FACES",
    "SENTINEL_MODELS_MIRROR",
)


@dataclass(frozen=True)
class LocalCloud:
    """Running, for as long as the context of `opened` lasts."""

    aws: LocalAws
    environment: dict[str, str]
    """Where it is, for an AWS client and for `Settings`."""
    announced: int
    """Uploads of earlier times whose analysis is still to be made."""

    @classmethod
    @contextmanager
    def opened(cls, settings: Settings, is_done: Callable[[str, str], bool]) -> Iterator[LocalCloud]:
        """`is_done` is asked with the address and the ETag of each object that is there from before."""
        vcpus = os.cpu_count() or 1
        mirror = BucketMirror(settings.home / "s3" / provision.BUCKET, provision.BUCKET)
        with LocalAws(BatchSettings(), mirror=mirror) as aws:
            aws.reset()  # moto's state is the process's, which may have had another server before
            region = aws.settings.region
            session = boto3.session.Session(aws.access_key, aws.access_key, region_name=region)
            direct = Config(proxies={})
            s3, sqs, batch = (
                session.client(name, endpoint_url=aws.url, config=direct) for name in ("s3", "sqs", "batch")
            )
            provision.create_bucket(s3, region)
            kept = mirror.load()
            uploads, _ = provision.create_queues(sqs, region)
            provision.notify_queue(s3, region)
            cloud = Cloud(
                footage_bucket=provision.BUCKET,
                upload_queue=uploads,
                batch_queue=provision.BATCH,
                job_definition=provision.BATCH,
                step_channel=str(settings.home / "steps"),
                artifacts=settings.artifacts,
            )
            places = {variable(name): value for name, value in vars(cloud).items() if value is not None}
            provision.create_batch(batch, vcpus=vcpus, environment=_of_jobs(settings, places))
            pending = [one for one in kept if not is_done(f"s3://{provision.BUCKET}/{one.key}", one.etag)]
            mirror.announce(pending)
            for client in (s3, sqs, batch):
                client.close()
            yield cls(aws, {**aws.environment(), **places}, len(pending))


def _of_jobs(settings: Settings, places: dict[str, str]) -> dict[str, str]:
    given = {name: os.environ[name] for name in _JOB_VARIABLES if os.environ.get(name)}
    path = os.pathsep.join([str(_CODE), *filter(None, [os.environ.get("PYTHONPATH")])])
    host = {INSTANCE_TYPE_ENV: "local", PURCHASE_ENV: "on-demand"}  # by which a person may give it a price
    return {**given, **places, **host, "SENTINEL_HOME": str(settings.home), "PYTHONPATH": path}
