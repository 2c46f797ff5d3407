"""A job follows its run: cancelled with it, stopped when its run worker is gone, found by the one that resumes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import dagster as dg
import psutil
import pytest

from batch_step import BatchStepLauncher
from batch_step.channel import open_channel
from batch_step.claim import Claim
from batch_step.guard import Guard
from batch_step.jobs import BatchJobs
from batch_step.launcher import resumes_runs
from batch_step.reaper import orphan_reaper, orphans, reap
from tests.batch_step.conftest import CHECKOUT
from tests.batch_step.runs import Toys, ran
from tests.batch_step.warm_start import RUN
from tests.builders.doors import TcpDoor

if TYPE_CHECKING:
    from infra.local.aws import LocalAws


class RunWorkers:
    """Processes that execute a run of `behaving`, on an instance in files."""

    def __init__(self, toys: Toys, home: Path, folder: Path, warm_worker: list[str]) -> None:
        self.home, self.folder, self._warm_worker = home, folder, warm_worker
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        self.processes: list[subprocess.Popen[bytes]] = []
        self.instance = dg.DagsterInstance.from_config(str(home))
        self.toys = Toys(self.instance, toys.outputs, toys.settings)

    def create_run(self, **behavior: Any) -> str:
        return self.toys.create_run("behaving", {"folder": str(self.folder), **behavior})

    def start(self, run_id: str, resume: bool = False, definitions: str = "remote") -> subprocess.Popen[bytes]:
        """`resume`: as the run monitor has it done."""
        command = [*self._warm_worker, RUN, str(self.home), run_id, "resume" if resume else "start", definitions]
        process = subprocess.Popen(command, env={**os.environ, "DAGSTER_HOME": str(self.home)})
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.instance.dispose()


@pytest.fixture
def workers(toys: Toys, tmp_path: Path, warm_worker: list[str]) -> Iterator[RunWorkers]:
    home = tmp_path / "home"
    home.mkdir()
    workers = RunWorkers(toys, home, tmp_path / "ran", warm_worker)
    yield workers
    workers.close()


def wait(what: Callable[[], Any], seconds: float = 40) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_run_worker_killed_is_resumed_and_its_job_found(workers: RunWorkers) -> None:
    """Same run, same job, one execution, each event once."""
    run_id = workers.create_run(sleep_s=8)
    worker = workers.start(run_id)
    wait(lambda: ran(workers.folder))
    worker.kill()
    worker.wait()
    instance = workers.instance
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.STARTED
    resumed = workers.start(run_id, resume=True)
    assert resumed.wait(timeout=60) == 0
    assert instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.SUCCESS  # type: ignore[union-attr]
    assert ran(workers.folder) == {"behaving": 1}
    assert len(workers.toys.jobs()) == 1
    stored = [e.dagster_event.event_type_value for e in instance.all_logs(run_id) if e.dagster_event]
    for kind in ("STEP_START", "ASSET_MATERIALIZATION", "STEP_SUCCESS"):
        assert stored.count(kind) == 1, kind


def test_a_job_stops_itself_when_its_run_worker_is_gone_for_good(workers: RunWorkers) -> None:
    workers.toys.settings["lease_seconds"] = 2
    worker = workers.start(workers.create_run(sleep_s=60))
    wait(lambda: ran(workers.folder))
    killed = time.monotonic()
    worker.kill()
    job = wait(lambda: next((j for j in workers.toys.jobs() if j["status"] == "FAILED"), None), 20)
    assert job["container"]["exitCode"] == 75
    assert time.monotonic() - killed < 12


def test_a_run_worker_asked_to_stop_takes_its_job_along(workers: RunWorkers) -> None:
    """What terminating a run in the UI does to the run worker."""
    run_id = workers.create_run(sleep_s=60)
    worker = workers.start(run_id)
    wait(lambda: ran(workers.folder))
    worker.send_signal(signal.SIGTERM)
    worker.wait(timeout=30)
    job = wait(lambda: next((j for j in workers.toys.jobs() if j["status"] == "FAILED"), None))
    assert job["statusReason"] == f"Dagster run {run_id} was terminated"


@pytest.mark.drill
def test_a_step_in_a_process_of_its_own_takes_its_job_along(workers: RunWorkers) -> None:
    """Dagster's multiprocess executor: the one that is asked to stop is not the one that follows the job."""
    run_id = workers.create_run(sleep_s=300)
    worker = workers.start(run_id, definitions="remote_by_process")
    wait(lambda: ran(workers.folder), 120)
    worker.send_signal(signal.SIGTERM)
    worker.wait(timeout=120)
    job = wait(lambda: next((j for j in workers.toys.jobs() if j["status"] == "FAILED"), None))
    assert job["statusReason"] == f"Dagster run {run_id} was terminated"


