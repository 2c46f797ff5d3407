"""Search by meaning: the query as a vector of the same encoder that made the rows."""

from __future__ import annotations

from collections.abc import Sequence

from resources.warehouse import SearchFilter, SearchHit, Warehouse
from sentinel_assets import models
from sentinel_assets.recipes import recipe
from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.protocols import TextEncoder


def search_hits(
    warehouse: Warehouse, text: str, *, chosen: SearchFilter | None = None, limit: int = 10
) -> Sequence[SearchHit]:
    """The events nearest in meaning, by vectors of the one embedding recipe that search is pinned to."""
    pinned = warehouse.spaces.pinned() or recipe("embeddings").digest
    vector = encoder_of(warehouse, pinned).encode_queries([text])[0]
    return warehouse.search(vector, embedding_recipe=pinned, wanted=chosen, limit=limit)


def encoder_of(warehouse: Warehouse, digest: str) -> TextEncoder:
    """The text encoder of an embedding recipe: today's, or one of before as long as the catalogue has it.

    Raises ModelError where it cannot be had.
    """
    if digest == recipe("embeddings").digest:
        return models.text_encoder()
    ingredients = warehouse.recipes([digest]).get(digest)
    if ingredients is None or len(ingredients["models"]) != 1:
        raise ModelError(
            "nobody recorded which text encoder that is",
            where=f"embedding recipe {digest}",
            remedy="Switch search to another: `sentinel vectors` lists them",
        )
    return models.text_encoder_of(ingredients["models"][0])
