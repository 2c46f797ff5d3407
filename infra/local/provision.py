"""What a deployment has in its AWS account, made on the local one: bucket, queues, notification, Batch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from infra.local.batch.settings import ACCOUNT

BUCKET = "sentinel-footage"
UPLOADS, DEAD_LETTERS = "sentinel-uploads", "sentinel-uploads-dead-letters"
BATCH = "sentinel"  # compute environment, job queue and job definition
_RECEIVES = 5  # of one message before it goes to the dead-letter queue
_VISIBILITY_S = 180  # longer than the sensor's interval (5 s in its daemon) and its evaluation (60 s at most)
_KEEP_S = 14 * 24 * 3600  # the most that SQS allows


def create_bucket(s3: Any, region: str) -> None:
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": region})


def create_queues(sqs: Any, region: str) -> tuple[str, str]:
    """The addresses of the upload queue and of the dead-letter queue."""
    keep = {"MessageRetentionPeriod": str(_KEEP_S)}
    dead: str = sqs.create_queue(QueueName=DEAD_LETTERS, Attributes=keep)["QueueUrl"]
    redrive = {"deadLetterTargetArn": queue_arn(DEAD_LETTERS, region), "maxReceiveCount": str(_RECEIVES)}
    attributes = {**keep, "VisibilityTimeout": str(_VISIBILITY_S), "RedrivePolicy": json.dumps(redrive)}
    return sqs.create_queue(QueueName=UPLOADS, Attributes=attributes)["QueueUrl"], dead


def notify_queue(s3: Any, region: str) -> None:
    """From now on each object that is made in the bucket is a message in the upload queue."""
    queue = {"QueueArn": queue_arn(UPLOADS, region), "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [queue]})


def create_batch(batch: Any, *, vcpus: int, environment: Mapping[str, str]) -> None:
    """A job takes all vCPUs: two analyses beside each other on one machine only make both late."""
    batch.create_compute_environment(
        computeEnvironmentName=BATCH,
        type="MANAGED",
        computeResources={
            "type": "SPOT",
            "maxvCpus": vcpus,
            "instanceTypes": ["g5.xlarge"],
            "subnets": ["subnet-local"],
        },
    )
    order = [{"order": 1, "computeEnvironment": BATCH}]
    batch.create_job_queue(jobQueueName=BATCH, priority=1, computeEnvironmentOrder=order)
    batch.register_job_definition(
        jobDefinitionName=BATCH,
        type="container",
        containerProperties={
            "image": "sentinel",
            "command": ["python", "-m", "batch_step.worker"],
            "environment": [{"name": name, "value": value} for name, value in environment.items()],
            "resourceRequirements": [{"type": "VCPU", "value": str(vcpus)}, {"type": "MEMORY", "value": "4096"}],
        },
    )


def queue_arn(name: str, region: str) -> str:
    return f"arn:aws:sqs:{region}:{ACCOUNT}:{name}"
