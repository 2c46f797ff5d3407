"""Nearest events by meaning. Two ways to the same answer:

- *exactly*, over all rows that the filter lets through: for those of one video, and wherever they are few. A filtered
  walk through an HNSW graph returns too few rows, or misses some, just when the filter is selective;
- *through the HNSW index* otherwise, with an iterative scan, more candidates than asked for, and these sorted exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from psycopg import sql
from psycopg.rows import dict_row, scalar_row

from resources.database import Connection
from resources.records import Event, SearchFilter, SearchHit
from resources.vectors import dimension_of
from sentinel_assets.vision.errors import SentinelError

EXACT_UP_TO = 10_000  # rows; an exact scan of so many takes 5 ms of CPU, of 100,000 43 ms (measured, 384-d)
EF_SEARCH = 100  # candidates that the graph walk keeps; recall@10 of .97 at 100,000 clustered rows (measured)
MAX_LIMIT = 500
_MAX_EF_SEARCH = 1000  # pgvector's own bound of hnsw.ef_search

EVENT_COLUMNS = sql.SQL(", ").join(sql.Identifier("e", field.name) for field in fields(Event))


@dataclass(frozen=True)
class _Source:
    """Where vectors of a recipe are: those that rows carry, or those that were set aside (`vectors.py`)."""

    tables: sql.SQL
    vector: sql.SQL
    condition: sql.SQL

    def exact(self) -> sql.Composed:
        """The column's own distance, which no index serves."""
        return sql.SQL("{} <=> %(query)s::vector").format(self.vector)

    def indexed(self, dimension: int) -> sql.Composed:
        """The expression that the graph is of."""
        return sql.SQL("{0}::halfvec({1}) <=> %(query)s::halfvec({1})").format(self.vector, sql.Literal(dimension))


_CARRIED = _Source(
    sql.SQL("events e"),
    sql.SQL("e.embedding"),
    sql.SQL("e.embedding_recipe = %(embedding_recipe)s AND e.embedding IS NOT NULL"),
)
_SET_ASIDE = _Source(
    sql.SQL("vectors b JOIN events e ON e.video_id = b.video_id AND md5(e.description)::uuid = b.sentence"),
    sql.SQL("b.embedding"),
    sql.SQL("b.embedding_recipe = %(embedding_recipe)s AND e.embedding_recipe <> %(embedding_recipe)s"),
)

_CONDITIONS = {
    "video_id": sql.SQL("e.video_id = %(video_id)s"),
    "types": sql.SQL("e.event_type = ANY(%(types)s)"),
    "start_s": sql.SQL("e.end_s >= %(start_s)s"),
    "end_s": sql.SQL("e.timestamp <= %(end_s)s"),
    "min_age": sql.SQL("e.age >= %(min_age)s"),
    "max_age": sql.SQL("e.age <= %(max_age)s"),
    "gender": sql.SQL("e.gender = %(gender)s"),
    "min_confidence": sql.SQL("e.confidence >= %(min_confidence)s"),
    "needs_review": sql.SQL("e.needs_review = %(needs_review)s"),
}


def conditions(wanted: SearchFilter) -> tuple[sql.Composable, dict[str, Any]]:
    """The filter as a SQL condition on events `e`, and its parameters."""
    values = {field.name: getattr(wanted, field.name) for field in fields(wanted)}
    asked = {name: value for name, value in values.items() if value is not None and value != ()}
    parameters = {name: list(value) if isinstance(value, tuple) else value for name, value in asked.items()}
    return sql.SQL(" AND ").join([sql.SQL("true"), *(_CONDITIONS[name] for name in asked)]), parameters


