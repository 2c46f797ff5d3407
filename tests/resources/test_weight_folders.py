"""Models of several files: each verified, locked at the first pull, and nothing else beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources.weights import Catalogue, State
from sentinel_assets.vision.errors import ModelError, WeightsMismatch, WeightsUnavailable

BOOK = """
models:
  talker:
    roles: [describer]
    version: stage 2
    published_as: [talker_0.5b]
    files: {config.json: , model.safetensors: }
    at_most: 1000
    accept: research
    licence: research only
    purpose: a test
profiles: {gpu: {describer: [talker]}}
"""


@pytest.fixture
def book(tmp_path: Path) -> Catalogue:
    folder = tmp_path / "mirror" / "talker_0.5b"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "models.yaml").write_text(BOOK)
    catalogue = Catalogue.load(tmp_path / "models.yaml", cache=tmp_path / "cache", mirror=str(tmp_path / "mirror"))
    catalogue.accept(["research"])
    return catalogue


def test_a_folder_is_pulled_whole_locked_and_found_again(book: Catalogue) -> None:
    entry = book.model("talker")
    assert (entry.sha256, book.verify(entry)) == (None, State.ABSENT)
    with pytest.raises(ModelError, match="never pulled"):
        book.fetch(entry)
    fractions: list[float] = []
    folder = book.pull(entry, fractions.append)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    locked = book.model("talker")
    assert (locked.size, book.verify(locked), book.fetch(locked)) == (9, State.LOCKED, folder)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert locked.sha256


def test_a_file_that_changed_is_refused_and_so_is_one_that_came_beside_it(book: Catalogue) -> None:
    folder = book.pull(book.model("talker"))
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsMismatch, match=r"tokenizer\.json is not a file of this model"):
        book.fetch(book.model("talker"))
    (folder / "tokenizer.json").unlink()
    (folder / "config.json").write_text("{ }")
    assert book.verify(book.model("talker")) == State.MISMATCH
    with pytest.raises(WeightsMismatch, match=r"talker/config\.json"):
        book.fetch(book.model("talker"))
    assert book.fetch(book.model("talker")) == folder  # fetched again from the mirror


def test_a_folder_that_lacks_a_file_is_not_taken(book: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "mirror" / "talker_0.5b" / "model.safetensors").unlink()
    with pytest.raises(WeightsUnavailable, match=r"model\.safetensors"):
        book.pull(book.model("talker"))
    assert book.verify(book.model("talker")) == State.ABSENT


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("at_most: 1000", "files need"),  # without it
        ("config.json: ", "not the name of a file"),
    ],
)
def test_a_folder_that_is_not_whole_in_the_catalogue_is_refused(written: str, message: str, tmp_path: Path) -> None:
    spoilt = BOOK.replace(written, "../x: " if written.startswith("config") else "")
    (tmp_path / "models.yaml").write_text(spoilt)
    with pytest.raises(ModelError, match=message):
        Catalogue.load(tmp_path / "models.yaml", cache=tmp_path)


def test_the_catalogues_own_folders_ask_for_their_licence() -> None:
    entries = {entry.name: entry for entry in Catalogue.load().models if entry.files}
    assert entries.keys() == {
        "fastvlm-0.5b",
        "fastvlm-0.5b-native",
        "local-image-text",
        "local-sentence-encoder",
    }
    assert {entries[name].accept for name in ("fastvlm-0.5b", "fastvlm-0.5b-native")} == {"apple-research"}
