"""The bucket that outlives its server: what was written is there again, and is what it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3.session
import pytest
from boto3.s3.transfer import TransferConfig

from infra.local.aws import LocalAws
from infra.local.mirror import BucketMirror
from sentinel_assets.vision.errors import StoreRejected

BUCKET = "kept"
KEY = "videos/9/한 국 #1?.mp4"


@contextmanager
def server(folder: Path) -> Iterator[tuple[Any, BucketMirror]]:
    """A client of a server of its own, empty but for what is on disk."""
    mirror = BucketMirror(folder, BUCKET)
    with LocalAws(mirror=mirror) as aws:
        session = boto3.session.Session(aws.access_key, aws.access_key, region_name="us-east-1")
        client = session.client("s3", endpoint_url=aws.url)
        aws.reset()
        client.create_bucket(Bucket=BUCKET)
        mirror.load()
        yield client, mirror
        client.close()
        aws.reset()


@pytest.fixture(scope="module")
def ten_bytes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of a server that has one object."""
    with server(tmp_path_factory.mktemp("bucket")) as (s3, _):
        s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"0123456789")
        yield s3


def contents(client: Any) -> dict[str, tuple[bytes, str]]:
    """Key to bytes and ETag."""
    listed = client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {o["Key"]: (client.get_object(Bucket=BUCKET, Key=o["Key"])["Body"].read(), o["ETag"]) for o in listed}


def test_what_was_written_is_there_again(tmp_path: Path) -> None:
    """By PutObject, an upload in parts, CopyObject; overwritten and deleted things as they are last; nothing else."""
    with server(tmp_path) as (s3, _):
        s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"one", Metadata={"camera": "3"}, ContentType="video/mp4")
        large = tmp_path / "large"
        large.write_bytes(bytes(range(256)) * 50_000)
        s3.upload_file(str(large), BUCKET, "in-parts", Config=TransferConfig(5 << 20, multipart_chunksize=5 << 20))
        s3.copy_object(Bucket=BUCKET, Key="copied", CopySource=f"{BUCKET}/in-parts")
        for key, body in (("over", b"old"), ("over", b"new"), ("gone", b"x"), ("gone-too", b"y")):
            s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        s3.delete_object(Bucket=BUCKET, Key="gone")
        s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "gone-too"}]})
        before, head = contents(s3), s3.head_object(Bucket=BUCKET, Key=KEY)
    large.unlink()
    assert before["in-parts"][1].endswith('-3"')
    assert set(before) == {KEY, "in-parts", "copied", "over"}
    with server(tmp_path) as (s3, _):
        assert contents(s3) == before
        again = s3.head_object(Bucket=BUCKET, Key=KEY)
    for name in ("Metadata", "ContentType", "LastModified", "ContentLength", "ETag"):
        assert again[name] == head[name], name
    assert len(list(tmp_path.glob("*.bytes"))) == 4


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [
        (None, 200, b"0123456789"),
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-2", 206, b"89"),
        ("bytes=5-99", 206, b"56789"),
        ("bytes=0-1,4-5", 200, b"0123456789"),  # S3 gives no multipart ranges
        ("bytes=10-", 416, b"InvalidRange"),
    ],
)
def test_an_object_is_read_from_disk_as_s3_gives_it(
    ten_bytes: Any, asked: str | None, status: int, expected: bytes
) -> None:
    given = {"Range": asked} if asked else {}
    if status == 416:
        with pytest.raises(ten_bytes.exceptions.ClientError, match=expected.decode()):
            ten_bytes.get_object(Bucket=BUCKET, Key=KEY, **given)
        return
    answer = ten_bytes.get_object(Bucket=BUCKET, Key=KEY, **given)
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Body"].read()) == (status, expected)


def test_conditions_hold_for_what_is_read_from_disk(ten_bytes: Any) -> None:
    etag = ten_bytes.head_object(Bucket=BUCKET, Key=KEY)["ETag"]
    assert ten_bytes.get_object(Bucket=BUCKET, Key=KEY, IfMatch=etag)["Body"].read() == b"0123456789"
    with pytest.raises(ten_bytes.exceptions.ClientError, match=r"304|Not Modified"):
        ten_bytes.get_object(Bucket=BUCKET, Key=KEY, IfNoneMatch=etag)
    with pytest.raises(ten_bytes.exceptions.ClientError, match=r"NoSuchKey|404"):
        ten_bytes.get_object(Bucket=BUCKET, Key="never")


def test_leftovers_of_a_killed_server_are_cleared(tmp_path: Path) -> None:
    """Bytes without the word that they count are those of an upload that nobody was told to be done."""
    with server(tmp_path) as (s3, _):
        s3.put_object(Bucket=BUCKET, Key="a", Body=b"a")
    (tmp_path / "0123.bytes").write_bytes(b"half")
    with server(tmp_path) as (s3, _):
        assert set(contents(s3)) == {"a"}
    assert not (tmp_path / "0123.bytes").exists()


def test_a_damaged_object_is_named(tmp_path: Path) -> None:
    with server(tmp_path) as (s3, _):
        s3.put_object(Bucket=BUCKET, Key="a", Body=b"abc")
    (cut,) = tmp_path.glob("*.bytes")
    cut.write_bytes(b"a")
    with pytest.raises(StoreRejected, match="not an object as it was written"), server(tmp_path):
        pass
