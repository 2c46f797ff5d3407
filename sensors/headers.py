"""What an object in S3 says about itself as a video, from its container's header: a few ranged reads, not the whole."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

from resources.footage import FootageRecord
from resources.s3 import no_object, s3_client, s3_errors, split_uri
from sentinel_assets.vision.errors import SentinelError

if TYPE_CHECKING:
    from sentinel_assets.assets.video import Header

# FFmpeg chooses a reader by the content; these alone, so that a playlist or a photo is not taken for a video.
_READERS = "mov,matroska,avi,gif,mpegts,mpeg,flv,asf,ogg,ivf,h264,hevc,m4v,mpegvideo,mjpeg,dhav"
_BLOCK = 256 * 1024  # B asked for at a time; the index of an hour of MP4 has about 1 MB
_MOST_BLOCKS = 24  # 6 MB: what is not known by then stays unknown


class TooMuch(OSError):
    """More was asked for than a header should take, in bytes or in time."""


def read_header(record: FootageRecord, deadline: float) -> Header | None:
    """None where it cannot be told before `deadline` (of `time.monotonic`), or at all: the analysis itself says what is
    the matter with such a file."""
    import av
    import av.error

    from sentinel_assets.assets.video import Header

    try:
        ranged: Any = io.BufferedReader(_Ranged(record, deadline), _BLOCK)
        # No protocol is needed: a file that names others, as a playlist does, is not followed anywhere.
        options = {"format_whitelist": _READERS, "protocol_whitelist": "none"}
        with av.open(ranged, options=options, metadata_errors="replace") as container:
            stream = container.streams.best("video")
            if stream is None or stream.codec_context is None:
                return None
            length = stream.duration * stream.time_base if stream.duration and stream.time_base else None
            if length is None and container.duration:
                length = container.duration / av.time_base
            return Header(
                duration_s=float(length) if length is not None else None,
                codec=stream.codec_context.codec.canonical_name,
                container=container.format.name,
                width=stream.codec_context.width or None,
                height=stream.codec_context.height or None,
            )
    except (av.error.FFmpegError, SentinelError, OSError, ValueError):
        return None


class _Ranged(io.RawIOBase):
    """The object as a file, of the registered content alone."""

    def __init__(self, record: FootageRecord, deadline: float) -> None:
        self._record, self._deadline = record, deadline
        self._at = self._blocks = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._record.size_bytes}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), _BLOCK, self._record.size_bytes - self._at)
        if size <= 0:
            return 0
        self._blocks += 1
        if self._blocks > _MOST_BLOCKS or time.monotonic() > self._deadline:
            raise TooMuch(f"{self._blocks} blocks of {self._record.uri}")
        bucket, key = split_uri(self._record.uri)
        span = f"bytes={self._at}-{self._at + size - 1}"
        with s3_errors(self._record.uri, missing=no_object):
            answer = s3_client().get_object(Bucket=bucket, Key=key, Range=span, IfMatch=f'"{self._record.etag}"')
            content = answer["Body"].read()
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)
