"""The rows of videos, and the one that a person means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from psycopg import sql
from psycopg.rows import kwargs_row

from resources.database import Connection
from resources.records import Video
from sentinel_assets.vision.errors import StoreRejected

_VIDEO = sql.SQL(
    "SELECT v.*, CASE WHEN v.completed_at IS NOT NULL THEN (SELECT count(*) FROM events e WHERE e.video_id = v.id) END "
    "AS event_count FROM videos v"
)
_RANK = sql.SQL(
    "CASE WHEN v.id = %(number)s THEN 0 WHEN v.partition_key = %(text)s THEN 1 "
    "WHEN v.uri IN (%(text)s, %(path)s) THEN 2 WHEN v.name = %(text)s THEN 3 END"
)


def read(connection: Connection, clause: sql.Composable, **parameters: Any) -> list[Video]:
    """Those that the clause leaves, of the table `v`."""
    with connection.cursor(row_factory=kwargs_row(Video.from_row)) as cursor:
        return cursor.execute(sql.SQL("{} {}").format(_VIDEO, clause), parameters).fetchall()


def called(connection: Connection, text: str, where: str) -> Video:
    """The video that a person calls so: by its id, partition key, address, path, or file name, in this order.

    Raises StoreRejected where nothing answers to it, or several do by that name.
    """
    path = str(Path(text).expanduser().absolute())
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
    clause = sql.SQL("WHERE {rank} IS NOT NULL ORDER BY {rank}, v.id LIMIT 10").format(rank=_RANK)
    found = read(connection, clause, number=number, text=text, path=path)
    if not found:
        raise StoreRejected(f"no video {text!r}", where=where, remedy="`sentinel status` lists them")
    best = found[0]
    if len(found) > 1 and best.id != number and best.partition_key != text and best.uri not in (text, path):
        listed = ", ".join(f"{video.id} ({video.uri})" for video in found)
        raise StoreRejected(f"several videos are called {text}: {listed}", where=where, remedy="Give the id")
    return best
