"""The objects of one bucket, on disk: moto has them for as long as its process lives, a person expects them for longer.

    FOLDER/<sha256 of the key>.json             what S3 knows of the object, and which file holds its bytes
    FOLDER/<sha256 of the key>.<random>.bytes   its bytes

Every change of the bucket is on disk before its caller has the answer: the bytes first, then, by a rename, the word
that they count. From then on the object is read from there: footage is neither in memory nor in moto's temporary files
for longer than its upload takes. (While it takes, moto needs memory: 1.7 GB were seen for 0.5 GB in parts of 8 MB.) The
parts of moto that this knows are in this file alone.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from infra.local.batch.settings import ACCOUNT
from sentinel_assets.vision.errors import StoreRejected, StoreUnavailable

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_PARTITION = "aws"  # of the regions outside China and GovCloud; moto keeps buckets by account and partition
_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredObject:
    """What is known of an object without its bytes; `etag` as S3 gives it, without its quotes."""

    key: str
    etag: str
    size: int
    last_modified: str
    metadata: dict[str, str]
    file: str


class BucketMirror:
    """Keeps `folder` equal to a bucket of this process's moto. Also a WSGI application around moto's."""

    def __init__(self, folder: Path, bucket: str) -> None:
        self.folder, self.bucket = folder, bucket
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Any, StoredObject]] = {}  # by key: moto's object, and what is on disk of it

    def load(self) -> list[StoredObject]:
        """Put what is on disk into the bucket, which must be there and notify nobody yet."""
        with self._lock:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            stored = [self._read(path) for path in sorted(self.folder.glob("*.json"))]
            referenced = {one.file for one in stored}
            for path in self.folder.iterdir():  # of an upload or a removal that the end of the process interrupted
                if path.suffix != ".json" and path.name not in referenced:
                    path.unlink()
            for one in stored:
                self._known[one.key] = (self._into_moto(one), one)
            return stored

    def announce(self, wanted: Iterable[StoredObject]) -> None:
        """Notify of these objects as if each were uploaded now: who listens may have missed it before."""
        from moto.s3.notifications import S3NotificationEvent, send_event

        for one in wanted:
            send_event(ACCOUNT, S3NotificationEvent.OBJECT_CREATED_PUT_EVENT, self._moto(), self._known[one.key][0])

    def around(self, moto: WSGIApplication) -> WSGIApplication:
        """moto's application, its answers held back until what they tell of is on disk."""

        def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            if (file := self._file_asked_for(environ)) is not None:
                return _answer_from(file, moto, environ, start_response)
            answer = moto(environ, start_response)
            if environ["REQUEST_METHOD"] not in ("GET", "HEAD") and _is_for_s3(environ):
                self.catch_up()
            return answer

        return application

    def catch_up(self) -> None:
        """Bring the folder to where the bucket is. Raises StoreUnavailable when the disk does not let it."""
        with self._lock:
            bucket = self._moto()
            if bucket is None:
                return
            now = {name: bucket.keys[name] for name in list(bucket.keys)}
            for name, one in now.items():
                if name not in self._known or self._known[name][0] is not one:
                    self._keep(name, one)
            for name in self._known.keys() - now.keys():
                self._forget(name)

    def _file_asked_for(self, environ: WSGIEnvironment) -> Path | None:
        """Where the bytes are that this request is for, if it is a plain GetObject with the bucket in its path."""
        asked = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        plain = all(name == "x-id" or name.startswith("X-Amz-") for name in asked)
        if environ["REQUEST_METHOD"] != "GET" or not plain or not _is_for_s3(environ):
            return None
        path = str(environ.get("PATH_INFO", "")).encode("latin-1").decode(errors="replace")  # WSGI's own encoding
        bucket, _, key = path.removeprefix("/").partition("/")
        known = self._known.get(key) if bucket == self.bucket else None
        if known is None or self._moto().keys.get(key) is not known[0]:
            return None  # there is none, or it is being written anew
        return self.folder / known[1].file

    def _keep(self, name: str, one: Any) -> None:
        digest = sha256(name.encode()).hexdigest()
        file = f"{digest}.{secrets.token_hex(4)}.bytes"
        stored = StoredObject(
            key=name,
            etag=one.etag.strip('"'),
            size=one.size,
            last_modified=one.last_modified.isoformat(),
            metadata=dict(one.metadata),
            file=file,
        )
        try:
            _write(self.folder / file, _chunks(one))
            _write(self.folder / f"{digest}.json", [json.dumps(asdict(stored)).encode()])
        except OSError as error:
            raise StoreUnavailable(
                f"an upload cannot be kept: {error.strerror}", where=self.folder, remedy="Free space and upload again"
            ) from error
        before = self._known.get(name)
        self._known[name] = (one, stored)
        _read_from(one, self.folder / file)
        if before is not None:
            (self.folder / before[1].file).unlink(missing_ok=True)

    def _forget(self, name: str) -> None:
        _, stored = self._known.pop(name)
        (self.folder / f"{sha256(name.encode()).hexdigest()}.json").unlink(missing_ok=True)
        (self.folder / stored.file).unlink(missing_ok=True)

    def _read(self, path: Path) -> StoredObject:
        try:
            stored = StoredObject(**json.loads(path.read_bytes()))
            if (self.folder / stored.file).stat().st_size != stored.size:
                raise ValueError(f"{stored.file} does not have {stored.size} bytes")
        except (OSError, ValueError, TypeError) as error:
            raise StoreRejected(
                f"this is not an object as it was written: {error}",
                where=path,
                remedy="Move it away, and upload that video again",
            ) from error
        return stored

    def _into_moto(self, stored: StoredObject) -> Any:
        from moto.s3.models import s3_backends

        one = s3_backends[ACCOUNT][_PARTITION].put_object(
            self.bucket, stored.key, b"", etag=stored.etag, disable_notification=True
        )
        one.set_metadata(dict(stored.metadata), replace=True)
        one.last_modified = datetime.fromisoformat(stored.last_modified)
        one.contentsize = stored.size
        _read_from(one, self.folder / stored.file)
        return one

    def _moto(self) -> Any:
        from moto.s3.models import s3_backends

        return s3_backends[ACCOUNT][_PARTITION].buckets.get(self.bucket)


