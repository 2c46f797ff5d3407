"""What the machine does is the launcher's to retry, what the code does is Dagster's; people are told which it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import dagster as dg
import pytest

from batch_step.cost import accounts_of_run
from batch_step.jobs import BatchJobs
from tests.batch_step.runs import Toys, kinds, messages, ran

if TYPE_CHECKING:
    from infra.local.aws import LocalAws


def run(
    toys: Toys, tmp_path: Path, asset: str = "behaving", behavior: dict[str, Any] | None = None, **settings: Any
) -> Any:
    config = {"folder": str(tmp_path / "ran"), **(behavior or {})}
    return toys.run(asset, ops={asset: config}, **settings)


def events_of(result: dg.JobExecutionResult, instance: dg.DagsterInstance) -> list[dg.DagsterEvent]:
    return [e.dagster_event for e in instance.all_logs(result.run_id) if e.dagster_event and e.dagster_event.message]


def failure(result: dg.JobExecutionResult, step: str) -> Any:
    return result.failure_data_for_node(step)


def reclaim(**more: Any) -> Any:
    from infra.local.batch.faults import SpotReclaim

    return SpotReclaim(jobs="dagster-behaving*", **more)


def test_a_reclaimed_host_costs_no_retry_of_the_asset(toys: Toys, batch: LocalAws, tmp_path: Path) -> None:
    """STEP_START twice, no STEP_UP_FOR_RETRY: the user's policy was not charged, and there is none here."""
    batch.faults.add(reclaim(times=1, after_s=0.6))
    result = run(toys, tmp_path, behavior={"sleep_s": 1})
    assert result.success
    assert "STEP_UP_FOR_RETRY" not in kinds(result, toys.instance, "behaving")
    said = messages(result, toys.instance)
    assert any("EC2 took the spot host back" in m and "1 of 3 infrastructure retries" in m for m in said)
    assert len(toys.jobs()) == 2


def test_a_spot_warning_reaches_the_step_and_costs_no_retry_of_the_asset(
    toys: Toys, batch: LocalAws, tmp_path: Path
) -> None:
    """Dagster turns the interrupt into a retry of the RetryPolicy; the worker keeps that event back."""
    from infra.local.batch.faults import SpotReclaim

    batch.faults.add(SpotReclaim(jobs="dagster-persisting*", times=1, after_s=2.5, notice_s=1.5))
    result = run(toys, tmp_path, "persisting", {"sleep_s": 2.5})
    assert result.success
    assert "STEP_UP_FOR_RETRY" not in kinds(result, toys.instance, "persisting")


def test_after_k_reclaims_the_step_moves_to_the_on_demand_queue(toys: Toys, batch: LocalAws, tmp_path: Path) -> None:
    batch.faults.add(reclaim(times=2))
    result = run(toys, tmp_path, on_demand_queue="on-demand", reclaims_before_on_demand=2)
    assert result.success
    assert [len(toys.jobs(queue)) for queue in ("gpu", "on-demand")] == [2, 1]


def test_a_spent_budget_fails_the_step_with_all_that_is_known(toys: Toys, batch: LocalAws, tmp_path: Path) -> None:
    batch.faults.add(reclaim())
    result = run(toys, tmp_path, infrastructure_retries=1)
    assert not result.success
    data = failure(result, "behaving")
    assert "HOST_LOST" in data.error.message  # how it was bought nobody could tell
    assert "after 2 jobs" in data.error.message
    metadata = data.user_failure_data.metadata
    assert metadata["reason"].value.startswith("Host EC2")
    assert metadata["retried by"].value.startswith("the launcher")
    assert "batch/home" in metadata["console"].value


def test_a_container_killed_for_memory_is_dagsters_to_retry(toys: Toys, batch: LocalAws, tmp_path: Path) -> None:
    """Dagster's own launchers raise past the policy: a crash is never retried there."""
    result = run(toys, tmp_path, "persisting", {"die": "kill"})
    assert result.success
    assert kinds(result, toys.instance, "persisting").count("STEP_UP_FOR_RETRY") == 1
    assert ran(tmp_path / "ran") == {"persisting": 2}


def test_without_a_policy_a_killed_container_fails_with_reason_log_and_link(
    toys: Toys, batch: LocalAws, tmp_path: Path
) -> None:
    result = run(toys, tmp_path, behavior={"die": "kill", "print_lines": 3})
    assert not result.success
    data = failure(result, "behaving")
    assert "OUT_OF_MEMORY" in data.error.message
    assert "Raise batch_step/memory_mib" in data.error.message
    events = [e.dagster_event for e in toys.instance.all_logs(result.run_id) if e.dagster_event]
    told = next(e for e in events if e.message and e.message.startswith("OUT_OF_MEMORY"))
    assert "line 2" in told.engine_event_data.metadata["last log lines"].value
    assert "logsV2" in told.engine_event_data.metadata["log"].value


