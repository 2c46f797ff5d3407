"""What rows say of runs that are over without a result."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from resources.warehouse import Video, Warehouse
from sensors.failures import failures
from sentinel_assets.definitions import defs
from tests.builders.bucket import UploadBucket


@pytest.fixture
def instance(bucket: UploadBucket) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def _uploaded(warehouse: Warehouse, key: str, etag: str = "e1") -> Video:
    return warehouse.register_video(f"s3://footage/{key}", name=key, partition_key=key, etag=etag)


def _run(instance: dg.DagsterInstance, key: str, etag: str = "e1") -> dg.DagsterRun:
    tags = {"dagster/partition": key, "sentinel/etag": etag}
    return instance.create_run_for_job(defs.resolve_job_def("analysis"), tags=tags)


def _tick(instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    result = failures(dg.build_sensor_context(instance=instance, cursor=cursor))
    assert isinstance(result, dg.SensorResult)
    return result


def test_a_run_that_is_over_fails_its_video(instance: dg.DagsterInstance, warehouse: Warehouse) -> None:
    """A worker that died under way, one that never started, a canceled run, one that still runs."""
    for key in ("died", "never-began", "canceled", "runs"):
        _uploaded(warehouse, key)
    died, never, canceled, runs = (_run(instance, key) for key in ("died", "never-began", "canceled", "runs"))
    for run, key in ((died, "died"), (canceled, "canceled"), (runs, "runs")):
        warehouse.begin_analysis(key, run.run_id, "e1")
    instance.report_run_failed(died, "the run's process is gone")
    instance.report_run_failed(never, "Run timed out due to taking longer than 180 seconds to start.")
    instance.report_run_canceled(canceled)
    result = _tick(instance)
    said = {row.partition_key: (row.status, (row.error or "").partition(". See run")[0]) for row in warehouse.videos()}
    assert said == {
        "died": ("failed", "the run's process is gone"),
        "never-began": ("failed", "Run timed out due to taking longer than 180 seconds to start"),
        "canceled": ("failed", "the run was canceled"),
        "runs": ("processing", ""),
    }
    (evaluation,) = result.asset_events
    assert isinstance(evaluation, dg.AssetCheckEvaluation)
    assert not evaluation.passed
    assert evaluation.metadata["failed_videos"].value == 3
    assert not _tick(instance, result.cursor).asset_events


def test_a_better_reason_and_a_newer_analysis_stay(instance: dg.DagsterInstance, warehouse: Warehouse) -> None:
    """What the step wrote says more; a video that is analysed again, or was overwritten, has not failed."""
    for key in ("told", "redone", "overwritten"):
        _uploaded(warehouse, key)
        run = _run(instance, key)
        warehouse.begin_analysis(key, run.run_id, "e1")
        instance.report_run_failed(run, "Steps failed: ['detections'].")
    warehouse.record_failure("told", "detections: it looks truncated")
    warehouse.begin_analysis("redone", _run(instance, "redone").run_id, "e1")
    _uploaded(warehouse, "overwritten", "e2")
    _run(instance, "overwritten", "e2")
    _tick(instance)
    said = {row.partition_key: (row.status, row.error) for row in warehouse.videos()}
    assert said == {
        "told": ("failed", "detections: it looks truncated"),
        "redone": ("processing", None),
        "overwritten": ("pending", None),
    }


def test_a_run_fails_the_video_that_is_uploaded_once_more_only_if_it_is_of_that_upload(
    instance: dg.DagsterInstance, warehouse: Warehouse
) -> None:
    """The first run's failure is past; the second, canceled before it began, is not."""
    row = _uploaded(warehouse, "1")
    first = _run(instance, "1")
    warehouse.begin_analysis("1", first.run_id, "e1")
    instance.report_run_failed(first, "the run's process is gone")
    _tick(instance)
    warehouse.register_video(row.uri, name=row.name, partition_key="1", etag="e1", again=True)
    _tick(instance)
    assert warehouse.video("1").status == "pending"
    instance.report_run_canceled(_run(instance, "1"))
    _tick(instance)
    assert (warehouse.video("1").status, "canceled" in str(warehouse.video("1").error)) == ("failed", True)


def test_a_run_that_never_began_does_not_fail_the_next_upload(
    instance: dg.DagsterInstance, warehouse: Warehouse
) -> None:
    row = _uploaded(warehouse, "1")
    instance.report_run_canceled(_run(instance, "1"))
    _tick(instance)
    warehouse.register_video(row.uri, name=row.name, partition_key="1", etag="e1", again=True)
    _tick(instance)
    assert warehouse.video("1").status == "pending"


def test_a_row_that_changed_since_it_was_read_is_left_alone(warehouse: Warehouse) -> None:
    """Between the look and the word another analysis began."""
    row = _uploaded(warehouse, "1")
    warehouse.begin_analysis("1", "newer", "e1")
    warehouse.record_lost_analysis(row, "too late", "older")
    assert warehouse.video("1").status == "processing"


def test_no_failed_video_passes_the_standing_check(instance: dg.DagsterInstance, warehouse: Warehouse) -> None:
    row = _uploaded(warehouse, "1")
    warehouse.record_failure("1", "gone")
    cursor = _tick(instance).cursor
    warehouse.begin_analysis("1", "again", row.etag)
    (evaluation,) = _tick(instance, cursor).asset_events
    assert isinstance(evaluation, dg.AssetCheckEvaluation)
    assert evaluation.passed
