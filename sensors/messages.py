"""What an upload message says: from a backend, or S3's own notification. Pure: nothing is looked up."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote_plus

_NUMBER = re.compile(r"[1-9][0-9]{0,17}")  # a positive bigint as PostgreSQL prints it
_UNDER_AN_ID = re.compile(r"videos/([^/]+)/.", re.DOTALL)
# Dagster 1.13 refuses control characters and "..." in the key of a partition; "%" is what we escape with.
_ESCAPED = re.compile(r"[\x00-\x1f\x7f%\ud800-\udfff]|(?<=\.\.)\.|\A\s|\s\Z")
_LONGEST = 200  # B of the key as a file name, where 255 are the most that file systems take


@dataclass(frozen=True)
class Upload:
    """An object that a message says was uploaded, and the partition of its video.

    `video_id` is a backend's own number; `etag` is what the message says of the content, None where it does not.
    """

    partition: str
    bucket: str
    key: str
    video_id: int | None = None
    etag: str | None = None

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def name(self) -> str:
        """What people call the video."""
        return self.key.rpartition("/")[2]


@dataclass(frozen=True)
class Content:
    """What a message holds: uploads, and what about it cannot be understood. Neither: nothing that concerns us."""

    uploads: tuple[Upload, ...] = ()
    faults: tuple[str, ...] = ()


def read_message(body: str) -> Content:
    """Both forms of the contract; never raises."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        return Content(faults=(f"not JSON: {error}",))
    if not isinstance(message, dict):
        return Content(faults=(f"a JSON {type(message).__name__}, not an object",))
    if message.get("Event") == "s3:TestEvent":
        return Content()
    if "Records" in message:
        return _from_s3(message["Records"])
    return _from_backend(message)


def partition_of(key: str) -> str:
    """The partition of an object: the id of `videos/<id>/...`, or the key itself; escaped so that Dagster takes it."""
    under = _UNDER_AN_ID.match(key)
    text = under[1] if under else key
    escaped = _ESCAPED.sub(lambda found: "".join(f"%{byte:02X}" for byte in _bytes(found[0])), text)
    if len(quote(escaped, safe="")) <= _LONGEST:
        return escaped
    return f"{_shortened(escaped)}~{hashlib.sha256(_bytes(text)).hexdigest()[:16]}"


def _from_backend(message: Mapping[str, Any]) -> Content:
    number, bucket, key = (message.get(name) for name in ("video_id", "s3_bucket", "s3_key"))
    faults = []
    if isinstance(number, bool) or not isinstance(number, int | str) or not _NUMBER.fullmatch(str(number)):
        faults.append(f"video_id is {number!r}, expected a positive number")
    faults += [
        f"{name} is {value!r}, expected text"
        for name, value in (("s3_bucket", bucket), ("s3_key", key))
        if not _is_name(value)
    ]
    if faults:
        return Content(faults=tuple(faults))
    return Content((Upload(str(number), str(bucket), str(key), video_id=int(str(number))),))


def _from_s3(records: Any) -> Content:
    if not isinstance(records, list):
        return Content(faults=(f"Records is a {type(records).__name__}, expected a list",))
    read = [_from_record(record) for record in records]
    return Content(
        tuple(upload for content in read for upload in content.uploads),
        tuple(fault for content in read for fault in content.faults),
    )


def _from_record(record: Any) -> Content:
    try:
        event, bucket = record["eventName"], record["s3"]["bucket"]["name"]
        described = record["s3"]["object"]
        quoted, etag = described["key"], described.get("eTag")
    except (KeyError, TypeError, AttributeError) as error:
        return Content(faults=(f"a record without {error}",))
    if not _is_name(event) or not _is_name(bucket) or not _is_name(quoted):
        return Content(faults=("a record whose event, bucket or key is not text",))
    if not event.startswith("ObjectCreated:"):
        return Content()
    key = unquote_plus(quoted)
    if not _is_name(key):
        return Content(faults=(f"the key {quoted!r} is no text",))
    if key.endswith("/"):  # the empty object by which consoles show a folder
        return Content()
    under = _UNDER_AN_ID.match(key)
    number = int(under[1]) if under and _NUMBER.fullmatch(under[1]) else None
    return Content((Upload(partition_of(key), bucket, key, number, etag if isinstance(etag, str) and etag else None),))


def _is_name(value: Any) -> bool:
    """Text that an address may hold: PostgreSQL stores no NUL, and no half of a surrogate pair is UTF-8."""
    return isinstance(value, str) and bool(value) and "\0" not in value and not re.search(r"[\ud800-\udfff]", value)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _shortened(escaped: str) -> str:
    """The beginning, for people; not ended within an escape, nor by what the "~" would make another key of."""
    kept = escaped
    while len(quote(kept, safe="")) > _LONGEST - 17:
        kept = kept[:-1]
    return re.sub(r"%[0-9A-F]?$", "", kept)
