"""Ends jobs whose run is over: what a lease cannot see, because the job never came to read it, or hangs beyond it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import dagster as dg

from batch_step.carriers import BACKFILL_TAG, RUN_TAG
from batch_step.jobs import DESCRIBE_LIMIT, IN_FLIGHT, BatchJobs

_OVER = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_UNDER_WAY = [status for status in dg.DagsterRunStatus if status not in _OVER]


def orphans(
    details: Iterable[Mapping[str, Any]],
    run_status: Callable[[str], dg.DagsterRunStatus | None],
    is_under_way: Callable[[str], bool],
) -> dict[str, str]:
    """{job id: why} of jobs in flight whose run is over, and which no other run of its backfill may have taken over:
    `is_under_way` says whether one is under way. Jobs of runs that this instance does not know are left alone: another
    Dagster may share the queue."""
    found = {}
    for job in details:
        tags = job.get("tags", {})
        run_id, backfill = tags.get(RUN_TAG), tags.get(BACKFILL_TAG)
        status = run_status(run_id) if run_id and job["status"] in IN_FLIGHT else None
        if status not in _OVER or (backfill and job["status"] == "RUNNING" and is_under_way(backfill)):
            continue
        assert status is not None
        found[job["jobId"]] = f"run {run_id} is over ({status.value})"
    return found


def reap(instance: dg.DagsterInstance, jobs: BatchJobs, queues: Iterable[str], name_prefix: str) -> dict[str, str]:
    """Terminates the orphans in those queues; what was ended and why."""

    def run_status(run_id: str) -> dg.DagsterRunStatus | None:
        run = instance.get_run_by_id(run_id)
        return None if run is None else run.status

    def is_under_way(backfill: str) -> bool:
        return instance.get_runs_count(dg.RunsFilter(tags={BACKFILL_TAG: backfill}, statuses=_UNDER_WAY)) > 0

    ids = [i for queue in queues for i in jobs.in_flight(queue, name_prefix)]
    ended: dict[str, str] = {}
    for start in range(0, len(ids), DESCRIBE_LIMIT):
        details = jobs.describe(ids[start : start + DESCRIBE_LIMIT]).values()
        ended |= orphans(details, run_status, is_under_way)
    for job_id, why in ended.items():
        jobs.terminate(job_id, f"batch_step reaper: {why}")
    return ended


def orphan_reaper(
    queues: list[str], name_prefix: str = "dagster", interval_seconds: int = 120, name: str = "batch_orphan_reaper"
) -> dg.SensorDefinition:
    """A sensor that does that, running from the start. `name_prefix` is the launcher's."""

    @dg.sensor(
        name=name,
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Ends AWS Batch jobs whose Dagster run is over.",
    )
    def reaper(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        ended = reap(context.instance, BatchJobs.from_environment(), queues, name_prefix)
        for job_id, why in ended.items():
            context.log.info("Ended Batch job %s: %s", job_id, why)
        return dg.SkipReason(f"ended {len(ended)} jobs" if ended else "no job outlives its run")

    return reaper
