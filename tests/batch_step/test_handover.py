"""runs_per_job: the runs of a backfill leave a job to each other, one after another, and nobody else has it."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import dagster as dg
import pytest

from batch_step import handover, shared_job
from batch_step.channel import Channel, open_channel
from batch_step.cost import TOOK, accounts_of_run
from batch_step.errors import ChannelUnavailable
from batch_step.handover import Offer
from tests.batch_step.runs import Toys, messages, ran

if TYPE_CHECKING:
    from infra.local.aws import LocalAws

STEPS = ("first", "second", "third")


def run(toys: Toys, tmp_path: Path, *steps: str, backfill: str | None = "b", **settings: Any) -> dg.JobExecutionResult:
    """One run of the backfill; what is loaded once stays loaded in its process."""
    chosen = steps or STEPS
    tags = {"dagster/backfill": backfill} if backfill else {}
    return toys.run(
        *chosen,
        tags=tags,
        ops={step: {"folder": str(tmp_path / "ran")} for step in chosen if step in STEPS},
        **{"reuse": "run", "runs_per_job": 20, "idle_seconds": 60, **settings},
    )


@pytest.fixture
def to_come(toys: Toys) -> dg.DagsterRun:
    """A run of the backfill that has not begun: as long as there is one, jobs are left to it."""
    run_id = toys.create_run("first", {})
    toys.instance.add_run_tags(run_id, {"dagster/backfill": "b"})
    found = toys.instance.get_run_by_id(run_id)
    assert found is not None
    return found


def loads(toys: Toys, step: str) -> int:
    return int((toys.outputs / step / "all.json").read_text())


def wait_until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def states(toys: Toys) -> list[str]:
    return [job["status"] for job in toys.jobs()]


@pytest.mark.usefixtures("to_come")
def test_runs_of_a_backfill_find_what_the_one_before_has_loaded(toys: Toys, tmp_path: Path) -> None:
    for number in range(1, 4):
        result = run(toys, tmp_path)
        assert result.success
        assert [loads(toys, step) for step in STEPS] == [3 * number - 2, 3 * number - 1, 3 * number]
    (job,) = toys.jobs()
    assert job["tags"]["dagster/backfill"] == "b"
    assert "dagster/partition" not in job["tags"]
    assert any("which 2 runs of this backfill have had before" in said for said in messages(result, toys.instance))


def test_the_last_run_ends_the_job(toys: Toys, tmp_path: Path, to_come: dg.DagsterRun) -> None:
    assert run(toys, tmp_path, idle_seconds=600).success
    toys.instance.report_run_canceled(to_come)
    assert run(toys, tmp_path, idle_seconds=600).success
    wait_until(lambda: states(toys) == ["SUCCEEDED"])


@pytest.mark.usefixtures("to_come")
def test_a_job_serves_no_more_runs_than_it_may(toys: Toys, tmp_path: Path) -> None:
    for _ in range(3):
        assert run(toys, tmp_path, runs_per_job=2).success
    assert len(toys.jobs()) == 2
    assert loads(toys, "third") == 3


@pytest.mark.usefixtures("to_come")
@pytest.mark.parametrize(
    ("backfill", "settings"),
    [
        pytest.param("another", {}, id="of another backfill"),
        pytest.param(None, {}, id="of none"),
        pytest.param("b", {"code_version": "next"}, id="of other code"),
        pytest.param("b", {"environment": {"PROFILE": "gpu"}}, id="with another environment"),
        pytest.param("b", {"vcpus": 2}, id="on another machine"),
    ],
)
def test_nobody_else_is_given_the_job(
    toys: Toys, tmp_path: Path, backfill: str | None, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCH_STEP_CODE_VERSION", "next")
    assert run(toys, tmp_path).success
    run(toys, tmp_path, backfill=backfill, **settings)
    assert len(toys.jobs()) == 2


@pytest.mark.usefixtures("to_come")
@pytest.mark.parametrize("tags", [{}, {"dagster/backfill": "b"}], ids=["an upload's", "the same backfill's"])
def test_a_job_that_somebody_waits_for_is_not_kept(toys: Toys, tmp_path: Path, tags: dict[str, str]) -> None:
    """Another job, for whose host there is no room beside it."""
    batch = boto3.client("batch")
    whole = [{"type": "VCPU", "value": "16"}]
    waiting: list[str] = []

    def come(session: Channel, uri: str) -> int | None:
        if not waiting:
            asked = batch.submit_job(
                jobName="upload",
                jobQueue="gpu",
                jobDefinition="toy",
                tags=tags,
                containerOverrides={"command": ["true"], "resourceRequirements": whole},
            )
            waiting.append(asked["jobId"])
            wait_until(lambda: batch.describe_jobs(jobs=waiting)["jobs"][0]["status"] == "RUNNABLE")
        return real(session, uri)

    real = shared_job.enqueue
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_job, "enqueue", come)
        assert run(toys, tmp_path, idle_seconds=600).success
    wait_until(lambda: batch.describe_jobs(jobs=waiting)["jobs"][0]["status"] == "SUCCEEDED")
    assert run(toys, tmp_path).success
    assert len(toys.jobs()) == 2


@pytest.mark.usefixtures("to_come")
def test_one_bad_video_ends_its_job_and_no_other_run(toys: Toys, tmp_path: Path) -> None:
    """What broke its step may have broken the process."""
    assert run(toys, tmp_path).success
    assert not run(toys, tmp_path, "raising").success
    wait_until(lambda: states(toys) == ["SUCCEEDED"])
    assert run(toys, tmp_path).success
    assert loads(toys, "third") == 3


@pytest.mark.usefixtures("to_come")
def test_a_job_that_was_lost_between_two_runs_costs_nothing(toys: Toys, batch: LocalAws, tmp_path: Path) -> None:
    from infra.local.batch.faults import SpotReclaim

    assert run(toys, tmp_path).success
    batch.faults.add(SpotReclaim(times=1))
    wait_until(lambda: states(toys) == ["FAILED"])
    assert run(toys, tmp_path, infrastructure_retries=0).success
    assert ran(tmp_path / "ran") == dict.fromkeys(STEPS, 2)


@pytest.mark.usefixtures("to_come")
def test_a_job_that_nobody_takes_ends_by_itself(toys: Toys, tmp_path: Path) -> None:
    assert run(toys, tmp_path, idle_seconds=0.5).success
    wait_until(lambda: states(toys) == ["SUCCEEDED"])
    assert run(toys, tmp_path, infrastructure_retries=0).success
    assert len(toys.jobs()) == 2


@pytest.mark.usefixtures("to_come")
def test_a_batch_that_does_not_answer_lets_the_job_end(
    toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's last step is over by then: its run succeeds."""
    from batch_step.jobs import BatchJobs

    def away(self: BatchJobs, queue: str) -> bool:
        raise ConnectionError("no route to AWS Batch")

    monkeypatch.setattr(BatchJobs, "somebody_waits", away)
    assert run(toys, tmp_path, idle_seconds=600).success
    wait_until(lambda: states(toys) == ["SUCCEEDED"])


