"""A partition's version depends on its own inputs, not on which others shared its run."""

from __future__ import annotations

import dagster as dg
import pytest

from tests.batch_step.runs import Toys


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
