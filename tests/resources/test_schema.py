"""The schema: made once however many ask, refused where it is newer or somebody else's."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from infra.local.postgres import Server
from resources import migrations
from resources.warehouse import Warehouse
from sentinel_assets.vision.errors import StoreRejected

_CHECKOUT = Path(__file__).resolve().parents[2]


def test_twenty_first_connections_migrate_once(postgres: Server) -> None:
    name = f"fresh_{time.monotonic_ns()}"
    postgres.create_database(name)
    code = "import sys; from resources.warehouse import Warehouse\nwith Warehouse(sys.argv[1]) as w: w.migrate()"
    others = [subprocess.Popen([sys.executable, "-c", code, postgres.url(name)], cwd=_CHECKOUT) for _ in range(3)]
    time.sleep(1)  # they take that long to start; so all begin together

    def migrate(_: int) -> int:
        with Warehouse(postgres.url(name)) as warehouse:
            warehouse.migrate()
            return warehouse.count_events()

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(migrate, range(20))) == {0}
    assert [process.wait(30) for process in others] == [0, 0, 0]
    with psycopg.connect(postgres.url(name)) as connection:
        versions = connection.execute("SELECT version_num FROM sentinel_schema_version").fetchall()
    assert versions == [(migrations.head(),)]
    postgres.drop_database(name)


def test_the_newest_revision_is_the_one_that_alembic_finds() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_current_head() == migrations.head()


def test_a_migrated_warehouse_is_opened_without_alembic(database_url: str) -> None:
    """Importing it takes longer than all else that a short command does with the database."""
    program = "import sys; from resources.warehouse import Warehouse\n"
    program += "with Warehouse(sys.argv[1]) as warehouse: warehouse.migrate()\nprint('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, database_url], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_newer_schema_than_ours_is_refused(warehouse: Warehouse, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE sentinel_schema_version SET version_num = '9999'")
    with pytest.raises(StoreRejected, match="schema 9999, and we know up to"):
        warehouse.migrate()


def test_who_may_not_enable_pgvector_is_told_what_a_superuser_has_to_do(postgres: Server) -> None:
    name = f"weak_{time.monotonic_ns()}"
    postgres.create_database(name)
    with psycopg.connect(postgres.url(name), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'weak'")
        connection.execute(f"GRANT CREATE ON SCHEMA public TO {name}")
    url = f"postgresql://{name}:weak@127.0.0.1:{postgres.port}/{name}"
    with Warehouse(url) as warehouse, pytest.raises(StoreRejected, match="CREATE EXTENSION vector"):
        warehouse.migrate()
    with psycopg.connect(postgres.url(name), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
    with Warehouse(url) as warehouse:
        warehouse.migrate()
        assert warehouse.videos() == []
    postgres.drop_database(name)
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP ROLE {name}")


def test_a_table_of_somebody_elses_is_not_touched(postgres: Server) -> None:
    name = f"taken_{time.monotonic_ns()}"
    postgres.create_database(name)
    with psycopg.connect(postgres.url(name)) as connection:
        connection.execute("CREATE TABLE events AS SELECT 1 AS theirs")
    with Warehouse(postgres.url(name)) as warehouse, pytest.raises(StoreRejected, match="not ours"):
        warehouse.migrate()
    with psycopg.connect(postgres.url(name)) as connection:
        assert connection.execute("SELECT theirs FROM events").fetchall() == [(1,)]
        assert connection.execute("SELECT to_regclass('videos')").fetchone() == (None,), "all or nothing"
    postgres.drop_database(name)