ENDS = [
    # how the step dies, in the message, how often it runs, with a policy of 2 retries
    ("segv", "NATIVE_CRASH", 2, True),  # native code: Dagster's policy, and the second run is well
    ("silently", "WORKER_LOST", 2, True),  # ends with 0 and says nothing: the launcher's
    ("gpu lost", "GPU_LOST", 2, True),  # raised by user code, but the machine is at fault: the launcher's
    ("interrupt", "INTERRUPTED", 2, True),  # SIGTERM from nobody known: the launcher's
    ("cuda memory", "CUDA_OUT_OF_MEMORY", 2, True),  # Dagster's
    ("bad input", "BAD_INPUT", 1, False),  # nobody's, though the policy would: the exception says that it is no use
    ("exit", "BUG", 1, False),  # sys.exit: no policy covers it in process either
]


@pytest.mark.parametrize(("how", "told", "runs", "success"), ENDS, ids=[e[0] for e in ENDS])
def test_an_end_is_told_and_retried_by_whom_it_concerns(
    toys: Toys, tmp_path: Path, how: str, told: str, runs: int, success: bool
) -> None:
    result = run(toys, tmp_path, "persisting", {"die": how})
    assert result.success is success
    assert ran(tmp_path / "ran") == {"persisting": runs}
    assert any(m.startswith(told) for m in messages(result, toys.instance))
    retries = kinds(result, toys.instance, "persisting").count("STEP_UP_FOR_RETRY")
    assert retries == (0 if told in ("WORKER_LOST", "GPU_LOST", "INTERRUPTED", "BUG", "BAD_INPUT") else 1)


def test_an_error_that_cannot_be_helped_is_told_once_as_it_was_raised(toys: Toys, tmp_path: Path) -> None:
    """A policy of two more tries, and none is made; the failure shows the error and what to do."""
    result = run(toys, tmp_path, "persisting", {"die": "bad input", "die_always": True})
    assert ran(tmp_path / "ran") == {"persisting": 1}
    assert "STEP_UP_FOR_RETRY" not in kinds(result, toys.instance, "persisting")
    data = failure(result, "persisting")
    assert data.error.message.startswith("Not tried again")
    assert data.error.cause.cls_name == "NotAVideo"
    told = next(e for e in events_of(result, toys.instance) if e.message.startswith("BAD_INPUT"))
    assert told.engine_event_data.metadata["retried by"].value == "nobody"
    assert told.engine_event_data.metadata["what to do"].value.startswith("Replace the input")


def test_a_retry_that_user_code_asks_for_itself_is_its_own_affair(toys: Toys, tmp_path: Path) -> None:
    """Also of an error that calls itself permanent."""
    result = run(toys, tmp_path, "persisting", {"die": "bad input, ask for another try"})
    assert result.success
    assert kinds(result, toys.instance, "persisting").count("STEP_UP_FOR_RETRY") == 1


def test_an_image_that_may_not_be_pulled_is_tried_once(toys: Toys, batch: LocalAws, tmp_path: Path) -> None:
    from infra.local.batch.faults import PULL_DENIED, PullError

    batch.faults.add(PullError(message=PULL_DENIED))
    result = run(toys, tmp_path, "persisting")
    assert not result.success
    assert "IMAGE_DENIED" in failure(result, "persisting").error.message
    assert len(toys.jobs()) == 1


def test_a_slow_registry_is_tried_again(toys: Toys, batch: LocalAws, tmp_path: Path) -> None:
    from infra.local.batch.faults import PullError

    batch.faults.add(PullError(times=1))
    assert run(toys, tmp_path).success
    assert len(toys.jobs()) == 2


def test_a_job_that_batch_no_longer_knows_is_replaced(toys: Toys, batch: LocalAws, tmp_path: Path) -> None:
    from infra.local.batch.faults import Vanish

    batch.faults.add(Vanish(times=1))
    result = run(toys, tmp_path, "persisting", {"die": "kill"}, unknown_after_seconds=1)
    assert result.success
    assert any(m.startswith("VANISHED") for m in messages(result, toys.instance))


def test_a_job_that_lacks_hosts_for_long_moves_to_the_other_queue(toys: Toys, batch: LocalAws, tmp_path: Path) -> None:
    from infra.local.batch.faults import NoCapacity

    batch.faults.add(NoCapacity(times=1))
    settings = {"stuck_after_seconds": 1, "on_demand_queue": "on-demand", "reclaims_before_on_demand": 1}
    result = run(toys, tmp_path, **settings)
    assert result.success
    assert any(m.startswith("CAPACITY_SHORT") for m in messages(result, toys.instance))
    assert [j["status"] for j in toys.jobs("on-demand")] == ["SUCCEEDED"]
    assert [j["status"] for j in toys.jobs()] == ["FAILED"]  # terminated: it must not start after all


def test_a_job_that_can_never_be_placed_fails_and_says_why(toys: Toys, batch: LocalAws, tmp_path: Path) -> None:
    from infra.local.batch.faults import Stuck

    batch.faults.add(Stuck())
    result = run(toys, tmp_path, stuck_after_seconds=1)
    assert "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT" in failure(result, "behaving").error.message
    assert len(toys.jobs()) == 1


