"""The tables between assets: one Parquet object per asset and partition, in a folder or under an s3:// prefix."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from resources.objects import Objects, open_objects
from sentinel_assets.vision.errors import StoreRejected
from sentinel_assets.vision.tables import Table


@dataclass(frozen=True)
class ArtifactStore:
    """Objects and tables under one base, a folder or `s3://bucket/prefix`. A reader sees a whole object or none."""

    base: str

    @cached_property
    def _objects(self) -> Objects:
        return open_objects(self.base)

    def uri(self, name: str) -> str:
        """Where the object of that name is, as a person would open it."""
        return self._objects.uri(name)

    def exists(self, name: str) -> bool:
        return self._objects.exists(name)

    def read_bytes(self, name: str) -> bytes:
        """Raises ArtifactMissing where there is nothing of that name."""
        return self._objects.read(name)

    def write_bytes(self, name: str, content: bytes) -> None:
        """Replace the object whole."""
        self._objects.write(name, content)

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Name and bytes of each object whose name begins with `prefix`, which ends with a slash."""
        return self._objects.sizes(prefix)

    def delete(self, names: Sequence[str]) -> None:
        self._objects.delete(names)

    def write_json(self, name: str, value: dict[str, Any]) -> None:
        self.write_bytes(name, json.dumps(value, indent=2, sort_keys=True).encode())

    def read_json(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.read_bytes(name)))

    def write_table(self, table: Table, partition: str, frame: pd.DataFrame) -> str:
        """Check the rows against the table's schema and store them; returns the digest of their content.

        Raises TableError before anything is written.
        """
        return self.write_table_at(table_name(table, partition), table, frame)

    def write_table_at(self, name: str, table: Table, frame: pd.DataFrame) -> str:
        """As `write_table`, under a name of the caller's."""
        arrow = table.conform(frame)
        sink = pa.BufferOutputStream()
        pq.write_table(arrow, sink, compression="zstd")
        self.write_bytes(name, sink.getvalue().to_pybytes())
        return content_digest(arrow)

    def read_table(self, table: Table, partition: str) -> pd.DataFrame:
        """The stored rows, `attrs` as they were; raises ArtifactMissing, or StoreRejected where it is no table."""
        return self.read_table_at(table_name(table, partition), table, partition)

    def read_table_at(self, name: str, table: Table, partition: str) -> pd.DataFrame:
        """As `read_table`, under a name of the caller's."""
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
    columns = [_without_leftovers(column.combine_chunks()) for column in arrow.columns]
    with pa.ipc.new_stream(sink, arrow.schema) as writer:
        writer.write_table(pa.Table.from_arrays(columns, schema=arrow.schema))
    return hashlib.sha256(sink.getvalue()).hexdigest()[:16]


def _without_leftovers(array: pa.Array) -> pa.Array:
    """The same values; where one is null, Arrow leaves in its place whatever the source had there."""
    return pa.array(array.to_pylist(), type=array.type) if array.null_count else array
