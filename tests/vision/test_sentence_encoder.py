"""A text model of transformers as an encoder: the mean of its last layer, whatever else is in the batch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.models.sentence_encoder import SentenceEncoder
from sentinel_assets.vision.protocols import Floats
from tests.builders.sentences import WIDTH, write_sentence_encoder

TEXTS = ["A man walks.", "A woman takes something from the shelf and puts it into her bag.", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sentence_encoder(tmp_path_factory.mktemp("encoder") / "model")


def by_transformers(folder: Path, text: str, *, first: bool = False) -> Floats:
    """One text by itself, without padding."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    inputs = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.inference_mode():
        hidden = AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state[0]
    pooled = (hidden[0] if first else hidden.mean(dim=0)).numpy()
    return np.asarray(pooled / np.linalg.norm(pooled), np.float32)


def test_a_vector_is_the_mean_over_the_text_alone(folder: Path) -> None:
    encoder = SentenceEncoder(folder, name="local")
    assert (encoder.name, encoder.dimension) == ("local", WIDTH)
    found = encoder.encode_passages(TEXTS)
    assert found.shape == (3, WIDTH)
    assert found == pytest.approx(np.stack([by_transformers(folder, text) for text in TEXTS]), abs=1e-5)
    assert encoder.encode_queries([]).shape == (0, WIDTH)


def test_prefixes_and_the_first_token(folder: Path) -> None:
    encoder = SentenceEncoder(folder, pooling="first", query_prefix="query: ", passage_prefix="passage: ")
    asked, said = encoder.encode_queries(["walks"])[0], encoder.encode_passages(["walks"])[0]
    assert asked == pytest.approx(by_transformers(folder, "query: walks", first=True), abs=1e-5)
    assert said == pytest.approx(by_transformers(folder, "passage: walks", first=True), abs=1e-5)


def test_what_is_longer_than_the_model_reads_is_cut(folder: Path) -> None:
    assert np.isfinite(SentenceEncoder(folder).encode_passages(["walks " * 1000])).all()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "pickle"),
        (lambda f: (f / "tokenizer.json").unlink(), "transformers cannot load it"),
        (lambda f: _change(f / "config.json", auto_map={"AutoModel": "evil.Model"}), "Python code of its own"),
        (lambda f: _change(f / "config.json", num_hidden_layers=3), "tensors are missing"),
        (lambda f: _change(f / "config.json", model_type="unheard_of"), "transformers cannot load it"),
    ],
    ids=["pickled", "without its tokenizer", "with code", "a layer short", "of no known kind"],
)
def test_a_folder_that_is_not_right_is_refused(spoil: object, says: str, tmp_path: Path) -> None:
    folder = write_sentence_encoder(tmp_path / "model")
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(ModelError, match=says):
        SentenceEncoder(folder)


def test_pooling_that_nobody_knows_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="neither mean nor first"):
        SentenceEncoder(folder, pooling="last")  # type: ignore[arg-type]


def _change(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
