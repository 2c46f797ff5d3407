"""A step that runs on Batch leaves the records that the same step leaves in process, for every shape of asset."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import dagster as dg
import pytest

from tests.batch_step.conftest import fill, quick_settings
from tests.batch_step.runs import Toys
from tests.batch_step.streams import Stream, stream_of

if TYPE_CHECKING:
    from infra.local.aws import LocalAws

# Of one run for partition "a" in which all of them stand; what fails does not hold up the others.
TOGETHER = [
    "plain", "boxes", "part_a", "part_b", "part_c", "checked", "after_check", "observed", "scene_list", "versioned",
    "retried", "failing", "raising", "skipping", "after_skip",
]  # fmt: skip

SHAPES = [
    ("plain", "together"),  # metadata and a log line
    ("plain_alone", "together"),  # a check that is a step of its own
    ("boxes", "together"),  # an input and an output through an IO manager, metadata for one partition
    ("parts", "together"),  # a multi-asset with lineage inside the step
    ("parts", "subset"),  # a part of it
    ("checked", "together"),  # one blocking check, passed, and a warning
    ("checked", "blocked"),  # the blocking check fails
    ("observed", "together"),
    ("scene_list", "together"),  # adds partitions of another definition
    ("versioned", "together"),  # a data version of its own
    ("retried", "together"),  # RetryPolicy: up for retry, then restarted
    ("failing", "together"),  # Failure with metadata
    ("raising", "together"),  # an exception with a cause
    ("skipping", "together"),  # yields nothing
    ("fan_in", "fan_in"),  # unpartitioned, over all partitions
]

Both = dict[str, tuple[Stream, Stream]]


def play(toys: Toys) -> dict[str, Stream]:
    """The same runs under whatever `toys.definitions` says."""
    toys.add_videos("a", "bb", "ccc", "empty")
    runs: dict[str, dg.JobExecutionResult] = {}
    for key in ("a", "bb", "ccc", "empty"):
        toys.run("frames", partition=key)
    toys.run("frames", partition="a")  # twice, so that the newest version matters
    runs["together"] = toys.run(*TOGETHER, partition="a")
    runs["subset"] = toys.run("part_a", "part_c", partition="bb")
    runs["blocked"] = toys.run("checked", "after_check", partition="empty")
    runs["fan_in"] = toys.run("fan_in")
    runs["ranged"] = toys.run("ranged", between=("a", "ccc"))
    streams = {name: stream_of(toys.instance, result.run_id) for name, result in runs.items()}
    scenes = toys.instance.get_dynamic_partitions("toy_scenes")
    return {**streams, "instance": {"toy_scenes": [{"key": key} for key in scenes]}}


def played(folder: Path, definitions: str, settings: dict[str, Any]) -> dict[str, Stream]:
    with dg.DagsterInstance.ephemeral(str(folder)) as instance:
        return play(Toys(instance, folder / "outputs", settings, definitions))


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stream]:
    return played(tmp_path_factory.mktemp("in-process"), "local", {})


@pytest.fixture(scope="module", params=["step, folder", "run, s3"])
def both(
    request: pytest.FixtureRequest,
    in_process: dict[str, Stream],
    aws_server: LocalAws,
    warm_worker: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Both:
    """Each run's streams in process and through the launcher."""
    reuse, store = request.param.split(", ")
    folder = tmp_path_factory.mktemp("contract")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        for name, value in aws_server.environment().items():
            patch.setenv(name, value)
        fill()
        channel = f"s3://steps/{uuid.uuid4().hex}" if store == "s3" else str(folder / "channel")
        settings: dict[str, Any] = {**quick_settings(channel, warm_worker), "reuse": reuse}
        on_batch = played(folder, "remote", settings)
        aws_server.reset()
    return {name: (in_process[name], on_batch[name]) for name in in_process}


@pytest.mark.parametrize(("step", "run"), SHAPES)
def test_a_step_leaves_the_same_records_on_batch_and_in_process(both: Both, step: str, run: str) -> None:
    """All events, tags, versions, pointers, check targets and log lines of the step."""
    in_process, on_batch = both[run]
    assert on_batch[step] == in_process[step]


def test_a_range_leaves_the_same_records_but_for_versions(both: Both) -> None:
    """In process Dagster hashes the inputs of all partitions into each one's version; here each has its own."""
    in_process, on_batch = (side["ranged"] for side in both["ranged"])
    assert [e["type"] for e in on_batch] == [e["type"] for e in in_process]
    assert len([e for e in on_batch if e["type"] == "ASSET_MATERIALIZATION"]) == 3


def test_partitions_that_a_step_adds_or_deletes_are_the_hosts(both: Both) -> None:
    """The job's instance is thrown away."""
    in_process, on_batch = both["instance"]
    assert in_process == {"toy_scenes": [{"key": "a-1"}, {"key": "a-3"}]}
    assert on_batch == in_process


def test_what_depends_on_a_step_is_skipped_alike(both: Both) -> None:
    for run, step in (("together", "after_skip"), ("together", "after_check"), ("blocked", "after_check")):
        in_process, on_batch = both[run]
        assert [e["type"] for e in on_batch[step]] == [e["type"] for e in in_process[step]]


def test_a_fan_in_sees_all_partitions(both: Both) -> None:
    """Without the partitions sent along it succeeds with nothing in it."""
    _, on_batch = both["fan_in"]
    made = next(e for e in on_batch["fan_in"] if e["type"] == "ASSET_MATERIALIZATION")
    assert '"a", "bb", "ccc", "empty"' in str(made["data"]).replace("'", '"')
