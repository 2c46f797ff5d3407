"""What Alembic runs: the revisions, on the connection that `resources.migrations.upgrade` opened."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

from resources.migrations import VERSION_TABLE

_LOCK = 0x5E47_0002  # key of the advisory lock, ours alone by convention

connection = context.config.attributes["connection"]
connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
context.configure(connection=connection, version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
