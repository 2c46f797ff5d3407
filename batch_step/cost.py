"""What a step cost: where its time went, and the money, of all the jobs that it needed.

Prices are USD per hour of a whole host: Batch pins a GPU to one container, so a GPU step has the host to itself. They
are the launcher's to set; the defaults are list prices of us-east-1 (on demand, 2026) and a usual spot price, re-read
before relying on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from batch_step.jobs import ENDED

DEFAULT_PRICES: dict[str, float] = {
    "g5.xlarge/on-demand": 1.006,
    "g5.xlarge/spot": 0.45,
}

# (phase, from, to): between the times named; the first of several that is known counts.
_PHASES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("waiting_s", ("submitted",), ("starting", "running")),  # for a host: scale-up and boot
    ("starting_s", ("starting",), ("running",)),  # image pull
    ("idle_s", ("taken",), ("begun",)),  # of a job that serves several steps, since the one before
    ("loading_s", ("begun", "taken"), ("user_code",)),  # Python, imports, definitions, resources
    ("user_code_s", ("user_code",), ("user_code_end",)),
    ("uploading_s", ("user_code_end",), ("uploaded",)),
)
_OF_THE_JOB = ("submitted", "starting", "running")


@dataclass
class Timeline:
    """When a step's job reached what, seconds since the epoch; states that were too short to be seen are missing."""

    at: dict[str, float] = field(default_factory=dict)

    def mark(self, name: str, at: float) -> None:
        self.at.setdefault(name, at)

    def read_job(self, detail: Mapping[str, Any]) -> None:
        """Takes what DescribeJobs knows (milliseconds)."""
        for name, key in (("submitted", "createdAt"), ("running", "startedAt"), ("stopped", "stoppedAt")):
            if detail.get(key):
                self.at[name] = detail[key] / 1000

    def without_the_job(self) -> Timeline:
        """Of a step that is not its job's first: what became of the job before is told with that one."""
        return Timeline({name: at for name, at in self.at.items() if name not in _OF_THE_JOB})

    def phases(self) -> dict[str, float]:
        """Seconds of each phase whose two ends are known; never negative, as clocks of two machines are compared."""
        spans = {}
        for phase, starts, ends in _PHASES:
            start, end = (next((self.at[name] for name in names if name in self.at), None) for names in (starts, ends))
            if start is not None and end is not None:
                spans[phase] = round(max(0.0, end - start), 3)
        return spans


def attempt_seconds(detail: Mapping[str, Any], until: float, since: float | None = None) -> float:
    """Seconds that a job held a host, over all its attempts; the one that runs counts `until` (seconds, epoch).

    `since` is when the worker said that it has begun the attempt, for a step that was over before anybody saw its job
    run.
    """
    spans = [(a.get("startedAt"), a.get("stoppedAt")) for a in detail.get("attempts", [])]
    total = sum((float(stop - start) / 1000 for start, stop in spans if start and stop), 0.0)
    if detail.get("status") == "RUNNING" and detail.get("startedAt"):
        total += max(0.0, until - float(detail["startedAt"]) / 1000)
    elif since is not None and detail.get("status") not in ENDED:
        total += max(0.0, until - since)
    return total


def price_per_hour(prices: Mapping[str, float], instance_type: str | None, purchase: str | None) -> float | None:
    """USD per hour, or None where the host or its price is not known: never a guess."""
    return prices.get(f"{instance_type}/{purchase}") if instance_type and purchase else None


def money(seconds: float, per_hour: float | None) -> float | None:
    return None if per_hour is None else round(seconds / 3600 * per_hour, 6)


@dataclass(frozen=True)
class Accounts:
    """Seconds of hosts, and USD; None where the price of one of the hosts is not known."""

    host_s: float = 0.0
    usd: float | None = 0.0
    is_cold: bool = False
    """Some of it in a job that no run had had before, which has all that it needs to load."""

    def __add__(self, other: Accounts) -> Accounts:
        usd = None if self.usd is None or other.usd is None else self.usd + other.usd
        return Accounts(self.host_s + other.host_s, usd, self.is_cold or other.is_cold)

    def metadata(self) -> dict[str, Any]:
        """`host_s`, `cost_usd` and `cold`, as `accounts_of_run` reads them."""
        usd = dg.MetadataValue.text("unknown: no price for this host")
        return {
            "host_s": dg.MetadataValue.float(round(self.host_s, 3)),
            "cold": dg.MetadataValue.bool(self.is_cold),
            "cost_usd": usd if self.usd is None else dg.MetadataValue.float(round(self.usd, 6)),
        }


TOOK = "What the step took"
"""Message of the engine event that each attempt of a step ends with, which carries its accounts: of the jobs that were
lost on the way, too, and of an attempt that failed."""


def accounts_of_run(instance: dg.DagsterInstance, run_id: str) -> dict[str, Accounts]:
    """By step key, all attempts together. A step that ran without a job has none, as one that is not over."""
    attempts: dict[tuple[str, str], Accounts] = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        if event is None or event.message != TOOK or event.step_key is None:
            continue
        said = {name: value.value for name, value in event.engine_event_data.metadata.items()}
        host_s, usd = (said[name] for name in ("host_s", "cost_usd"))
        known = float(usd) if isinstance(usd, int | float) else None
        paid = Accounts(float(str(host_s)), known, said.get("cold") is True)
        # A run worker that resumes the run may say it again, of the same channel.
        attempts[event.step_key, str(said.get("channel"))] = paid
    found: dict[str, Accounts] = {}
    for (step_key, _), accounts in attempts.items():
        found[step_key] = found.get(step_key, Accounts()) + accounts
    return found