@pytest.mark.drill
def test_a_step_in_a_process_of_its_own_ends_with_its_run_worker(workers: RunWorkers) -> None:
    """Killed, a run worker takes no child along: one that went on would keep the job of a lost run alive."""
    workers.toys.settings["lease_seconds"] = 2
    run_id = workers.create_run(sleep_s=300)
    worker = workers.start(run_id, definitions="remote_by_process")
    wait(lambda: ran(workers.folder), 120)
    events = [e.dagster_event for e in workers.instance.all_logs(run_id) if e.dagster_event]
    (child,) = [e for e in events if e.event_type_value == "STEP_WORKER_STARTED"]
    pid = int(child.engine_event_data.metadata["pid"].value)
    assert lives(pid)
    try:
        worker.kill()
        wait(lambda: not lives(pid))
    finally:
        if lives(pid):
            os.kill(pid, signal.SIGKILL)
    job = wait(lambda: next((j for j in workers.toys.jobs() if j["status"] == "FAILED"), None), 20)
    assert job["container"]["exitCode"] == 75
    assert ran(workers.folder) == {"behaving": 1}
    stored = [e.dagster_event.event_type_value for e in workers.instance.all_logs(run_id) if e.dagster_event]
    assert "STEP_FAILURE" not in stored  # a run worker that resumes the run would take the step for failed


CHILDREN = """
import multiprocessing, os, sys, time
from multiprocessing import Queue
from dagster._core.executor.child_process_executor import ChildProcessCommand
from batch_step.dagster_internals import execute_command_in_child_process
from batch_step.parent import end_with_run_worker

def follow(*_):
    end_with_run_worker()
    print(os.getpid(), flush=True)
    time.sleep(300)

class Step(ChildProcessCommand):
    execute = follow

context = multiprocessing.get_context("fork")
# In this order: a child that is forked while another lives would hold that one's pipe to their parent open.
context.Process(target=follow).start()
context.Process(target=execute_command_in_child_process, args=(Queue(), Step())).start()
time.sleep(300)
"""


def test_only_a_child_that_is_a_step_ends_with_its_parent(tmp_path: Path) -> None:
    """A code server starts run workers as children, too, and those outlive it."""
    with subprocess.Popen([sys.executable, "-c", CHILDREN], stdout=subprocess.PIPE, cwd=CHECKOUT) as parent:
        assert parent.stdout is not None
        pids = [int(parent.stdout.readline()) for _ in range(2)]
        run_worker, step = (psutil.Process(pid) for pid in sorted(pids))  # as they were started
        try:
            parent.kill()
            wait(lambda: not lives(step.pid))
            assert lives(run_worker.pid)
        finally:
            for child in (run_worker, step):
                with suppress(psutil.NoSuchProcess):
                    child.kill()


# The guard alone.


class Store:
    """A channel of which a test says what it answers."""

    uri = "test"

    def __init__(self, answers: Callable[[], bytes]) -> None:
        self._answers = answers

    def get(self, key: str) -> bytes | None:
        return self._answers()


def outcome(
    answers: Callable[[], bytes], lease: float, timeout: float | None, seconds: float, resume: float = 0.0
) -> str | None:
    def stop(*_: Any) -> None:
        raise InterruptedError

    before = signal.signal(signal.SIGTERM, stop)
    guard = Guard(Store(answers), lease, timeout, resume, {"host-silent": 75, "timeout": 124})  # type: ignore[arg-type]
    try:
        with guard:
            time.sleep(seconds)
    except InterruptedError:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
    return guard.verdict


def test_a_lease_that_changes_keeps_a_step_alive() -> None:
    """Whatever the two clocks say: only the change counts."""
    assert outcome(lambda: str(time.monotonic()).encode(), 0.3, None, 1.0) is None


def test_a_lease_that_stands_still_ends_it() -> None:
    assert outcome(lambda: b"same", 0.3, None, 5.0) == "host-silent"


def test_a_store_that_is_away_says_nothing_about_the_host() -> None:
    from batch_step.errors import ChannelUnavailable

    def away() -> bytes:
        raise ChannelUnavailable("S3 is away")

    assert outcome(away, 0.3, None, 1.0) is None


