"""A video's events on their way into PostgreSQL: checked, and copied in binary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from psycopg import sql
from psycopg.types.json import Jsonb

from resources.database import Connection
from sentinel_assets.vision.errors import TableError
from sentinel_assets.vision.tables import EMBEDDING_DIMENSION, EVENTS

_POSTGRES_TYPES = {"string": "text", "double": "float8", "float": "float4", "int32": "int4", "bool": "bool"}
_JSON_COLUMNS = ("attributes", "evidence")
_OWN_TYPES = {"video_id": "int8", "recipe": "text", "recipes": "jsonb", "embedding_recipe": "text"}
_TYPES = {
    **_OWN_TYPES,
    **{c.name: _POSTGRES_TYPES.get(str(c.type), "vector") for c in EVENTS.columns},
    **dict.fromkeys(_JSON_COLUMNS, "jsonb"),
}
_COPY = sql.SQL("COPY events ({}) FROM STDIN (FORMAT BINARY)").format(sql.SQL(", ").join(map(sql.Identifier, _TYPES)))


@dataclass(frozen=True)
class EventBatch:
    """Events of one video with the recipes that made them, ready to be copied."""

    events: tuple[Mapping[str, Any], ...]
    recipes: Mapping[str, str]

    @classmethod
    def of(cls, events: pd.DataFrame, recipes: Mapping[str, str], dimension: int = EMBEDDING_DIMENSION) -> EventBatch:
        """Raises TableError where a row breaks the schema of `tables.EVENTS`, or a vector has another `dimension`."""
        if missing := {"events", "embeddings"} - set(recipes):
            raise TableError(f"no recipe for {' and '.join(sorted(missing))}", where="events")
        columns = EVENTS.conform(events).to_pydict()
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return cls(tuple(_row(row, dimension) for row in rows), dict(recipes))

    def __len__(self) -> int:
        return len(self.events)

    def copy(self, connection: Connection, video_id: int) -> None:
        """Append the rows to `events`."""
        if not self.events:
            return
        from pgvector.psycopg import register_vector

        register_vector(connection)
        own = {
            "video_id": video_id,
            "recipe": self.recipes["events"],
            "recipes": Jsonb(json.dumps(dict(self.recipes)), dumps=str),
            "embedding_recipe": self.recipes["embeddings"],
        }
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.set_types(list(_TYPES.values()))
            for event in self.events:
                row = {**own, **event}
                copy.write_row([row[name] for name in _TYPES])


def _row(event: dict[str, Any], dimension: int) -> dict[str, Any]:
    where = f"event {event['event_key']}"
    vector = np.asarray(event["embedding"], dtype=np.float32)
    if vector.shape != (dimension,) or not np.isfinite(vector).all() or not vector.any():
        raise TableError(f"an embedding that is not {dimension} finite numbers, or all zero", where=where)
    for name, value in event.items():
        if isinstance(value, str) and "\0" in value:
            raise TableError(f"{name} holds a NUL character", where=where)
    return {**event, "embedding": vector, **{name: _json(event[name], name, where) for name in _JSON_COLUMNS}}


def _json(text: str, name: str, where: str) -> Jsonb:
    """The text as it is, once it is known to be JSON."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError as error:
        raise TableError(f"{name} is not JSON: {error}", where=where) from error
    return Jsonb(text, dumps=str)
