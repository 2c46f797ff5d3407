"""Dagster's records in PostgreSQL over connections that stay open.

Dagster's own storage opens one for each question, several hundred for one video: with TLS and SCRAM each costs more
than its question. Here a process has one pool for each address, whichever instances it makes.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any, Self

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, get_token_provider_from_config, pg_url_from_config
from sqlalchemy import Engine

_KEPT = 2  # open while idle, in each of some dozens of processes; PostgreSQL takes 100 by default


class PooledPostgresStorage(DagsterPostgresStorage):
    """Dagster's DagsterPostgresStorage, of the same configuration; one whose passwords are tokens is not pooled."""

    def __init__(self, postgres_url: str, token_provider: Any = None, **more: Any):
        super().__init__(postgres_url, token_provider=token_provider, **more)
        if token_provider is None:
            for part in (self._run_storage, self._event_log_storage, self._schedule_storage):
                part._engine = _engine(postgres_url)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        return cls(
            inst_data=inst_data,
            postgres_url=pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            token_provider=get_token_provider_from_config(config_value),
        )


@functools.cache
def _engine(url: str) -> Engine:
    """As Dagster makes it, but for the pool: of connections that still answer, and none of them a parent's."""
    engine: Engine = create_pg_engine(
        url, isolation_level="AUTOCOMMIT", pool_size=_KEPT, max_overflow=-1, pool_pre_ping=True
    )
    os.register_at_fork(after_in_child=functools.partial(engine.dispose, close=False))
    return engine
