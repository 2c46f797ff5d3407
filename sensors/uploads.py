"""The sensor of uploads: messages in the queue become partitions, and one run over all assets for each upload.

`decision.decide` says what is to be done; here it is carried out. Each step may be done twice, for a tick may be killed
anywhere and its messages come again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import dagster as dg

from resources.provided import Footage
from resources.settings import Settings
from resources.upload_queue import UploadQueue
from resources.warehouse import Warehouse, connect
from sensors.decision import (
    Decision,
    Ledger,
    PastRun,
    Report,
    Start,
    decide,
    described,
    read_messages,
)
from sensors.messages import Upload
from sensors.objects import look_up, read_headers
from sentinel_assets.assets.video import Header, video_materialization
from sentinel_assets.partitions import videos
from sentinel_assets.vision.errors import StoreRejected
from sentinel_assets.wiring import CONTENT_TAG, MODIFIED_TAG, ORIGIN_TAG

UPLOAD = "upload"
PRIORITY = "10"  # before a run without one (0), and before backfills of upgrades (below 0)

_INTERVAL_S = 1  # the daemon looks every 5 s at best; this adds nothing to it
_MESSAGES = 100  # a tick: the daemon asks for each added partition by itself, 30 ms each
_RECEIVE_S = 15.0  # for all of them; what evaluates a sensor is given up after 60 s (Dagster 1.13)
_HEADERS_S = 15.0  # for all headers: what is not read by then is reported as unknown
_RUN_KEY = "dagster/run_key"


def uploads_sensor(job: Any, *, name: str = "uploads") -> dg.SensorDefinition:
    """Watches the queue and asks for runs of the job, which covers all assets of a video."""

    @dg.sensor(
        name=name,
        job=job,
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Each upload to the footage bucket becomes a partition and one run over all assets.",
    )
    def uploads(
        context: dg.SensorEvaluationContext, upload_queue: UploadQueue, footage: Footage
    ) -> dg.SensorResult | dg.SkipReason:
        ledger = Ledger.from_cursor(context.cursor)
        _delete_recorded(ledger, upload_queue, context)
        messages = upload_queue.receive(_MESSAGES, within_s=_RECEIVE_S)
        if not messages:
            return dg.SensorResult(
                skip_reason="The queue is empty.", cursor=Ledger(reported=ledger.reported).to_cursor()
            )
        asked = [upload for uploads in read_messages(messages).values() for upload in uploads]
        objects = look_up(upload.uri for upload in asked)
        past = past_runs(context.instance, {upload.partition for upload in asked}, name)
        with connect(Settings.from_env()) as warehouse:
            decision = decide(messages, ledger=ledger, objects=objects, past=past)
            headers = _headers(decision.starts)
            refused = _register(decision.starts, headers, warehouse, footage)
            refused |= _record_missing(decision.missing, warehouse)
            if refused:
                decision = decide(messages, ledger=ledger, objects=objects, past=past, refused=refused)
        _tell(decision, context)
        events: list[Any] = [
            video_materialization(start.partition, start.record, headers[start.record.uri]) for start in decision.starts
        ]
        events += [_observation(report) for report in decision.reports]
        return dg.SensorResult(
            run_requests=[_run_request(start) for start in decision.starts],
            skip_reason=None if decision.starts else f"{len(messages)} messages asked for no new analysis.",
            dynamic_partitions_requests=_partitions(decision.starts),
            asset_events=events,
            cursor=decision.ledger.to_cursor(),
        )

    return uploads


def past_runs(instance: dg.DagsterInstance, partitions: Iterable[str], sensor: str) -> dict[str, list[PastRun]]:
    """The runs that uploads asked for, of each of these partitions, the newest first."""
    wanted = sorted(partitions)
    if not wanted:
        return {}
    tags = {"dagster/partition": wanted, "dagster/sensor_name": sensor}
    found: dict[str, list[PastRun]] = {}
    for run in instance.get_runs(dg.RunsFilter(tags=tags)):
        if _RUN_KEY in run.tags:
            past = PastRun(
                run.tags[_RUN_KEY],
                run.tags.get(CONTENT_TAG, ""),
                modified=int(run.tags.get(MODIFIED_TAG, 0)),
                failed=run.is_failure_or_canceled,
            )
            found.setdefault(run.tags["dagster/partition"], []).append(past)
    return found


def _delete_recorded(ledger: Ledger, queue: UploadQueue, context: dg.SensorEvaluationContext) -> None:
    keys = sorted({receipt.run_key for receipt in ledger.receipts if receipt.run_key is not None})
    recorded: Collection[str] = ()
    if keys:
        runs = context.instance.get_runs(dg.RunsFilter(tags={_RUN_KEY: keys}))
        recorded = {run.tags[_RUN_KEY] for run in runs}
    receipts = ledger.deletable(recorded)
    if not_deleted := queue.delete(receipts):
        context.log.warning("%d messages could not be deleted and will come again", len(not_deleted))
    if waiting := len(ledger.receipts) - len(receipts):
        context.log.warning("%d messages are not deleted, for the runs that they ask for are not on record", waiting)


def _headers(starts: Iterable[Start]) -> dict[str, Header | None]:
    """What each object says of itself as a video, by URI."""
    records = [start.record for start in starts]
    read = read_headers(records, within_s=_HEADERS_S)
    return {record.uri: header for record, header in zip(records, read, strict=True)}


def _register(
    starts: Iterable[Start], headers: Mapping[str, Header | None], warehouse: Warehouse, footage: Footage
) -> dict[str, str]:
    """Put each video's facts where the warehouse and the steps look for them; gives what was refused, by URI."""
    refused: dict[str, str] = {}
    for start in starts:
        upload, record, header = start.upload, start.record, headers[start.record.uri]
        try:
            warehouse.register_video(
                record.uri,
                name=upload.name,
                video_id=upload.video_id,
                partition_key=upload.partition,
                etag=record.etag,
                size_bytes=record.size_bytes,
                again=True,
                **(header.facts if header else {}),
            )
        except StoreRejected as error:
            refused[record.uri] = str(error)
            continue
        footage.store.register(start.partition, record)
    return refused


