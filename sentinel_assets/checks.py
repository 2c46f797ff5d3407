"""What must hold of every video's outputs; one partition each, blocking where going on would publish nonsense."""

import warnings
from collections.abc import Sequence

import dagster as dg
import numpy as np
import pandas as pd

from resources.provided import AnalysisLog, WarehouseResource
from resources.records import Video
from sentinel_assets.partitions import videos
from sentinel_assets.recipes import recipe
from sentinel_assets.vision.tables import Sampling

# Checks by partition are a preview in 1.13; without a partition a check would show the latest video alone.
warnings.filterwarnings("ignore", category=dg.PreviewWarning, message="Specifying a partitions_def")

_LISTED = 50  # failed videos shown; the rest is a number
_EDGE_PX = 0.5  # boxes are float32: half a pixel over the edge is rounding, more is a fault
_NORM_TOLERANCE = 1e-3  # float32 sums of some hundred squares
_TIME_TOLERANCE_S = 0.5  # containers round their duration; a sample may stand on the last frame's own time


def _told(
    result: dg.AssetCheckResult, context: dg.AssetCheckExecutionContext, analysis_log: AnalysisLog
) -> dg.AssetCheckResult:
    """The result of a blocking check; where it stops the analysis, the video's row says so, whoever started the run."""
    if not result.passed:
        (spec,) = context.check_specs
        reason = (
            f"{spec.asset_key.to_user_string()}: the check {spec.name} failed. "
            "See what it found on the asset's page in the Dagster UI"
        )
        analysis_log.fail(context.partition_key, context.run.run_id, reason)
    return result


@dg.asset_check(asset="detections", partitions_def=videos, blocking=True)
def times_within_the_video(
    context: dg.AssetCheckExecutionContext, detections: pd.DataFrame, analysis_log: AnalysisLog
) -> dg.AssetCheckResult:
    """Sample times ascend, none is negative or beyond the end, and every row stands on a sampled frame."""
    return _told(times_result(detections), context, analysis_log)


def times_result(detections: pd.DataFrame) -> dg.AssetCheckResult:
    sampling = Sampling.of(detections)
    times = np.asarray(sampling.times_s)
    # Each comparison asks what is right, so that a NaN, of which nothing is true, counts as wrong.
    outside = int((~((times >= 0) & (times <= sampling.duration_s + _TIME_TOLERANCE_S))).sum())
    samples = detections["sample"].to_numpy(int)
    strange = int(((samples < 0) | (samples >= len(times))).sum())
    wrong = 0 if strange else int((~(np.abs(times[samples] - detections["time_s"].to_numpy(float)) <= 1e-6)).sum())
    backwards = int((~(np.diff(times) > 0)).sum())
    return dg.AssetCheckResult(
        passed=not (outside or strange or wrong or backwards),
        metadata={
            "samples": len(times),
            "outside_the_video": outside,
            "not_ascending": backwards,
            "rows_off_their_sample": strange + wrong,
        },
    )


@dg.asset_check(asset="detections", partitions_def=videos, blocking=True)
def boxes_inside_the_frame(
    context: dg.AssetCheckExecutionContext, detections: pd.DataFrame, analysis_log: AnalysisLog
) -> dg.AssetCheckResult:
    """Every box has an area, and none reaches out of the frame."""
    return _told(boxes_result(detections), context, analysis_log)


def boxes_result(detections: pd.DataFrame) -> dg.AssetCheckResult:
    sampling = Sampling.of(detections)
    x1, y1, x2, y2 = (detections[c].to_numpy(float) for c in ("x1", "y1", "x2", "y2"))
    inside = (
        (x1 >= -_EDGE_PX)
        & (y1 >= -_EDGE_PX)
        & (x2 <= sampling.width + _EDGE_PX)
        & (y2 <= sampling.height + _EDGE_PX)
        & (x2 > x1)
        & (y2 > y1)
    )
    return dg.AssetCheckResult(
        passed=bool(inside.all()), metadata={"boxes": len(detections), "outside_or_empty": int((~inside).sum())}
    )


@dg.asset_check(
    asset="behaviors", partitions_def=videos, blocking=True, additional_ins={"detections": dg.AssetIn("detections")}
)
def every_behavior_has_its_track(
    context: dg.AssetCheckExecutionContext, behaviors: pd.DataFrame, detections: pd.DataFrame, analysis_log: AnalysisLog
) -> dg.AssetCheckResult:
    """No behavior of a track that detections do not know, or outside the time in which the track was seen."""
    return _told(tracks_result(behaviors, detections), context, analysis_log)


