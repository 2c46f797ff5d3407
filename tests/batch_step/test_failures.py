"""The classifier's table of cases, and that each class says who retries and what to do."""

from __future__ import annotations

import pytest

from batch_step.failures import RULES, Evidence, FailureClass, RetriedBy, classify
from batch_step.records import WorkerError


def error(kind: str = "user", message: str = "", *types: str, spot: bool = False) -> WorkerError:
    return WorkerError(kind, message, list(types), spot_notice=spot)


def raised(message: str, *types: str, permanent: bool = False) -> Evidence:
    """User code raised it; the job may still run."""
    return Evidence(error=WorkerError("user", message, list(types), permanent))


def unstarted(reason: str) -> Evidence:
    """The container never ran."""
    return Evidence("FAILED", NOT_STARTED, reason)


def unpulled(reason: str) -> Evidence:
    return unstarted(f"CannotPullContainerError: {reason}")


def exited(code: int, kind: str | None = None, message: str = "") -> Evidence:
    return Evidence("FAILED", EXITED, exit_code=code, error=error(kind, message) if kind else None)


def stuck(reason: str) -> Evidence:
    return Evidence("RUNNABLE", reason, stuck=True)


HOST_GONE = "Host EC2 (instance i-0c0ffee) terminated."
EXITED = "Essential container in task exited"
NOT_STARTED = "Task failed to start"
F = FailureClass

