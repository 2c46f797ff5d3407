"""What the local Batch can be told to do wrong.

    aws.faults.add(SpotReclaim(jobs="detections-*", every=10))     each tenth attempt of these jobs loses its host
    aws.faults.add(Throttle(every=5))                              each fifth call is answered 429
    aws.faults.add(PullError(message=PULL_DENIED, times=1))        the next attempt finds no image
    aws.faults.clear()

A fault that concerns jobs names them by a glob over job names, or by one job's id; it is put to each attempt once,
takes effect on one in `every` of those, `times` times at most (None: without end). So a running job is reclaimed by
adding `SpotReclaim(jobs=job_id)`.
"""

from __future__ import annotations

import fnmatch
import json
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeVar

# In AWS's words: the troubleshooting pages of the ECS developer guide and of the Batch user guide.
PULL_DENIED = (
    "CannotPullContainerError: Error response from daemon: pull access denied for sentinel, repository does not exist "
    "or may require 'docker login': denied: requested access to the resource is denied"
)
PULL_TIMED_OUT = (
    "CannotPullContainerError: Error response from daemon: Get https://123456789012.dkr.ecr.amazonaws.com/v2/: "
    "net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)"
)
NO_INSTANCES = (
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested for instance type "
    "[g5.xlarge]"
)
TOO_LARGE = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) is higher than that "
    "can be met by the CE(s) attached to the job queue."
)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`jobs`: a glob over job names, or a job's id. `every`, `times`: of those it matches, which it takes effect on."""

    jobs: str = "*"
    every: int = 1
    times: int | None = None

    def __post_init__(self) -> None:
        if self.every < 1 or (self.times is not None and self.times < 1):
            raise ValueError(f"every and times count from 1, got every={self.every}, times={self.times}")


@dataclass(frozen=True, kw_only=True)
class SpotReclaim(Fault):
    """The host goes away `after_s` into the attempt; with `notice_s`, SIGTERM comes that long before (120 s on AWS)."""

    after_s: float = 0.0
    notice_s: float = 0.0
    instance: str = "i-0c0ffee0c0ffee000"


@dataclass(frozen=True, kw_only=True)
class OutOfMemory(Fault):
    """The kernel kills the container `after_s` into the attempt: exit code 137."""

    after_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PullError(Fault):
    """The image cannot be pulled, so the attempt does not start."""

    message: str = PULL_TIMED_OUT


@dataclass(frozen=True, kw_only=True)
class LateLogs(Fault):
    """The log stream is not there for the first `seconds` of the attempt, nor is what was written to it."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class Vanish(Fault):
    """The job runs, and neither DescribeJobs nor ListJobs knows it."""


@dataclass(frozen=True, kw_only=True)
class Stuck(Fault):
    """The job stays RUNNABLE, with this reason."""

    reason: str = TOO_LARGE


@dataclass(frozen=True, kw_only=True)
class Slow(Fault):
    """The job stays in `state` for at least `seconds`; in RUNNING, for that long after its process has ended."""

    state: str
    seconds: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.state not in ("SUBMITTED", "RUNNABLE", "STARTING", "RUNNING"):
            raise ValueError(f"a job is slow in SUBMITTED, RUNNABLE, STARTING or RUNNING, not in {self.state!r}")


@dataclass(frozen=True, kw_only=True)
class NoCapacity(Fault):
    """No host can be had for these jobs: a spot market that has run dry."""

    reason: str = NO_INSTANCES


@dataclass(frozen=True, kw_only=True)
class Throttle(Fault):
    """One in `every` calls of these operations (a glob: `Describe*`) is answered 429 TooManyRequestsException."""

    operations: str = "*"


ADMIN_PATH = "/_local/batch/faults"  # no bucket name begins with an underscore

F = TypeVar("F", bound=Fault)

KINDS: dict[str, type[Fault]] = {
    kind.__name__: kind
    for kind in (SpotReclaim, OutOfMemory, PullError, LateLogs, Vanish, Stuck, Slow, NoCapacity, Throttle)
}


class Target(Protocol):
    """What a fault needs to know of a job."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...


