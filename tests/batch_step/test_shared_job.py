"""reuse="run": one job serves the steps of a run, models stay loaded, and a job lost between steps is replaced."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batch_step import shared_job
from batch_step.channel import ABANDONED, Channel, get_json, open_channel, slot_key
from batch_step.records import EXIT_DONE, EXIT_TIMED_OUT
from tests.batch_step.runs import Toys, messages, ran

if TYPE_CHECKING:
    from infra.local.aws import LocalAws

STEPS = ("first", "second", "third")


def run(toys: Toys, tmp_path: Path, *more: str, sleep: dict[str, float] | None = None, **settings: Any) -> Any:
    ops = {s: {"folder": str(tmp_path / "ran"), "sleep_s": (sleep or {}).get(s, 0)} for s in STEPS}
    return toys.run(*STEPS, *more, ops=ops, **{"reuse": "run", **settings})


def wait_until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def loads(toys: Toys, step: str) -> int:
    return int((toys.outputs / step / "all.json").read_text())


def test_one_job_serves_a_run_and_what_is_loaded_stays_loaded(toys: Toys, tmp_path: Path) -> None:
    result = run(toys, tmp_path, "between")
    assert result.success
    assert [loads(toys, step) for step in STEPS] == [1, 2, 3]  # seen by one process
    (job,) = toys.jobs()
    assert job["tags"]["dagster/step"] == "run"


def test_the_job_ends_when_the_run_has_no_more_steps_for_it(toys: Toys, tmp_path: Path) -> None:
    assert run(toys, tmp_path, idle_seconds=600).success
    wait_until(lambda: toys.jobs()[0]["status"] == "SUCCEEDED")


def test_a_job_for_each_step_loads_for_each_step(toys: Toys, tmp_path: Path) -> None:
    assert run(toys, tmp_path, reuse="step").success
    assert [loads(toys, step) for step in STEPS] == [1, 1, 1]
    assert len(toys.jobs()) == 3


def test_a_job_that_was_idle_too_long_is_replaced(toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As happens where the next step comes late: its process starts slowly, or steps on the host take long."""
    real = shared_job.enqueue
    seen: list[str] = []

    def come_late(session: Channel, uri: str) -> int | None:
        seen.append(uri)
        if len(seen) == 2:
            wait_until(lambda: (get_json(session, slot_key(1)) or {}).get("closed") == "idle")
        return real(session, uri)

    monkeypatch.setattr(shared_job, "enqueue", come_late)
    result = run(toys, tmp_path, idle_seconds=0.3, infrastructure_retries=0)
    assert result.success
    assert ran(tmp_path / "ran") == {"first": 1, "second": 1, "third": 1}
    assert len(toys.jobs()) > 1


