"""Keeps an upgrade within its budget while it runs: what its runs cost, and a stop before it is exceeded.

What a run cost is what the step launcher told of its steps, of hosts that were rented for it; once the run is over, it
stands as a tag on the run itself. Steps without a job ran on a host that is there anyway. A run that failed, or of
which a price is unknown, counts as at least what one video was expected to cost at most. Runs that wait are taken out
of the queue; those under way are let finish, as what they cost is reserved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from batch_step.cost import accounts_of_run
from sentinel_assets.backfills import BACKFILL, Allowance, Begun, begun, cancel_one

SPENT = "sentinel/spent_usd"
"""Tag of a run that is over: what, and which run, as a run that is executed again starts with the tags of the first."""
_OVER = frozenset({dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED})
_WAITING = frozenset({dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED})


@dataclass(frozen=True)
class Spending:
    """Of one order: what its finished runs cost, USD, how many those are, and how many are under way."""

    usd: float
    over: int
    under_way: int

    def leaves_room(self, allowance: Allowance) -> bool:
        """Whether one run more can be paid for, when each of those under way costs as much as it at most may."""
        each = max(allowance.per_video, self.usd / self.over if self.over else 0.0)
        return self.usd + (self.under_way + 1) * each <= allowance.budget * (1 + 1e-9)


def enforce_budgets(instance: dg.DagsterInstance) -> list[str]:
    """Stop the upgrades that would exceed theirs; returns what was stopped, as lines for a person."""
    orders = {one.order: one.allowance for one in begun(instance, unfinished=True) if one.allowance is not None}
    said = []
    for order, allowance in orders.items():
        parts = begun(instance, order=order)
        records = [r for one in parts for r in instance.get_run_records(dg.RunsFilter(tags={BACKFILL: one.id}))]
        spending = _spending(instance, records, allowance)
        if spending.leaves_room(allowance):
            continue
        if stopped := _stop(instance, [p for p in parts if not p.finished], [r.dagster_run for r in records]):
            said.append(
                f"upgrade {parts[0].upgrade}: {stopped} videos are left as they are: ${spending.usd:.4f} of "
                f"${allowance.budget:.4f} are spent, and {spending.under_way} runs are under way"
            )
    return said


def _spending(instance: dg.DagsterInstance, records: Sequence[dg.RunRecord], allowance: Allowance) -> Spending:
    """A run that was taken out of the queue never started, and cost nothing."""
    over = [r.dagster_run for r in records if r.dagster_run.status in _OVER and r.start_time is not None]
    under_way = sum(r.dagster_run.status not in _OVER | _WAITING for r in records)
    return Spending(sum(_spent(instance, run, allowance) for run in over), len(over), under_way)


def _spent(instance: dg.DagsterInstance, run: dg.DagsterRun, allowance: Allowance) -> float:
    spent_usd, _, of = run.tags.get(SPENT, "").partition(" by ")
    if of == run.run_id:
        return float(spent_usd)
    costs = [accounts.usd for accounts in accounts_of_run(instance, run.run_id).values()]
    usd = sum(cost for cost in costs if cost is not None)
    certain = run.status is dg.DagsterRunStatus.SUCCESS and None not in costs
    spent = usd if certain else max(usd, allowance.per_video)
    instance.add_run_tags(run.run_id, {SPENT: f"{spent:.6f} by {run.run_id}"})
    return spent


def _stop(instance: dg.DagsterInstance, parts: Sequence[Begun], runs: Sequence[dg.DagsterRun]) -> int:
    """How many videos will not be redone. A backfill with a run under way ends with it, as all others are canceled."""
    stopped = 0
    for one in parts:
        own = [run for run in runs if run.tags.get(BACKFILL) == one.id]
        waiting = [run for run in own if run.status in _WAITING]
        unrequested = len(one.partitions) - len({run.tags.get("dagster/partition") for run in own})
        for run in waiting:
            instance.report_run_canceling(run, message="The upgrade's budget is spent.")
            instance.report_run_canceled(run)
        stopped += len(waiting)
        if unrequested > 0 and len(own) == len(waiting) + sum(run.status in _OVER for run in own):
            stopped += unrequested if cancel_one(instance, one.id) else 0
    return stopped
