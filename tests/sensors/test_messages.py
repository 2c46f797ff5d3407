"""What an upload message says."""

from __future__ import annotations

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensors.messages import Content, Upload, partition_of, read_message
from sentinel_assets.partitions import videos
from tests.builders.messages import MALFORMED, TEST_EVENT, from_backend, from_s3


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # a backend names its video, its key is as it is
        (from_backend(7, "any/we like+%20.mp4"), Upload("7", "footage", "any/we like+%20.mp4", 7)),
        (from_backend("7", "a.mp4"), Upload("7", "footage", "a.mp4", 7)),  # a number as text
        # S3's own: the id part of the key, a number or not
        (from_s3("videos/123/original.mp4"), Upload("123", "footage", "videos/123/original.mp4", 123, "e1")),
        (from_s3("videos/aisle-3/a/b.mp4"), Upload("aisle-3", "footage", "videos/aisle-3/a/b.mp4", None, "e1")),
        (
            from_s3("videos/0123/a.mp4"),
            Upload("0123", "footage", "videos/0123/a.mp4", None, "e1"),
        ),  # not the number 123
        # S3 encodes keys
        (from_s3("videos/7/가게 +1.mp4"), Upload("7", "footage", "videos/7/가게 +1.mp4", 7, "e1")),
        # no id: the key itself
        (from_s3("cam1/2026/a.mp4"), Upload("cam1/2026/a.mp4", "footage", "cam1/2026/a.mp4", None, "e1")),
        (from_s3("videos/a.mp4"), Upload("videos/a.mp4", "footage", "videos/a.mp4", None, "e1")),
    ],
)
def test_both_forms_are_read(body: str, expected: Upload) -> None:
    assert read_message(body) == Content((expected,))


@pytest.mark.parametrize(
    "body",
    [
        TEST_EVENT,
        from_s3("videos/7/a.mp4", event="ObjectRemoved:Delete"),
        from_s3("videos/7/"),  # the empty object by which a console shows a folder
        '{"Records": []}',
    ],
    ids=["test event", "removal", "folder", "no record"],
)
def test_what_does_not_concern_us_asks_for_nothing(body: str) -> None:
    assert read_message(body) == Content()


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_what_is_wrong_is_said(body: str) -> None:
    content = read_message(body)
    assert not content.uploads
    assert content.faults
    assert all(content.faults)


def test_a_bad_record_does_not_stop_its_neighbours() -> None:
    body = from_s3("videos/1/a.mp4").replace("]", ', {"s3": 1}]')
    content = read_message(body)
    assert [u.partition for u in content.uploads] == ["1"]
    assert content.faults


@settings(deadline=None)
@given(st.text())
def test_no_body_raises(body: str) -> None:
    read_message(body)


@settings(deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_no_record_raises(value: object) -> None:
    import json

    read_message(json.dumps({"Records": value}))
    read_message(json.dumps({"video_id": value, "s3_bucket": value, "s3_key": value}))


@settings(deadline=None)
@given(st.text(min_size=1))
def test_every_key_makes_a_partition_that_dagster_takes(key: str) -> None:
    """No "...", no control character (dagster 1.13, partitions/utils/base.py), nothing that looks like another key."""
    partition = partition_of(key)
    assert partition
    assert partition == partition.strip()
    assert "..." not in partition
    assert not set(partition) & set("\a\b\f\n\r\t\v\0")
    partition.encode()


def test_dagster_takes_an_escaped_key() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(videos.name), [partition_of(" cam....\n1|가.mp4 ")])
        assert instance.get_dynamic_partitions(str(videos.name)) == ["%20cam..%2E%2E%0A1|가.mp4%20"]


@settings(deadline=None)
@given(st.text(alphabet="a.%~2E \n가/", min_size=1), st.text(alphabet="a.%~2E \n가/", min_size=1))
def test_two_keys_are_two_partitions(one: str, other: str) -> None:
    """Of keys that stand for themselves; under videos/<id>/ the id decides."""
    if one != other and not any(key.startswith("videos/") for key in (one, other)):
        assert partition_of(one) != partition_of(other)


def test_a_key_longer_than_a_file_name_is_shortened_to_its_digest() -> None:
    """Tables of a partition are files of its name."""
    one, other = (partition_of("가" * 300 + tail) for tail in "ab")
    assert one != other
    from urllib.parse import quote

    assert len(quote(one, safe="")) <= 200
