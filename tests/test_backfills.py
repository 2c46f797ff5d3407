"""A plan becomes backfills of Dagster that its own daemon code carries out; a canary is not passed by unapproved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from resources.warehouse import Warehouse
from sentinel_assets.backfills import CANARY, UPGRADE, begin, begun, being_redone, cancel, require_approval
from sentinel_assets.planning import Plan
from sentinel_assets.upgrading import Order, upgrade
from sentinel_assets.vision.errors import SentinelError
from tests.builders.systems import eventually

VIDEOS = [str(number) for number in range(1, 451)]
PLAN = Plan("events", "a" * 12, tuple((video, ("embeddings", "events")) for video in reversed(VIDEOS)))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        made.add_dynamic_partitions("videos", VIDEOS)
        yield made


def test_a_plan_is_begun_newest_first_and_below_uploads(instance: dg.DagsterInstance) -> None:
    """Titled, tagged, in parts of which each later one waits longer."""
    ids = begin(instance, PLAN)
    found = [instance.get_backfill(one) for one in ids]
    assert [b.tags["dagster/priority"] for b in found if b] == ["-10", "-11", "-12"]
    assert {b.tags[UPGRADE] for b in found if b} == {PLAN.upgrade}
    assert found[0] is not None
    assert found[0].title == f"Upgrade to events {'a' * 12} (1 of 3)"
    parts = {one.id: one.partitions for one in begun(instance)}
    assert parts[ids[0]] == set(VIDEOS[-200:])
    assert frozenset().union(*parts.values()) == set(VIDEOS)


def test_dagster_keeps_exactly_what_was_planned(instance: dg.DagsterInstance) -> None:
    """Of each video its own assets, no more: as read back from Dagster's storage."""
    plan = Plan("events", "a" * 12, (("3", ("events",)), ("2", ("embeddings", "events"))))
    (backfill_id,) = begin(instance, plan)
    backfill = instance.get_backfill(backfill_id)
    assert backfill is not None
    assert backfill.asset_backfill_data is not None
    targets = {
        (key.to_user_string(), p) for key, p in backfill.asset_backfill_data.target_subset.iterate_asset_partitions()
    }
    assert targets == {("events", "3"), ("events", "2"), ("embeddings", "2")}


def test_what_is_under_way_is_not_planned_again_until_it_is_cancelled(instance: dg.DagsterInstance) -> None:
    (backfill_id,) = begin(instance, PLAN.first(3))
    assert being_redone(instance) == {"450", "449", "448"}
    assert cancel(instance, PLAN.upgrade) == [backfill_id]
    backfill = instance.get_backfill(backfill_id)
    assert backfill is not None
    assert backfill.status.value == "CANCELING"


def test_a_canary_is_finished_and_approved_before_the_rest(instance: dg.DagsterInstance) -> None:
    from dagster._core.execution.backfill import BulkActionStatus

    (canary,) = begin(instance, PLAN.first(5), canary=True)
    backfill = instance.get_backfill(canary)
    assert backfill is not None
    assert backfill.tags[CANARY] == "1"
    with pytest.raises(SentinelError, match="not finished"):
        require_approval(instance, PLAN, approve=True)
    instance.update_backfill(backfill.with_status(BulkActionStatus.COMPLETED_SUCCESS))
    with pytest.raises(SentinelError, match="--approve"):
        require_approval(instance, PLAN, approve=False)
    require_approval(instance, PLAN, approve=True)
    begin(instance, PLAN)
    require_approval(instance, PLAN, approve=False)  # given once


def test_an_upgrade_without_a_canary_needs_no_approval(instance: dg.DagsterInstance) -> None:
    require_approval(instance, PLAN, approve=False)


def test_two_who_order_at_once_request_one_backfill(instance: dg.DagsterInstance, database_url: str) -> None:
    """The second waits until the first has planned, and finds the videos being redone."""
    order = Order("detections", missing=True)
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with (
        Warehouse(database_url) as warehouse,
        psycopg.connect(database_url, autocommit=True) as looking,
        ThreadPoolExecutor(2) as pool,
    ):
        with warehouse.hold_upgrades():
            orders = [pool.submit(upgrade, instance, warehouse, order) for _ in range(2)]
            eventually(lambda: looking.execute(waiting).fetchone() == (2,), "both wait")
            assert begun(instance) == []
        ids = [order.result().backfills for order in orders]
    assert sorted(map(len, ids)) == [0, 3]
    assert len(begun(instance)) == 3


def test_a_canary_may_be_of_videos_that_are_named(instance: dg.DagsterInstance, database_url: str) -> None:
    """By what people call them; it needs approval as any other, and a name that is none is refused."""
    with Warehouse(database_url) as warehouse:
        for key in ("3", "17"):
            warehouse.register_video(f"/clips/shop-{key}.mp4", name=f"shop-{key}.mp4", partition_key=key)
        offer = upgrade(instance, warehouse, Order("detections", sample=("shop-3.mp4", "17"), missing=True))
        assert (offer.all_videos, offer.asked_videos) == (len(VIDEOS), 2)
        (canary,) = begun(instance)
        assert (canary.canary, canary.partitions) == (True, {"3", "17"})
        with pytest.raises(SentinelError, match="not finished"):
            upgrade(instance, warehouse, Order("detections", missing=True, approve=True))
        with pytest.raises(SentinelError, match=r"no video 'shop-4\.mp4'"):
            upgrade(instance, warehouse, Order("detections", sample=("shop-4.mp4",), missing=True))


def test_commands_say_what_they_would_do(machine: object) -> None:
    """On an empty warehouse: nothing is stale, nothing to redo."""
    states = json.loads(machine.run("stale", "--json").stdout)  # type: ignore[attr-defined]
    assert {one["stale"] for one in states} == {0}
    offer = json.loads(machine.run("backfill", "poses", "--dry-run", "--json").stdout)  # type: ignore[attr-defined]
    assert (offer["videos"], offer["backfills"]) == (0, [])
