"""One classifier of everything that can end a job, and one table of what to do about it.

What user code does is Dagster's to retry (RetryPolicy); what the machine does is the launcher's, from a budget of its
own; some things nobody should try again. AWS documents few of the strings below: each row says where it was seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from batch_step.records import (
    EXIT_HOST_SILENT,
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    EXIT_TIMED_OUT,
    WorkerError,
)


class RetriedBy(Enum):
    LAUNCHER = "the launcher, from its infrastructure budget"
    DAGSTER = "Dagster, as the asset's RetryPolicy says"
    NOBODY = "nobody"


class FailureClass(Enum):
    """Value: who retries, what happened, what the operator should do."""

    SPOT_RECLAIMED = (
        RetriedBy.LAUNCHER,
        "EC2 took the spot host back",
        "Nothing; set on_demand_queue if this happens often",
    )
    HOST_LOST = (
        RetriedBy.LAUNCHER,
        "the host went away",
        "Nothing, unless it repeats: look at the host's health in EC2",
    )
    GPU_LOST = (
        RetriedBy.LAUNCHER,
        "the host's GPU or its driver does not work",
        "Nothing, unless it repeats: terminate the host, check that AMI driver and image CUDA fit",
    )
    HOST_DISK_FULL = (
        RetriedBy.LAUNCHER,
        "the host's disk is full, the container could not be made",
        "Give the launch template a larger volume, or a shorter ECS image clean-up interval",
    )
    CONTAINER_NOT_STARTED = (
        RetriedBy.LAUNCHER,
        "Docker did not bring the container up in time",
        "Nothing, unless it repeats: the host is overloaded or its disk is slow",
    )
    IMAGE_UNREACHABLE = (
        RetriedBy.LAUNCHER,
        "the image could not be pulled just now",
        "Nothing, unless it repeats: check the route to the registry and its rate limits",
    )
    CAPACITY_SHORT = (
        RetriedBy.LAUNCHER,
        "AWS had no host to give for long",
        "Allow more instance types or zones, or set on_demand_queue",
    )
    VANISHED = (
        RetriedBy.LAUNCHER,
        "AWS Batch no longer knows the job",
        "Look for who deletes jobs or changes accounts",
    )
    WORKER_LOST = (
        RetriedBy.LAUNCHER,
        "the worker ended without a word",
        "Read the job's log; if it repeats at the same place, suspect memory or native code",
    )
    HOST_SILENT = (
        RetriedBy.LAUNCHER,
        "the job stopped itself, as the run worker had gone silent",
        "See why the run worker was away; raise resume_seconds if it only needs longer to resume",
    )
    INTERRUPTED = (RetriedBy.LAUNCHER, "the job was asked to stop, by nobody known here", "See who stops jobs or hosts")
    OUT_OF_MEMORY = (
        RetriedBy.DAGSTER,
        "the container ran out of memory",
        "Raise batch_step/memory_mib of this asset, or read less at once",
    )
    CUDA_OUT_OF_MEMORY = (
        RetriedBy.DAGSTER,
        "the GPU ran out of memory",
        "Lower the batch size of this asset, or ask for a larger GPU",
    )
    DISK_FULL = (
        RetriedBy.DAGSTER,
        "the disk filled up while the step ran",
        "Write less, clean up after each item, or give the host a larger volume",
    )
    TIMED_OUT = (
        RetriedBy.DAGSTER,
        "the step ran past its time limit",
        "See in its log where it hangs; else raise batch_step/timeout_seconds of this asset, or the launcher's limit",
    )
    NATIVE_CRASH = (
        RetriedBy.DAGSTER,
        "native code crashed the process",
        "Look in the log for the last library called; run with PYTHONFAULTHANDLER=1",
    )
    BUG = (RetriedBy.DAGSTER, "the step's own code failed", "Read the error below; it is in the asset's code")
    BAD_INPUT = (
        RetriedBy.NOBODY,
        "the step says of its error that trying again cannot help",
        "Replace the input, or correct what the error names; running it again gives the same",
    )
    IMAGE_DENIED = (
        RetriedBy.NOBODY,
        "the image does not exist or may not be pulled",
        "Check the image's name and tag, and the execution role's rights on the registry",
    )
    NOT_CONFIGURED = (
        RetriedBy.NOBODY,
        "the job definition or its environment cannot work",
        "Correct what the reason names: a role, a secret, a command, or the resources asked for",
    )
    CODE_MISMATCH = (
        RetriedBy.NOBODY,
        "the image holds other code than the code location",
        "Deploy the code location and the job's image from the same commit",
    )
    CANCELLED = (RetriedBy.NOBODY, "the job was cancelled", "Nothing, if you cancelled it; else see the reason")

    def __init__(self, retried_by: RetriedBy, summary: str, remedy: str) -> None:
        self.retried_by, self.summary, self.remedy = retried_by, summary, remedy


@dataclass(frozen=True)
class Evidence:
    """All that is known of an end. Empty and None mean: not said."""

    status: str = ""  # of the Batch job; "UNKNOWN" when DescribeJobs knows it no more
    status_reason: str = ""
    container_reason: str = ""
    exit_code: int | None = None
    error: WorkerError | None = None
    purchase: str | None = None  # of the host, where the worker could tell
    cancelled: bool = False  # Batch marks the job as terminated or cancelled by request
    stuck: bool = False  # it was RUNNABLE with this reason for longer than a host needs to boot

    @property
    def why(self) -> str:
        """One line for people."""
        parts = [self.status_reason, self.container_reason]
        if self.exit_code is not None:
            parts.append(f"exit code {self.exit_code}")
        if self.error is not None and self.error.message:
            parts.append(self.error.message.strip().splitlines()[0])
        return "; ".join(p for p in parts if p) or f"job {self.status or 'ended'} without a reason"


@dataclass(frozen=True)
class Rule:
    """All conditions that are given must hold. Patterns are searched for, without regard to case."""

    failure: FailureClass
    status_reason: str | None = None
    reason: str | None = None  # the container's
    error: str | None = None  # types and message of the worker's error
    kind: str | None = None  # of the worker's error
    exit_codes: frozenset[int] | None = None
    when: Callable[[Evidence], bool] | None = None

    def holds(self, e: Evidence) -> bool:
        said = "" if e.error is None else " ".join([*e.error.types, e.error.message])
        return (
            _found(self.status_reason, e.status_reason)
            and _found(self.reason, e.container_reason)
            and _found(self.error, said)
            and (self.kind is None or (e.error is not None and e.error.kind == self.kind))
            and (self.exit_codes is None or e.exit_code in self.exit_codes)
            and (self.when is None or self.when(e))
        )


def _found(pattern: str | None, text: str) -> bool:
    return pattern is None or re.search(pattern, text, re.IGNORECASE) is not None


def classify(evidence: Evidence) -> FailureClass:
    """The first rule that holds; WORKER_LOST when none does, as then nothing speaks for the user's code. That is also
    what it means when a worker ends well and has said nothing, or ends as an earlier attempt had begun the step."""
    return next((rule.failure for rule in RULES if rule.holds(evidence)), FailureClass.WORKER_LOST)


def _any(*patterns: str) -> str:
    return "|".join(patterns)


_HOST_GONE = _any(
    r"^Host EC2",
    r"container instance .*(terminated|stopped|deregistered)",
    r"agent (was )?disconnected",
)
_NO_SPACE = _any(r"no space left on device", r"\[Errno 28\]")
_GPU_GONE = _any(
    r"no CUDA-capable device",
    r"CUDA driver version is insufficient",
    r"ECC error",
    r"GPU is lost",
    r"fallen off the bus",
    r"nvidia-container-cli",
    r"NVML: Driver/library version mismatch",
    r"CUDA-capable device\(s\) is/are busy",
)
_GPU_MEMORY = _any(
    r"CUDA out of memory",
    r"CUDA error: out of memory",
    r"cuda ?runtime ?error.*out of memory",
    r"CUBLAS_STATUS_ALLOC_FAILED",
    r"torch\.(cuda\.)?OutOfMemoryError",
)
_NOT_ALLOWED = _any(
    r"denied",
    r"unauthorized",
    r"not authorized",
    r"no basic auth",
    r"not found",
    r"manifest unknown",
    r"does not exist",
    r"invalid reference",
    r"\b40[34]\b",
)

# Order matters: what happened to the host explains everything below it (a reclaimed host also shows 137 or 143), then
# what the worker itself wrote down, then what Batch says of the container, then bare exit codes.
RULES: tuple[Rule, ...] = (
    # Stuck in RUNNABLE: reason codes of the Batch user guide, "Jobs stuck in RUNNABLE".
    Rule(
        FailureClass.CAPACITY_SHORT, status_reason=r"^CAPACITY:|INSUFFICIENT_INSTANCE_CAPACITY", when=lambda e: e.stuck
    ),
    Rule(FailureClass.NOT_CONFIGURED, when=lambda e: e.stuck),
    # "Host EC2 (instance i-0abc) terminated." is what Nextflow and redun match; the same text for reclaims and losses.
    Rule(FailureClass.SPOT_RECLAIMED, when=lambda e: e.error is not None and e.error.spot_notice),
    Rule(FailureClass.SPOT_RECLAIMED, status_reason=r"spot (interruption|instance)"),
    Rule(FailureClass.SPOT_RECLAIMED, status_reason=_HOST_GONE, when=lambda e: e.purchase == "spot"),
    Rule(FailureClass.HOST_LOST, status_reason=_HOST_GONE),
    # The worker's own words.
    Rule(FailureClass.HOST_SILENT, kind="host-silent"),
    Rule(FailureClass.TIMED_OUT, kind="timeout"),
    Rule(FailureClass.CODE_MISMATCH, kind="refused"),
    Rule(FailureClass.TIMED_OUT, status_reason=r"attempt duration exceeded timeout"),
    Rule(FailureClass.CANCELLED, when=lambda e: e.cancelled),
    Rule(FailureClass.INTERRUPTED, kind="interrupted"),
    Rule(FailureClass.WORKER_LOST, kind="already-begun"),
    Rule(FailureClass.BAD_INPUT, when=lambda e: e.error is not None and e.error.permanent),
    Rule(FailureClass.GPU_LOST, error=_GPU_GONE),
    Rule(FailureClass.CUDA_OUT_OF_MEMORY, error=_GPU_MEMORY),
    Rule(FailureClass.DISK_FULL, error=_NO_SPACE),
    Rule(FailureClass.OUT_OF_MEMORY, error=r"\bMemoryError\b|ArrayMemoryError"),
    Rule(FailureClass.BUG, when=lambda e: e.error is not None),
    # The container's: ECS error names, as in the ECS guide "Stopped tasks error messages".
    Rule(FailureClass.HOST_DISK_FULL, reason=_NO_SPACE),
    Rule(FailureClass.GPU_LOST, reason=_GPU_GONE),
    Rule(
        FailureClass.IMAGE_DENIED,
        reason=f"CannotPull.*({_NOT_ALLOWED})",
    ),
    Rule(FailureClass.IMAGE_UNREACHABLE, reason=r"CannotPull"),
    Rule(
        FailureClass.NOT_CONFIGURED, reason=r"ResourceInitializationError|executable file not found|permission denied"
    ),
    Rule(
        FailureClass.CONTAINER_NOT_STARTED,
        reason=r"DockerTimeoutError|CannotInspectContainerError|CannotCreateVolumeError",
    ),
    Rule(FailureClass.NOT_CONFIGURED, reason=r"Cannot(Start|Create)Container"),
    Rule(FailureClass.OUT_OF_MEMORY, reason=r"OutOfMemory"),
    Rule(FailureClass.CONTAINER_NOT_STARTED, status_reason=r"Task failed to start"),
    Rule(FailureClass.VANISHED, when=lambda e: e.status == "UNKNOWN"),
    # Bare exit codes.
    Rule(FailureClass.HOST_SILENT, exit_codes=frozenset({EXIT_HOST_SILENT})),
    Rule(FailureClass.CODE_MISMATCH, exit_codes=frozenset({EXIT_REFUSED})),
    Rule(FailureClass.TIMED_OUT, exit_codes=frozenset({EXIT_TIMED_OUT})),
    Rule(FailureClass.INTERRUPTED, exit_codes=frozenset({EXIT_INTERRUPTED})),
    # 137 = 128 + SIGKILL with the host alive: the kernel's memory killer, which Docker may not see (a child of PID 1).
    Rule(FailureClass.OUT_OF_MEMORY, exit_codes=frozenset({137})),
    # 128 + SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV.
    Rule(FailureClass.NATIVE_CRASH, exit_codes=frozenset({132, 134, 135, 136, 139})),
    Rule(FailureClass.NOT_CONFIGURED, exit_codes=frozenset({126, 127})),
    Rule(FailureClass.BUG, exit_codes=frozenset({1, 2})),
)
