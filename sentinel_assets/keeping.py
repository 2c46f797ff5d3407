"""`sentinel kept`: what is kept of results by recipe, and dropping what nobody goes back to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import dagster as dg

from resources.artifacts import ArtifactStore
from resources.generations import Generation, kept_generations
from sentinel_assets.fleet_records import read_outputs
from sentinel_assets.freshness import DEPENDENCIES, digests
from sentinel_assets.recipes import made_by
from sentinel_assets.vision.errors import StoreRejected


@dataclass(frozen=True)
class KeptRecipe:
    """All that one recipe made of an asset and that is kept. `in_place`: of so many videos it is what stands now."""

    asset: str
    recipe: str
    results: int
    size_bytes: int
    of_today: bool
    in_place: int


def kept_recipes(instance: dg.DagsterInstance, artifacts: ArtifactStore) -> list[KeptRecipe]:
    """By asset, upstream first."""
    in_place, current = _in_place(instance), digests()
    order = list(DEPENDENCIES)
    return [
        KeptRecipe(
            asset=one.asset,
            recipe=one.recipe,
            results=len(one.names),
            size_bytes=one.size_bytes,
            of_today=current.get(one.asset) == one.recipe,
            in_place=in_place[one.asset, one.recipe],
        )
        for one in sorted(kept_generations(artifacts), key=lambda one: (order.index(one.asset), one.recipe))
    ]


def drop_kept(instance: dg.DagsterInstance, artifacts: ArtifactStore, recipe: str) -> Generation:
    """Delete what is kept by that recipe. Raises StoreRejected where it is today's, stands in place of a video's
    output, or is not there. Going back to it would compute anew from then on, and no canary can compare with it."""
    found = [one for one in kept_generations(artifacts) if one.recipe == recipe]
    if not found:
        raise StoreRejected(
            "nothing of it is kept", where=f"recipe {recipe}", remedy="`sentinel kept` lists the recipes that are"
        )
    (generation,) = found
    if digests()[generation.asset] == recipe:
        raise StoreRejected(
            f"it is today's of {generation.asset}",
            where=f"recipe {recipe}",
            remedy="Drop one that is out of use",
        )
    if count := _in_place(instance)[generation.asset, recipe]:
        raise StoreRejected(
            f"the {generation.asset} of {count} videos are still by it",
            where=f"recipe {recipe}",
            remedy=f"Redo them first: sentinel backfill {generation.asset}",
        )
    artifacts.delete(generation.names)
    return generation


def _in_place(instance: dg.DagsterInstance) -> Counter[tuple[str, str]]:
    """Of each asset and recipe, how many videos' latest outputs it made."""
    return Counter(
        (asset, made_by(version))
        for asset in DEPENDENCIES
        for version in read_outputs(instance, asset).versions.values()
    )
