"""Artifacts and footage in S3, over HTTP: as in a folder, and each refusal in our words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pandas as pd
import pytest

from resources.artifacts import ArtifactStore, table_name
from resources.downloads import DOWNLOADS
from resources.footage import FootageRecord, FootageStore
from sentinel_assets.vision.errors import (
    ArtifactMissing,
    FootageDamaged,
    FootageMissing,
    SentinelError,
    StoreRejected,
    StoreUnavailable,
)
from sentinel_assets.vision.tables import DESCRIPTIONS
from tests.resources.test_artifacts import _descriptions

if TYPE_CHECKING:
    from infra.local.aws import LocalAws

BUCKET = "sentinel-tests"
KEY = "videos/7/가게 #1?.mp4"


@pytest.fixture
def store(aws: LocalAws) -> ArtifactStore:
    boto3.client("s3").create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": aws.settings.region}
    )
    return ArtifactStore(f"s3://{BUCKET}/artifacts/")


@pytest.fixture
def record(store: ArtifactStore) -> FootageRecord:
    """Of an uploaded object, as an upload message has it: the ETag without its quotes."""
    etag = boto3.client("s3").put_object(Bucket=BUCKET, Key=KEY, Body=b"frames")["ETag"].strip('"')
    return FootageRecord(f"s3://{BUCKET}/{KEY}", etag, 6)


@pytest.mark.parametrize("partition", ["17", "videos/2026/가게 1.mp4", "../../etc/passwd", "a%2Fb"])
def test_a_table_comes_back_from_s3_as_it_went(store: ArtifactStore, partition: str) -> None:
    """Whatever the partition's key; nothing is there before it was written."""
    name = table_name(DESCRIPTIONS, partition)
    assert not store.exists(name)
    frame = _descriptions("서 있는 사람")
    frame.attrs["note"] = "kept"
    store.write_table(DESCRIPTIONS, partition, frame)
    back = store.read_table(DESCRIPTIONS, partition)
    assert store.exists(name)
    assert back.attrs == {"note": "kept"}
    pd.testing.assert_frame_equal(back, frame, check_dtype=False)
    assert store.uri(name) == f"s3://{BUCKET}/artifacts/{name}"


def test_what_is_not_in_s3_is_said_with_its_place(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactMissing, match=f"s3://{BUCKET}/artifacts/descriptions/1.parquet"):
        store.read_table(DESCRIPTIONS, "1")


REFUSALS = [
    # What is wrong with the way to the bucket, the error, whether to try again
    ({}, "s3://no-such-bucket/x", StoreRejected, False),
    ({"AWS_ACCESS_KEY_ID": "SOMEBODY"}, f"s3://{BUCKET}/x", StoreRejected, False),
    ({"AWS_PROFILE": "nobody"}, f"s3://{BUCKET}/x", StoreRejected, False),
    ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, f"s3://{BUCKET}/x", StoreUnavailable, True),
]


@pytest.mark.parametrize(
    ("environment", "base", "error", "again"), REFUSALS, ids=["bucket", "key", "profile", "network"]
)
def test_a_way_that_leads_nowhere_is_one_line(
    store: ArtifactStore,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    base: str,
    error: type[SentinelError],
    again: bool,
) -> None:
    """A bucket that is not there, credentials of nobody, a network that is away."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(error) as caught:
        ArtifactStore(base).write_bytes("1", b"x")
    assert caught.value.is_retryable is again
    assert caught.value.where == f"{base}/1"


def test_footage_in_s3_is_a_local_file_for_the_while(store: ArtifactStore, record: FootageRecord) -> None:
    """Letters that mean something in a URL mean nothing in a key."""
    footage = FootageStore(store)
    footage.register("7", record)
    assert footage.record("7").name == "가게 #1?.mp4"
    with footage.local_copy("7") as path:
        assert path.read_bytes() == b"frames"
        assert path.suffix == ".mp4"
    DOWNLOADS.drop()
    assert not path.parent.exists()


def test_footage_that_was_deleted_is_said(store: ArtifactStore, record: FootageRecord) -> None:
    FootageStore(store).register("7", record)
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=KEY)
    with pytest.raises(FootageMissing, match="no such object"), FootageStore(store).local_copy("7"):
        pass


@pytest.mark.parametrize("content", [b"others", b"more frames"], ids=["of equal size", "longer"])
def test_another_upload_is_not_taken_for_the_registered_one(
    store: ArtifactStore, record: FootageRecord, content: bytes, tmp_path: Path
) -> None:
    """Rows would belong to content that nobody registered."""
    FootageStore(store).register("7", record)
    boto3.client("s3").put_object(Bucket=BUCKET, Key=KEY, Body=content)
    with pytest.raises(FootageDamaged, match="when it was registered"), FootageStore(store).local_copy("7"):
        pass
