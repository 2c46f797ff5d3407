"""A footage bucket whose notifications reach a queue with a dead-letter queue, as a deployment has them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from moto.sqs.models import sqs_backends

from infra.local.batch.settings import ACCOUNT


@dataclass(frozen=True)
class UploadBucket:
    """Made with `new`."""

    bucket: str
    queue: str
    dead_letters: str

    @classmethod
    def new(cls, name: str = "footage", *, receives: int = 5) -> UploadBucket:
        sqs, s3 = boto3.client("sqs"), boto3.client("s3")
        dead = sqs.create_queue(QueueName=f"{name}-dead-letters")["QueueUrl"]
        policy = {"deadLetterTargetArn": _arn(sqs, dead), "maxReceiveCount": receives}
        queue = sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": json.dumps(policy)})["QueueUrl"]
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
        notification = {"QueueConfigurations": [{"QueueArn": _arn(sqs, queue), "Events": ["s3:ObjectCreated:*"]}]}
        s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=notification)
        return cls(name, queue, dead)

    def put(self, key: str, content: bytes | Path) -> str:
        """Upload it; its etag."""
        body = content.read_bytes() if isinstance(content, Path) else content
        return str(boto3.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)["ETag"]).strip('"')

    def send(self, *bodies: str) -> None:
        for body in bodies:
            boto3.client("sqs").send_message(QueueUrl=self.queue, MessageBody=body)

    def waiting(self, queue: str | None = None) -> int:
        """Messages in the queue, those in somebody's hands included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = boto3.client("sqs").get_queue_attributes(QueueUrl=queue or self.queue, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    def unseen(self) -> int:
        """Messages that are in nobody's hands."""
        name = "ApproximateNumberOfMessages"
        answer = boto3.client("sqs").get_queue_attributes(QueueUrl=self.queue, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def bodies(self, queue: str) -> list[str]:
        """Of all messages there; they are in our hands from then on."""
        sqs, found = boto3.client("sqs"), []
        while more := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            found += [message["Body"] for message in more]
        return found

    def deliver_again(self) -> int:
        """As if the visibility timeout of all messages in somebody's hands was over; how many there are."""
        queue = sqs_backends[ACCOUNT][boto3.client("sqs").meta.region_name].queues[self.queue.rpartition("/")[2]]
        held = [message for message in queue._messages if not message.visible]
        for message in held:
            message.change_visibility(0)
        return len(held)


def _arn(sqs: Any, url: str) -> str:
    return str(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])
