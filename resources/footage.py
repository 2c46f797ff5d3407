"""The videos themselves: where each partition's footage is, that it is still what was registered, and a local copy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from resources.artifacts import ArtifactStore
from resources.downloads import DOWNLOADS
from sentinel_assets.vision.errors import (
    ArtifactMissing,
    FootageDamaged,
    FootageMissing,
    SentinelError,
    StoreUnavailable,
)
from sentinel_assets.vision.held_frames import HELD

_CHUNK = 1 << 20  # bytes read at a time


@dataclass(frozen=True)
class FootageRecord:
    """What is known of a video before a frame of it was decoded. `etag` changes exactly when the content does."""

    uri: str
    etag: str
    size_bytes: int

    @property
    def name(self) -> str:
        return self.uri.rpartition("/")[2]  # not parsed as a URL: '#' and '?' are letters like others in a name


@dataclass(frozen=True)
class FootageStore:
    """Records of footage, kept beside the artifacts so that a step needs no database to find its video."""

    artifacts: ArtifactStore

    def register(self, partition: str, record: FootageRecord) -> None:
        self.artifacts.write_json(_record_name(partition), asdict(record))

    def record(self, partition: str) -> FootageRecord:
        """Raises FootageMissing for a partition that nobody registered."""
        try:
            return FootageRecord(**self.artifacts.read_json(_record_name(partition)))
        except ArtifactMissing as error:
            raise FootageMissing(
                f"no footage is registered for video {partition}",
                where=self.artifacts.uri(_record_name(partition)),
                remedy="Run `sentinel analyze` on the file, or upload it",
            ) from error

    @contextmanager
    def local_copy(self, partition: str) -> Iterator[Path]:
        """A readable file with the registered content; a local one in place, one in S3 downloaded (`downloads.py`). An
        error of who reads it names the address in S3, not the file that is gone when a person reads of it."""
        record = self.record(partition)
        if record.uri.startswith("s3://"):
            with DOWNLOADS.copy_of(record.uri, lambda etag, size: _require_same(record, etag, size)) as path:
                try:
                    with HELD.known_as(path, record.etag):
                        yield path
                except SentinelError as error:
                    if error.where != str(path):
                        raise
                    raise type(error)(error.what, where=record.uri, remedy=error.remedy) from error
            return
        path = Path(record.uri)
        if not path.is_file():
            raise FootageMissing("the file is gone", where=path, remedy="Put it back and analyse it again")
        if path.stat().st_size != record.size_bytes:
            raise FootageDamaged(
                f"{path.stat().st_size} bytes now, {record.size_bytes} when it was registered",
                where=path,
                remedy="Analyse it again",
            )
        with HELD.known_as(path, record.etag):
            yield path


def describe_file(path: Path, on_progress: Callable[[float], None] | None = None) -> FootageRecord:
    """The record of a local file; its etag is the sha256 of the content.

    Raises FootageMissing where there is no such file, StoreUnavailable where it cannot be read.
    """
    path = _regular_file(path)
    digest, done, size = hashlib.sha256(), 0, path.stat().st_size
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                done += len(chunk)
                if on_progress and size:
                    on_progress(done / size)
    except OSError as error:
        raise StoreUnavailable(
            f"the file cannot be read: {error.strerror}", where=path, remedy="Let this user read it"
        ) from error
    return FootageRecord(uri=str(path), etag=f"sha256:{digest.hexdigest()}", size_bytes=done)


def _regular_file(path: Path) -> Path:
    """Where the file really is. Raises FootageMissing for what no video file can be."""
    try:
        str(path).encode()
        found = path.expanduser().resolve()
        is_file, exists = found.is_file(), found.exists()
    except UnicodeEncodeError as error:
        remedy = "Rename it: records and rows hold names in UTF-8"
        raise FootageMissing("its name is not text in UTF-8", where=path, remedy=remedy) from error
    except (OSError, RuntimeError) as error:  # a link to itself is a RuntimeError before Python 3.13
        said = error.strerror if isinstance(error, OSError) else error
        raise FootageMissing(f"that is no path to a file: {said}", where=path, remedy="Check the path") from error
    if not exists:
        raise FootageMissing("there is no such file", where=found, remedy="Check the path")
    if not is_file:
        raise FootageMissing("that is not a file", where=found, remedy="Name a video file")
    return found


def _record_name(partition: str) -> str:
    return f"video/{quote(partition, safe='')}.json"


def _require_same(record: FootageRecord, etag: str, size_bytes: int) -> None:
    """Raises FootageDamaged where another content has come to that address since it was registered."""
    is_known = record.etag.startswith("sha256:") or record.etag.strip('"') == etag.strip('"')
    if size_bytes != record.size_bytes or not is_known:
        raise FootageDamaged(
            f"{size_bytes} bytes of ETag {etag} now, {record.size_bytes} of {record.etag} when it was registered",
            where=record.uri,
            remedy="The newer upload has an analysis of its own; upload it again if it has none",
        )
