"""The job's CloudWatch log, followed: every line once, in order, at a bounded price.

GetLogEvents pages forward only with startFromHead and the stored token; a page may be empty before the end; a stream
appears some time after its container; each attempt has a stream of its own. The account's rate is shared with everyone,
so this process keeps one budget for all its steps.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from batch_step.clients import THROTTLED

_LOG = logging.getLogger(__name__)
QUIET_S = 5.0  # between two looks at a stream that says nothing
TAIL_LINES = 25
DEFAULT_GROUP = "/aws/batch/job"  # where Batch writes unless the job definition says otherwise


class RateBudget:
    """Permits for calls, `per_second` on average and a second's worth at once."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = per_second, clock
        self._permits, self._at = per_second, clock()
        self._lock = threading.Lock()

    def take(self) -> bool:
        with self._lock:
            now = self._clock()
            self._permits = min(self._rate, self._permits + (now - self._at) * self._rate)
            self._at = now
            if self._permits < 1:
                return False
            self._permits -= 1
            return True


# GetLogEvents allows 25 calls a second for an account in most regions (CloudWatch Logs quotas); this leaves most of it.
PROCESS_BUDGET = RateBudget(5)


@dataclass(frozen=True)
class LogStream:
    group: str
    name: str

    @classmethod
    def of_job(cls, detail: dict[str, Any]) -> LogStream | None:
        """Where the newest attempt writes, from DescribeJobs; None before it has begun."""
        container = detail.get("container", {})
        name = container.get("logStreamName")
        attempts = detail.get("attempts", [])
        if not name and attempts:
            name = attempts[-1].get("container", {}).get("logStreamName")
        if not name:
            return None
        options = container.get("logConfiguration", {}).get("options", {})
        return cls(options.get("awslogs-group", DEFAULT_GROUP), name)


class LogFollower:
    """Follows the streams of one job. `write` gets whole lines; `tail` keeps the last ones for messages."""

    def __init__(
        self,
        client: Any,
        write: Callable[[str], object],
        budget: RateBudget = PROCESS_BUDGET,
        since_ms: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._write, self._budget, self._clock = client, write, budget, clock
        self._since_ms = since_ms  # a job that serves several steps has older lines of others
        self._stream: LogStream | None = None
        self._token: str | None = None
        self._not_before = 0.0
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def poll(self, stream: LogStream | None) -> None:
        """Reads what is there if it is time to. At most one call for a quiet stream in QUIET_S."""
        if stream is None:
            return
        if stream != self._stream:
            self._stream, self._token, self._not_before = stream, None, 0.0
        if self._clock() < self._not_before:
            return
        while self._budget.take():
            if not self._page():
                return

    def close(self, stream: LogStream | None, patience_s: float = 3.0) -> None:
        """The rest, until the stream's end has been seen: lines arrive a moment after they were printed."""
        deadline = self._clock() + patience_s
        while stream is not None and self._clock() < deadline:
            self._not_before = 0.0
            token = self._token
            self.poll(stream)
            if token is not None and token == self._token:
                return
            time.sleep(0.05)

    def _page(self) -> bool:
        """Whether to go on at once. A page that gives back the token it was asked with is the end for now."""
        from botocore.exceptions import BotoCoreError, ClientError

        assert self._stream is not None
        more: dict[str, Any] = {"nextToken": self._token} if self._token else {}
        if self._since_ms is not None:
            more["startTime"] = self._since_ms
        try:
            page = self._client.get_log_events(
                logGroupName=self._stream.group, logStreamName=self._stream.name, startFromHead=True, **more
            )
        except ClientError as e:
            code = e.response["Error"]["Code"]
            # A stream that is not there yet is normal. Logs are a convenience: what they lack must not fail a step.
            if code != "ResourceNotFoundException":
                _LOG.log(logging.INFO if code in THROTTLED else logging.WARNING, "reading %s: %s", self._stream, e)
            self._not_before = self._clock() + QUIET_S
            return False
        except BotoCoreError as e:
            _LOG.warning("reading %s: %s", self._stream, e)
            self._not_before = self._clock() + QUIET_S
            return False
        self._tell(event["message"] for event in page["events"])
        at_end = page["nextForwardToken"] == self._token
        self._token = page["nextForwardToken"]
        if at_end:
            self._not_before = self._clock() + QUIET_S
        return not at_end

    def _tell(self, messages: Iterable[str]) -> None:
        for message in messages:
            self.tail.append(message)
            self._write(message + "\n")
