"""The sensor of failures: a video whose run is over without a result has failed, and its row says why.

It compares what rows say with what became of their runs, whatever ended those: a step, a worker that died, a limit of
time, a person. Nothing has to be noticed at the moment it happens, so nothing is missed; and nothing is started again.
"""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from resources.settings import Settings
from resources.warehouse import Video, connect
from sentinel_assets import failure_reasons
from sentinel_assets.checks import failed_videos_result
from sentinel_assets.wiring import CONTENT_TAG

_INTERVAL_S = 10
_OVER = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_LONGEST = 500  # characters of an error on a row


@dg.sensor(
    name="failures",
    minimum_interval_seconds=_INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Says on a video's row that its run failed or was canceled, and lists the videos that failed.",
)
def failures(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    with connect(Settings.from_env()) as warehouse:
        waiting = warehouse.videos_of("pending", "processing")
        over = runs_that_are_over(context.instance, waiting)
        for row in waiting:
            if run := over.get(row.partition_key):
                reason = reason_of_run(context.instance, run)
                warehouse.record_lost_analysis(row, reason, run.run_id)
                context.log.warning("video %s: %s", row.partition_key, reason)
        failed = warehouse.videos_of("failed")
    listed = ",".join(f"{row.partition_key}@{row.updated_at.isoformat()}" for row in failed)
    if listed == (context.cursor or ""):
        return dg.SensorResult(skip_reason=f"{len(failed)} videos have failed, as before.")
    result = failed_videos_result(failed)
    evaluation = dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey("events"),
        check_name="every_failed_video_was_redone",
        passed=result.passed,
        severity=result.severity,
        metadata=result.metadata,
    )
    return dg.SensorResult(asset_events=[evaluation], cursor=listed)


def runs_that_are_over(instance: dg.DagsterInstance, rows: Iterable[Video]) -> dict[str, dg.DagsterRun]:
    """By partition, the run that was to complete this video and is over without a result.

    Of a row that waits for its run, it is the latest one for its content, but for one that failed it before.
    """
    found: dict[str, dg.DagsterRun] = {}
    begun = {row.analysis: row for row in rows if row.status == "processing" and row.analysis is not None}
    if begun:
        for run in instance.get_runs(dg.RunsFilter(run_ids=list(begun), statuses=list(_OVER))):
            found[begun[run.run_id].partition_key] = run
    for row in rows:
        if row.status == "pending" and row.etag is not None:
            tags = {"dagster/partition": row.partition_key, CONTENT_TAG: row.etag}
            latest = instance.get_runs(dg.RunsFilter(tags=tags), limit=1)
            if latest and latest[0].status in _OVER and latest[0].run_id != row.analysis:
                found[row.partition_key] = latest[0]
    return found


def reason_of_run(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """One line of what a person can act on."""
    where = f"See run {run.run_id[:8]} in the Dagster UI, and re-execute it there when that is cured"
    if run.status == dg.DagsterRunStatus.CANCELED:
        return f"the run was canceled. {where}"
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    for entry in instance.all_logs(run.run_id, of_type=kinds):
        event = entry.dagster_event
        if event is not None and event.is_step_failure:
            return f"{event.step_key}: {failure_reasons.of_event(instance, run.run_id, str(event.step_key))}"
        if event is not None and event.message:
            return f"{' '.join(event.message.split())[:_LONGEST].rstrip('.')}. {where}"
    return f"the run failed without a reason. {where}"
