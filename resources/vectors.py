"""Vectors of several embedding recipes side by side, and the one recipe that search answers from.

A row of `events` carries the vector of the recipe that its video was published with. When a video is published with
another one, the vectors of before are set aside in `vectors`, by video and sentence, for as long as that sentence is
said of the video; so search can answer from them until it is switched, and after it was switched back. `search_pin`
has one row: which recipe search uses, and which it used before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from psycopg import sql
from psycopg.rows import class_row

from resources.database import Connection, Database
from sentinel_assets.vision.errors import StoreRejected, TableError
from sentinel_assets.vision.tables import EMBEDDING_DIMENSION

Vector = Sequence[float] | np.ndarray[Any, Any]

_SWITCH_LOCK = 0x5E48  # advisory: one switch or drop at a time
_LISTED = """
    WITH own AS (SELECT embedding_recipe, count(*) AS n FROM events GROUP BY 1),
    beside AS (
        SELECT v.embedding_recipe, count(*) AS n FROM vectors v JOIN events e
            ON e.video_id = v.video_id AND md5(e.description)::uuid = v.sentence
                AND e.embedding_recipe <> v.embedding_recipe
        GROUP BY 1
    )
    SELECT s.embedding_recipe AS recipe, s.dimension, COALESCE(own.n, 0) + COALESCE(beside.n, 0) AS events,
        (SELECT count(*) FROM events) AS of, p.embedding_recipe IS NOT DISTINCT FROM s.embedding_recipe AS pinned,
        p.previous IS NOT DISTINCT FROM s.embedding_recipe AS previous
    FROM embedding_spaces s LEFT JOIN own USING (embedding_recipe) LEFT JOIN beside USING (embedding_recipe)
        LEFT JOIN search_pin p ON true
    ORDER BY pinned DESC, previous DESC, events DESC, recipe
"""


@dataclass(frozen=True)
class Space:
    """The vectors of one embedding recipe: `events` of all `of` events have one."""

    recipe: str
    dimension: int
    events: int
    of: int
    pinned: bool
    """Search answers from it."""
    previous: bool
    """Search answered from it before."""


class VectorSpaces:
    """Which embedding recipes there are vectors of, and which one search uses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def listed(self) -> list[Space]:
        """That of search first."""

        def read(connection: Connection) -> list[Space]:
            with connection.cursor(row_factory=class_row(Space)) as cursor:
                return cursor.execute(_LISTED).fetchall()

        return self._database.run(read)

    def pinned(self) -> str | None:
        """The recipe that search answers from; None while nothing was ever published."""
        query = "SELECT embedding_recipe FROM search_pin"
        row = self._database.run(lambda connection: connection.execute(query).fetchone())
        return str(row[0]) if row else None

    def declare(self, recipe: str, dimension: int) -> None:
        """That vectors of this recipe have so many numbers; of one that nobody declared they have 384."""

        def write(connection: Connection) -> None:
            connection.execute(
                "INSERT INTO embedding_spaces VALUES (%s, %s) ON CONFLICT DO NOTHING", [recipe, dimension]
            )
            if (there := dimension_of(connection, recipe)) != dimension:
                raise StoreRejected(
                    f"vectors of recipe {recipe} have {there} numbers, not {dimension}", where=self._database.where
                )

        self._database.run(write)

    def dimension(self, recipe: str) -> int:
        """How many numbers vectors of this recipe have."""
        return self._database.run(lambda connection: dimension_of(connection, recipe))

    def unsaid(self, partition_key: str, sentences: Sequence[str], recipe: str) -> dict[str, list[str]]:
        """Of a video that is about to be published with this recipe: for the recipe that search uses, and for the one
        that it may be switched back to, the sentences of which there is no vector; without those that lack none."""
        query = """
            SELECT p.wanted, array_agg(s.sentence ORDER BY s.sentence)
            FROM (
                SELECT embedding_recipe AS wanted FROM search_pin UNION SELECT previous FROM search_pin
            ) AS p, unnest(%(sentences)s::text[]) AS s (sentence)
            WHERE p.wanted <> %(recipe)s AND NOT EXISTS (
                SELECT FROM events e JOIN videos v ON v.id = e.video_id
                WHERE v.partition_key = %(key)s AND e.embedding_recipe = p.wanted AND e.description = s.sentence
            ) AND NOT EXISTS (
                SELECT FROM vectors b JOIN videos v ON v.id = b.video_id
                WHERE v.partition_key = %(key)s AND b.embedding_recipe = p.wanted AND b.sentence = md5(s.sentence)::uuid
            )
            GROUP BY 1
        """
        values = {"sentences": sorted(set(sentences)), "key": partition_key, "recipe": recipe}
        return dict(self._database.run(lambda connection: connection.execute(query, values).fetchall()))

    def switch(self, recipe: str) -> Space:
        """Search answers from this recipe from now on: one row, in one transaction. Its indexes are made first.

        Raises StoreRejected where some event has no vector of it: search would not find it any more.
        """
        space = next((one for one in self.listed() if one.recipe == recipe), None)
        if space is None:
            raise self._unknown(recipe)
        self._database.run(lambda connection: _make_indexes(connection, space.dimension))

        def write(connection: Connection) -> Space:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [_SWITCH_LOCK])
                # No publication between the count and the switch; readers go on.
                connection.execute("LOCK TABLE events, vectors IN SHARE MODE")
                with connection.cursor(row_factory=class_row(Space)) as cursor:
                    now = next(one for one in cursor.execute(_LISTED) if one.recipe == recipe)
                if now.events < now.of:
                    raise StoreRejected(
                        f"{now.of - now.events} of {now.of} events have no vector of recipe {recipe}",
                        where=self._database.where,
                        remedy="Finish `sentinel backfill embeddings`, then switch",
                    )
                connection.execute(
                    "INSERT INTO search_pin (embedding_recipe) VALUES (%(recipe)s) ON CONFLICT (only_row) DO UPDATE "
                    "SET previous = CASE WHEN search_pin.embedding_recipe = %(recipe)s THEN search_pin.previous "
                    "ELSE search_pin.embedding_recipe END, embedding_recipe = %(recipe)s, switched_at = now()",
                    {"recipe": recipe},
                )
                return now

        return self._database.run(write)

    def back(self) -> Space:
        """Switch to the recipe that search used before. Raises StoreRejected where there is none, or it lacks some."""
        previous = [one for one in self.listed() if one.previous]
        if not previous:
            raise StoreRejected("search was never switched", where=self._database.where)
        return self.switch(previous[0].recipe)

    def drop(self, recipe: str) -> int:
        """Delete the vectors of a recipe that were set aside; how many. Those that rows carry stay with their rows.

        Raises StoreRejected where search answers from it, or there is none of it.
        """

        def write(connection: Connection) -> int:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [_SWITCH_LOCK])
                row = connection.execute("SELECT embedding_recipe FROM search_pin FOR UPDATE").fetchone()
                if row and row[0] == recipe:
                    raise StoreRejected(
                        f"search answers from recipe {recipe}", where=self._database.where, remedy="Switch it first"
                    )
                if not connection.execute(
                    "SELECT FROM embedding_spaces WHERE embedding_recipe = %s", [recipe]
                ).rowcount:
                    raise self._unknown(recipe)
                gone = connection.execute("DELETE FROM vectors WHERE embedding_recipe = %s", [recipe]).rowcount
                connection.execute("UPDATE search_pin SET previous = NULL WHERE previous = %s", [recipe])
                connection.execute(
                    "DELETE FROM embedding_spaces s WHERE embedding_recipe = %s AND NOT EXISTS "
                    "(SELECT FROM events e WHERE e.embedding_recipe = s.embedding_recipe)",
                    [recipe],
                )
                return gone

        return self._database.run(write)

    def _unknown(self, recipe: str) -> StoreRejected:
        return StoreRejected(
            f"there is no vector of recipe {recipe}",
            where=self._database.where,
            remedy="`sentinel vectors` lists the recipes that there are vectors of",
        )