class _OnDisk:
    """What moto does with the bytes of an object that is not written to any more, done with a file.

    It is open only while it is read: a bucket may have more objects than a process may have open files.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (self._path.stat().st_size if whence == io.SEEK_END else 0)
        return self._at

    def read(self, size: int = -1) -> bytes:
        with self._path.open("rb") as stream:
            stream.seek(self._at)
            data = stream.read(size)
        self._at += len(data)
        return data

    def close(self) -> None:
        pass


def _read_from(one: Any, path: Path) -> None:
    """Make `path` the place of an object's bytes, and let go of the copies that moto holds."""
    with one.lock:
        before, one._value_buffer = one._value_buffer, _OnDisk(path)
        before.close()
        if one.multipart is not None:
            one.multipart.dispose()
            one.multipart = None


def _chunks(one: Any) -> Iterator[bytes]:
    with one.lock:
        one._value_buffer.seek(0)
        while data := one._value_buffer.read(_COPY_BYTES):
            yield data


def _write(path: Path, chunks: Iterable[bytes]) -> None:
    """There whole or not at all, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.writelines(chunks)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _answer_from(
    file: Path, moto: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """GetObject with moto's headers, conditions and ranges, as it gives them to HeadObject, and the bytes from disk.

    moto would read the whole object for each range of it, and a client asks for a large one in many. Its checksums are
    left out: of an object that was copied or uploaded in parts, moto has one that clients find wrong.
    """
    told: list[tuple[str, list[tuple[str, str]]]] = []

    def begin(status: str, headers: list[tuple[str, str]], _failure: Any = None) -> Callable[[bytes], object]:
        told.append((status, headers))
        return lambda _: None

    for _ in moto({**environ, "REQUEST_METHOD": "HEAD"}, begin):
        pass  # an answer to HEAD has no body
    status, headers = told[-1]
    if status[:3] not in ("200", "206"):
        return moto(environ, start_response)  # errors have one
    given = {name.lower(): value for name, value in headers}
    first = int(given.get("content-range", "bytes 0-").removeprefix("bytes ").partition("-")[0])
    start_response(status, [(n, v) for n, v in headers if not n.lower().startswith("x-amz-checksum-")])
    return _part_of(file, first, int(given["content-length"]))


def _part_of(file: Path, first: int, length: int) -> Iterator[bytes]:
    if not length:
        return
    with file.open("rb") as stream:
        stream.seek(first)
        while length and (data := stream.read(min(length, _COPY_BYTES))):
            length -= len(data)
            yield data


def _is_for_s3(environ: WSGIEnvironment) -> bool:
    authorization = str(environ.get("HTTP_AUTHORIZATION", ""))
    return "/s3/aws4_request" in authorization or not authorization  # presigned: the signature is in the query