def test_a_job_waits_as_long_as_it_was_told_to(toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is told to wait longer than steps ever lie apart serves them all."""
    real = shared_job.enqueue

    def come_late(session: Channel, uri: str) -> int | None:
        time.sleep(1.5)
        return real(session, uri)

    monkeypatch.setattr(shared_job, "enqueue", come_late)
    assert run(toys, tmp_path, idle_seconds=600).success
    assert len(toys.jobs()) == 1


@pytest.mark.parametrize("is_known", [True, False], ids=["failed", "unknown to Batch"])
def test_a_job_lost_between_two_steps_is_replaced_without_failing_the_run(
    toys: Toys, batch: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    """And costs nothing of the budget: none of the second step was lost."""
    from infra.local.batch.faults import SpotReclaim, Vanish

    real = shared_job.enqueue
    seen: list[str] = []

    def lose_the_job_first(session: Channel, uri: str) -> int | None:
        seen.append(uri)
        if len(seen) == 2:
            batch.faults.add(SpotReclaim(times=1))
            wait_until(lambda: toys.jobs()[0]["status"] == "FAILED")
            if not is_known:
                batch.faults.add(Vanish(jobs=toys.jobs()[0]["jobId"]))
        return real(session, uri)

    monkeypatch.setattr(shared_job, "enqueue", lose_the_job_first)
    result = run(toys, tmp_path, infrastructure_retries=1, unknown_after_seconds=2)
    assert result.success
    assert ran(tmp_path / "ran") == {"first": 1, "second": 1, "third": 1}
    assert len(toys.jobs()) == 1 + is_known
    assert [*Path(toys.settings["channel"]).rglob(ABANDONED)] == []


def test_a_job_killed_in_the_middle_of_a_step_costs_that_step_one_retry(
    toys: Toys, batch: LocalAws, tmp_path: Path
) -> None:
    from infra.local.batch.faults import SpotReclaim

    batch.faults.add(SpotReclaim(times=1, after_s=1.5))
    result = run(toys, tmp_path, sleep={"first": 2.5})
    assert result.success
    assert ran(tmp_path / "ran") == {"first": 2, "second": 1, "third": 1}
    assert any("1 of 3 infrastructure retries" in m for m in messages(result, toys.instance))


def test_each_step_tells_its_own_part_of_the_time(toys: Toys, tmp_path: Path) -> None:
    """How long the job waited for its host is told once; how long it waited for a step, with that step."""
    result = run(toys, tmp_path, "between", prices={"g5.xlarge/spot": 3600.0})
    events = [e.dagster_event for e in toys.instance.all_logs(result.run_id) if e.dagster_event]
    took = [e.engine_event_data.metadata for e in events if e.message == "What the step took"]
    first, *further = [{name: value.value for name, value in one.items()} for one in took]
    assert "waiting_s" in first
    assert len(further) == 2
    for one in further:
        assert not {"waiting_s", "starting_s"} & one.keys()
        parts = sum(one[f"{phase}_s"] for phase in ("idle", "loading", "user_code", "uploading"))
        assert one["host_s"] == pytest.approx(parts, abs=0.01)
        assert one["cost_usd"] == pytest.approx(one["host_s"], abs=0.01)  # a dollar a second


def test_a_job_has_the_time_of_all_its_steps(toys: Toys, tmp_path: Path) -> None:
    """Not that of its definition, which is for jobs that somebody submits by hand."""
    limits = {}
    for reuse in ("run", "step"):
        before = {job["jobId"] for job in toys.jobs()}
        assert run(toys, tmp_path, "between", reuse=reuse, timeout_seconds=500, idle_seconds=50).success
        new = [job for job in toys.jobs() if job["jobId"] not in before]
        limits[reuse] = {job["timeout"]["attemptDurationSeconds"] for job in new}
    assert limits == {"run": {3 * (500 + 50) + 120}, "step": {500 + 120}}


def test_a_step_that_is_retried_finds_the_job_again(toys: Toys) -> None:
    """Though it was the last that asked for one."""
    toys.add_videos("a")
    assert toys.run("retried", partition="a", reuse="run", idle_seconds=600).success
    assert len(toys.jobs()) == 1


def test_a_failed_step_leaves_the_job_to_others(toys: Toys) -> None:
    toys.add_videos("a")
    result = toys.run("failing", "plain", "observed", partition="a", reuse="run")
    assert not result.success
    assert {s.step_key for s in result.get_step_success_events()} >= {"plain", "observed"}
    assert len(toys.jobs()) == 1


def test_a_failed_step_ends_the_job_that_only_its_dependents_waited_for(toys: Toys) -> None:
    """It would keep a host idle, which the next run stands in line for."""
    toys.add_videos("a")
    assert not toys.run("failing", "after_failing", partition="a", reuse="run", idle_seconds=600).success
    wait_until(lambda: toys.jobs()[0]["status"] in ("SUCCEEDED", "FAILED"))


def test_steps_that_the_run_leaves_out_are_not_waited_for(toys: Toys, tmp_path: Path) -> None:
    """As a re-execution of what failed does with the others."""
    whole = run(toys, tmp_path, idle_seconds=600)
    again = toys.run_again(whole, "second")
    assert {s.step_key for s in again.get_step_success_events()} == {"second"}
    wait_until(lambda: [job["status"] for job in toys.jobs()] == ["SUCCEEDED"] * 2)


# The line of slots.


def test_of_a_step_and_the_end_of_the_job_the_first_in_line_decides(tmp_path: Path) -> None:
    session = open_channel(str(tmp_path))
    assert shared_job.enqueue(session, "/a") == 0
    assert shared_job.enqueue(session, "/a") == 0  # a run worker that resumes finds its place
    assert shared_job.enqueue(session, "/b") == 1
    shared_job.close(session, "idle")
    shared_job.close(session, "idle")
    assert shared_job.enqueue(session, "/c") is None
    assert shared_job.enqueue(session, "/a") == 0


def test_a_step_does_not_stay_in_the_line_of_a_job_that_is_gone(tmp_path: Path) -> None:
    session = open_channel(str(tmp_path))
    assert shared_job.enqueue(session, "/a") == 0
    shared_job.close(session, shared_job.GONE)
    assert shared_job.enqueue(session, "/a") is None


def test_a_job_serves_in_order_and_ends_when_nothing_comes(tmp_path: Path) -> None:
    session = open_channel(str(tmp_path / "s"))
    for name in ("a", "b"):
        shared_job.enqueue(session, str(tmp_path / name))
    served: list[str] = []

    def step(channel: Channel, taken_at: float) -> int:
        served.append(Path(channel.uri).name)
        return EXIT_DONE

    assert shared_job.serve(session, step, idle_seconds=0.1) == EXIT_DONE
    assert served == ["a", "b"]
    assert shared_job.enqueue(session, "/c") is None


def test_a_job_that_is_no_more_good_ends_with_the_code_of_its_step(tmp_path: Path) -> None:
    session = open_channel(str(tmp_path / "s"))
    shared_job.enqueue(session, str(tmp_path / "a"))
    assert shared_job.serve(session, lambda channel, taken: EXIT_TIMED_OUT, idle_seconds=5) == EXIT_TIMED_OUT


def test_both_reuse_modes_leave_the_same_outputs(toys: Toys, tmp_path: Path) -> None:
    toys.add_videos("a")
    for reuse in ("step", "run"):
        assert toys.run("frames", "boxes", partition="a", reuse=reuse).success
        assert (toys.outputs / "boxes" / "a.json").read_text() == "[2]"
