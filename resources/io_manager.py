"""How Dagster stores and loads the tables between assets: one Parquet object per asset and partition."""

from __future__ import annotations

import dagster as dg
import pandas as pd
from pydantic import Field

from resources.artifacts import ArtifactStore, table_name
from sentinel_assets.vision.tables import TABLES


class ArtifactIOManager(dg.ConfigurableIOManager):
    """Stores the table of that asset's name under `base`; the schema is checked before a byte is written."""

    base: str = Field(description="A folder, or s3://bucket/prefix.")

    @property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.base)

    def handle_output(self, context: dg.OutputContext, obj: pd.DataFrame) -> None:
        table = TABLES[context.asset_key.path[-1]]
        self.store.write_table(table, context.partition_key, obj)
        uri = self.store.uri(table_name(table, context.partition_key))
        context.add_output_metadata({"dagster/uri": uri, "dagster/row_count": len(obj)})

    def load_input(self, context: dg.InputContext) -> pd.DataFrame:
        return self.store.read_table(TABLES[context.asset_key.path[-1]], context.asset_partition_key)
