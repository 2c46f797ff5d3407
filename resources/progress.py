"""How far the analysis of a video is: what is written to its row, each statement safe to repeat."""

from __future__ import annotations

from typing import Any

from psycopg import sql

from resources.database import Connection
from sentinel_assets.vision.errors import StoreRejected

BEGIN = """
    UPDATE videos SET
        analysis_progress = CASE WHEN analysis = %(analysis)s THEN analysis_progress ELSE 0 END,
        stage = CASE WHEN analysis = %(analysis)s THEN stage END,
        warnings = CASE WHEN analysis = %(analysis)s THEN warnings ELSE '[]' END,
        analysis = %(analysis)s, status = 'processing', error = NULL, updated_at = now()
    WHERE partition_key = %(key)s AND (%(content)s::text IS NULL OR etag = %(content)s)
        AND (analysis IS DISTINCT FROM %(analysis)s OR status IN ('pending', 'failed'))
"""
REPORT = """
    UPDATE videos SET
        stage = CASE WHEN %(percent)s >= analysis_progress THEN %(stage)s ELSE stage END,
        analysis_progress = GREATEST(analysis_progress, %(percent)s), updated_at = now()
    WHERE partition_key = %(key)s AND analysis = %(analysis)s AND status = 'processing'
"""
FAIL = """
    UPDATE videos SET status = 'failed', error = %(reason)s, updated_at = now(),
        analysis_progress = CASE WHEN analysis_progress = 100 THEN 0 ELSE analysis_progress END
    WHERE partition_key = %(key)s AND (%(analysis)s::text IS NULL OR analysis = %(analysis)s)
"""
LOSE = """
    UPDATE videos SET status = 'failed', error = %(reason)s, analysis = %(lost)s, updated_at = now()
    WHERE partition_key = %(key)s AND analysis IS NOT DISTINCT FROM %(analysis)s AND status = %(status)s
        AND etag IS NOT DISTINCT FROM %(etag)s
"""
WARN = """
    UPDATE videos SET warnings = warnings || to_jsonb(%(text)s::text), updated_at = now()
    WHERE partition_key = %(key)s AND NOT warnings ? %(text)s
"""
COMPLETE = """
    UPDATE videos SET status = 'completed', analysis_progress = 100, stage = NULL, error = NULL,
        updated_at = now(), completed_at = COALESCE(completed_at, now())
    WHERE partition_key = %(key)s AND status <> 'completed'
"""


def update(connection: Connection, statement: str, *, key: str, where: str, **values: Any) -> None:
    """Run one of the statements. Raises StoreRejected where no video has that key."""
    if connection.execute(sql.SQL(statement), {"key": key, **values}).rowcount:
        return
    if not connection.execute("SELECT FROM videos WHERE partition_key = %s", [key]).rowcount:
        raise _unknown(key, where)


def publishing(connection: Connection, *, key: str, analysis: str, content: str | None, where: str) -> int:
    """The id of the video, its row locked. Raises StoreRejected where it has other content by now, or the analysis is
    not the current one."""
    query = "SELECT id, analysis, etag FROM videos WHERE partition_key = %s FOR UPDATE"
    row = connection.execute(query, [key]).fetchone()
    if row is None:
        raise _unknown(key, where)
    video_id, current, etag = row
    require_content(key, content, etag, where)
    if current is not None and current != analysis:
        raise StoreRejected(
            f"analysis {analysis} of video {key} was superseded by {current}",
            where=where,
            remedy="Nothing is lost: the newer one publishes its own rows",
        )
    return int(video_id)


def require_content(key: str, content: str | None, now: str | None, where: str) -> None:
    """Raises StoreRejected where the video's etag is `now`, and `content` another one."""
    if content is not None and content != now:
        raise StoreRejected(
            f"video {key} was overwritten: this analysis is of {content}, its content is {now} now",
            where=where,
            remedy="Nothing to do: the newer content is analysed by itself",
        )


def _unknown(key: str, where: str) -> StoreRejected:
    remedy = "`sentinel status` lists them; `sentinel analyze` and `sentinel upload` register one"
    return StoreRejected(f"no video {key!r}", where=where, remedy=remedy)
