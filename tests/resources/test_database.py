"""Addresses, connections that are lost, and the server's errors in our words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from infra.local.postgres import LocalPostgres, Server
from resources.database import Database, explain, parse_url
from resources.settings import Settings
from resources.warehouse import Video, Warehouse, connect
from sentinel_assets.vision.errors import SentinelError, StoreRejected, StoreUnavailable
from tests.builders.events import event_rows, publish
from tests.builders.folders import new_folder

_CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2", "postgresql+psycopg"])
def test_every_usual_form_of_an_address_is_understood(database_url: str, scheme: str) -> None:
    with Warehouse(database_url.replace("postgresql", scheme, 1)) as warehouse:
        assert warehouse.count_events() == 0


@pytest.mark.parametrize(
    "url", ["mysql://u:secret@h/db", "secret", "", "postgresql://u:se%zzcret@h/db", "postgresql+mystery://u:secret@h/d"]
)
def test_an_address_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(StoreRejected, match="DATABASE_URL") as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)


def test_a_database_that_is_down_is_unavailable_soon_and_by_name() -> None:
    database = Database("postgresql://u:secret@127.0.0.1:1/shop", first_patience_s=0.3)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1/shop: the database is away") as caught:
        database.run(lambda connection: connection.execute("SELECT 1"))
    assert time.monotonic() - started < 3
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("old", "new"), [(":{password}@", ":wrong@"), ("/{database}", "/nowhere")])
def test_a_wrong_password_or_name_is_refused_at_once(postgres: Server, database_url: str, old: str, new: str) -> None:
    parts = {"password": postgres.password, "database": database_url.rpartition("/")[2]}
    with Warehouse(database_url.replace(old.format(**parts), new)) as warehouse:
        started = time.monotonic()
        with pytest.raises(StoreRejected, match="access denied") as caught:
            warehouse.migrate()
        assert time.monotonic() - started < 2, "it does not get better by trying again"
    assert postgres.password not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (psycopg.errors.DiskFull("could not extend file"), StoreUnavailable, "the disk is full"),
        (psycopg.errors.TooManyConnections("sorry"), StoreUnavailable, "away"),
        (psycopg.errors.AdminShutdown("terminating"), StoreUnavailable, "away"),
        (psycopg.errors.InsufficientPrivilege("no"), StoreRejected, "access denied"),
        (psycopg.errors.UndefinedTable("no events"), StoreRejected, "no events"),
        (psycopg.OperationalError("connection refused"), StoreUnavailable, "away"),
    ],
)
def test_each_error_of_the_server_has_its_class(error: psycopg.Error, kind: type[SentinelError], says: str) -> None:
    explained = explain(error, "h:5432/db")
    assert type(explained) is kind
    assert says in str(explained)


def test_a_connection_that_was_cut_is_made_again(warehouse: Warehouse, video: Video, database_url: str) -> None:
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(database_url, autocommit=True) as other:
        for number in range(3):
            other.execute(cut)
            publish(warehouse, video, event_rows(number), f"run-{number}")
            other.execute(cut)
            warehouse.report_progress(video.partition_key, 3, "poses", "run-x")
    assert warehouse.count_events() == 2


_FORKING = """
import os, sys
from resources.warehouse import Warehouse
warehouse = Warehouse(sys.argv[1])
warehouse.begin_analysis("1", "run")
if os.fork() == 0:
    warehouse.record_warning("1", "from the child")
    os._exit(0)
os.wait()
print(warehouse.video("1").warnings)
warehouse.close()
"""


def test_a_child_that_was_forked_gets_a_connection_of_its_own(video: Video, database_url: str) -> None:
    assert video.partition_key == "1"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FORKING, database_url],
        capture_output=True,
        text=True,
        cwd=_CHECKOUT,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "('from the child',)\n", "")


def test_the_local_warehouse_survives_the_death_of_server_and_guardian() -> None:
    home = new_folder("sentinel-home-")
    chosen = Settings(home=home, weights=home)
    try:
        with connect(chosen) as warehouse:
            video = warehouse.register_video("/clips/aisle.mp4", name="aisle.mp4")
            publish(warehouse, video, event_rows(3))
            state = json.loads((home / "postgres" / "server.json").read_text())
            server = int((home / "postgres" / "cluster" / "data" / "postmaster.pid").read_text().split()[0])
            for pid in (server, state["guardian"]):
                os.kill(pid, signal.SIGKILL)
                assert warehouse.count_events() == 3
            publish(warehouse, video, event_rows(4), "run-2")
        with connect(chosen) as warehouse:
            assert warehouse.count_events() == 4
    finally:
        LocalPostgres(home / "postgres").remove()
        home.rmdir()
