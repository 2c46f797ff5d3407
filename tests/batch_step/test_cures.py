"""Cures of what breaks in Dagster's own launchers, those that no other file here stands over."""

from __future__ import annotations

import json
import time
from pathlib import Path

import boto3
import dagster as dg
import pytest

from batch_step.following import StepEvents
from batch_step.jobs import BatchJobs
from tests.batch_step.conftest import CHECKOUT
from tests.batch_step.runs import Toys, kinds, messages
from tests.batch_step.streams import stream_of


def test_a_job_that_hangs_after_its_step_is_stopped_and_the_step_stays_a_success(toys: Toys) -> None:
    """Its last event counts; nothing is raised after it (Dagster's issue 10086)."""
    began = time.monotonic()
    result = toys.run("hanging", finish_grace_seconds=0.5)
    assert result.success
    assert time.monotonic() - began < 45  # its job would take a minute to end
    assert kinds(result, toys.instance, "hanging").count("STEP_FAILURE") == 0
    deadline = time.monotonic() + 30
    while (job := toys.jobs()[0])["status"] != "FAILED":
        assert time.monotonic() < deadline, "the job was left to hang"
        time.sleep(0.1)
    assert job["statusReason"] == "batch_step: the step is over but its job is not"


def test_the_jobs_log_does_not_repeat_each_event(toys: Toys) -> None:
    """Dagster's console logger would print all of them into the compute log, which the run has them in already."""
    toys.add_videos("a")
    assert toys.run("observed", partition="a").success
    deadline = time.monotonic() + 30
    while (job := toys.jobs()[0])["status"] != "SUCCEEDED":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    logs = boto3.client("logs")
    stream = job["container"]["logStreamName"]
    found = logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True)["events"]
    assert [line["message"] for line in found if " - dagster - " in line["message"]] == []


def test_steps_of_which_dagster_learns_in_the_run_are_jobs_too(toys: Toys) -> None:
    """Brackets in a step's key are for no job name and no folder."""
    assert toys.run("mapped").success
    made = json.loads((toys.outputs / "mapped" / "all.json").read_text())
    assert made == ["left by mapped.each[left]", "right by mapped.each[right]"]
    assert len({job["jobName"] for job in toys.jobs()}) == 2


def test_a_check_judges_its_own_partition_though_a_neighbour_is_newer(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run may record another partition of the asset between this one's materialization and its check."""
    toys.add_videos("a", "bb")
    real = StepEvents._store

    def store(events: StepEvents, entry: dg.EventLogEntry) -> dg.DagsterEvent | None:
        stored = real(events, entry)
        if stored is not None and stored.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
            toys.instance.report_runless_asset_event(dg.AssetMaterialization("checked", partition="bb"))
        return stored

    monkeypatch.setattr(StepEvents, "_store", store)
    result = toys.run("checked", partition="a")
    of = {}
    for key in ("a", "bb"):
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey("checked"), asset_partitions=[key])
        (record,) = toys.instance.fetch_materializations(wanted, limit=2).records
        of[key] = record.storage_id
    assert of["bb"] > of["a"]
    checks = [e.dagster_event for e in toys.instance.all_logs(result.run_id) if e.dagster_event]
    judged = [e.asset_check_evaluation_data for e in checks if e.event_type_value == "ASSET_CHECK_EVALUATION"]
    targets = {check.target_materialization_data for check in judged}
    assert [target.storage_id for target in targets if target is not None] == [of["a"]]


def test_a_waiting_step_tells_its_place_in_the_queue(
    toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one in front ends when the place has been asked for."""
    from tests.batch_step.conftest import create_queue

    create_queue("narrow", vcpus=1)
    go_on = tmp_path / "go on"
    waiting = ["sh", "-c", f"while [ ! -e '{go_on}' ]; do sleep 0.05; done"]
    boto3.client("batch").submit_job(
        jobName="in-front", jobQueue="narrow", jobDefinition="toy", containerOverrides={"command": waiting}
    )
    real = BatchJobs.queue_position

    def ask(jobs: BatchJobs, queue: str, job_id: str) -> int | None:
        position = real(jobs, queue, job_id)
        go_on.touch()
        return position

    monkeypatch.setattr(BatchJobs, "queue_position", ask)
    result = toys.run("behaving", ops={"behaving": {}}, queue="narrow")
    assert result.success
    (job,) = toys.jobs("narrow")
    assert f"Batch job {job['jobId']} is number 1 in its queue" in messages(result, toys.instance)


@pytest.mark.drill
def test_steps_in_processes_of_their_own_are_followed_alike(
    toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster's multiprocess executor: each step has a host of its own; the records are those of one process."""
    monkeypatch.syspath_prepend(CHECKOUT)  # those processes are given our path, but for its first entry
    streams = []
    for definitions in ("local", "remote_by_process"):
        home = tmp_path / definitions
        home.mkdir()
        with dg.instance_for_test(temp_dir=str(home)) as instance:
            side = Toys(instance, home / "outputs", toys.settings, definitions)
            side.add_videos("a")
            assert Toys(instance, side.outputs, {}, "local").run("frames", partition="a").success
            result = side.run("boxes", "retried", partition="a")
            assert result.success
            streams.append(stream_of(instance, result.run_id))
    in_process, by_process = streams
    for step in ("boxes", "retried"):
        assert by_process[step] == in_process[step]
    assert len(toys.jobs()) == 3  # `retried` has two
