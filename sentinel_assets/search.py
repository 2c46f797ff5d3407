"""Search by meaning: the query as a vector of the same encoder that made the rows."""

from __future__ import annotations

from collections.abc import Sequence

from resources.warehouse import SearchFilter, SearchHit, Warehouse
from sentinel_assets import models
from sentinel_assets.recipes import recipe


def search_hits(
    warehouse: Warehouse, text: str, *, chosen: SearchFilter | None = None, limit: int = 10
) -> Sequence[SearchHit]:
    """The events nearest in meaning, among the rows that today's text encoder made."""
    vector = models.text_encoder().encode_queries([text])[0]
    return warehouse.search(vector, embedding_recipe=recipe("embeddings").digest, wanted=chosen, limit=limit)