def test_time_that_a_store_takes_to_answer_is_no_silence() -> None:
    """Neither to answer nor to fail: the first look and the last see the same beat, a moment before and after."""
    from batch_step.errors import ChannelUnavailable

    looks: list[float] = []

    def slow() -> bytes:
        looks.append(time.monotonic())
        if len(looks) == 2:
            time.sleep(1.5)
            raise ChannelUnavailable("S3 is away")
        if len(looks) == 4:
            time.sleep(1.5)
        return b"same" if len(looks) < 6 else str(time.monotonic()).encode()

    assert outcome(slow, 1.0, None, 5.0) is None
    assert len(looks) > 6


def test_a_silent_run_worker_is_noticed_and_one_that_resumes_finds_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    """Where Dagster resumes runs, the job says what it has noticed, and waits for the next run worker."""
    began = time.monotonic()

    def resumed() -> bytes:
        now = time.monotonic()
        return b"same" if now - began < 1.0 else str(now).encode()

    assert outcome(resumed, 0.3, None, 3.0, resume=60) is None
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("batch_step: the run worker has been silent for")
    assert said[0].endswith("waiting 60 s for the next one")
    assert said[1] == "batch_step: a run worker follows this job again"


def test_a_run_worker_that_nobody_resumes_is_waited_for_no_longer(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(lambda: b"same", 0.2, None, 10.0, resume=0.4) == "host-silent"
    noticed, stopped = capsys.readouterr().out.splitlines()
    assert "silent" in noticed
    assert stopped.endswith("stopping this job")


def test_by_default_a_killed_run_worker_is_noticed_within_seconds() -> None:
    """A lease of six beats: one that is lost, or slow, says nothing."""
    launcher = BatchStepLauncher(channel="/x", queue="q", job_definition="d")
    assert launcher.lease_seconds <= 30
    beat = min(launcher.lease_seconds, launcher.takeover_seconds) / 4
    assert launcher.lease_seconds / beat >= 6


RESUMING = """
telemetry: {enabled: false}
run_launcher: {module: batch_step.run_launcher, class: ProcessRunLauncher, config: {log_dir: /nowhere}}
"""
MONITORS = [
    ("telemetry: {enabled: false}", False),  # Dagster's own launcher cannot resume
    (RESUMING + "run_monitoring: {enabled: true, max_resume_run_attempts: 0}", False),
    (RESUMING + "run_monitoring: {enabled: false}", False),
    (RESUMING + "run_monitoring: {enabled: true, max_resume_run_attempts: 2}", True),
]


@pytest.mark.parametrize(("settings", "resumes"), MONITORS)
def test_a_job_waits_for_another_run_worker_only_where_there_will_be_one(
    tmp_path: Path, settings: str, resumes: bool
) -> None:
    (tmp_path / "dagster.yaml").write_text(settings)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert resumes_runs(instance) is resumes


def test_a_step_is_sent_with_the_time_to_wait_for_another_run_worker(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    for resumes in (False, True):
        monkeypatch.setattr("batch_step.launcher.resumes_runs", lambda _, resumes=resumes: resumes)
        assert toys.run("behaving", ops={"behaving": {}}, lease_seconds=40, resume_seconds=17).success
        (found,) = [file for file in Path(toys.settings["channel"]).rglob("reference.json") if file not in sent]
        sent.append(found)
    terms = [json.loads(file.read_text()) for file in sent]
    assert [(t["lease_seconds"], t["resume_seconds"]) for t in terms] == [(40, 0), (40, 17)]


def test_a_beat_that_hangs_does_not_keep_the_next_one_back(batch: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 takes a request and never answers: without a short patience the host would be silent for minutes."""
    with TcpDoor(batch.environment()["AWS_ENDPOINT_URL"]) as door:
        monkeypatch.setenv("AWS_ENDPOINT_URL", door.address)
        channel = open_channel("s3://steps/a")
        claim = Claim(channel, 0.5, 60)
        assert claim.try_take()
        with claim:
            door.mute()
            came = door.came
            wait(lambda: door.came > came, 60)
            door.open()  # for who comes from now on
            before = channel.get("lease.json")
            wait(lambda: channel.get("lease.json") != before, 25)


def test_a_step_past_its_time_is_interrupted() -> None:
    assert outcome(lambda: str(time.monotonic()).encode(), 5, 0.3, 5.0) == "timeout"


# The reaper.

STATUSES = [
    ("RUNNING", dg.DagsterRunStatus.CANCELED, True),
    ("RUNNABLE", dg.DagsterRunStatus.FAILURE, True),
    ("RUNNING", dg.DagsterRunStatus.SUCCESS, True),
    ("RUNNING", dg.DagsterRunStatus.STARTED, False),
    ("RUNNING", dg.DagsterRunStatus.CANCELING, False),  # its run worker is at it
    ("SUCCEEDED", dg.DagsterRunStatus.SUCCESS, False),
    ("RUNNING", None, False),  # a run of another Dagster on the same queue
]


@pytest.mark.parametrize(("job", "run", "ended"), STATUSES)
def test_a_job_whose_run_is_over_is_an_orphan(job: str, run: dg.DagsterRunStatus | None, ended: bool) -> None:
    found = orphans([{"jobId": "j", "status": job, "tags": {"dagster/run_id": "r"}}], lambda _: run, lambda _: True)
    assert bool(found) is ended
    assert orphans([{"jobId": "j", "status": job}], lambda _: run, lambda _: True) == {}


@pytest.mark.parametrize(
    ("job", "under_way", "ended"), [("RUNNING", True, False), ("RUNNABLE", True, True), ("RUNNING", False, True)]
)
def test_a_job_that_another_run_of_the_backfill_may_have_is_none(job: str, under_way: bool, ended: bool) -> None:
    """Unless it has not begun: then nobody took it over."""
    tags = {"dagster/run_id": "r", "dagster/backfill": "b"}
    details = [{"jobId": "j", "status": job, "tags": tags}]
    found = orphans(details, lambda _: dg.DagsterRunStatus.SUCCESS, lambda backfill: backfill == "b" and under_way)
    assert bool(found) is ended


def test_the_reaper_leaves_a_job_to_the_backfill_until_that_is_over(
    batch: LocalAws, instance: dg.DagsterInstance
) -> None:
    tags = {"dagster/backfill": "b"}
    instance.add_run(dg.DagsterRun(job_name="x", run_id="over", status=dg.DagsterRunStatus.SUCCESS, tags=tags))
    queued = instance.add_run(dg.DagsterRun(job_name="x", run_id="next", status=dg.DagsterRunStatus.STARTED, tags=tags))
    asked = boto3.client("batch").submit_job(
        jobName="dagster-run",
        jobQueue="gpu",
        jobDefinition="toy",
        tags={"dagster/run_id": "over", "dagster/backfill": "b"},
        containerOverrides={"command": ["sleep", "600"]},
    )
    jobs = BatchJobs.from_environment()
    deadline = time.monotonic() + 30
    while jobs.describe([asked["jobId"]])[asked["jobId"]]["status"] != "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert reap(instance, jobs, ["gpu"], "dagster") == {}
    instance.report_run_canceled(queued)
    assert set(reap(instance, jobs, ["gpu"], "dagster")) == {asked["jobId"]}


def test_the_reaper_ends_what_outlived_its_run(batch: LocalAws, instance: dg.DagsterInstance) -> None:
    over = instance.add_run(dg.DagsterRun(job_name="x", run_id="over", status=dg.DagsterRunStatus.CANCELED))
    going = instance.add_run(dg.DagsterRun(job_name="x", run_id="going", status=dg.DagsterRunStatus.STARTED))
    ids = {}
    for run in (over, going):
        ids[run.run_id] = boto3.client("batch").submit_job(
            jobName=f"dagster-{run.run_id}",
            jobQueue="gpu",
            jobDefinition="toy",
            containerOverrides={"command": ["sleep", "60"]},
            tags={"dagster/run_id": run.run_id},
        )["jobId"]
    jobs = BatchJobs.from_environment()
    assert reap(instance, jobs, ["gpu"], "dagster") == {ids["over"]: "run over is over (CANCELED)"}
    wait(lambda: jobs.describe([ids["over"]])[ids["over"]]["status"] == "FAILED")
    assert jobs.describe([ids["going"]])[ids["going"]]["status"] != "FAILED"


def test_the_reaper_is_a_sensor_that_runs_from_the_start(batch: LocalAws, instance: dg.DagsterInstance) -> None:
    sensor = orphan_reaper(["gpu"])
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    result = sensor(dg.build_sensor_context(instance=instance))
    assert isinstance(result, dg.SkipReason)
    assert result.skip_message == "no job outlives its run"
