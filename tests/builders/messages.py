"""Upload messages as backends and S3 write them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote_plus


def from_backend(video_id: Any = 123, key: Any = "videos/123/original.mp4", bucket: Any = "footage") -> str:
    return json.dumps({"video_id": video_id, "s3_bucket": bucket, "s3_key": key})


def from_s3(*keys: str, bucket: str = "footage", etag: str = "e1", event: str = "ObjectCreated:Put") -> str:
    return json.dumps({"Records": [record(key, bucket=bucket, etag=etag, event=event) for key in keys]})


def record(key: str, *, bucket: str = "footage", etag: str = "e1", event: str = "ObjectCreated:Put") -> dict[str, Any]:
    """As in the S3 user guide, "Event message structure": the key is URL-encoded, a space is a plus."""
    described = {"key": quote_plus(key, safe="/"), "size": 1, "eTag": etag, "sequencer": "0A1B2C3D4E5F678901"}
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": event,
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": bucket}, "object": described},
    }


TEST_EVENT = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "footage"})
"""What S3 sends when notifications are switched on."""

MALFORMED = {
    "not JSON": "PK\x03\x04",
    "half of it": '{"video_id": 1',
    "a list": "[1]",
    "null": "null",
    "nothing known": "{}",
    "no number": from_backend("abc"),
    "a negative number": from_backend(-1),
    "a truth value": from_backend(True),
    "a number beyond bigint": from_backend(10**19),
    "no key": json.dumps({"video_id": 1, "s3_bucket": "footage"}),
    "an empty key": from_backend(key=""),
    "a key that is no text": from_backend(key=["videos/1/a.mp4"]),
    "NUL in the key": from_backend(key="videos/1/a\0.mp4"),
    "half a character in the key": from_backend(key="videos/1/\ud800.mp4"),
    "records that are no list": '{"Records": {"s3": {}}}',
    "a record that is no object": '{"Records": [null]}',
    "a record without its bucket": '{"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": "a"}}}]}',
    "an encoded NUL": json.dumps({"Records": [{**record("x"), "s3": {**record("x")["s3"], "object": {"key": "%00"}}}]}),
}
"""One for each way in which a message can be none."""
