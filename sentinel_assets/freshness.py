"""Which outputs of a video are out of date: a comparison of what is there with what would be made now.

An output is up to date when the recipe of today made it, from inputs of the content of today, and it is still in its
store. Nothing is remembered between comparisons, so going back to an old recipe makes its outputs fresh again.

`assess` is the one comparison: `sentinel analyze` asks it of one video, `sentinel stale` of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import dagster as dg

from sentinel_assets.filming import NO_CAMERA
from sentinel_assets.recipes import Version, inputs_digest, recipe
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

BESIDE: Mapping[str, tuple[str, str | None]] = {"detections": ("sampling", None), "behaviors": ("camera", NO_CAMERA)}
"""What else an asset is made from that is no asset, and what stands in its place where there is none: nothing for how
the video's camera wants it sampled (`filming.sampling_digest`), a word for the camera (`Filming.digest`)."""


@dataclass(frozen=True)
class Output:
    """The latest materialization of one asset for one video, as far as freshness asks."""

    recipe: str
    version: str
    rows: int | None = None

    @classmethod
    def from_materialization(cls, event: dg.AssetMaterialization) -> Output:
        tags = event.tags or {}
        rows = event.metadata.get("dagster/row_count")
        return cls(
            recipe=tags.get("dagster/code_version", ""),
            version=tags.get("dagster/data_version", ""),
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


class Reason(StrEnum):
    """Why an output is to be made again."""

    NEVER_MADE = "never made"
    RECIPE = "recipe"
    INPUT = "input"
    """One of its inputs has another content now, or is itself to be made again."""
    LOST = "lost"
    """Not in its store any more, or a blocking check of it has not passed."""


def out_of_date(outputs: Mapping[str, Output | None], is_stored: Callable[[str, Output], bool]) -> Sequence[str]:
    """The assets to make again, upstream first; `outputs` holds the latest of each, `video` and what is `BESIDE`
    included."""
    versions = {name: output.version if output else None for name, output in outputs.items()}
    kept = {name: is_stored(name, output) for name, output in outputs.items() if output and name in DEPENDENCIES}
    return list(assess(versions, digests(), lost=lambda asset: not kept[asset]))


def digests() -> dict[str, str]:
    """Today's recipe of each asset."""
    return {asset: recipe(asset).digest for asset in DEPENDENCIES}


def assess(
    versions: Mapping[str, str | None],
    current: Mapping[str, str],
    *,
    lost: Callable[[str], bool] = lambda _asset: False,
) -> dict[str, Reason]:
    """Which outputs of one video are to be made again and why, upstream first.

    `versions` are the latest data versions, `video` and what is `BESIDE` included; `current` the recipes' digests
    (`digests`).
    What follows on one that is to be made again is too: whether it comes out the same is known only then, and a stage
    that is given inputs of the content of before takes its result of before (`wiring.StageRun.table`).
    """
    found: dict[str, Reason] = {}
    for asset, upstream in DEPENDENCIES.items():
        text = versions.get(asset)
        if text is None:
            found[asset] = Reason.NEVER_MADE
            continue
        version = Version.parse(text)
        if version.recipe != current[asset]:
            found[asset] = Reason.RECIPE
        elif lost(asset):
            found[asset] = Reason.LOST
        elif any(name in found for name in upstream) or version.inputs != inputs_now(asset, versions):
            found[asset] = Reason.INPUT
    return found


def inputs_now(asset: str, versions: Mapping[str, str | None]) -> str:
    """The digest of what the asset would be made from now; empty where one of its inputs is not there."""
    contents = {}
    for name in DEPENDENCIES[asset]:
        version = versions.get(name)
        if version is None:
            return ""
        contents[name] = taken_from(asset, name, version)
    if asset in BESIDE:
        beside, usual = BESIDE[asset]
        if (known := versions.get(beside) or usual) is not None:
            contents[beside] = known
    return inputs_digest(contents)


def taken_from(asset: str, source: str, version: str) -> str:
    """What of an input's version matters to the asset: its content. Of vectors the events also carry the recipe, by
    which search tells them from those of another model."""
    if source not in DEPENDENCIES:
        return version
    parsed = Version.parse(version)
    return f"{parsed.recipe}-{parsed.content}" if (asset, source) == ("events", "embeddings") else parsed.content
