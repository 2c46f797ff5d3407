"""Results that another recipe made, kept under the recipe's name until somebody drops them.

The current table of an asset and partition is `poses/17.parquet`. Beside it each result stands once more under what
made it, `kept/poses/17/<recipe>-<inputs>.parquet`, so that going back to a recipe is a copy and computes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd

from resources.artifacts import ArtifactStore, table_name
from sentinel_assets.vision.errors import ArtifactMissing, StoreRejected
from sentinel_assets.vision.tables import TABLES, Table

_FOLDER = "kept"
_NAME = re.compile(_FOLDER + r"/(?P<asset>\w+)/[^/]+/(?P<recipe>\w+)-\w+\.parquet")


@dataclass(frozen=True)
class KeptResults:
    """All results of one asset for one partition, by the recipe and the inputs that made them."""

    store: ArtifactStore
    table: Table
    partition: str

    def name(self, recipe: str, inputs: str) -> str:
        current = table_name(self.table, self.partition).removesuffix(".parquet")
        return f"{_FOLDER}/{current}/{recipe}-{inputs}.parquet"

    def read(self, recipe: str, inputs: str) -> pd.DataFrame | None:
        """None where there is none, or what is there is no table: it is made again then."""
        try:
            return self.store.read_table_at(self.name(recipe, inputs), self.table, self.partition)
        except (ArtifactMissing, StoreRejected):
            return None

    def write(self, recipe: str, inputs: str, frame: pd.DataFrame) -> str:
        """Returns the digest of the content; raises TableError before anything is written."""
        return self.store.write_table_at(self.name(recipe, inputs), self.table, frame)


@dataclass
class Generation:
    """All that is kept of what one recipe made."""

    asset: str
    recipe: str
    names: list[str] = field(default_factory=list)
    size_bytes: int = 0


def kept_generations(store: ArtifactStore) -> list[Generation]:
    """By asset and recipe; the names of the store's objects are what says so."""
    found: dict[tuple[str, str], Generation] = {}
    for asset, recipe, name, size in _kept(store):
        one = found.setdefault((asset, recipe), Generation(asset, recipe))
        one.names.append(name)
        one.size_bytes += size
    return [found[key] for key in sorted(found)]


def _kept(store: ArtifactStore) -> Iterator[tuple[str, str, str, int]]:
    """Asset, recipe, name and bytes of each; what else somebody has put there is left alone."""
    for name, size in store.sizes(f"{_FOLDER}/"):
        if (found := _NAME.fullmatch(name)) and found["asset"] in TABLES:
            yield found["asset"], found["recipe"], name, size
