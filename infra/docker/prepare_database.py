"""Makes the database of Dagster's records and brings the warehouse's tables up to date. Run before each start.

Reads DAGSTER_PG_HOST, DAGSTER_PG_USERNAME, DAGSTER_PG_PASSWORD, and what `Settings` reads. Running it again, or twice
at a time, does no harm.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import psycopg
from psycopg import sql

from resources.settings import Settings
from resources.warehouse import connect

RECORDS = "dagster"
_MAINTENANCE = "postgres"  # the database that every server has


def create_records_database(env: Mapping[str, str]) -> bool:
    """Whether it was not there before."""
    with psycopg.connect(
        host=env["DAGSTER_PG_HOST"],
        port=int(env.get("DAGSTER_PG_PORT", "5432")),
        user=env["DAGSTER_PG_USERNAME"],
        password=env["DAGSTER_PG_PASSWORD"],
        dbname=_MAINTENANCE,
        autocommit=True,  # CREATE DATABASE stands in no transaction
    ) as connection:
        try:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(RECORDS)))
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):  # the latter when two race
            return False
    return True


def main() -> None:
    is_new = create_records_database(os.environ)
    print(f"database {RECORDS}: {'made' if is_new else 'there already'}", flush=True)  # noqa: T201
    with connect(Settings.from_env()):
        print("warehouse: up to date", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
