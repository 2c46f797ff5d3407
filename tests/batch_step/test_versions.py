"""A partition's version depends on its own inputs, not on which others shared its run."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from tests.batch_step.runs import Toys

if TYPE_CHECKING:
    from infra.local.aws import LocalAws


def version(toys: Toys, partition: str) -> str:
    key = dg.AssetRecordsFilter(asset_key=dg.AssetKey("ranged"), asset_partitions=[partition])
    (record,) = toys.instance.fetch_materializations(key, limit=1).records
    assert record.asset_materialization is not None
    assert record.asset_materialization.tags is not None
    return record.asset_materialization.tags["dagster/data_version"]


def test_alone_and_in_a_range_a_partition_gets_the_same_version(toys: Toys) -> None:
    """In process Dagster hashes the inputs of the whole run into each: redoing one video alone would make what depends
    on it stale, though nothing changed."""
    toys.add_videos("a", "bb", "ccc")
    for key in ("a", "bb", "ccc"):
        assert toys.run("frames", partition=key).success
    assert toys.run("ranged", between=("a", "ccc")).success
    together = version(toys, "a")
    assert toys.run("ranged", partition="a").success
    assert version(toys, "a") == together


@pytest.mark.parametrize("last", ["a", "ccc"])
def test_a_range_runs_like_any_other(toys: Toys, last: str) -> None:
    """And a range of one, the last chunk of a backfill, whether or not there is an input that tells its partitions;
    Dagster's own reference fails with `Nonexistent partition keys`."""
    toys.add_videos("a", "bb", "ccc")
    keys = ["a"] if last == "a" else ["a", "bb", "ccc"]
    for key in keys:
        assert toys.run("frames", partition=key).success
    assert toys.run("ranged", between=("a", last)).success
    assert version(toys, last)
    assert toys.run("bare", between=("a", last)).success
    assert sorted(toys.instance.get_materialized_partitions(dg.AssetKey("bare"))) == keys


def test_an_input_that_changed_while_the_job_waited_is_recorded_as_what_the_step_saw(
    toys: Toys, batch: LocalAws
) -> None:
    """A job may stand in line for hours; by what stood there at its launch, its output would be stale at once."""
    from infra.local.batch.faults import Slow

    toys.add_videos("a")
    assert toys.run("frames", partition="a").success
    batch.faults.add(Slow(jobs="*boxes*", state="RUNNABLE", seconds=4))
    newer = dg.AssetMaterialization("frames", partition="a", tags={"dagster/data_version": "newer"})
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(toys.run, "boxes", partition="a")
        while not any("boxes" in job["jobName"] for job in toys.jobs()):
            assert not run.done()
            time.sleep(0.05)
        toys.instance.report_runless_asset_event(newer)
        assert not run.done()
        assert run.result().success
    batch.faults.clear()
    seen = inputs(toys, "boxes")
    assert seen
    assert toys.run("boxes", partition="a").success  # of the newer one without doubt
    assert inputs(toys, "boxes") == seen


def inputs(toys: Toys, asset: str) -> dict[str, str]:
    """The tags that tell what the latest materialization was made from."""
    latest = toys.instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert latest is not None
    assert latest.asset_materialization is not None
    return {k: v for k, v in (latest.asset_materialization.tags or {}).items() if k.startswith("dagster/input_")}
