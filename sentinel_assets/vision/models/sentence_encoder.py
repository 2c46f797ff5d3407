"""Any text model that transformers knows as an encoder of sentences, from a folder of this machine.

transformers chooses the class by the folder's configuration, from among its own: code that a folder brings is refused
before (`safetensors_folder.py`), and so are pickled weights. Nothing is looked up on a hub.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.models.safetensors_folder import SafetensorsFolder
from sentinel_assets.vision.protocols import Floats


class SentenceEncoder:
    """A TextEncoder whose vector is the mean of its last layer over a text's tokens, or that of the first token, scaled
    to unit norm (Reimers and Gurevych, Sentence-BERT, EMNLP 2019, section 3).

    `folder` has the layout of `save_pretrained`: configuration, safetensors, tokenizer. `dimension` is what the model
    gives. `query_prefix` and `passage_prefix` are put before what is asked and what is to be found, as models of the E5
    family want it. Raises ModelError where a file is missing, or transformers knows no such model.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        name: str = "sentence-encoder",
        pooling: Literal["mean", "first"] = "mean",
        query_prefix: str = "",
        passage_prefix: str = "",
        max_tokens: int = 512,
    ) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        from sentinel_assets.vision.models.batches import Batches
        from sentinel_assets.vision.models.language_devices import language_device

        if pooling not in ("mean", "first"):
            raise ModelError(f"pooling {pooling!r} is neither mean nor first", where=name)
        SafetensorsFolder.open(folder)
        self.name = name
        self._pooling, self._prefixes, self._max_tokens = pooling, (query_prefix, passage_prefix), max_tokens
        self._device, _ = language_device(device)
        self._no_grad = torch.inference_mode
        local = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, **local)
            network, report = AutoModel.from_pretrained(
                folder, **local, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
        except Exception as error:
            raise ModelError(
                f"transformers cannot load it as a text model ({type(error).__name__}: {error})"[:400], where=folder
            ) from error
        # What a head of pre-training leaves over is not asked for; what is asked for has to be there.
        for fault in ("missing_keys", "mismatched_keys"):
            if names := sorted(str(key) for key in report[fault] if not str(key).startswith("pooler.")):
                raise ModelError(f"{len(names)} tensors are {fault.removesuffix('_keys')} ({names[0]})", where=folder)
        if self._tokenizer.pad_token is None:
            raise ModelError("its tokenizer has no token to fill up with", where=folder)
        self._network: Any = network.requires_grad_(False).eval().to(self._device)
        self.dimension = int(network.config.hidden_size)
        self._batches = Batches(32, name)

    def encode_passages(self, texts: Sequence[str]) -> Floats:
        """Vectors (N, dimension) of unit norm for sentences that are to be found."""
        return self._encode(texts, self._prefixes[1])

    def encode_queries(self, texts: Sequence[str]) -> Floats:
        """Vectors (N, dimension) of unit norm for what a person asks."""
        return self._encode(texts, self._prefixes[0])

    def _encode(self, texts: Sequence[str], prefix: str) -> Floats:
        if isinstance(texts, str):
            raise TypeError("a single text; expected a sequence of texts")
        vectors = self._batches.over([prefix + text for text in texts], self._encode_batch)
        return np.stack(vectors) if vectors else np.zeros((0, self.dimension), np.float32)

    def _encode_batch(self, texts: Sequence[str]) -> list[Floats]:
        inputs = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        ).to(self._device)
        with self._no_grad():
            hidden = self._network(**inputs).last_hidden_state
            if self._pooling == "first":
                pooled = hidden[:, 0]
            else:
                mask = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
                pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
            unit = pooled / pooled.norm(dim=1, keepdim=True).clamp(min=1e-12)
        return list(unit.float().cpu().numpy())
