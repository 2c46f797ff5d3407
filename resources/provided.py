"""What the assets are given by Dagster: the footage, the warehouse, and the video's own row."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import dagster as dg
import pandas as pd
from pydantic import Field, PrivateAttr

from resources.artifacts import ArtifactStore
from resources.footage import FootageStore
from resources.settings import Settings
from resources.vectors import Vector
from resources.warehouse import Warehouse, connect
from sentinel_assets.vision.errors import StoreUnavailable

_INTERVAL_S = 0.5  # progress within a stage is written at most this often; a person's eye asks for no more


class Footage(dg.ConfigurableResource["Footage"]):
    """Where each partition's footage is; `base` is that of the artifacts."""

    base: str = Field(description="A folder, or s3://bucket/prefix.")

    @property
    def store(self) -> FootageStore:
        return FootageStore(ArtifactStore(self.base))


class WarehouseResource(dg.ConfigurableResource["WarehouseResource"]):
    """The migrated warehouse. The address comes from the environment: a DSN is a secret and no matter of run config.

    Connected when first asked for: a job on AWS Batch is given this resource too, and has no route to a database.
    """

    _connection: ExitStack | None = PrivateAttr(default=None)
    _warehouse: Warehouse | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Self]:
        with ExitStack() as self._connection:
            yield self

    @property
    def connected(self) -> Warehouse:
        """Raises StoreError where it cannot be had."""
        assert self._connection is not None, "the warehouse is there only while a run executes"
        if self._warehouse is None:
            self._warehouse = self._connection.enter_context(connect(Settings.from_env()))
        return self._warehouse


class AnalysisLog(dg.ConfigurableResource["AnalysisLog"]):
    """The video's own row as the stages see it: begun, so far, a warning, failed."""

    warehouse: WarehouseResource
    footage: Footage
    _written_at: float = PrivateAttr(default=0.0)
    _written_stage: str = PrivateAttr(default="")

    def begin(self, partition: str, run_id: str, content: str | None) -> None:
        """This run analyses the video from now on; no-op when it does already. Raises StoreRejected where the video has
        another `content` than the run is for."""
        self.warehouse.connected.begin_analysis(partition, run_id, content)

    def record_recipe(self, digest: str, *, asset: str, profile: str, ingredients: Mapping[str, Any]) -> None:
        """What the digest stands for, before any row carries it."""
        self.warehouse.connected.record_recipe(digest, asset=asset, profile=profile, ingredients=ingredients)

    def name_of(self, partition: str) -> str:
        """What people call the video."""
        return self.footage.store.record(partition).name

    def address_of(self, partition: str) -> tuple[str, str]:
        """The video's name and address as its row has them, by which its camera is found."""
        row = self.warehouse.connected.video(partition)
        return row.name, row.uri

    def progress(self, partition: str, run_id: str, percent: float, stage: str) -> None:
        """A database that is away for a moment costs a figure here, not the analysis."""
        now = time.monotonic()
        if stage == self._written_stage and now - self._written_at < _INTERVAL_S:
            return
        self._written_at, self._written_stage = now, stage
        try:
            self.warehouse.connected.report_progress(partition, percent, stage, run_id)
        except StoreUnavailable as error:
            dg.get_dagster_logger().warning("progress of video %s was not written: %s", partition, error)

    def add_warning(self, partition: str, text: str) -> None:
        self.warehouse.connected.record_warning(partition, text)

    def fail(self, partition: str, run_id: str, reason: str) -> None:
        """Without effect where another analysis of the video has begun since."""
        self.warehouse.connected.record_failure(partition, reason, run_id)

    def publish(
        self,
        partition: str,
        run_id: str,
        events: pd.DataFrame,
        recipes: Mapping[str, str],
        content: str | None,
        beside: Mapping[str, Mapping[str, Vector]],
    ) -> int:
        """Replace the video's events and complete its analysis, in one transaction; gives their number."""
        return self.warehouse.connected.publish_events(
            partition, events, recipes=recipes, analysis_id=run_id, content=content, beside=beside
        )