def dimension_of(connection: Connection, recipe: str) -> int:
    query = "SELECT dimension FROM embedding_spaces WHERE embedding_recipe = %s"
    row = connection.execute(query, [recipe]).fetchone()
    return int(row[0]) if row else EMBEDDING_DIMENSION


def set_aside(connection: Connection, video_id: int, recipe: str) -> None:
    """Keep the vectors of the video's rows before these are replaced by rows of this recipe."""
    connection.execute(
        "INSERT INTO vectors SELECT DISTINCT ON (embedding_recipe, md5(description)) embedding_recipe, video_id, "
        "md5(description)::uuid, embedding FROM events "
        "WHERE video_id = %s AND embedding_recipe <> %s AND embedding IS NOT NULL ON CONFLICT DO NOTHING",
        [video_id, recipe],
    )


def keep_what_is_said(
    connection: Connection, video_id: int, recipe: str, beside: Mapping[str, Mapping[str, Vector]]
) -> None:
    """After the video's rows were replaced by rows of this recipe: `beside` are vectors of other recipes for sentences
    of these rows; what no row says any more is forgotten."""
    for other, vectors in beside.items():
        dimension = dimension_of(connection, other)
        for sentence, vector in vectors.items():
            if len(vector) != dimension:
                raise TableError(f"a vector of {len(vector)} numbers, not {dimension}", where=f"recipe {other}")
            connection.execute(
                "INSERT INTO vectors VALUES (%s, %s, md5(%s)::uuid, %s::vector) ON CONFLICT DO NOTHING",
                [other, video_id, sentence, f"[{','.join(repr(float(x)) for x in vector)}]"],
            )
    connection.execute(
        "DELETE FROM vectors v WHERE video_id = %(video)s AND (embedding_recipe = %(recipe)s OR NOT EXISTS "
        "(SELECT FROM events e WHERE e.video_id = %(video)s AND md5(e.description)::uuid = v.sentence))",
        {"video": video_id, "recipe": recipe},
    )
    connection.execute(
        "INSERT INTO embedding_spaces VALUES (%s, %s) ON CONFLICT DO NOTHING",
        [recipe, dimension_of(connection, recipe)],
    )
    connection.execute("INSERT INTO search_pin (embedding_recipe) VALUES (%s) ON CONFLICT DO NOTHING", [recipe])


def _make_indexes(connection: Connection, dimension: int) -> None:
    """For the vectors of that dimension, without keeping anybody from writing; a no-op where they are there."""
    if dimension == EMBEDDING_DIMENSION:
        return  # the schema has them
    for table in ("events", "vectors"):
        name = f"{table}_embedding_{dimension}"
        query = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
        found = connection.execute(query, [name]).fetchone()
        if found and found[0]:
            continue
        if found:  # an attempt that was interrupted left it behind
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
        try:
            connection.execute(
                sql.SQL(
                    "CREATE INDEX CONCURRENTLY {name} ON {table} USING hnsw ((embedding::halfvec({dimension})) "
                    "halfvec_cosine_ops) WITH (m = 16, ef_construction = 128) "
                    "WHERE vector_dims(embedding) = {dimension}"
                ).format(name=sql.Identifier(name), table=sql.Identifier(table), dimension=sql.Literal(dimension))
            )
        except psycopg.errors.DuplicateTable:
            continue  # another switch makes it now
