"""The warehouse's schema, by Alembic. Revisions are numbered, and the last file in `versions` is the newest.

`upgrade` runs by itself when a warehouse is opened. The version is kept in `sentinel_schema_version`, not in Alembic's
own `alembic_version`, because the database may be one that a backend with migrations of its own lives in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

VERSION_TABLE = "sentinel_schema_version"

_FOLDER = Path(__file__).resolve().parent
_ONE_THREAD = threading.Lock()  # Alembic keeps the migration that is under way in a global variable


def head() -> str:
    """The newest revision, found without importing Alembic, which takes longer than everything else on a warm start."""
    return max(path.name.partition("_")[0] for path in (_FOLDER / "versions").glob("[0-9]*_*.py"))


def upgrade(open_connection: Callable[[], Any], revision: str = "head") -> None:
    """Bring the schema to a revision: all of it in one transaction, under a lock, so that any number may try at once.

    `open_connection` opens a psycopg connection that is not in autocommit mode. Raises sqlalchemy.exc.DBAPIError, with
    psycopg's error as `orig`.
    """
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine("postgresql+psycopg://", creator=open_connection, poolclass=NullPool)
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    with _ONE_THREAD, engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
