"""One execution of a step, whoever dies or races: run workers, submissions, second attempts."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from batch_step import clients
from batch_step.channel import open_channel
from batch_step.claim import Claim
from batch_step.errors import SubmitUncertain
from batch_step.jobs import BatchJobs, JobRequest
from batch_step.records import EXIT_ALREADY_BEGUN, EXIT_DONE, Execution, Manifest
from batch_step.step_launch import StepLaunch
from tests.batch_step.conftest import CHECKOUT
from tests.batch_step.runs import Toys, ran

REQUEST = JobRequest("dagster-x", "gpu", "toy", ["sleep", "30"])


class Faulty:
    """A Batch client of which some calls to SubmitJob go wrong."""

    def __init__(self, *faults: Any) -> None:
        self._real, self._faults, self.calls = boto3.client("batch"), list(faults), 0

    def submit_job(self, **parameters: Any) -> Any:
        self.calls += 1
        fault = self._faults.pop(0) if self._faults else None
        if isinstance(fault, ClientError):
            raise fault
        answer = self._real.submit_job(**parameters)
        if fault is not None:
            raise fault
        return answer


def refused(code: str, status: int) -> ClientError:
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "SubmitJob")  # type: ignore[arg-type]


NO_ANSWER = ReadTimeoutError(endpoint_url="x")


@pytest.mark.parametrize(
    ("faults", "adopted"),
    [
        pytest.param([], False, id="accepted at once"),
        pytest.param([refused("TooManyRequestsException", 429)] * 2, False, id="throttled twice"),
        pytest.param([NO_ANSWER], True, id="accepted, the answer lost"),
        pytest.param(
            [refused("InternalError", 500)], False, id="an error of the service: not accepted, as ListJobs says"
        ),
    ],
)
def test_a_submission_makes_one_job_whatever_goes_wrong(batch: Any, faults: list[Any], adopted: bool) -> None:
    jobs = BatchJobs(boto3.client("batch"), Faulty(*faults), pause=lambda _: None)
    job_id, was_there = jobs.submit_or_adopt(REQUEST)
    assert was_there is adopted
    assert jobs.submit_or_adopt(REQUEST) == (job_id, True)
    assert jobs.in_flight("gpu", "dagster-x") == [job_id]


def test_a_refusal_is_not_repeated(batch: Any) -> None:
    faulty = Faulty(refused("ClientException", 400))
    with pytest.raises(ClientError):
        BatchJobs(boto3.client("batch"), faulty).submit_or_adopt(REQUEST)
    assert faulty.calls == 1


def test_throttling_without_end_is_told(batch: Any) -> None:
    faulty = Faulty(*[refused("TooManyRequestsException", 429)] * 40)
    with pytest.raises(SubmitUncertain, match="request limits"):
        BatchJobs(boto3.client("batch"), faulty, pause=lambda _: None).submit_or_adopt(REQUEST)


def test_a_job_that_has_ended_is_found_by_its_name(batch: Any) -> None:
    jobs = BatchJobs.from_environment()
    done = JobRequest("dagster-done", "gpu", "toy", ["true"])
    job_id, _ = jobs.submit_or_adopt(done)
    while jobs.describe([job_id])[job_id]["status"] != "SUCCEEDED":
        time.sleep(0.1)
    assert jobs.submit_or_adopt(done) == (job_id, True)


# Run workers.


class Launch:
    """Runs the same step of the same run from several run workers, here threads."""

    def __init__(self, toys: Toys, folder: Path) -> None:
        self.toys, self.folder = toys, folder

    def run(self, **behavior: Any) -> dg.JobExecutionResult:
        return self.toys.run("behaving", ops={"behaving": {"folder": str(self.folder), **behavior}})


def test_two_run_workers_that_race_leave_one_execution(
    toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one waits while the first is alive, then takes what the first has recorded: nothing twice."""
    events: list[list[str]] = [[], []]
    real = StepLaunch.events
    barrier = threading.Barrier(2)

    def twice(launch: StepLaunch) -> Any:
        def other() -> None:
            barrier.wait()
            events[1].extend(e.event_type_value for e in real(StepLaunch(*vars_of(launch))))

        thread = threading.Thread(target=other)
        thread.start()
        barrier.wait()
        for event in real(launch):
            events[0].append(event.event_type_value)
            yield event
        thread.join()

    def vars_of(launch: StepLaunch) -> Any:
        return launch._context, launch._terms, launch._jobs, launch._is_last, launch._on_event

    monkeypatch.setattr(StepLaunch, "events", twice)
    result = Launch(toys, tmp_path / "ran").run(sleep_s=0.5)
    assert result.success
    assert ran(tmp_path / "ran") == {"behaving": 1}
    assert len(toys.jobs()) == 1
    for seen in events:
        assert seen[-1] == "STEP_SUCCESS"
    stored = [e.dagster_event.event_type_value for e in toys.instance.all_logs(result.run_id) if e.dagster_event]
    assert stored.count("STEP_SUCCESS") == stored.count("ASSET_MATERIALIZATION") == stored.count("STEP_START") == 1


class Died(BaseException):
    """As if the process were gone: nothing of ours catches it."""


