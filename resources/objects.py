"""Named bytes under one base, a folder or an S3 prefix; errors in our words. A reader sees a whole object or none."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from resources.s3 import s3_client, s3_errors, split_uri
from sentinel_assets.vision.errors import ArtifactMissing, StoreRejected, StoreUnavailable


class Objects(Protocol):
    """All raise StoreUnavailable where the store is away or full, StoreRejected where it refuses."""

    def uri(self, name: str) -> str:
        """Where the object of that name is, as a person would open it."""
        ...

    def exists(self, name: str) -> bool: ...

    def read(self, name: str) -> bytes:
        """Raises ArtifactMissing where there is nothing of that name."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Replaces the object whole."""
        ...

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Name and bytes of each object whose name begins with `prefix`, which ends with a slash."""
        ...

    def delete(self, names: Sequence[str]) -> None:
        """What is not there is no error."""
        ...


_DELETED_AT_ONCE = 1000  # S3 takes no more


def open_objects(base: str) -> Objects:
    """Of `s3://bucket/prefix`, or of a folder."""
    return S3Objects(base.rstrip("/")) if base.startswith("s3://") else FolderObjects(base)


@dataclass(frozen=True)
class FolderObjects:
    base: str

    def uri(self, name: str) -> str:
        return str(Path(self.base, name))

    def exists(self, name: str) -> bool:
        with _disk_errors(self.uri(name)):
            return self._path(name).is_file()

    def read(self, name: str) -> bytes:
        with _disk_errors(self.uri(name)):
            return self._path(name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Written beside its place and renamed."""
        with _disk_errors(self.uri(name)):
            path = self._path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            try:
                with temporary.open("wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        base = self._path("")
        with _disk_errors(self.uri(prefix)):
            for path in sorted(self._path(prefix).rglob("[!.]*")):
                if path.is_file():
                    yield path.relative_to(base).as_posix(), path.stat().st_size

    def delete(self, names: Sequence[str]) -> None:
        for name in names:
            with _disk_errors(self.uri(name)):
                self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return Path(self.base).expanduser().resolve() / name


@dataclass(frozen=True)
class S3Objects:
    base: str

    def uri(self, name: str) -> str:
        return f"{self.base}/{name}"

    def exists(self, name: str) -> bool:
        try:
            with s3_errors(self.uri(name), missing=_missing):
                s3_client().head_object(**self._place(name))
        except ArtifactMissing:
            return False
        return True

    def read(self, name: str) -> bytes:
        with s3_errors(self.uri(name), missing=_missing):
            return bytes(s3_client().get_object(**self._place(name))["Body"].read())

    def write(self, name: str, content: bytes) -> None:
        with s3_errors(self.uri(name), missing=_missing):
            s3_client().put_object(**self._place(name), Body=content)

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        bucket, start = split_uri(self.uri(prefix))
        own = len(start) - len(prefix)
        with s3_errors(self.uri(prefix), missing=_missing):
            for page in s3_client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start):
                for found in page.get("Contents", ()):
                    yield found["Key"][own:], found["Size"]

    def delete(self, names: Sequence[str]) -> None:
        for first in range(0, len(names), _DELETED_AT_ONCE):
            some = names[first : first + _DELETED_AT_ONCE]
            bucket = self._place(some[0])["Bucket"]
            keys = [{"Key": self._place(name)["Key"]} for name in some]
            with s3_errors(self.uri(some[0]), missing=_missing):
                answer = s3_client().delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
            for error in answer.get("Errors", ()):
                raise StoreRejected(
                    f"S3 does not delete it: {error.get('Code')}",
                    where=self.uri(error.get("Key", "")),
                    remedy="Check this role's rights on the bucket",
                )

    def _place(self, name: str) -> dict[str, Any]:
        bucket, key = split_uri(self.uri(name))
        return {"Bucket": bucket, "Key": key}


def _missing(where: str) -> ArtifactMissing:
    return ArtifactMissing("there is no such object", where=where, remedy="Materialize what it is made from first")


@contextmanager
def _disk_errors(where: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise _missing(where) from error
    except PermissionError as error:
        raise StoreRejected("permission denied", where=where, remedy="Let this user read and write there") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreUnavailable(
                "the disk is full", where=where, remedy="Free some space and run it again"
            ) from error
        raise StoreUnavailable(f"the store does not answer: {error}", where=where, remedy="Try again later") from error
