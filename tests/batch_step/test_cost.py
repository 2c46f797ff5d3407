"""Where a step's time went, and what it cost."""

from __future__ import annotations

import pytest

from batch_step.console import job_url, log_url
from batch_step.cost import Timeline, attempt_seconds, money, price_per_hour
from batch_step.machine import Machine


def test_phases_are_the_spans_between_what_is_known() -> None:
    timeline = Timeline()
    timeline.read_job({"createdAt": 1_000_000, "startedAt": 1_090_000})
    for name, at in (("starting", 1_075.0), ("taken", 1_091.0), ("user_code", 1_099.0), ("user_code_end", 1_159.0)):
        timeline.mark(name, at)
    timeline.mark("starting", 1_080.0)  # only the first time counts
    assert timeline.phases() == {"waiting_s": 75.0, "starting_s": 15.0, "loading_s": 8.0, "user_code_s": 60.0}


def test_a_step_after_the_first_tells_how_long_its_job_was_idle() -> None:
    timeline = Timeline({"submitted": 0.0, "running": 90.0, "taken": 100.0, "begun": 130.0, "user_code": 131.0})
    assert timeline.without_the_job().phases() == {"idle_s": 30.0, "loading_s": 1.0}


def test_a_state_too_short_to_be_seen_is_left_out() -> None:
    timeline = Timeline({"submitted": 10.0, "running": 12.0})
    assert timeline.phases() == {"waiting_s": 2.0}


def test_clocks_that_disagree_make_no_negative_time() -> None:
    assert Timeline({"user_code_end": 10.0, "uploaded": 9.0}).phases() == {"uploading_s": 0.0}


ATTEMPTS = [{"startedAt": 1_000, "stoppedAt": 61_000}, {"startedAt": 100_000, "stoppedAt": 130_000}]
SECONDS = [
    ({"status": "SUCCEEDED", "attempts": ATTEMPTS}, 90.0),  # every attempt is paid
    ({"status": "RUNNING", "startedAt": 200_000, "attempts": ATTEMPTS}, 100.0),  # and the one that runs, until now
    ({"status": "RUNNABLE"}, 0.0),
    ({"status": "FAILED", "attempts": [{"stoppedAt": 1_000}]}, 0.0),  # never started: the image was not pulled
]


@pytest.mark.parametrize(("detail", "seconds"), SECONDS)
def test_the_time_of_all_attempts_counts(detail: dict[str, object], seconds: float) -> None:
    assert attempt_seconds(detail, until=210.0) == seconds


@pytest.mark.parametrize(
    ("detail", "seconds"),
    [
        pytest.param({"status": "STARTING", "attempts": []}, 60.0, id="seen last before it ran"),
        pytest.param({"status": "RUNNABLE", "attempts": ATTEMPTS[:1]}, 120.0, id="before its second attempt"),
        pytest.param({"status": "RUNNING", "startedAt": 140_000}, 70.0, id="seen: Batch knows better"),
        pytest.param({"status": "SUCCEEDED", "attempts": ATTEMPTS}, 90.0, id="over: Batch knows better"),
    ],
)
def test_a_step_that_was_over_before_its_job_was_seen_to_run_is_paid(detail: dict[str, object], seconds: float) -> None:
    assert attempt_seconds(detail, until=210.0, since=150.0) == seconds


def test_money_is_time_by_the_price_of_the_host_and_never_a_guess() -> None:
    prices = {"g5.xlarge/spot": 0.45}
    assert money(7_200, price_per_hour(prices, "g5.xlarge", "spot")) == 0.9
    assert money(7_200, price_per_hour(prices, "g5.xlarge", "on-demand")) is None
    assert money(7_200, price_per_hour(prices, None, None)) is None


def test_a_host_without_a_metadata_service_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert Machine.here() == Machine(None, None)
    monkeypatch.setenv("BATCH_STEP_INSTANCE_TYPE", "g5.xlarge")
    monkeypatch.setenv("BATCH_STEP_PURCHASE", "spot")
    assert Machine.here() == Machine("g5.xlarge", "spot")


def test_links_lead_to_the_console() -> None:
    assert job_url("eu-central-1", "a-b").endswith("/batch/home?region=eu-central-1#jobs/detail/a-b")
    assert log_url("eu-central-1", "/aws/batch/job", "x/default/1").endswith(
        "#logsV2:log-groups/log-group/$252Faws$252Fbatch$252Fjob/log-events/x$252Fdefault$252F1"
    )
