"""The SQS queue of upload messages: received, and deleted again once they are dealt with."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg
from pydantic import Field

from sentinel_assets.vision.errors import StoreRejected, StoreUnavailable

_BATCH = 10  # messages in a ReceiveMessage or DeleteMessageBatch at most (SQS, API reference)
_FOLLOW_UP_S = 1  # a wait above 0 asks all servers of the queue, not a sample of them (SQS, "short and long polling")
_GONE = ("QueueDoesNotExist", "NonExistentQueue", "AccessDenied", "InvalidClientTokenId", "SignatureDoesNotMatch")


@dataclass(frozen=True)
class Message:
    """As it was received: `receipt` deletes this delivery of it."""

    id: str
    receipt: str
    body: str


class UploadQueue(dg.ConfigurableResource["UploadQueue"]):
    """Messages stay invisible to others for `visibility_s` after they were received, and come again if not deleted."""

    url: str = Field(description="The URL of the queue.")
    visibility_s: int = Field(
        default=180,
        description="Longer than the evaluation that receives a message, the interval, and the one that deletes it.",
    )

    wait_s: int = Field(
        default=4,
        description="How long a tick waits for a first message. Below the daemon's 5 s, so that ticks do not pile up.",
    )

    def receive(self, limit: int, *, within_s: float) -> list[Message]:
        """Up to `limit` messages, each once: waits for the first, and asks on while more come and
        `within_s` is not over. Raises StoreError."""
        found: dict[str, Message] = {}
        deadline = time.monotonic() + within_s
        while len(found) < limit and time.monotonic() < deadline:
            with _queue_errors(self.url):
                answer = self._client.receive_message(
                    QueueUrl=self.url,
                    MaxNumberOfMessages=min(_BATCH, limit - len(found)),
                    WaitTimeSeconds=_FOLLOW_UP_S if found else self.wait_s,
                    VisibilityTimeout=self.visibility_s,
                )
            messages = answer.get("Messages", [])
            if not messages:
                break
            # The same message may come twice in one tick; its later receipt is the one that deletes it.
            found.update({m["MessageId"]: Message(m["MessageId"], m["ReceiptHandle"], m["Body"]) for m in messages})
        return list(found.values())

    def delete(self, receipts: Sequence[str]) -> list[str]:
        """Delete these deliveries; gives those that SQS did not delete, whose messages will come again."""
        left: list[str] = []
        for start in range(0, len(receipts), _BATCH):
            batch = receipts[start : start + _BATCH]
            entries = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(batch)]
            with _queue_errors(self.url):
                answer = self._client.delete_message_batch(QueueUrl=self.url, Entries=entries)
            left.extend(batch[int(failure["Id"])] for failure in answer.get("Failed", []))
        return left

    @cached_property
    def _client(self) -> Any:
        import boto3

        return boto3.client("sqs")


@contextmanager
def _queue_errors(url: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except NoCredentialsError as error:
        raise StoreRejected(str(error), where=url, remedy="Give the sensor's process AWS credentials") from error
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if any(word in code for word in _GONE):
            raise StoreRejected(
                str(error), where=url, remedy="Check SENTINEL_UPLOAD_QUEUE, credentials and permissions"
            ) from error
        raise StoreUnavailable(str(error), where=url, remedy="It is tried again at the next tick") from error
    except BotoCoreError as error:
        raise StoreUnavailable(str(error), where=url, remedy="It is tried again at the next tick") from error