@dataclass
class _Rule:
    fault: Fault
    put_to: dict[str, bool] = field(default_factory=dict)
    """By what it was put to (an attempt of a job): whether it takes effect."""
    seen: int = 0
    used: int = 0

    def decide(self, key: str | None) -> bool:
        """Whether it takes effect on this; a `key` asked about before gets the answer of then."""
        if key is not None and key in self.put_to:
            return self.put_to[key]
        spent = self.fault.times is not None and self.used >= self.fault.times
        if not spent:
            self.seen += 1
        strikes = not spent and self.seen % self.fault.every == 0
        self.used += strikes
        if key is not None and not spent:
            self.put_to[key] = strikes
        return strikes


class Faults:
    """The faults in force. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: dict[int, _Rule] = {}
        self._last_id = 0
        self.on_change: Callable[[], None] = lambda: None

    def add(self, fault: Fault) -> int:
        """Put it in force; its number, for `remove`."""
        with self._lock:
            self._last_id += 1
            number = self._last_id
            self._rules[number] = _Rule(fault)
        self.on_change()
        return number

    def remove(self, number: int) -> None:
        with self._lock:
            self._rules.pop(number, None)
        self.on_change()

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()
        self.on_change()

    def in_force(self) -> dict[int, Fault]:
        with self._lock:
            return {number: rule.fault for number, rule in self._rules.items()}

    def used(self, number: int) -> int:
        """How often it took effect."""
        with self._lock:
            return self._rules[number].used if number in self._rules else 0

    def on_job(self, kind: type[F], job: Target, attempt: int = 0) -> list[F]:
        """Those of this kind that take effect on this attempt of the job (0: on the job as a whole)."""
        with self._lock:
            return [
                rule.fault
                for rule in self._rules.values()
                if isinstance(rule.fault, kind)
                and (rule.fault.jobs == job.id or fnmatch.fnmatchcase(job.name, rule.fault.jobs))
                and rule.decide(f"{job.id}#{attempt}")
            ]

    def throttles(self, operation: str) -> bool:
        """Whether this call is one to be refused."""
        with self._lock:
            rules = [
                rule
                for rule in self._rules.values()
                if isinstance(rule.fault, Throttle) and fnmatch.fnmatchcase(operation, rule.fault.operations)
            ]
            decisions = [rule.decide(None) for rule in rules]  # each counts the call, whichever refuses it
            return any(decisions)

    def slowness(self, job: Target, attempt: int, state: str) -> float:
        """For how many seconds at least the job stays in this state."""
        return max((slow.seconds for slow in self.on_job(Slow, job, attempt) if slow.state == state), default=0.0)


class RemoteFaults:
    """The faults of a local Batch in another process, over its loopback address."""

    def __init__(self, url: str, access_key: str) -> None:
        self._url = f"{url}{ADMIN_PATH}"
        self._access_key = access_key

    def add(self, fault: Fault) -> int:
        """Put it in force; its number, for `remove`."""
        return int(self._call("POST", "", to_json(fault))["number"])

    def remove(self, number: int) -> None:
        self._call("DELETE", f"/{number}")

    def clear(self) -> None:
        self._call("DELETE", "")

    def in_force(self) -> dict[int, Fault]:
        return {int(number): from_json(fault) for number, fault in self._call("GET", "").items()}

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-Access-Key": self._access_key, "Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data, headers, method=method)  # noqa: S310 - http, loopback
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # past the user's proxy
        with direct.open(request, timeout=10) as answer:
            return json.load(answer)


def to_json(fault: Fault) -> dict[str, Any]:
    return {"kind": type(fault).__name__, **asdict(fault)}


def from_json(data: dict[str, Any]) -> Fault:
    """Raises ValueError when there is no such fault, or it has no such field."""
    fields = dict(data)
    kind = KINDS.get(fields.pop("kind", ""))
    if kind is None:
        raise ValueError(f"kind must be one of {', '.join(sorted(KINDS))}, got {data.get('kind')!r}")
    try:
        return kind(**fields)
    except TypeError as error:
        raise ValueError(str(error)) from error