def test_a_reason_that_goes_away_harms_nothing(toys: Toys, batch: LocalAws, tmp_path: Path) -> None:
    """While the first host boots, Batch may say that it lacks capacity."""
    from infra.local.batch.faults import NoCapacity

    number = batch.faults.add(NoCapacity())
    import threading

    threading.Timer(2, batch.faults.remove, [number]).start()
    assert run(toys, tmp_path, stuck_after_seconds=60).success
    assert len(toys.jobs()) == 1


def test_a_step_past_its_time_is_stopped_and_dagsters_to_retry(toys: Toys, tmp_path: Path) -> None:
    result = run(toys, tmp_path, "behaving", {"sleep_s": 30}, timeout_seconds=0.5)
    assert "TIMED_OUT" in failure(result, "behaving").error.message


def test_another_version_in_the_image_is_refused(toys: Toys, tmp_path: Path) -> None:
    result = run(toys, tmp_path, code_version="git-1")
    assert "launched from git-1, the image has nothing" in failure(result, "behaving").error.message
    assert ran(tmp_path / "ran") == {}


def test_throttled_calls_delay_a_step_and_do_not_fail_it(toys: Toys, batch: LocalAws, tmp_path: Path) -> None:
    from infra.local.batch.faults import Throttle

    batch.faults.add(Throttle(every=2))
    assert run(toys, tmp_path).success


def test_an_overlong_environment_is_refused_before_batch_is_asked(toys: Toys, tmp_path: Path) -> None:
    result = run(toys, tmp_path, environment={"CONFIG": "x" * 9_000})
    assert "8192 at most" in failure(result, "behaving").error.message
    assert toys.jobs() == []


def test_the_step_pays_for_the_time_of_its_host(toys: Toys, tmp_path: Path) -> None:
    result = run(toys, tmp_path, behavior={"sleep_s": 1}, prices={"g5.xlarge/spot": 3600.0})
    events = [e.dagster_event for e in toys.instance.all_logs(result.run_id) if e.dagster_event]
    took = next(e for e in events if e.message == "What the step took").engine_event_data.metadata
    assert 1.0 < took["cost_usd"].value < 20  # a dollar a second
    assert took["user_code_s"].value >= 1.0
    assert {"waiting_s", "loading_s", "uploading_s"} <= took.keys()


def test_a_step_that_is_faster_than_the_watcher_is_paid_and_its_lines_are_shown(
    toys: Toys, batch: LocalAws, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """DescribeJobs was asked once, before the job had a host."""
    from infra.local.batch.faults import Slow

    batch.faults.add(Slow(state="RUNNABLE", seconds=2))
    behavior = {"sleep_s": 1, "print_lines": 2}
    result = run(toys, tmp_path, behavior=behavior, describe_seconds=60, prices={"g5.xlarge/spot": 3600.0})
    paid = accounts_of_run(toys.instance, result.run_id)["behaving"]
    assert 1.0 < paid.host_s < 20
    assert paid.usd == pytest.approx(paid.host_s, abs=0.01)
    assert "line 0\nline 1\n" in capfd.readouterr().out


@pytest.mark.parametrize("reuse", ["step", "run"])
@pytest.mark.parametrize("retries", [0, 1])
def test_jobs_that_were_lost_are_paid_for_too(
    toys: Toys, batch: LocalAws, tmp_path: Path, reuse: str, retries: int
) -> None:
    """Also where none finished the step. A second of sleep at a dollar a second: gone twice, if it is tried again."""
    from infra.local.batch.faults import SpotReclaim

    batch.faults.add(SpotReclaim(times=1, after_s=1.5))
    behavior = {"sleep_s": 3}
    result = run(
        toys,
        tmp_path,
        behavior=behavior,
        reuse=reuse,
        infrastructure_retries=retries,
        prices={"g5.xlarge/spot": 3600.0},
    )
    assert result.success is bool(retries)
    (job, *_) = sorted(toys.jobs(), key=lambda job: job["createdAt"])
    lost_s = (job["stoppedAt"] - job["startedAt"]) / 1000
    paid = accounts_of_run(toys.instance, result.run_id)["behaving"]
    assert paid.usd == pytest.approx(paid.host_s, abs=0.01)
    assert lost_s * 0.5 < paid.host_s < 30
    assert (paid.host_s > lost_s * 0.5 + 3) is bool(retries)


def test_a_price_that_is_not_known_is_told_as_such(toys: Toys, tmp_path: Path) -> None:
    result = run(toys, tmp_path, prices={"g5.xlarge/on-demand": 1.0})  # its host is a spot one
    paid = accounts_of_run(toys.instance, result.run_id)["behaving"]
    assert paid.usd is None
    assert paid.host_s > 0


def test_tags_of_a_job_name_its_run_and_partition(toys: Toys) -> None:
    toys.add_videos("가/나 다")
    result = toys.run("observed", partition="가/나 다")
    assert result.success
    (job,) = toys.jobs()
    assert job["tags"]["dagster/run_id"] == result.run_id
    assert job["tags"]["dagster/partition"] == "가/나 다"
    assert BatchJobs(boto3.client("batch"), None).describe([job["jobId"]])
