"""Every line of a job's log once, in order, for few calls."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from batch_step.logs import LogFollower, LogStream, RateBudget

if TYPE_CHECKING:
    from infra.local.aws import LocalAws

STREAM = LogStream("/aws/batch/job", "toy/default/1")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Counting:
    """A Logs client that counts."""

    def __init__(self, client: Any) -> None:
        self._client, self.calls = client, 0

    def get_log_events(self, **parameters: Any) -> Any:
        self.calls += 1
        return self._client.get_log_events(**parameters)


class Pages:
    """Says the given pages one after another; the last one again and again."""

    def __init__(self, *pages: list[str]) -> None:
        self._pages = pages

    def get_log_events(self, **parameters: Any) -> Any:
        assert parameters["startFromHead"] is True  # without it a token leads backwards, says the service model
        page = int(parameters.get("nextToken", 0))
        lines = self._pages[page] if page < len(self._pages) else []
        return {"events": [{"message": x} for x in lines], "nextForwardToken": str(min(page + 1, len(self._pages)))}


def follower(client: Any, lines: list[str], clock: Clock | None = None, per_second: float = 1_000) -> LogFollower:
    clock = clock or Clock()
    return LogFollower(client, lambda text: lines.append(text.rstrip("\n")), RateBudget(per_second, clock), clock=clock)


def write(lines: list[str], stream: str = STREAM.name) -> None:
    logs = boto3.client("logs")
    now = int(time.time() * 1000)
    for start in range(0, len(lines), 5_000):
        events = [{"timestamp": now, "message": x} for x in lines[start : start + 5_000]]
        logs.put_log_events(logGroupName=STREAM.group, logStreamName=stream, logEvents=events)


@pytest.fixture
def logs(aws: LocalAws) -> Counting:
    client = boto3.client("logs")
    client.create_log_group(logGroupName=STREAM.group)
    for name in (STREAM.name, "toy/default/2"):
        client.create_log_stream(logGroupName=STREAM.group, logStreamName=name)
    return Counting(client)


def test_a_long_log_comes_whole_and_in_order(logs: Counting) -> None:
    """dagster-aws gives 10,000 of 25,000 lines; all of these bear the same time."""
    written = [f"line {n}" for n in range(25_000)]
    write(written)
    lines: list[str] = []
    follower(logs, lines).poll(STREAM)
    assert lines == written
    assert logs.calls <= 6


def test_an_empty_page_is_not_the_end() -> None:
    lines: list[str] = []
    follower(Pages(["a"], [], [], ["b"]), lines).poll(STREAM)
    assert lines == ["a", "b"]


def test_a_quiet_stream_costs_a_call_every_few_seconds(logs: Counting) -> None:
    """dagster-aws makes 1,166 in 20 s."""
    clock, lines = Clock(), list[str]()
    following = follower(logs, lines, clock)
    for _ in range(200):
        following.poll(STREAM)
        clock.now += 0.1
    assert logs.calls <= 7


def test_lines_that_come_later_come_once(logs: Counting) -> None:
    clock, lines = Clock(), list[str]()
    following = follower(logs, lines, clock)
    for batch in (["a", "b"], [], ["c"]):
        if batch:
            write(batch)
        clock.now += 6
        following.poll(STREAM)
    assert lines == ["a", "b", "c"]


def test_a_stream_that_is_not_there_yet_is_waited_for(aws: LocalAws) -> None:
    clock, lines = Clock(), list[str]()
    following = follower(boto3.client("logs"), lines, clock)
    following.poll(STREAM)
    boto3.client("logs").create_log_group(logGroupName=STREAM.group)
    boto3.client("logs").create_log_stream(logGroupName=STREAM.group, logStreamName=STREAM.name)
    write(["late"])
    clock.now += 6
    following.poll(STREAM)
    assert lines == ["late"]


def test_another_attempt_is_another_stream(logs: Counting) -> None:
    lines: list[str] = []
    following = follower(logs, lines)
    write(["first attempt"])
    following.poll(STREAM)
    write(["second attempt"], "toy/default/2")
    following.poll(LogStream(STREAM.group, "toy/default/2"))
    assert lines == ["first attempt", "second attempt"]


def test_the_rest_is_read_at_the_end(logs: Counting) -> None:
    lines: list[str] = []
    following = follower(logs, lines)
    following.poll(STREAM)
    write(["last words"])
    following.close(STREAM)
    assert lines == ["last words"]
    assert list(following.tail) == ["last words"]


def test_a_process_stays_within_its_budget(logs: Counting) -> None:
    """All followers of a process share one; each would take its own otherwise."""
    clock = Clock()
    budget = RateBudget(5, clock)
    following = [LogFollower(logs, lambda _: None, budget, clock=clock) for _ in range(50)]
    for _ in range(10):
        for one in following:
            one.poll(STREAM)
        clock.now += 0.1
    assert logs.calls <= 10  # 5 at once, then 5 a second


def test_where_a_job_writes_is_read_from_its_newest_attempt() -> None:
    assert LogStream.of_job({}) is None
    detail = {"container": {"logStreamName": "b", "logConfiguration": {"options": {"awslogs-group": "/mine"}}}}
    assert LogStream.of_job(detail) == LogStream("/mine", "b")
    attempts = [{"container": {"logStreamName": "a"}}, {"container": {"logStreamName": "b"}}]
    assert LogStream.of_job({"container": {}, "attempts": attempts}) == LogStream("/aws/batch/job", "b")