def nearest(
    connection: Connection,
    vector: Sequence[float] | np.ndarray[Any, Any],
    *,
    embedding_recipe: str,
    wanted: SearchFilter,
    limit: int,
) -> list[SearchHit]:
    """At most `limit` hits, the most similar first; fewer only where fewer rows pass the filter.

    Only vectors of that embedding recipe are compared: those of another model say nothing about this query.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise SentinelError(f"a limit of {limit}", where="search", remedy=f"Ask for 1 to {MAX_LIMIT} hits")
    passing, parameters = conditions(wanted)
    with connection.transaction():
        # One snapshot for all: a publication meanwhile moves vectors from one source to the other.
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        dimension = dimension_of(connection, embedding_recipe)
        parameters |= {"query": _literal(vector, dimension), "embedding_recipe": embedding_recipe, "limit": limit}
        hits = _among(connection, _CARRIED, dimension, passing, wanted, parameters)
        if _is_aside(connection, embedding_recipe):
            hits += _among(connection, _SET_ASIDE, dimension, passing, wanted, parameters)
            hits = sorted(hits, key=lambda hit: (-hit.similarity, hit.event.id))[:limit]
        return hits


def _literal(vector: Sequence[float] | np.ndarray[Any, Any], dimension: int) -> str:
    numbers = [float(x) for x in vector]
    if len(numbers) != dimension or not all(map(math.isfinite, numbers)) or not any(numbers):
        raise SentinelError(
            f"a query vector of {len(numbers)} numbers; expected {dimension}, finite and not all zero",
            where="search",
            remedy="Encode the query with the model of the embedding recipe",
        )
    return f"[{','.join(map(repr, numbers))}]"


def _is_aside(connection: Connection, embedding_recipe: str) -> bool:
    query = "SELECT EXISTS (SELECT FROM vectors WHERE embedding_recipe = %s)"
    row = connection.execute(query, [embedding_recipe]).fetchone()
    return bool(row and row[0])


def _among(
    connection: Connection,
    source: _Source,
    dimension: int,
    passing: sql.Composable,
    wanted: SearchFilter,
    parameters: Mapping[str, Any],
) -> list[SearchHit]:
    passing = sql.SQL("{} AND {}").format(source.condition, passing)
    if wanted.video_id is None and not _are_few(connection, source, passing, parameters):
        hits = _through_index(connection, source, dimension, passing, parameters)
        if len(hits) == parameters["limit"]:
            return hits
    return _exactly(connection, source, passing, parameters)


def _are_few(connection: Connection, source: _Source, passing: sql.Composable, parameters: Mapping[str, Any]) -> bool:
    query = sql.SQL("SELECT count(*) FROM (SELECT FROM {} WHERE {} LIMIT {}) AS first_ones")
    query_of_source = query.format(source.tables, passing, sql.Literal(EXACT_UP_TO + 1))
    with connection.cursor(row_factory=scalar_row) as cursor:
        count = cursor.execute(query_of_source, parameters).fetchone()
    return int(count or 0) <= EXACT_UP_TO


def _exactly(
    connection: Connection, source: _Source, passing: sql.Composable, parameters: Mapping[str, Any]
) -> list[SearchHit]:
    query = sql.SQL(
        "SELECT {columns}, v.name AS video_name, {distance} AS distance "
        "FROM {tables} JOIN videos v ON v.id = e.video_id WHERE {passing} ORDER BY distance, e.id LIMIT %(limit)s"
    )
    return _hits(
        connection,
        query.format(columns=EVENT_COLUMNS, distance=source.exact(), tables=source.tables, passing=passing),
        parameters,
    )


def _through_index(
    connection: Connection,
    source: _Source,
    dimension: int,
    passing: sql.Composable,
    parameters: Mapping[str, Any],
) -> list[SearchHit]:
    candidates = min(2 * parameters["limit"] + 20, _MAX_EF_SEARCH)
    settings = {"hnsw.ef_search": str(max(EF_SEARCH, candidates)), "hnsw.iterative_scan": "relaxed_order"}
    for name, value in settings.items():
        connection.execute("SELECT set_config(%s, %s, true)", [name, value])
    query = sql.SQL(
        "WITH near AS MATERIALIZED (SELECT e.id, {exact} AS distance FROM {tables} "
        "WHERE {passing} AND vector_dims({vector}) = {dimension} ORDER BY {indexed} LIMIT {candidates}) "
        "SELECT {columns}, v.name AS video_name, near.distance "
        "FROM near JOIN events e USING (id) JOIN videos v ON v.id = e.video_id ORDER BY distance, e.id LIMIT %(limit)s"
    ).format(
        tables=source.tables,
        vector=source.vector,
        exact=source.exact(),
        passing=passing,
        dimension=sql.Literal(dimension),
        indexed=source.indexed(dimension),
        candidates=sql.Literal(candidates),
        columns=EVENT_COLUMNS,
    )
    return _hits(connection, query, parameters)


def _hits(connection: Connection, query: sql.Composed, parameters: Mapping[str, Any]) -> list[SearchHit]:
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query, parameters).fetchall()
    return [
        SearchHit(similarity=1 - row.pop("distance"), video_name=row.pop("video_name"), event=Event(**row))
        for row in rows
    ]
