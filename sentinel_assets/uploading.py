"""`sentinel upload`: files into the footage bucket, whose notification starts their analysis; and following it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from resources.footage import FootageRecord, describe_file
from resources.records import Video
from resources.s3 import no_object, s3_client, s3_errors
from resources.settings import Settings
from resources.warehouse import connect
from sensors.messages import partition_of
from sentinel_assets.development import System
from sentinel_assets.vision.errors import SentinelError, StoreUnavailable, printable

_LOOK_S = 0.5
_TAKEN_WITHIN_S = 300.0  # from the upload to a row that knows its content; the sensor looks every few seconds
_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
_UPLOADED = 20.0  # percent of the bar that the upload is, where the analysis is followed too

Watch = Callable[[float, str], None]
"""Is told how much is done, percent, and what goes on."""


@dataclass(frozen=True)
class Transfer:
    """A local file, and the object that it becomes."""

    file: FootageRecord
    bucket: str
    key: str

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def partition(self) -> str:
        """The key of its video."""
        return partition_of(self.key)


def upload_all(
    paths: Sequence[Path], *, video_id: str | None, wait: bool, as_json: bool, out: Console, err: Console
) -> int:
    """Upload one after the other; a bad one fails alone. Returns the exit code."""
    from sentinel_assets import report

    settings = settings_of_running_system()
    bucket = settings.cloud.require("footage_bucket")
    results: list[dict[str, Any]] = []
    for path in paths:
        try:
            with _bar(path.name, err) as watch:
                transfer = planned(path, bucket, video_id)
                if wait:
                    record, row = upload_and_follow(transfer, settings, watch)
                else:
                    record, row = upload(transfer, lambda part, w=watch: w(100 * part, "uploading")), None  # type: ignore[misc]
        except SentinelError as error:
            err.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True, highlight=False)
            results.append({"file": printable(str(path)), "error": str(error)})
            continue
        fault = row.error if row is not None and row.status == "failed" else None
        results.append(
            {
                "file": printable(str(path)),
                "video": transfer.partition,
                "uri": record.uri,
                "etag": record.etag,
                "size_bytes": record.size_bytes,
                **({"status": row.status, "events": row.event_count} if row is not None else {}),
                "error": fault,
            }
        )
        if fault:
            err.print(f"[red]error:[/red] {escape(fault)}", soft_wrap=True, highlight=False)
        elif not as_json:
            became = f": {row.event_count} events" if row is not None else ""
            out.print(f"{escape(record.uri)} is video {escape(transfer.partition)}{became}", soft_wrap=True)
    if as_json:
        report.print_json(out, results)
    elif not wait and any(not result["error"] for result in results):
        out.print("`sentinel status` shows how far its analysis is.")
    return 1 if any(result["error"] for result in results) else 0


def settings_of_running_system() -> Settings:
    """The settings; where they name no bucket, those of the `sentinel dev` that runs here, with its variables set."""
    settings = Settings.from_env()
    if settings.cloud.footage_bucket is None and settings.deployment == "local":
        system = System.running(settings)
        if system is not None:
            os.environ.update(system.environment)
            return Settings.from_env()
    return settings


def planned(path: Path, bucket: str, video_id: str | None = None) -> Transfer:
    """The file as `videos/<id>/<name>`. The id is the content's own unless one is given, so that the same file is the
    same video.

    Raises FootageMissing for what is no file, StoreUnavailable where it cannot be read.
    """
    if video_id is not None and (not _ID.fullmatch(video_id) or video_id.strip(".") == ""):
        raise SentinelError(
            f"{video_id!r} is no id", where="--id", remedy="Use letters, digits, '.', '_' and '-', at most 100"
        )
    file = describe_file(path)
    chosen = video_id or f"v{file.etag.removeprefix('sha256:')[:12]}"
    return Transfer(file, bucket, f"videos/{chosen}/{printable(path.name)}")


def upload(transfer: Transfer, on_part: Callable[[float], None]) -> FootageRecord:
    """Put the file there; `on_part` is told the fraction that is. Raises StoreRejected and StoreUnavailable of S3."""
    sent, bucket, key = 0, transfer.bucket, transfer.key

    def on_bytes(count: int) -> None:
        nonlocal sent
        sent += count
        on_part(min(1.0, sent / max(transfer.file.size_bytes, 1)))

    from boto3.exceptions import S3UploadFailedError

    with s3_errors(transfer.uri, missing=no_object):
        try:
            s3_client().upload_file(transfer.file.uri, bucket, key, Callback=on_bytes)
        except S3UploadFailedError as error:
            raise error.__context__ or StoreUnavailable(str(error), where=transfer.uri, remedy="Try again") from error
        head = s3_client().head_object(Bucket=bucket, Key=key)
    return FootageRecord(transfer.uri, head["ETag"].strip('"'), head["ContentLength"])


def upload_and_follow(transfer: Transfer, settings: Settings, watch: Watch) -> tuple[FootageRecord, Video]:
    """Upload the file; also the video's row, once the analysis of this content has ended, in whatever way. A content
    that failed before is analysed once more."""
    with connect(settings) as warehouse:
        before = warehouse.video_at(transfer.uri)
        record = upload(transfer, lambda part: watch(_UPLOADED * part, "uploading"))
        deadline = time.monotonic() + _TAKEN_WITHIN_S
        while True:
            row = warehouse.video_at(transfer.uri)
            failed_before = before is not None and before.status == "failed" and row == before
            if row is not None and row.etag == record.etag and not failed_before:
                if row.status in ("completed", "failed"):
                    return record, row
                watch(_UPLOADED + (1 - _UPLOADED / 100) * row.analysis_progress, row.stage or "waits for its run")
            elif time.monotonic() > deadline:
                raise SentinelError(
                    f"nobody took up the upload in {_TAKEN_WITHIN_S:.0f} s",
                    where=record.uri,
                    remedy="See that the sensor `uploads` runs, and that the bucket notifies SENTINEL_UPLOAD_QUEUE",
                )
            else:
                watch(_UPLOADED, "in the queue")
            time.sleep(_LOOK_S)


@contextmanager
def _bar(name: str, err: Console) -> Iterator[Watch]:
    """One bar from the upload to the events; nothing where no person watches."""
    if not err.is_terminal:
        yield lambda _percent, _stage: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(printable(name), total=100)
        yield lambda percent, stage: progress.update(task, completed=percent, description=f"{printable(name)}  {stage}")
