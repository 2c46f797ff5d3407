"""Which AWS calls the code makes, where, and as whom: the reviewed table that IAM policies are held against.

`test_permissions.py` compares it with the sources (each operation that a module names), with what boto3 sends when that
code runs, and with the policies of Terraform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["control_plane", "job", "uploader"]
BOTH: tuple[Role, ...] = ("control_plane", "job")
HOST: tuple[Role, ...] = ("control_plane",)
UPLOADER: tuple[Role, ...] = ("uploader",)


@dataclass(frozen=True)
class Calls:
    """The operations of one service that a module calls, and the roles as which it runs."""

    module: str
    service: str
    operations: frozenset[str]
    roles: tuple[Role, ...]


def _calls(module: str, service: str, operations: str, roles: tuple[Role, ...]) -> Calls:
    return Calls(module, service, frozenset(operations.split()), roles)


CALLS = (
    _calls("batch_step/channel.py", "s3", "get_object put_object", BOTH),
    _calls("batch_step/jobs.py", "batch",
           "submit_job describe_jobs list_jobs terminate_job get_job_queue_snapshot", HOST),
    _calls("batch_step/logs.py", "logs", "get_log_events", HOST),
    _calls("resources/objects.py", "s3", "head_object get_object put_object", BOTH),
    _calls("resources/objects.py", "s3", "list_objects_v2 delete_objects", HOST),
    _calls("resources/downloads.py", "s3", "get_object head_object", BOTH),
    _calls("resources/weight_sources.py", "s3", "get_object", BOTH),
    _calls("resources/upload_queue.py", "sqs", "receive_message delete_message_batch", HOST),
    _calls("resources/secrets.py", "secretsmanager", "get_secret_value", HOST),
    _calls("sensors/headers.py", "s3", "get_object", HOST),
    _calls("sensors/objects.py", "s3", "head_object", HOST),
    _calls("sentinel_assets/journey.py", "s3", "upload_file", UPLOADER),
    _calls("sentinel_assets/uploading.py", "s3", "upload_file head_object", UPLOADER),
)  # fmt: skip

# IAM's action where it is not the operation's own name.
ACTIONS = {
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:upload_file": "s3:PutObject",  # PutObject, or the calls of a multipart upload
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
}

# Actions that no call is named after, and why a role has them.
BESIDE_CALLS: dict[Role, dict[str, str]] = {
    "control_plane": {
        "s3:ListBucket": "without it S3 answers 403, not 404, for an object that is not there",
        "kms:Decrypt": "objects, messages and the secret are encrypted with our key",
        "kms:GenerateDataKey": "objects are written encrypted",
        "batch:TagResource": "SubmitJob with tags",
        "ssmmessages:CreateControlChannel": "port forwarding to the UI",
        "ssmmessages:CreateDataChannel": "port forwarding to the UI",
        "ssmmessages:OpenControlChannel": "port forwarding to the UI",
        "ssmmessages:OpenDataChannel": "port forwarding to the UI",
    },
    "job": {
        "s3:ListBucket": "as above",
        "kms:Decrypt": "as above",
        "kms:GenerateDataKey": "as above",
    },
    "uploader": {
        "s3:AbortMultipartUpload": "boto3 clears up after an upload that failed",
        "kms:Decrypt": "the parts of a multipart upload are joined",
        "kms:GenerateDataKey": "as above",
    },
}

_PULL = {
    "ecr:GetAuthorizationToken": "log in to the registry",
    "ecr:BatchCheckLayerAvailability": "pull an image",
    "ecr:BatchGetImage": "pull an image",
    "ecr:GetDownloadUrlForLayer": "pull an image",
}
_LOG = {"logs:CreateLogStream": "write a log", "logs:PutLogEvents": "write a log"}

# What AWS does for us in a role of ours, by the policy: nothing of ours calls it. Amazon ECS Developer Guide, "Task
# execution IAM role" and "Container instance IAM role"; Image Builder User Guide, "Prerequisites"; VPC User Guide, "IAM
# role for publishing flow logs" (which lists two more, for a log group that AWS is to create: ours is there).
BY_AWS: dict[str, dict[str, str]] = {
    "batch.execution": {**_PULL, **_LOG},
    "control_plane.execution": {
        **_PULL,
        **_LOG,
        "secretsmanager:GetSecretValue": "the database's address becomes the task's environment",
        "kms:Decrypt": "that secret is encrypted with our key",
    },
    "batch.host": {
        "ecs:DiscoverPollEndpoint": "the agent finds ECS",
        "ecs:RegisterContainerInstance": "a host joins the cluster",
        "ecs:DeregisterContainerInstance": "and leaves it",
        "ecs:UpdateContainerInstancesState": "a reclaimed host takes no more jobs",
        "ecs:Poll": "the agent is told what to run",
        "ecs:StartTelemetrySession": "metrics of containers",
        "ecs:SubmitAttachmentStateChanges": "how jobs are",
        "ecs:SubmitContainerStateChange": "how jobs are",
        "ecs:SubmitTaskStateChange": "how jobs are",
    },
    "ami.bake": {
        **_PULL,
        **_LOG,
        "s3:GetObject": "weights",
        "kms:Decrypt": "weights and the component are encrypted with our key",
        "imagebuilder:GetComponent": "the recipe of the image",
    },
    "network.flow": {**_LOG, "logs:DescribeLogStreams": "go on with a stream that is there"},
}
