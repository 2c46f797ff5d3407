"""Which outputs of a video are out of date: a comparison of what is there with what would be made now.

An output is up to date when the recipe of today made it, from inputs of the versions of today, and it is still in its
store. Nothing is remembered between comparisons, so going back to an old recipe makes its outputs fresh again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from sentinel_assets.recipes import recipe
from sentinel_assets.vision.errors import ArtifactMissing

DEPENDENCIES: Mapping[str, tuple[str, ...]] = {
    "detections": ("video",),
    "demographics": ("detections",),
    "poses": ("detections",),
    "behaviors": ("detections", "poses"),
    "descriptions": ("detections", "behaviors", "demographics", "poses"),
    "embeddings": ("descriptions",),
    "events": ("behaviors", "demographics", "poses", "descriptions", "embeddings"),
}
"""The graph, upstream first; `tests/test_definitions.py` holds it equal to the assets' own."""


@dataclass(frozen=True)
class Output:
    """The latest materialization of one asset for one video, as far as freshness asks."""

    recipe: str
    version: str
    inputs: Mapping[str, str]
    rows: int | None = None

    @classmethod
    def from_materialization(cls, event: dg.AssetMaterialization) -> Output:
        tags = event.tags or {}
        prefix = "dagster/input_data_version/"
        rows = event.metadata.get("dagster/row_count")
        return cls(
            recipe=tags.get("dagster/code_version", ""),
            version=tags.get("dagster/data_version", ""),
            inputs={k.removeprefix(prefix): v for k, v in tags.items() if k.startswith(prefix)},
            rows=int(str(rows.value)) if rows is not None else None,
        )


def latest_output(instance: dg.DagsterInstance, asset: str, partition: str) -> Output | None:
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition]), limit=1
    ).records
    event = records[0].asset_materialization if records else None
    return Output.from_materialization(event) if event else None


def recipes_in_place(instance: dg.DagsterInstance, partition: str, assets: Iterable[str]) -> dict[str, str]:
    """The recipe by which each of these outputs was really made: that of today is another one where it is out of date.

    Raises ArtifactMissing where nothing is recorded of one.
    """
    made = {asset: latest_output(instance, asset, partition) for asset in assets}
    if missing := [asset for asset, output in made.items() if output is None]:
        raise ArtifactMissing(
            f"nothing says how {' and '.join(missing)} came to be",
            where=f"video {partition}",
            remedy="Materialize them again",
        )
    return {asset: output.recipe for asset, output in made.items() if output is not None}


def out_of_date(outputs: Mapping[str, Output | None], is_stored: Callable[[str, Output], bool]) -> Sequence[str]:
    """The assets to make again, upstream first; `outputs` holds the latest of each, `video` included."""
    stale: list[str] = []
    for asset, upstream in DEPENDENCIES.items():
        output = outputs.get(asset)
        if output is None or not is_stored(asset, output) or not _is_current(asset, output, upstream, outputs, stale):
            stale.append(asset)
    return stale


def _is_current(
    asset: str, output: Output, upstream: Sequence[str], outputs: Mapping[str, Output | None], stale: Sequence[str]
) -> bool:
    if output.recipe != recipe(asset).digest:
        return False
    for name in upstream:
        source = outputs.get(name)
        if name in stale or source is None or output.inputs.get(name) != recorded_input(source.version):
            return False
    return True


def recorded_input(version: str) -> str:
    """How Dagster 1.13 records the version of one partition of an input: hashed, as it does with several together
    (dagster/_core/execution/context/data_version_cache.py); `tests/test_freshness.py` holds that it still does."""
    return hashlib.sha256(version.encode()).hexdigest()