def _record_missing(missing: Iterable[tuple[Upload, str]], warehouse: Warehouse) -> dict[str, str]:
    """The videos of these uploads have failed, unless it is a late message about one that was there once."""
    refused: dict[str, str] = {}
    for upload, reason in missing:
        try:
            row = warehouse.register_video(
                upload.uri, name=upload.name, video_id=upload.video_id, partition_key=upload.partition
            )
        except StoreRejected as error:
            refused[upload.uri] = str(error)
            continue
        if row.etag is None or upload.etag not in (None, row.etag):
            warehouse.record_failure(row.partition_key, reason)
    return refused


def _tell(decision: Decision, context: dg.SensorEvaluationContext) -> None:
    for start in decision.starts:
        context.log.info("%s is analysed as video %s", start.record.uri, start.partition)
    for upload, reason in decision.missing:
        context.log.warning("video %s: %s", upload.partition, reason)
    for report in decision.reports:
        context.log.error("message %s is not understood: %s", report.message_id, report.reason)
    for reason in decision.waiting:
        context.log.warning("left for another time: %s", reason)


def _observation(report: Report) -> dg.AssetObservation:
    return dg.AssetObservation(
        asset_key="video",
        description="A message of the upload queue that cannot be followed; it goes to the dead-letter queue.",
        metadata=described(report),
    )


def _partitions(starts: Iterable[Start]) -> list[Any]:
    keys = sorted({start.partition for start in starts})
    return [videos.build_add_request(keys)] if keys else []


def _run_request(start: Start) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=start.run_key,
        partition_key=start.partition,
        tags={
            "dagster/priority": PRIORITY,
            ORIGIN_TAG: UPLOAD,
            CONTENT_TAG: start.record.etag,
            MODIFIED_TAG: str(start.modified),
        },
    )
