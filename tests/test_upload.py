"""`sentinel upload`: into the bucket that the environment names, with errors that a person can act on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from click.testing import CliRunner

from resources.records import Video
from resources.settings import Settings
from resources.warehouse import Warehouse
from sentinel_assets.cli import cli
from sentinel_assets.uploading import Transfer, planned, upload, upload_and_follow
from sentinel_assets.vision.errors import SentinelError, StoreRejected
from tests.builders.bucket import UploadBucket
from tests.builders.events import RECIPES, event_rows

if TYPE_CHECKING:
    from infra.local.aws import LocalAws


@pytest.fixture
def bucket(aws: LocalAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> UploadBucket:
    made = UploadBucket.new()
    monkeypatch.setenv("SENTINEL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("SENTINEL_FOOTAGE_BUCKET", made.bucket)
    return made


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "가게 #1.mp4"
    path.write_bytes(b"frames")
    return path


def test_a_file_becomes_an_object_that_its_id_names(bucket: UploadBucket, clip: Path) -> None:
    """The same file is the same video, an id replaces what that video was, and the whole file is reported."""
    parts: list[float] = []
    first = planned(clip, bucket.bucket)
    assert planned(clip, bucket.bucket) == first
    assert first.key == f"videos/{first.partition}/가게 #1.mp4"
    record = upload(first, parts.append)
    assert parts[-1] == 1.0
    assert record.uri == f"s3://{bucket.bucket}/{first.key}"
    assert boto3.client("s3").get_object(Bucket=bucket.bucket, Key=first.key)["Body"].read() == b"frames"
    named = planned(clip, bucket.bucket, "aisle-3")
    assert (named.partition, named.uri) == ("aisle-3", f"s3://{bucket.bucket}/videos/aisle-3/가게 #1.mp4")


def test_a_bad_file_fails_alone(bucket: UploadBucket, clip: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["upload", "--json", str(tmp_path / "absent.mp4"), str(clip)])
    assert done.exit_code == 1
    bad, good = json.loads(done.stdout)
    assert "no such file" in bad["error"]
    assert good["error"] is None
    assert bucket.waiting() == 2  # its notification, and the test event


def test_a_bucket_that_is_not_there_is_named(bucket: UploadBucket, clip: Path) -> None:
    with pytest.raises(StoreRejected, match="bucket's name"):
        upload(planned(clip, "no-such-bucket"), lambda _: None)


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "x" * 101])
def test_what_is_no_id_is_refused(bucket: UploadBucket, clip: Path, name: str) -> None:
    with pytest.raises(SentinelError, match="is no id"):
        planned(clip, bucket.bucket, name)


def test_without_a_bucket_it_says_how_to_get_one(clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SENTINEL_FOOTAGE_BUCKET", raising=False)
    monkeypatch.setenv("SENTINEL_HOME", str(tmp_path))
    done = CliRunner().invoke(cli, ["upload", str(clip)])
    assert isinstance(done.exception, SentinelError)
    assert "sentinel dev" in str(done.exception)


def test_one_id_for_several_files_is_misuse(clip: Path) -> None:
    assert CliRunner().invoke(cli, ["upload", "--id", "1", str(clip), str(clip)]).exit_code == 2


def test_what_is_followed_is_the_analysis_of_this_content(bucket: UploadBucket, clip: Path, database_url: str) -> None:
    """A row of what the video was before says nothing; the bar goes on to the end."""
    seen: list[tuple[float, str]] = []
    transfer = planned(clip, bucket.bucket, "7")
    with Warehouse(database_url) as warehouse:
        _registered(warehouse, transfer.uri, "older")
        warehouse.record_failure("7", "what it was before")

        def watch(percent: float, stage: str) -> None:
            seen.append((percent, stage))
            if stage == "in the queue":
                _registered(warehouse, transfer.uri, _etag(bucket, transfer))
                warehouse.begin_analysis("7", "run", _etag(bucket, transfer))
                warehouse.report_progress("7", 50, "poses", "run")
            elif stage == "poses":
                warehouse.record_failure("7", "no people", "run")

        record, row = upload_and_follow(transfer, Settings.from_env(), watch)
    assert record.etag == _etag(bucket, transfer)
    assert (row.status, row.error) == ("failed", "no people")
    assert seen == [(20.0, "uploading"), (20.0, "in the queue"), (60.0, "poses")]


def test_a_content_that_failed_before_is_followed_to_its_next_end(
    bucket: UploadBucket, clip: Path, database_url: str
) -> None:
    """Not to the failure that its row tells of when it is uploaded once more; what was completed is."""
    stages: list[str] = []
    transfer = planned(clip, bucket.bucket, "7")
    etag = upload(transfer, lambda _: None).etag
    with Warehouse(database_url) as warehouse:
        _registered(warehouse, transfer.uri, etag)
        warehouse.record_failure("7", "the disk was full")

        def watch(_percent: float, stage: str) -> None:
            stages.append(stage)
            if stage == "in the queue":
                warehouse.begin_analysis("7", "second", etag)
                warehouse.publish_events("7", event_rows(2), recipes=RECIPES, analysis_id="second")

        assert upload_and_follow(transfer, Settings.from_env(), watch)[1].status == "completed"
        assert stages == ["uploading", "in the queue"]
        assert upload_and_follow(transfer, Settings.from_env(), watch)[1].event_count == 2
    assert stages == ["uploading", "in the queue", "uploading"]


def _etag(bucket: UploadBucket, transfer: Transfer) -> str:
    return str(boto3.client("s3").head_object(Bucket=bucket.bucket, Key=transfer.key)["ETag"].strip('"'))


def _registered(warehouse: Warehouse, uri: str, etag: str) -> Video:
    return warehouse.register_video(uri, name="clip", video_id=7, etag=etag)
