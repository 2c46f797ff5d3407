"""The vector of each event's description, by which it is found."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.protocols import Floats, TextEncoder
from sentinel_assets.vision.tables import EMBEDDINGS

NORM_TOLERANCE = 1e-3
"""A sum of some hundred float32 squares is exact to about 1e-5; what is off by more was not normalised."""


def embed_descriptions(descriptions: pd.DataFrame, *, encoder: TextEncoder) -> pd.DataFrame:
    """An EMBEDDINGS table, in the order of the descriptions.

    Raises ModelError when a vector is not finite, not of unit norm, or not of the encoder's dimension: it would never
    be found.
    """
    keys = descriptions["event_key"].tolist()
    if not keys:
        return EMBEDDINGS.frame([])
    vectors = encoder.encode_passages(descriptions["description"].tolist())
    check_vectors(vectors, shape=(len(keys), encoder.dimension), name=encoder.name)
    return EMBEDDINGS.frame([{"event_key": key, "vector": vector} for key, vector in zip(keys, vectors, strict=True)])


def check_vectors(vectors: Floats, *, shape: tuple[int, int], name: str) -> None:
    """Raise ModelError unless they are finite, of unit norm, and of that shape: count and dimension."""
    if vectors.shape != shape:
        raise ModelError(f"vectors of shape {vectors.shape}, expected {shape}", where=name)
    if infinite := int((~np.isfinite(vectors)).any(axis=1).sum()):
        raise ModelError(f"{infinite} of {shape[0]} vectors are not finite", where=name)
    norms = np.linalg.norm(vectors, axis=1)
    if off := int((np.abs(norms - 1) > NORM_TOLERANCE).sum()):
        raise ModelError(f"{off} of {shape[0]} vectors are not of unit norm", where=name)
