"""The whole way of one video through the system, as `sentinel demo` shows it: to S3, by SQS to the sensor, its run, the
GPU steps as Batch jobs, its events in PostgreSQL; and how long each part of the way took."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from resources.footage import describe_file
from resources.settings import Settings
from resources.warehouse import Video
from sentinel_assets.development import System, whole_system
from sentinel_assets.freshness import DEPENDENCIES
from sentinel_assets.vision.errors import SentinelError, printable
from sentinel_assets.workplace import Workplace, open_workplace

_LOOK_S = 0.3
_TAKEN_WITHIN_S = 180.0  # from the upload to the video's row; a second or two, unless a part of the way is broken
_SETTLED_WITHIN_S = 60.0  # from the end of a run that failed to the word of it on the video's row
_PART_BYTES = 8 << 20  # of boto3's uploads in parts: its TransferConfig's default, for files from this size on

Watch = Callable[[str, float], None]
"""Is told what goes on now, and how much of the way is done, percent."""


@dataclass(frozen=True)
class Journey:
    """What became of the video, and the parts of its way, each with its seconds: none if it had gone it before."""

    video: Video
    parts: tuple[tuple[str, float], ...]


@contextmanager
def running_system(settings: Settings, watch: Watch) -> Iterator[tuple[System, float | None]]:
    """The system of this home: the one that runs, or one for as long as the context lasts; and how long its start took.

    Raises SentinelError where the one that runs analyses with other models.
    """
    if system := System.running(settings):
        if system.profile != settings.profile:
            raise SentinelError(
                f"the system that runs here has profile {system.profile}, not {settings.profile}",
                where=f"process {system.pid}",
                remedy=f"End it, or ask for --profile {system.profile}",
            )
        yield system, None
        return
    began, done = time.monotonic(), iter((1.0, 2.0, 4.0))
    with whole_system(settings, on_part=lambda part: watch(f"starting {part}", next(done))) as (system, _):
        yield system, time.monotonic() - began


def known(path: Path, settings: Settings) -> Video | None:
    """The row of this content, if it has gone the whole way before. Raises FootageMissing where there is no file."""
    describe_file(path)
    with open_workplace(settings) as place:
        row = place.warehouse.video_at(_uri(path))
        return row if row and row.status == "completed" and row.etag == s3_etag(path) else None


def travel(path: Path, system: System, settings: Settings, watch: Watch) -> Journey:
    """Upload the video and follow it to its end. Raises SentinelError where it does not get there, and why."""
    with open_workplace(settings) as place:
        began = time.time()
        before = place.warehouse.video_at(_uri(path))
        _upload(path, system, watch)
        uploaded = time.time()
        row = _followed(_uri(path), before, system, place, watch)
        if row.status == "failed":
            raise SentinelError(row.error or "failed without a reason", where=row.name)
        parts = [("upload to S3", uploaded - began), *_parts_of(row, uploaded, place)]
        return Journey(row, tuple(parts))


def s3_etag(path: Path) -> str:
    """The ETag that S3 gives to this file when boto3 uploads it: MD5 of it, or of the MD5s of its parts."""
    digests = []
    with path.open("rb") as stream:
        while part := stream.read(_PART_BYTES):
            digests.append(hashlib.md5(part, usedforsecurity=False))
    if path.stat().st_size < _PART_BYTES:
        return digests[0].hexdigest() if digests else hashlib.md5(b"", usedforsecurity=False).hexdigest()
    together = b"".join(digest.digest() for digest in digests)
    return f"{hashlib.md5(together, usedforsecurity=False).hexdigest()}-{len(digests)}"


def _key(path: Path) -> str:
    return f"demo/{printable(path.name)}"


def _uri(path: Path) -> str:
    from infra.local.provision import BUCKET

    return f"s3://{BUCKET}/{_key(path)}"


def _upload(path: Path, system: System, watch: Watch) -> None:
    import boto3.session
    from botocore.exceptions import BotoCoreError, ClientError

    where, size, sent = system.environment, max(path.stat().st_size, 1), 0
    session = boto3.session.Session(
        where["AWS_ACCESS_KEY_ID"], where["AWS_SECRET_ACCESS_KEY"], region_name=where["AWS_DEFAULT_REGION"]
    )
    s3 = session.client("s3", endpoint_url=where["AWS_ENDPOINT_URL"])

    def on_bytes(count: int) -> None:
        nonlocal sent
        sent += count
        watch("uploading", 8 + 2 * sent / size)

    try:
        s3.upload_file(str(path), where["SENTINEL_FOOTAGE_BUCKET"], _key(path), Callback=on_bytes)
    except (BotoCoreError, ClientError) as error:
        raise SentinelError(f"it could not be uploaded: {error}", where=path, remedy="Try again") from error
    finally:
        s3.close()


def _followed(uri: str, before: Video | None, system: System, place: Workplace, watch: Watch) -> Video:
    """The video's row, once its analysis has ended."""
    name, uploaded, ended_at = uri.rpartition("/")[2], time.monotonic(), None
    while True:
        time.sleep(_LOOK_S)
        row = place.warehouse.video_at(uri)
        if row is None or (before and row.analysis == before.analysis and row.updated_at == before.updated_at):
            watch(f"{name}  in the queue", 11)
            if time.monotonic() - uploaded > _TAKEN_WITHIN_S:
                log = place.settings.home / "dagster.log"
                raise SentinelError("nobody took its message from the queue", where=uri, remedy=f"The log is {log}")
            continue
        if row.status in ("completed", "failed"):
            return row
        run = place.instance.get_run_by_id(row.analysis) if row.analysis and row.status == "processing" else None
        if run is not None and run.is_failure_or_canceled:
            ended_at = ended_at or time.monotonic()
            if time.monotonic() - ended_at > _SETTLED_WITHIN_S:
                raise SentinelError("its run failed", where=f"{system.ui}/runs/{run.run_id}", remedy="See why there")
        else:
            ended_at = None
        stage = row.stage or "its run starts"
        watch(f"{name}  {stage}", 12 + 0.88 * row.analysis_progress)


def _parts_of(row: Video, uploaded: float, place: Workplace) -> Iterator[tuple[str, float]]:
    """From the records that Dagster keeps of the run, which ends a moment after its row is complete."""
    assert row.analysis is not None
    deadline = time.monotonic() + _SETTLED_WITHIN_S
    while True:
        (record,) = place.instance.get_run_records(dg.RunsFilter(run_ids=[row.analysis]))
        if record.dagster_run.is_finished or time.monotonic() > deadline:
            break
        time.sleep(_LOOK_S)
    asked, started = record.create_timestamp.timestamp(), record.start_time or 0.0
    yield "until the sensor took the message from SQS", asked - uploaded
    yield "until the run was dequeued and had a worker", started - asked
    stages = dict(_own_seconds(place.instance, row.analysis))
    ended = record.end_time or time.time()
    yield "Batch job, code and models loaded", max(0.0, ended - started - sum(stages.values()))
    for stage in DEPENDENCIES:
        if stage in stages:
            yield stage, stages[stage]


def _own_seconds(instance: dg.DagsterInstance, run_id: str) -> Iterator[tuple[str, float]]:
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        made: Any = entry.asset_materialization
        if made is not None and "seconds" in made.metadata:
            yield made.asset_key.path[-1], float(made.metadata["seconds"].value)