@pytest.mark.usefixtures("to_come")
def test_a_channel_that_is_away_at_the_end_fails_no_run(
    toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps are over and recorded; the job ends by itself."""

    def away(*_: object) -> None:
        raise ChannelUnavailable("no route to S3", where="s3://steps")

    for function in ("offer", "is_offered"):
        with monkeypatch.context() as patch:
            patch.setattr(handover, function, away)
            result = run(toys, tmp_path, idle_seconds=0.5)
            assert result.success
            assert {e.step_key for e in result.get_step_success_events()} == {*STEPS}
    wait_until(lambda: states(toys) == ["SUCCEEDED"] * 2)


@pytest.mark.usefixtures("to_come")
def test_the_accounts_tell_who_had_to_load(toys: Toys, tmp_path: Path) -> None:
    """How long the job waited for its host is told once, and a run pays for what the job waited for it."""
    cold, warm = (run(toys, tmp_path, prices={"g5.xlarge/spot": 3600.0}).run_id for _ in range(2))
    assert {accounts.is_cold for accounts in accounts_of_run(toys.instance, cold).values()} == {True}
    assert {accounts.is_cold for accounts in accounts_of_run(toys.instance, warm).values()} == {False}
    events = [e.dagster_event for e in toys.instance.all_logs(warm) if e.dagster_event]
    told = [e.engine_event_data.metadata for e in events if e.message == TOOK]
    assert len(told) == len(STEPS)
    for one in told:
        assert not {"waiting_s", "starting_s"} & one.keys()
        parts = sum(float(str(one[f"{phase}_s"].value)) for phase in ("idle", "loading", "user_code", "uploading"))
        assert float(str(one["host_s"].value)) == pytest.approx(parts, abs=0.01)
        assert float(str(one["cost_usd"].value)) == pytest.approx(parts, abs=0.01)  # a dollar a second


@pytest.mark.usefixtures("to_come")
def test_a_job_has_the_time_of_all_its_runs(toys: Toys, tmp_path: Path) -> None:
    assert run(toys, tmp_path, runs_per_job=4, timeout_seconds=500, idle_seconds=50).success
    (job,) = toys.jobs()
    assert job["timeout"]["attemptDurationSeconds"] == 4 * 3 * (500 + 50) + 120


# Offers.


def offer_of(job: str, runs: int = 1) -> Offer:
    return Offer(job, f"/sessions/{job}", runs, token=f"{job}-{runs}")


def test_an_offer_is_taken_once_in_the_order_of_offers(tmp_path: Path) -> None:
    offers = open_channel(str(tmp_path / "offers"))
    for job in ("a", "b"):
        handover.offer(offers, open_channel(str(tmp_path / job)), offer_of(job))
    taken = [handover.take(offers) for _ in range(3)]
    assert [one and one.job_id for one in taken] == ["a", "b", None]
    handover.offer(offers, open_channel(str(tmp_path / "a")), offer_of("a", runs=2))
    again = handover.take(offers)
    assert again is not None
    assert (again.job_id, again.runs) == ("a", 2)


def test_a_run_worker_that_resumes_does_not_offer_the_job_again(tmp_path: Path) -> None:
    """Another run may have it by then."""
    offers, session = open_channel(str(tmp_path / "offers")), open_channel(str(tmp_path / "a"))
    assert not handover.is_offered(session, offer_of("a"))
    for _ in range(2):
        handover.offer(offers, session, offer_of("a"))
    assert handover.is_offered(session, offer_of("a"))
    assert handover.take(offers) is not None
    assert handover.take(offers) is None


def test_of_many_runs_at_once_each_has_a_job_of_its_own(tmp_path: Path) -> None:
    """Thirty take and offer again, twenty times each: no job is with two of them, and none is lost."""
    offers, jobs, lock = open_channel(str(tmp_path / "offers")), 8, threading.Lock()
    for number in range(jobs):
        handover.offer(offers, open_channel(str(tmp_path / str(number))), offer_of(str(number)))
    held: Counter[str] = Counter()
    faults: list[str] = []

    def take_and_offer() -> None:
        for _ in range(20):
            found = handover.take(offers)
            if found is None:
                continue
            with lock:
                held[found.job_id] += 1
                faults.extend([found.job_id] if held[found.job_id] > 1 else [])
            with lock:
                held[found.job_id] -= 1
            session = open_channel(str(tmp_path / found.job_id))
            handover.offer(offers, session, offer_of(found.job_id, found.runs + 1))

    threads = [threading.Thread(target=take_and_offer) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = []
    while (found := handover.take(offers)) is not None:
        left.append(found.job_id)
    assert faults == []
    assert sorted(left) == [str(number) for number in range(jobs)]


@pytest.mark.usefixtures("to_come")
@pytest.mark.parametrize("way", ["{folder}/elsewhere", "{channel}/../elsewhere"])
def test_an_offer_that_leads_out_of_the_channel_is_not_taken(toys: Toys, tmp_path: Path, way: str) -> None:
    """Jobs may write there, and a run worker writes where the offer says."""
    assert run(toys, tmp_path).success
    (offered,) = Path(toys.settings["channel"]).glob("backfill-b/offers-*/000000.json")
    session = way.format(folder=tmp_path, channel=toys.settings["channel"])
    offered.write_text(json.dumps({**json.loads(offered.read_text()), "session": session}))
    assert run(toys, tmp_path).success
    assert not (tmp_path / "elsewhere").exists()
    assert len(toys.jobs()) == 2
