"""What is in S3 at the addresses that messages name: looked up side by side, each once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from resources.footage import FootageRecord
from resources.s3 import no_object, s3_client, s3_errors, split_uri
from sensors.decision import Absent, Found, Object, Unknown
from sensors.headers import read_header
from sentinel_assets.vision.errors import FootageMissing, StoreError

if TYPE_CHECKING:
    from sentinel_assets.assets.video import Header

_AT_ONCE = 8  # requests; below the 10 connections of a client's pool (botocore, max_pool_connections)


def look_up(uris: Iterable[str]) -> dict[str, Object]:
    """What is at each address now."""
    wanted = list(dict.fromkeys(uris))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(wanted, pool.map(_object, wanted), strict=True))


def read_headers(records: Sequence[FootageRecord], *, within_s: float) -> list[Header | None]:
    """What each object says of itself as a video; None where that is not known when the time is over."""
    deadline = time.monotonic() + within_s
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda record: read_header(record, deadline), records))


def _object(uri: str) -> Object:
    bucket, key = split_uri(uri)
    try:
        with s3_errors(uri, missing=no_object):
            head = s3_client().head_object(Bucket=bucket, Key=key)
    except FootageMissing as error:
        return Absent(str(error))
    except StoreError as error:
        return Unknown(str(error))
    record = FootageRecord(uri=uri, etag=head["ETag"].strip('"'), size_bytes=head["ContentLength"])
    return Found(record, head["LastModified"].timestamp())
