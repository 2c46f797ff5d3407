"""A job, its attempts, and how DescribeJobs and ListJobs show them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from infra.local.batch.limits import Json


class Status(StrEnum):
    """In the order of a job's life."""

    SUBMITTED = "SUBMITTED"
    PENDING = "PENDING"
    RUNNABLE = "RUNNABLE"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def is_final(self) -> bool:
        return self in (Status.SUCCEEDED, Status.FAILED)

    @property
    def has_host(self) -> bool:
        return self in (Status.STARTING, Status.RUNNING)


def now_ms() -> int:
    """As Batch gives times: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Ending:
    """How an attempt ended. `exit_code` is None when there was no process, or its host was lost with it."""

    status_reason: str
    exit_code: int | None = None
    reason: str = ""
    is_final: bool = False
    """The job's retry strategy is not asked: it was stopped, or ran out of time."""

    @property
    def succeeded(self) -> bool:
        return self.exit_code == 0 and not self.is_final


@dataclass
class Attempt:
    """One time that a job was given a host; the task is the container's id in ECS."""

    number: int
    task_arn: str
    host_arn: str
    log_stream: str
    started_at: int | None = None
    stopped_at: int | None = None
    ending: Ending | None = None

    def container(self) -> Json:
        """What the attempt adds to `container`; the log stream is there once it runs (service model)."""
        shown: Json = {"taskArn": self.task_arn, "containerInstanceArn": self.host_arn}
        if self.started_at is not None:
            shown["logStreamName"] = self.log_stream
        if self.ending is not None and self.ending.exit_code is not None:
            shown["exitCode"] = self.ending.exit_code
        if self.ending is not None and self.ending.reason:
            shown["reason"] = self.ending.reason[:255]
        return shown

    def detail(self) -> Json:
        container = {**self.container(), "networkInterfaces": []}
        shown = {"container": container, "startedAt": self.started_at, "stoppedAt": self.stopped_at}
        reason = self.ending.status_reason if self.ending else None
        return _given({**shown, "statusReason": reason, "taskProperties": []})


@dataclass
class Job:
    """A job, or a child of an array job (`index`), or the parent of one (`children`).

    Everything that changes does so under the scheduler's lock.
    """

    id: str
    name: str
    arn: str
    order: int
    """Counts submissions: who was first."""
    queue: str
    queue_arn: str
    definition: str
    definition_arn: str
    container: Json
    """containerProperties with the overrides applied."""
    parameters: dict[str, str]
    retry_strategy: Json
    timeout_s: int | None
    tags: dict[str, str]
    propagate_tags: bool
    platforms: list[str]
    depends_on: list[Json]
    waits_for: list[str]
    """Ids of the jobs that must have succeeded."""
    share: str | None
    priority: int | None
    refusal: str | None
    """Why ECS will not take it, found only when it is to start."""
    index: int | None = None
    size: int | None = None
    array_size: int | None = None
    """Of the parent, in a child."""
    children: list[Job] = field(default_factory=list, repr=False)

    created_at: int = field(default_factory=now_ms)
    status: Status = Status.SUBMITTED
    status_reason: str | None = None
    started_at: int | None = None
    stopped_at: int | None = None
    attempts: list[Attempt] = field(default_factory=list)
    """Those that have ended."""
    current: Attempt | None = None
    is_cancelled: bool = False
    is_terminated: bool = False
    stop_reason: str | None = None
    stopping: threading.Event = field(default_factory=threading.Event, repr=False)
    """Set when the running attempt is to end."""
    since: float = field(default_factory=time.monotonic)
    """When it entered its status (time.monotonic, as blocked_since)."""
    blocked_since: float = 0.0
    position: tuple[int, int] | None = None
    """Its place among the queue's RUNNABLE jobs, and since when (ms)."""
    environment: str | None = None
    """The compute environment that it runs in."""
    gpus: list[int] = field(default_factory=list)

    @property
    def vcpus(self) -> float:
        return self.needs("VCPU") or float(self.container.get("vcpus", 0))

    def needs(self, kind: str) -> float:
        """Of VCPU, MEMORY or GPU."""
        for requirement in self.container.get("resourceRequirements", []):
            if requirement["type"] == kind:
                return float(requirement["value"])
        return 0.0

    @property
    def next_attempt(self) -> int:
        return len(self.attempts) + 1

    def enter(self, status: Status, reason: str | None = None) -> None:
        self.status, self.since = status, time.monotonic()
        self.status_reason = reason
        self.position = None
        if status.is_final:
            ran = self.attempts[-1].stopped_at if self.attempts and not self.is_cancelled else None
            self.stopped_at = ran or now_ms()

    def block(self, reason: str | None) -> None:
        """Say why it cannot be placed; None: it only waits for its turn."""
        if reason != self.status_reason:
            self.status_reason, self.blocked_since = reason, time.monotonic()

    def detail(self) -> Json:
        """A JobDetail of the service model."""
        shown = {
            **self._both(),
            "jobQueue": self.queue_arn,
            "schedulingPriority": self.priority,
            "attempts": [attempt.detail() for attempt in self.attempts],
            "retryStrategy": {"evaluateOnExit": [], **self.retry_strategy},
            "dependsOn": self.depends_on,
            "parameters": self.parameters,
            "container": {**self.container, **self._latest(), "networkInterfaces": []},
            "timeout": None if self.timeout_s is None else {"attemptDurationSeconds": self.timeout_s},
            "tags": self.tags,
            "propagateTags": self.propagate_tags,
            "platformCapabilities": self.platforms,
            "eksAttempts": [],
            "isCancelled": self.is_cancelled,
            "isTerminated": self.is_terminated,
        }
        return _given(shown)

    def summary(self) -> Json:
        """A JobSummary of the service model."""
        ended = {key: value for key, value in self._latest().items() if key in ("exitCode", "reason")}
        flags = {"isCancelled": self.is_cancelled or None, "isTerminated": self.is_terminated or None}
        return _given({**self._both(), "container": ended or None, **flags})

    def _both(self) -> Json:
        return {
            "jobArn": self.arn,
            "jobId": self.id,
            "jobName": self.name,
            "status": str(self.status),
            "statusReason": self.status_reason,
            "shareIdentifier": self.share,
            "createdAt": self.created_at,
            "startedAt": self.started_at,
            "stoppedAt": self.stopped_at,
            "jobDefinition": self.definition_arn,
            "arrayProperties": self._array(),
        }

    def _array(self) -> Json | None:
        if self.index is not None:
            return {"index": self.index}
        if self.size is None:
            return None
        counts = Counter(child.status for child in self.children)
        return {
            "size": self.size,
            "statusSummary": {str(status): counts[status] for status in Status},
            "statusSummaryLastUpdatedAt": now_ms(),
        }

    def _latest(self) -> Json:
        attempt = self.current or (self.attempts[-1] if self.attempts else None)
        return attempt.container() if attempt else {}


def _given(shown: Json) -> Json:
    return {key: value for key, value in shown.items() if value is not None}
