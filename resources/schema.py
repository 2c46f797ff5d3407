"""The warehouse's schema in a database: as new as this code, on a server whose pgvector is new enough."""

from __future__ import annotations

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from resources import migrations
from resources.database import Connection, Database, explain
from sentinel_assets.vision.errors import StoreRejected

_PGVECTOR = (0, 8)  # the first with iterative index scans, without which a filtered search loses hits


def bring_up_to_date(database: Database) -> None:
    """Migrate to the newest revision; any number of processes may do so at once.

    Raises StoreRejected where the schema is newer than this code, pgvector is missing or too old, or tables of somebody
    else have our names.
    """
    version, pgvector = database.run(_versions)
    if version != (newest := migrations.head()):
        if version is not None and version > newest:
            raise StoreRejected(
                f"the database has schema {version}, and we know up to {newest}",
                where=database.where,
                remedy="Install the newer Sentinel",
            )
        _upgrade(database)
        _, pgvector = database.run(_versions)
    if pgvector is None or tuple(map(int, pgvector.split(".")[:2])) < _PGVECTOR:
        remedy = "As a superuser: ALTER EXTENSION vector UPDATE; the server may need a newer pgvector first"
        raise StoreRejected(f"pgvector {pgvector}; at least 0.8 is needed", where=database.where, remedy=remedy)


def _upgrade(database: Database) -> None:
    from sqlalchemy.exc import DBAPIError

    try:
        migrations.upgrade(lambda: database.open(autocommit=False))
    except (DBAPIError, psycopg.Error) as failure:
        error = failure if isinstance(failure, psycopg.Error) else failure.orig
        if not isinstance(error, psycopg.Error):
            raise
        raise _explained(error, database.where) from error


def _versions(connection: Connection) -> tuple[str | None, str | None]:
    """Our schema's revision and pgvector's version, each None where it is not there."""
    with connection.cursor(row_factory=dict_row) as cursor:
        query = (
            "SELECT to_regclass(%s) AS version_table, (SELECT extversion FROM pg_extension WHERE extname = 'vector')"
        )
        found = cursor.execute(query, [migrations.VERSION_TABLE]).fetchone()
        assert found is not None
        if found["version_table"] is None:
            return None, found["extversion"]
        table = sql.Identifier(migrations.VERSION_TABLE)
        version = cursor.execute(sql.SQL("SELECT version_num FROM {}").format(table)).fetchone()
        return version["version_num"] if version else None, found["extversion"]


def _explained(error: psycopg.Error, where: str) -> Exception:
    said = error.diag.message_primary or str(error)
    if 'extension "vector"' in said:
        remedy = "Install pgvector 0.8 or later on the server, and as a superuser: CREATE EXTENSION vector"
        return StoreRejected(f"pgvector cannot be enabled: {said}", where=where, remedy=remedy)
    if isinstance(error, psycopg.errors.DuplicateTable):
        remedy = "Give Sentinel a database of its own, or move that table"
        return StoreRejected(f"there is a table of the same name that is not ours: {said}", where=where, remedy=remedy)
    if "halfvec" in said:
        remedy = "As a superuser: ALTER EXTENSION vector UPDATE; the server may need a newer pgvector first"
        return StoreRejected(f"pgvector is older than 0.8: {said}", where=where, remedy=remedy)
    return explain(error, where)