def tracks_result(behaviors: pd.DataFrame, detections: pd.DataFrame) -> dg.AssetCheckResult:
    persons = detections[(detections["kind"] == "person") & detections["track"].notna()]
    spans = persons.groupby("track")["time_s"].agg(["min", "max"])
    orphans = ~behaviors["track"].isin(spans.index)
    known = behaviors[~orphans]
    seen = spans.reindex(known["track"])
    slack = _TIME_TOLERANCE_S + 1.0 / Sampling.of(detections).rate_hz  # a label may reach half-way to the next sample
    inside = (known["start_s"].to_numpy() >= seen["min"].to_numpy() - slack) & (
        known["end_s"].to_numpy() <= seen["max"].to_numpy() + slack
    )
    return dg.AssetCheckResult(
        passed=bool(inside.all() and not orphans.any()),
        metadata={
            "behaviors": len(behaviors),
            "without_a_track": int(orphans.sum()),
            "outside_their_track": int((~inside).sum()),
        },
    )


@dg.asset_check(asset="embeddings", partitions_def=videos, blocking=True)
def vectors_are_finite_and_of_unit_norm(
    context: dg.AssetCheckExecutionContext, embeddings: pd.DataFrame, analysis_log: AnalysisLog
) -> dg.AssetCheckResult:
    """Cosine distance means nothing for any other vector, nor for one of another encoder."""
    dimension = analysis_log.warehouse.connected.spaces.dimension(recipe("embeddings").digest)
    return _told(vectors_result(embeddings, dimension), context, analysis_log)


def vectors_result(embeddings: pd.DataFrame, dimension: int) -> dg.AssetCheckResult:
    pairs = zip(embeddings["event_key"], embeddings["vector"], strict=True)
    bad = [key for key, vector in pairs if not _is_unit(vector, dimension)]
    return dg.AssetCheckResult(
        passed=not bad, metadata={"vectors": len(embeddings), "bad": len(bad), "first_bad": bad[0] if bad else ""}
    )


def _is_unit(vector: object, dimension: int) -> bool:
    values = np.asarray(vector, dtype=np.float64)
    if values.shape != (dimension,) or not np.isfinite(values).all():
        return False
    return bool(abs(np.linalg.norm(values) - 1.0) <= _NORM_TOLERANCE)


@dg.asset_check(asset="events", partitions_def=videos)
def warehouse_has_these_rows(
    context: dg.AssetCheckExecutionContext, events: pd.DataFrame, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """The rows that a reader finds are those of the asset; it stands after publication, so it can only tell."""
    row = warehouse.connected.video(context.partition_key)
    stored = {event.event_key for event in warehouse.connected.events(row.id)}
    expected = set(events["event_key"])
    return dg.AssetCheckResult(
        passed=stored == expected,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "asset_rows": len(expected),
            "warehouse_rows": len(stored),
            "missing": len(expected - stored),
            "surplus": len(stored - expected),
        },
    )


@dg.asset_check(asset="events")
def every_failed_video_was_redone(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """The standing list of videos that failed: of all videos, whichever one is analysed now."""
    return failed_videos_result(warehouse.connected.videos_of("failed"))


def failed_videos_result(failed: Sequence[Video]) -> dg.AssetCheckResult:
    shown = failed[-_LISTED:]
    rows = [
        dg.TableRecord({"video": row.partition_key, "name": row.name, "reason": row.error or ""})
        for row in reversed(shown)
    ]
    listed = {"the_latest": dg.MetadataValue.table(rows)} if rows else {}
    return dg.AssetCheckResult(
        passed=not failed, severity=dg.AssetCheckSeverity.WARN, metadata={"failed_videos": len(failed), **listed}
    )


CHECKS = [
    times_within_the_video,
    boxes_inside_the_frame,
    every_behavior_has_its_track,
    vectors_are_finite_and_of_unit_norm,
    warehouse_has_these_rows,
    every_failed_video_was_redone,
]


def blocking_checks(asset: str) -> list[dg.AssetCheckKey]:
    """The checks that must pass before anything is made from this asset."""
    specs = (spec for definition in CHECKS for spec in definition.check_specs)
    return [spec.key for spec in specs if spec.blocking and spec.asset_key == dg.AssetKey(asset)]
