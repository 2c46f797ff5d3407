"""Thirty runs at once while Batch refuses one call in five and loses one host in ten: nothing lost, nothing twice."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from tests.batch_step.conftest import create_queue, quick_settings
from tests.batch_step.runs import Toys, ran
from tests.batch_step.warm_start import RUN

if TYPE_CHECKING:
    from infra.local.aws import LocalAws
    from infra.local.postgres import Server

RUNS = 30
AT_ONCE = 4  # jobs: as many as the fleet of the deployment has hosts; the others stand in the queue


@pytest.fixture
def home(postgres: Server, tmp_path: Path) -> Iterator[Path]:
    """An instance on PostgreSQL: so many writers at once are too many for SQLite."""
    name = f"drill_{uuid.uuid4().hex[:8]}"
    postgres.create_database(name)
    storage = {"postgres": {"postgres_url": postgres.url(name)}}
    home = tmp_path / "home"
    home.mkdir()
    with dg.instance_for_test(overrides={"storage": storage}, temp_dir=str(home)):
        yield home
    postgres.drop_database(name)


@pytest.mark.drill
def test_thirty_runs_at_once_survive_throttling_and_lost_hosts(
    batch: LocalAws, home: Path, warm_worker: list[str], tmp_path: Path
) -> None:
    """Each in a run worker of its own, as Dagster has it."""
    from infra.local.batch.faults import SpotReclaim, Throttle

    create_queue("small", vcpus=AT_ONCE)
    throttled = batch.faults.add(Throttle(every=5))
    lost = batch.faults.add(SpotReclaim(every=10, after_s=0.2))
    settings = {**quick_settings(str(tmp_path / "channel"), warm_worker), "queue": "small"}
    settings |= {"infrastructure_retries": 6, "describe_seconds": 1.0, "poll_seconds": 0.5, "lease_seconds": 60}

    with dg.DagsterInstance.from_config(str(home)) as instance:
        toys = Toys(instance, tmp_path / "outputs", settings)
        runs = [
            toys.create_run("behaving", {"folder": str(tmp_path / f"ran-{number}"), "sleep_s": 0.2})
            for number in range(RUNS)
        ]
        began = time.monotonic()
        environment = {**os.environ, "DAGSTER_HOME": str(home)}
        command = [*warm_worker, RUN, str(home)]
        workers = [
            subprocess.Popen([*command, run_id, "start"], env=environment, stdout=DEVNULL, stderr=DEVNULL)
            for run_id in runs
        ]
        assert [worker.wait(timeout=240) for worker in workers] == [0] * RUNS
        took = time.monotonic() - began
        batch.faults.remove(throttled)

        entries = [entry for run_id in runs for entry in instance.all_logs(run_id)]
        events = [entry.dagster_event for entry in entries if entry.dagster_event]
        failed = [str(event.event_specific_data) for event in events if event.is_failure]
        assert failed == []
        for number, run_id in enumerate(runs):
            stored = [e.dagster_event.event_type_value for e in instance.all_logs(run_id) if e.dagster_event]
            kinds = Counter(stored)
            assert kinds["PIPELINE_SUCCESS"] == kinds["STEP_SUCCESS"] == kinds["ASSET_MATERIALIZATION"] == 1
            assert ran(tmp_path / f"ran-{number}")["behaving"] <= kinds["STEP_START"] + 1
        jobs = toys.jobs("small")
        ended = Counter(job["status"] for job in jobs)
        assert ended["SUCCEEDED"] >= RUNS
        assert len({job["jobName"] for job in jobs}) == len(jobs)  # no job was submitted twice
        assert len(jobs) > RUNS  # hosts were lost
        assert batch.faults.used(lost) > 0
        print(f"{RUNS} runs in {took:.0f} s, {len(jobs)} jobs, {ended}")
