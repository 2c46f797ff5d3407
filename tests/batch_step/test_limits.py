"""What Batch would refuse, or fail later, is refused before it is asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_step.errors import LimitExceeded
from batch_step.jobs import JobRequest
from batch_step.limits import MAX_NAME, check_submission, job_name, tag_value

GOOD: dict[str, Any] = {"name": "dagster-x", "queue": "q", "definition": "d", "command": ["python"]}

REFUSED = [
    ({"environment": {"CONFIG": "x" * 8_200}}, "container overrides"),  # 8,192 bytes: fails after it was accepted
    ({"command": ["x"] * 2_050}, "container overrides"),
    ({"tags": {f"k{i}": "v" * 250 for i in range(50)}, "definition": "d" * 20_000}, "the SubmitJob request"),
    ({"name": "has space"}, "job name"),
    ({"name": "-begins-with-dash"}, "job name"),
    ({"name": "n" * 129}, "job name"),
    ({"tags": {f"k{i}": "v" for i in range(51)}}, "51 tags"),
    ({"tags": {"": "v"}}, "tag key"),
    ({"tags": {"aws:mine": "v"}}, "tag key"),
    ({"tags": {"k" * 129: "v"}}, "tag key"),
    ({"tags": {"k": "v" * 257}}, "tag k="),
    ({"tags": {"k": "a|b"}}, "tag k="),
    ({"share": "up-loads"}, "share 'up-loads'"),
    ({"share": "s" * 256}, "share"),
    ({"share": "uploads", "priority": 10_000}, "scheduling priority 10000"),
    ({"timeout_s": 59}, "timeout of 59 s"),
    ({"gpus": -1}, "GPU"),
    ({"memory_mib": -5}, "MEMORY"),
    ({"environment": {"AWS_BATCH_JOB_ID": "x"}}, "AWS_BATCH"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "why"), REFUSED)
def test_a_request_out_of_range_is_refused_with_the_reason(change: dict[str, Any], why: str) -> None:
    with pytest.raises(LimitExceeded, match=why):
        JobRequest(**{**GOOD, **change}).to_api()


def test_a_request_at_the_limits_is_taken() -> None:
    JobRequest(**{**GOOD, "name": "n" * 128, "tags": {"k" * 128: "v" * 256}, "timeout_s": 60, "gpus": 1}).to_api()
    check_submission({"jobName": "x"})


def test_batch_never_retries_by_itself() -> None:
    """Two attempts would write one channel; the job definition may say otherwise."""
    assert JobRequest(**GOOD).to_api()["retryStrategy"] == {"attempts": 1}


def test_nothing_is_overridden_that_was_not_asked_for() -> None:
    assert JobRequest(**GOOD).to_api()["containerOverrides"] == {"command": ["python"]}


@given(st.lists(st.text(max_size=200), max_size=4))
def test_any_step_gets_a_name_that_batch_takes(parts: list[str]) -> None:
    """Dynamic step keys hold brackets, asset names may be long or not Latin."""
    name = job_name(*parts, unique="0123456789abcdef")
    check_submission({"jobName": name})
    assert name.endswith("-0123456789abcdef")
    assert len(name) <= MAX_NAME


@given(st.text(max_size=400))
def test_any_partition_makes_a_tag(text: str) -> None:
    check_submission({"jobName": "x", "tags": {"partition": tag_value(text)}})
