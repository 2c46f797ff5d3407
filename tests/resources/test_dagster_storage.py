"""Dagster's records over connections that stay open: few of them, of this process, and replaced when they break."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
import sqlalchemy as sa
import yaml

from infra.local.postgres import Server
from sentinel_assets.instance import for_commands, postgres_storage


@pytest.fixture
def url(postgres: Server) -> Iterator[str]:
    name = f"pooled_{uuid.uuid4().hex}"
    postgres.create_database(name)
    yield postgres.url(name)
    postgres.drop_database(name)


def _instance(url: str, home: Path) -> dg.DagsterInstance:
    home.mkdir(exist_ok=True)
    address = {"postgres_url": url.replace("postgresql://", "postgresql+psycopg2://", 1)}
    (home / "dagster.yaml").write_text(yaml.safe_dump(for_commands(postgres_storage(address))))
    return dg.DagsterInstance.from_config(str(home))


def _asked(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query).fetchall()


def _kept(url: str) -> set[int]:
    """The server's processes for our open connections."""
    query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    return {pid for (pid,) in _asked(url, query)}


def _own(instance: dg.DagsterInstance) -> int:
    """That of the connection that this instance asks with."""
    records: Any = instance.event_log_storage
    with records.index_connection() as connection:
        return int(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())


def test_a_whole_run_and_later_instances_ask_over_a_few_connections(url: str, tmp_path: Path) -> None:
    @dg.op
    def nothing() -> None: ...

    @dg.job(executor_def=dg.in_process_executor)
    def job() -> None:
        nothing()

    kept: set[int] = set()
    for _ in range(3):
        with _instance(url, tmp_path) as instance:
            assert job.execute_in_process(instance=instance).success
            kept |= _kept(url)
    assert 1 <= len(kept) <= 2


def test_a_connection_that_broke_is_replaced(url: str, tmp_path: Path) -> None:
    with _instance(url, tmp_path) as instance:
        before = _own(instance)
        for pid in _kept(url):
            _asked(url, f"SELECT pg_terminate_backend({pid})")
        assert instance.get_runs() == []
        assert _own(instance) != before


def test_a_forked_process_has_connections_of_its_own(url: str, tmp_path: Path) -> None:
    """And leaves its parent's alone."""
    with _instance(url, tmp_path) as instance:
        parents = _own(instance)
        answer, say = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                with _instance(url, tmp_path / "child") as other:
                    os.write(say, str(_own(other)).encode())
            finally:
                os._exit(0)
        os.close(say)
        with os.fdopen(answer) as stream:
            said = stream.read()
        os.waitpid(child, 0)
        assert said
        assert int(said) != parents
        assert _own(instance) == parents
