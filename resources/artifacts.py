"""The tables between assets: one Parquet object per asset and partition, in a folder or under an s3:// prefix."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from sentinel_assets.vision.errors import ArtifactMissing, StoreRejected, StoreUnavailable
from sentinel_assets.vision.tables import Table


@dataclass(frozen=True)
class ArtifactStore:
    """Objects under one base, a folder or `s3://bucket/prefix`. A reader sees a whole object or none.

    An S3 endpoint other than Amazon's is taken from AWS_ENDPOINT_URL, as by every other AWS client.
    """

    base: str

    @cached_property
    def _filesystem(self) -> tuple[pafs.FileSystem, str]:
        if self.base.startswith("s3://"):
            return pafs.S3FileSystem(endpoint_override=os.environ.get("AWS_ENDPOINT_URL")), self.base.removeprefix(
                "s3://"
            )
        return pafs.LocalFileSystem(), str(Path(self.base).expanduser().resolve())

    def uri(self, name: str) -> str:
        """Where the object of that name is, as a person would open it."""
        return f"{self.base.rstrip('/')}/{name}" if self.base.startswith("s3://") else str(Path(self.base, name))

    def exists(self, name: str) -> bool:
        filesystem, root = self._filesystem
        with _store_errors(self.uri(name)):
            return bool(filesystem.get_file_info(f"{root}/{name}").type == pafs.FileType.File)

    def read_bytes(self, name: str) -> bytes:
        """Raises ArtifactMissing where there is nothing of that name."""
        filesystem, root = self._filesystem
        with _store_errors(self.uri(name)), filesystem.open_input_file(f"{root}/{name}") as stream:
            return bytes(stream.readall())

    def write_bytes(self, name: str, content: bytes) -> None:
        """Replace the object whole: a local file is written beside itself and renamed; S3 does the same by nature."""
        filesystem, root = self._filesystem
        target = f"{root}/{name}"
        with _store_errors(self.uri(name)):
            if not isinstance(filesystem, pafs.LocalFileSystem):
                with filesystem.open_output_stream(target) as stream:
                    stream.write(content)
                return
            path = Path(target)
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

    def write_json(self, name: str, value: dict[str, Any]) -> None:
        self.write_bytes(name, json.dumps(value, indent=2, sort_keys=True).encode())

    def read_json(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.read_bytes(name)))

    def write_table(self, table: Table, partition: str, frame: pd.DataFrame) -> str:
        """Check the rows against the table's schema and store them; returns the digest of their content.

        Raises TableError before anything is written.
        """
        arrow = table.conform(frame)
        sink = pa.BufferOutputStream()
        pq.write_table(arrow, sink, compression="zstd")
        self.write_bytes(table_name(table, partition), sink.getvalue().to_pybytes())
        return content_digest(arrow)

    def read_table(self, table: Table, partition: str) -> pd.DataFrame:
        """The stored rows, `attrs` as they were; raises ArtifactMissing, or StoreRejected where it is no table."""
        name = table_name(table, partition)
        try:
            arrow = pq.read_table(pa.BufferReader(self.read_bytes(name)))
        except pa.ArrowInvalid as error:
            raise StoreRejected(
                f"not a Parquet file: {error}",
                where=self.uri(name),
                remedy=f"Materialize {table.name} of partition {partition} again",
            ) from error
        frame: pd.DataFrame = arrow.to_pandas()
        frame.attrs = {k.decode(): v.decode() for k, v in (arrow.schema.metadata or {}).items() if k != b"pandas"}
        return frame


def table_name(table: Table, partition: str) -> str:
    """The object's name: `detections/17.parquet`; a partition key is escaped like a URL component."""
    return f"{table.name}/{quote(partition, safe='')}.parquet"


def content_digest(arrow: pa.Table) -> str:
    """16 hex digits over schema, metadata and values: equal content, equal digest, whatever wrote it."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, arrow.schema) as writer:
        writer.write_table(arrow.combine_chunks())
    return hashlib.sha256(sink.getvalue()).hexdigest()[:16]


@contextmanager
def _store_errors(where: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ArtifactMissing(
            "there is no such object", where=where, remedy="Materialize what it is made from first"
        ) from error
    except PermissionError as error:
        raise StoreRejected("permission denied", where=where, remedy="Let this user read and write there") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreUnavailable(
                "the disk is full", where=where, remedy="Free some space and run it again"
            ) from error
        raise StoreUnavailable(f"the store does not answer: {error}", where=where, remedy="Try again later") from error