@pytest.mark.parametrize("moment", ["between claim and submission", "between submission and its record"])
def test_a_run_worker_that_dies_is_followed_by_one_that_finds_its_job(
    toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    deaths: list[str] = []
    real, real_exit = BatchJobs.submit_or_adopt, Claim.__exit__

    def submit(jobs: BatchJobs, *arguments: Any) -> Any:
        if deaths:
            return real(jobs, *arguments)
        deaths.append(moment)
        if moment == "between submission and its record":
            real(jobs, *arguments)
        raise Died

    def leave(claim: Claim, kind: Any, *rest: Any) -> None:
        if kind is Died:
            claim._over.set()  # the lease is not given back
            return
        real_exit(claim, kind, *rest)

    monkeypatch.setattr(BatchJobs, "submit_or_adopt", submit)
    monkeypatch.setattr(Claim, "__exit__", leave)
    real_events = StepLaunch.events

    def resumed(launch: StepLaunch) -> Any:
        with pytest.raises(Died):
            list(real_events(launch))
        yield from real_events(launch)

    monkeypatch.setattr(StepLaunch, "events", resumed)
    assert Launch(toys, tmp_path / "ran").run().success
    assert deaths == [moment]
    assert ran(tmp_path / "ran") == {"behaving": 1}
    assert len(toys.jobs()) == 1


# Workers.


@pytest.fixture
def finished(toys: Toys, tmp_path: Path) -> Path:
    """The channel of a step that has run."""
    assert Launch(toys, tmp_path / "ran").run().success
    (manifest,) = Path(toys.settings["channel"]).rglob("manifest.json")
    return manifest.parent


def start_worker(channel: Path, job_id: str, attempt: int) -> int:
    environment = {**os.environ, "AWS_BATCH_JOB_ID": job_id, "AWS_BATCH_JOB_ATTEMPT": str(attempt)}
    command = [sys.executable, "-m", "batch_step.worker", str(channel)]
    return subprocess.run(command, env=environment, cwd=CHECKOUT, check=False, timeout=60).returncode


def test_attempt_2_of_a_job_whose_attempt_1_had_finished_does_nothing(finished: Path, tmp_path: Path) -> None:
    job = Execution.read(open_channel(str(finished)), "execution.json")
    assert job is not None
    assert start_worker(finished, job.job_id, 2) == EXIT_DONE
    assert ran(tmp_path / "ran") == {"behaving": 1}


def test_attempt_2_of_a_job_whose_attempt_1_was_lost_says_so(finished: Path, tmp_path: Path) -> None:
    """The launcher then runs the step in a fresh channel: half of one attempt's events never mix with another's."""
    job = Execution.read(open_channel(str(finished)), "execution.json")
    assert job is not None
    (finished / "manifest.json").unlink()
    assert start_worker(finished, job.job_id, 2) == EXIT_ALREADY_BEGUN
    assert ran(tmp_path / "ran") == {"behaving": 1}


def test_a_second_job_for_a_step_that_another_runs_leaves(finished: Path, tmp_path: Path) -> None:
    (finished / "manifest.json").unlink()
    assert start_worker(finished, "another-job", 1) == EXIT_DONE
    assert ran(tmp_path / "ran") == {"behaving": 1}


def test_a_launcher_whose_job_came_second_follows_the_first(
    toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both of two run workers submitted after all: the step runs in one of the jobs, and that one is followed."""
    real = BatchJobs.submit_or_adopt

    def twice(jobs: BatchJobs, request: JobRequest, *rest: Any) -> Any:
        first = boto3.client("batch").submit_job(**request.to_api())["jobId"]
        (channel,) = [part for part in request.command if part.startswith(str(tmp_path)) and "channel" in part]
        while Execution.read(open_channel(channel), "execution.json") is None:
            time.sleep(0.05)
        second = boto3.client("batch").submit_job(**request.to_api())["jobId"]
        assert first != second
        return second, False

    monkeypatch.setattr(BatchJobs, "submit_or_adopt", twice)
    assert Launch(toys, tmp_path / "ran").run(sleep_s=2.5).success
    assert real is not twice
    assert ran(tmp_path / "ran") == {"behaving": 1}


def test_a_claim_is_given_back_taken_from_the_silent_and_from_the_dead(tmp_path: Path) -> None:
    channel = open_channel(str(tmp_path))
    first, second = Claim(channel, 0.05, 0.5), Claim(channel, 0.05, 0.5)
    assert first.try_take()
    with first:
        time.sleep(0.7)
        assert not second.try_take()  # it beats
    assert second.try_take()  # given back
    third = Claim(channel, 0.05, 0.3)
    assert not third.try_take()
    time.sleep(0.4)
    assert third.try_take()  # silent: `second` was never entered
    with third:
        dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
        holder = {**vars(third._owner), "pid": int(dead.stdout)}
        import json

        (tmp_path / "claims" / "000003.json").write_text(json.dumps(holder))
        assert Claim(channel, 0.05, 60).try_take()  # known to be dead: no waiting
        time.sleep(0.2)
        assert third.superseded.is_set()


def test_the_last_object_of_a_channel_tells_how_many_there_are(finished: Path) -> None:
    manifest = Manifest.read(open_channel(str(finished)), "manifest.json")
    assert manifest is not None
    assert manifest.final == "STEP_SUCCESS"
    assert manifest.chunks == len(list((finished / "events").glob("*.json")))


def test_clients_are_shared_by_a_process(batch: Any) -> None:
    assert clients.client("batch") is clients.client("batch")
    assert BatchJobs.from_environment() is BatchJobs.from_environment()
