"""The launcher of runs: which process is a run's, and whether it lives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
import yaml

from batch_step.run_launcher import WORKER_TAG, ProcessRunLauncher, Worker


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    launcher = {
        "module": "batch_step.run_launcher",
        "class": "ProcessRunLauncher",
        "config": {"log_dir": str(tmp_path / "logs")},
    }
    settings = {"telemetry": {"enabled": False}, "run_launcher": launcher}
    (tmp_path / "dagster.yaml").write_text(
        yaml.safe_dump({**settings, "run_monitoring": {"enabled": True, "max_resume_run_attempts": 2}})
    )
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as sleeper:
        yield sleeper
        sleeper.kill()


def _run(instance: dg.DagsterInstance, **worker: object) -> dg.DagsterRun:
    @dg.job
    def empty() -> None: ...

    tags = {WORKER_TAG: json.dumps(worker)} if worker else {}
    return instance.create_run_for_job(empty, status=dg.DagsterRunStatus.STARTED, tags=tags)


def _status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    return instance.run_launcher.check_run_worker_health(run).status.value


def _here(process: subprocess.Popen[bytes]) -> dict[str, object]:
    import socket

    started = psutil.Process(process.pid).create_time()
    return {"host": socket.gethostname(), "pid": process.pid, "started": started}


def test_a_killed_worker_is_found_dead(instance: dg.DagsterInstance, process: subprocess.Popen[bytes]) -> None:
    """Also while nobody has reaped it."""
    run = _run(instance, **_here(process))
    assert _status(instance, run) == "RUNNING"
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert _status(instance, run) == "FAILED"


def test_a_later_process_of_the_same_number_is_not_the_worker(
    instance: dg.DagsterInstance, process: subprocess.Popen[bytes]
) -> None:
    worker = _here(process)
    assert _status(instance, _run(instance, **{**worker, "started": 1.0})) == "FAILED"


def test_runs_that_others_execute_are_left_alone(
    instance: dg.DagsterInstance, process: subprocess.Popen[bytes]
) -> None:
    """Of a command in its own process, and of another machine: to resume these would run them twice."""
    assert _status(instance, _run(instance)) == "RUNNING"
    assert _status(instance, _run(instance, **{**_here(process), "host": "elsewhere"})) == "RUNNING"


def test_the_run_of_a_machine_that_this_one_replaced_is_lost(
    instance: dg.DagsterInstance, process: subprocess.Popen[bytes]
) -> None:
    """Where there is one machine at a time. A command's own run has no worker, and stays the command's."""
    successor = ProcessRunLauncher(alone=True)
    successor.register_instance(instance)
    lost = _run(instance, host="before", pid=process.pid, started=1.0)
    assert successor.check_run_worker_health(lost).status.value == "FAILED"
    here = _run(instance, **{**_here(process), "host": "another name of this task"})
    assert successor.check_run_worker_health(here).status.value == "RUNNING"
    assert successor.check_run_worker_health(_run(instance)).status.value == "RUNNING"


def test_a_run_whose_worker_is_gone_is_canceled_at_once(
    instance: dg.DagsterInstance, process: subprocess.Popen[bytes]
) -> None:
    run = _run(instance, **{**_here(process), "started": 1.0})
    assert instance.run_launcher.terminate(run.run_id)
    canceled = instance.get_run_by_id(run.run_id)
    assert canceled is not None
    assert canceled.status == dg.DagsterRunStatus.CANCELED


def test_a_worker_that_lives_is_interrupted(instance: dg.DagsterInstance, process: subprocess.Popen[bytes]) -> None:
    run = _run(instance, **_here(process))
    assert instance.run_launcher.terminate(run.run_id)
    assert process.wait(30) != 0


def test_it_says_that_it_can_resume(instance: dg.DagsterInstance) -> None:
    """Without which run monitoring would fail a lost run."""
    assert isinstance(instance.run_launcher, ProcessRunLauncher)
    assert instance.run_launcher.supports_resume_run
    assert instance.run_monitoring_max_resume_run_attempts == 2
    assert Worker.of_tags({}) is None
