"""Videos of S3 on this machine's disk: the one that was used last stays, as the next step of a run reads it again."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from resources.s3 import no_object, s3_client, s3_errors, split_uri
from sentinel_assets.vision.errors import StoreUnavailable

_CHUNK = 1 << 20  # bytes read at a time
_FOLDER, _LOCK = "sentinel-footage-", "lock"


@dataclass(frozen=True)
class _Copy:
    uri: str
    etag: str
    path: Path
    lock: int
    """File descriptor that says to other processes that this copy is somebody's, until this one ends."""
    owner: int = field(default_factory=os.getpid)

    def drop(self) -> None:
        if self.owner == os.getpid():  # a fork's is its parent's
            shutil.rmtree(self.path.parent, ignore_errors=True)
            os.close(self.lock)


class Downloads:
    """Of this process alone. Each copy is in use by one at a time: who asks for a video that is in use gets another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: _Copy | None = None

    @contextmanager
    def copy_of(self, uri: str, require: Callable[[str, int], None]) -> Iterator[Path]:
        """A file with the content that the object has now; it may be gone after the next video was asked for.

        `require` is given the object's ETag and size, and raises what it will where they are not those that are wanted.
        Raises FootageMissing where there is no such object, StoreRejected or StoreUnavailable where S3 refuses or is
        away, or the disk is full.
        """
        copy = self._same_as_before(uri, require) or _downloaded(uri, require)
        try:
            yield copy.path
        finally:
            self._keep(copy)

    def drop(self) -> None:
        """Nothing is kept."""
        self._keep(None)

    def _keep(self, copy: _Copy | None) -> None:
        if before := self._exchanged(copy):
            before.drop()

    def _exchanged(self, copy: _Copy | None) -> _Copy | None:
        with self._lock:
            before, self._kept = self._kept, copy
        return before

    def _same_as_before(self, uri: str, require: Callable[[str, int], None]) -> _Copy | None:
        kept = self._exchanged(None)
        if kept is None:
            return None
        is_same = False
        try:
            if kept.uri == uri and kept.owner == os.getpid() and kept.path.is_file():
                bucket, key = split_uri(uri)
                with s3_errors(uri, missing=no_object):
                    head = s3_client().head_object(Bucket=bucket, Key=key)
                require(head["ETag"], head["ContentLength"])
                is_same = head["ETag"] == kept.etag
        finally:
            if not is_same:
                kept.drop()
        return kept if is_same else None


DOWNLOADS = Downloads()
atexit.register(DOWNLOADS.drop)


def _downloaded(uri: str, require: Callable[[str, int], None]) -> _Copy:
    """The object in a folder of its own. One GET from start to end: its ETag says that no part is of another upload."""
    bucket, key = split_uri(uri)
    with ExitStack() as undo, s3_errors(uri, missing=no_object):
        answer = s3_client().get_object(Bucket=bucket, Key=key)
        require(answer["ETag"], answer["ContentLength"])
        try:
            _clear_after_the_killed()
            folder, lock = _own_folder()
            copy = _Copy(uri, answer["ETag"], folder / _plain_name(uri), lock)
            undo.callback(copy.drop)
            with copy.path.open("wb") as stream:
                for chunk in answer["Body"].iter_chunks(_CHUNK):
                    stream.write(chunk)
        except OSError as error:
            raise StoreUnavailable(
                f"it cannot be kept here: {error.strerror}",
                where=error.filename or uri,
                remedy="Free some space and run it again",
            ) from error
        undo.pop_all()
    return copy


def _plain_name(uri: str) -> str:
    """A file's name of bounded length, by whose end decoders may know the container; a key may hold anything."""
    return f"footage{Path(uri.rpartition('/')[2]).suffix[:16]}"


def _own_folder() -> tuple[Path, int]:
    """A new folder with a file in it that is locked before others may know it, and the lock's file descriptor."""
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
    lock = os.open(folder / "unlocked", os.O_CREAT | os.O_WRONLY, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / "unlocked").rename(folder / _LOCK)
    return folder, lock


def _clear_after_the_killed() -> None:
    """Remove the copies of processes that were killed, whose locks went with them; also in other containers."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        try:
            if folder.lstat().st_uid != os.getuid():
                continue  # what another user has put there may be anything
            with (folder / _LOCK).open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # in use, or another process was faster
