"""A job's output in CloudWatch Logs, line by line while it runs, as the awslogs driver sends it."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import Any

import botocore.exceptions

from infra.local.batch.jobs import now_ms
from infra.local.batch.limits import Json

DEFAULT_GROUP = "/aws/batch/job"
_EVERY_S = 0.2  # between two deliveries of one stream
_MAX_EVENT_BYTES = 256 * 1024 - 26  # of a log event, less its overhead: PutLogEvents, API reference
_MAX_BATCH_BYTES = 1_048_576  # of one PutLogEvents call; so many, and
_MAX_BATCH_EVENTS = 10_000  # so many events

_log = logging.getLogger(__name__)


class LogService:
    """CloudWatch Logs over HTTP, and what is known to exist there."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self._lock = threading.Lock()
        self._groups: set[str] = set()

    def create(self, group: str, stream: str) -> None:
        with self._lock:
            if group not in self._groups:
                self._create("create_log_group", logGroupName=group)
                self._groups.add(group)
        self._create("create_log_stream", logGroupName=group, logStreamName=stream)

    def forget(self) -> None:
        """The service was emptied."""
        with self._lock:
            self._groups.clear()

    def put(self, group: str, stream: str, events: list[Json]) -> None:
        self.client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)

    def _create(self, call: str, **names: str) -> None:
        with contextlib.suppress(self.client.exceptions.ResourceAlreadyExistsException):  # Terraform, or an earlier job
            getattr(self.client, call)(**names)


class LogStream:
    """One attempt's output. Used by one thread at a time.

    Until `opens_at` (time.monotonic) the stream is not there, and what is written waits.
    """

    def __init__(self, service: LogService, group: str, name: str, opens_at: float) -> None:
        self._service, self._group, self._name = service, group, name
        self.opens_at = opens_at
        self._events: list[Json] = []
        self._partial = b""
        self._created = False
        self._last_delivery = 0.0

    def write(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._add(line)
        while len(self._partial) > _MAX_EVENT_BYTES:
            self._add(self._partial[:_MAX_EVENT_BYTES])
            self._partial = self._partial[_MAX_EVENT_BYTES:]

    def deliver(self, *, now: bool = False) -> None:
        """Send what has gathered, unless that was done a moment ago, or the stream is not open yet."""
        moment = time.monotonic()
        if moment < self.opens_at or (not now and moment - self._last_delivery < _EVERY_S):
            return
        if not self._events and self._created:
            return
        self._last_delivery = moment
        try:
            if not self._created:
                self._service.create(self._group, self._name)
                self._created = True
            while self._events:
                batch = self._take_batch()
                self._service.put(self._group, self._name, batch)
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            # As with the driver's non-blocking mode: a job does not fail because its log is lost.
            _log.warning("lines for the log stream %s are lost: %s", self._name, error)

    def end(self) -> None:
        """No more will be written."""
        if self._partial:
            self._add(self._partial)
            self._partial = b""

    def _add(self, line: bytes) -> None:
        line = line.removesuffix(b"\r")
        for start in range(0, len(line), _MAX_EVENT_BYTES):  # so that nothing comes of an empty line, as in the driver
            text = line[start : start + _MAX_EVENT_BYTES].decode("utf-8", "replace")
            self._events.append({"timestamp": now_ms(), "message": text})

    def _take_batch(self) -> list[Json]:
        size = count = 0
        for event in self._events[:_MAX_BATCH_EVENTS]:
            size += len(event["message"].encode()) + 26
            if size > _MAX_BATCH_BYTES:
                break
            count += 1
        batch, self._events = self._events[:count], self._events[count:]
        return batch
