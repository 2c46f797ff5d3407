"""Who is first in the queue: Dagster's priority and backfills become Batch's priority and shares."""

from __future__ import annotations

import boto3
import pytest

from batch_step.launcher import BatchStepLauncher, scheduling_priority
from tests.batch_step.conftest import create_queue
from tests.batch_step.runs import Toys


@pytest.fixture
def fair(toys: Toys) -> str:
    """A queue with a scheduling policy."""
    policy = boto3.client("batch").create_scheduling_policy(name="fair", fairsharePolicy={})["arn"]
    create_queue("fair", policy=policy)
    return "fair"


@pytest.mark.parametrize(
    ("tags", "share", "priority"),
    [
        ({}, "uploads", 5000),
        ({"dagster/priority": "7"}, "uploads", 5007),
        ({"dagster/backfill": "b", "dagster/priority": "-10"}, "backfills", 4990),
    ],
    ids=["upload", "urgent upload", "backfill"],
)
def test_a_job_stands_where_its_run_stands(
    toys: Toys, fair: str, tags: dict[str, str], share: str, priority: int
) -> None:
    """On a queue with shares; it ran, so Batch took both."""
    settings = {"queue": fair, "share": "uploads", "backfill_share": "backfills"}
    assert toys.run("behaving", ops={"behaving": {}}, tags=tags, **settings).success
    (job,) = toys.jobs(fair)
    assert (job["shareIdentifier"], job["schedulingPriority"]) == (share, priority)


def test_a_queue_without_shares_is_given_none(toys: Toys) -> None:
    """Batch refuses a share there."""
    assert toys.run("behaving", ops={"behaving": {}}, tags={"dagster/priority": "3"}).success
    (job,) = toys.jobs()
    assert "shareIdentifier" not in job


def test_a_share_for_a_queue_without_them_fails_with_batchs_own_words(toys: Toys) -> None:
    result = toys.run("behaving", ops={"behaving": {}}, share="uploads")
    error = result.failure_data_for_node("behaving").error
    assert "shareIdentifier" in error.to_string()


@pytest.mark.parametrize(
    ("given", "priority"),
    [("0", 5000), ("-3", 4997), ("99999", 9999), ("-99999", 0), ("urgent", 5000)],
)
def test_any_priority_of_dagster_is_one_that_batch_takes(given: str, priority: int) -> None:
    assert scheduling_priority({"dagster/priority": given}) == priority


def test_without_a_share_of_their_own_backfills_stand_in_the_common_one() -> None:
    launcher = BatchStepLauncher(channel="/x", queue="q", job_definition="d", share="all")
    assert launcher._share({"dagster/backfill": "b"}) == "all"