CASES: list[tuple[str, FailureClass, Evidence]] = [
    # What became of the host comes first: the exit code of a reclaimed host looks like something else.
    ("spot host reclaimed", F.SPOT_RECLAIMED, Evidence("FAILED", HOST_GONE, purchase="spot")),
    ("reclaimed, shows 137", F.SPOT_RECLAIMED, Evidence("FAILED", HOST_GONE, exit_code=137, purchase="spot")),
    ("reclaimed, the worker was warned", F.SPOT_RECLAIMED, Evidence("FAILED", error=error("interrupted", spot=True))),
    ("reclaimed, said so", F.SPOT_RECLAIMED, Evidence("FAILED", "Your Spot Task was interrupted: spot interruption")),
    ("on-demand host lost", F.HOST_LOST, Evidence("FAILED", HOST_GONE, purchase="on-demand")),
    ("host lost, how bought is not known", F.HOST_LOST, Evidence("FAILED", HOST_GONE)),
    ("agent lost", F.HOST_LOST, Evidence("FAILED", "ECS agent was disconnected")),
    # Stuck: only after it has lasted.
    ("no hosts for long", F.CAPACITY_SHORT, stuck("CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - x")),
    ("too large for long", F.NOT_CONFIGURED, stuck("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - x")),
    # What the worker wrote down.
    ("run worker gone", F.HOST_SILENT, exited(75, "host-silent", "x")),
    ("step ran too long", F.TIMED_OUT, exited(124, "timeout")),
    ("other code in the image", F.CODE_MISMATCH, exited(77, "refused")),
    ("job asked to stop by nobody known", F.INTERRUPTED, exited(143, "interrupted")),
    ("attempt 2 of a lost attempt", F.WORKER_LOST, exited(76, "already-begun")),
    ("input at fault", F.BAD_INPUT, raised("not a video", "NotAVideo", permanent=True)),
    ("GPU memory, torch", F.CUDA_OUT_OF_MEMORY, raised("CUDA out of memory. Tried to allocate 2 GiB")),
    ("GPU memory, cuBLAS", F.CUDA_OUT_OF_MEMORY, raised("CUBLAS_STATUS_ALLOC_FAILED")),
    ("GPU broken", F.GPU_LOST, raised("CUDA error: uncorrectable ECC error encountered")),
    ("GPU missing", F.GPU_LOST, raised("RuntimeError: no CUDA-capable device is detected")),
    ("disk full in the step", F.DISK_FULL, raised("[Errno 28] No space left on device", "OSError")),
    ("Python out of memory", F.OUT_OF_MEMORY, raised("MemoryError: ", "MemoryError")),
    ("anything else that code raises", F.BUG, raised("KeyError: 'x'", "KeyError")),
    ("could not even begin", F.BUG, exited(1, "setup", "ImportError: x")),
    # What Batch says.
    ("Batch's own time limit", F.TIMED_OUT, Evidence("FAILED", "Job attempt duration exceeded timeout", exit_code=137)),
    ("cancelled by a person", F.CANCELLED, Evidence("FAILED", "not needed any more", exit_code=143, cancelled=True)),
    ("cancelled while it ran", F.CANCELLED, Evidence("FAILED", "enough", error=error("interrupted"), cancelled=True)),
    ("image not there", F.IMAGE_DENIED, unpulled("manifest unknown")),
    ("image not allowed", F.IMAGE_DENIED, unpulled("pull access denied for x")),
    ("registry slow", F.IMAGE_UNREACHABLE, unpulled("request canceled (Timeout)")),
    ("registry says slow down", F.IMAGE_UNREACHABLE, unpulled("toomanyrequests")),
    ("disk full while pulling", F.HOST_DISK_FULL, unpulled("no space left on device")),
    ("no rights to a secret", F.NOT_CONFIGURED, unstarted("ResourceInitializationError: unable to pull secrets")),
    ("no program", F.NOT_CONFIGURED, unstarted("CannotStartContainerError: exec: executable file not found")),
    ("bad container", F.NOT_CONFIGURED, unstarted("CannotCreateContainerError: invalid mount")),
    ("Docker hangs", F.CONTAINER_NOT_STARTED, unstarted("DockerTimeoutError: Could not transition")),
    ("Docker hangs, no status reason", F.CONTAINER_NOT_STARTED, Evidence("FAILED", "", "DockerTimeoutError: x")),
    ("no driver on the host", F.GPU_LOST, unstarted("CannotStartContainerError: nvidia-container-cli: x")),
    ("not started, no word why", F.CONTAINER_NOT_STARTED, Evidence("FAILED", NOT_STARTED)),
    ("out of memory, Docker saw", F.OUT_OF_MEMORY, Evidence("FAILED", EXITED, "OutOfMemoryError: killed", 137)),
    ("out of memory, no code", F.OUT_OF_MEMORY, Evidence("FAILED", EXITED, "OutOfMemoryError: killed")),
    ("unknown to Batch", F.VANISHED, Evidence("UNKNOWN")),
    # Nothing but a code.
    ("out of memory, Docker did not see it", F.OUT_OF_MEMORY, exited(137)),
    ("segmentation fault", F.NATIVE_CRASH, exited(139)),
    ("abort()", F.NATIVE_CRASH, exited(134)),
    ("command not found", F.NOT_CONFIGURED, exited(127)),
    ("lease, the channel was away", F.HOST_SILENT, exited(75)),
    ("refused, the channel was away", F.CODE_MISMATCH, exited(77)),
    ("time limit, the channel was away", F.TIMED_OUT, exited(124)),
    ("stopped, the channel was away", F.INTERRUPTED, exited(143)),
    ("second attempt, the channel was away", F.WORKER_LOST, exited(76)),
    ("Python failed before it could say", F.BUG, exited(1)),
    ("ended well, said nothing", F.WORKER_LOST, Evidence("SUCCEEDED", EXITED, exit_code=0)),
    ("an exit code of nobody's", F.WORKER_LOST, exited(42)),
    ("an earlier attempt's mark, whatever Batch says", F.WORKER_LOST, exited(1, "already-begun", "attempt 1 of it")),
    ("nothing at all", F.WORKER_LOST, Evidence("FAILED")),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "evidence"), [pytest.param(f, e, id=name) for name, f, e in CASES])
def test_an_end_is_classified(expected: FailureClass, evidence: Evidence) -> None:
    assert classify(evidence) is expected


def test_every_class_has_a_case() -> None:
    assert {case[1] for case in CASES} == set(FailureClass)


@pytest.mark.parametrize("number", range(len(RULES)))
def test_every_rule_decides_a_case(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it some case comes out differently: no rule stands there for nothing."""
    rules = RULES[:number] + RULES[number + 1 :]
    monkeypatch.setattr("batch_step.failures.RULES", rules)
    changed = [name for name, expected, evidence in CASES if classify(evidence) is not expected]
    assert changed, RULES[number]


@pytest.mark.parametrize("failure", list(FailureClass))
def test_every_class_says_who_retries_and_what_to_do(failure: FailureClass) -> None:
    assert isinstance(failure.retried_by, RetriedBy)
    assert len(failure.summary) > 10
    assert len(failure.remedy) > 10


def test_the_evidence_reads_as_one_line() -> None:
    evidence = Evidence("FAILED", EXITED, "OutOfMemoryError: Container killed", 137, error("user", "first\nsecond"))
    assert evidence.why == f"{EXITED}; OutOfMemoryError: Container killed; exit code 137; first"
    assert Evidence("FAILED").why == "job FAILED without a reason"
