"""Where the deployment's cloud is: bucket, queues, job definition, secret. The code names no endpoint: boto3 finds the
stand-ins of a laptop through AWS_ENDPOINT_URL, and the real services without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from sentinel_assets.vision.errors import SentinelError


@dataclass(frozen=True)
class Cloud:
    """What the environment says of it; each is None where it says nothing."""

    footage_bucket: str | None = None
    """SENTINEL_FOOTAGE_BUCKET: where uploads go; its notifications reach the upload queue."""
    upload_queue: str | None = None
    """SENTINEL_UPLOAD_QUEUE: URL of the SQS queue of upload messages."""
    batch_queue: str | None = None
    """SENTINEL_BATCH_QUEUE: name or ARN of the Batch queue of GPU steps; without it they run in process."""
    on_demand_queue: str | None = None
    """SENTINEL_ON_DEMAND_QUEUE: where GPU steps go when spot hosts keep being taken back."""
    upload_share: str | None = None
    """SENTINEL_UPLOAD_SHARE: fair-share identifier of jobs, where the queue has a scheduling policy."""
    backfill_share: str | None = None
    """SENTINEL_BACKFILL_SHARE: that of a backfill's jobs, so that new uploads do not stand behind them."""
    job_definition: str | None = None
    """SENTINEL_JOB_DEFINITION: name, name:revision or ARN; its image holds this code."""
    step_channel: str | None = None
    """SENTINEL_STEP_CHANNEL: s3://bucket/prefix, or the absolute path of a folder that host and jobs share."""
    artifacts: str | None = None
    """SENTINEL_ARTIFACTS: s3://bucket/prefix of the tables between assets; else a folder under SENTINEL_HOME."""
    database_secret: str | None = None
    """SENTINEL_DATABASE_SECRET: name or ARN in Secrets Manager of the warehouse's address, where DATABASE_URL is not
    set."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Raises SentinelError where GPU steps are sent to Batch without all that they need there."""
        cloud = cls(**{field.name: env.get(variable(field.name)) or None for field in fields(cls)})
        if cloud.batch_queue is not None:
            for name in ("job_definition", "step_channel"):
                if getattr(cloud, name) is None:
                    raise SentinelError(
                        "is not set, and GPU steps are to run on AWS Batch (SENTINEL_BATCH_QUEUE is set)",
                        where=variable(name),
                        remedy="Set it, or unset SENTINEL_BATCH_QUEUE to run all steps here",
                    )
        return cloud

    def require(self, name: str) -> str:
        """The value of a field that the caller cannot do without. Raises SentinelError where it is not set."""
        value = getattr(self, name)
        if value is None:
            raise SentinelError(
                "is not set",
                where=variable(name),
                remedy="Start `sentinel dev`, which sets it, or set it to that of your deployment",
            )
        return str(value)


def variable(field: str) -> str:
    """The environment variable of a field of `Cloud`."""
    return f"SENTINEL_{field.upper()}"
