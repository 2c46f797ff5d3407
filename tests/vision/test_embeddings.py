"""Vectors of descriptions: whole, finite and of unit norm, or refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from sentinel_assets.vision.descriptions import describe_events
from sentinel_assets.vision.embeddings import embed_descriptions
from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.models.e5 import E5
from sentinel_assets.vision.models.template import TemplateDescriber
from sentinel_assets.vision.protocols import Floats
from sentinel_assets.vision.tables import DESCRIPTIONS, EMBEDDINGS
from tests.builders.analyses import behavior, tables


class Constant:
    """An encoder that gives what it was told to."""

    name, dimension = "constant", 384

    def __init__(self, vectors: Floats) -> None:
        self.vectors = vectors

    def encode_passages(self, texts: Sequence[str]) -> Floats:
        return self.vectors

    encode_queries = encode_passages


def unit(count: int) -> Floats:
    return np.full((count, 384), 384**-0.5, np.float32)


def test_each_description_gets_the_vector_of_its_passage() -> None:
    rows = [behavior("walking"), behavior("collapse", start_s=9, end_s=14)]
    descriptions = describe_events(*tables(rows), describer=TemplateDescriber())
    e5 = E5()
    table = embed_descriptions(descriptions, encoder=e5)
    EMBEDDINGS.conform(table)
    assert table["event_key"].tolist() == ["walking-1-1", "collapse-1-1"]
    assert np.array_equal(np.stack(table["vector"]), e5.encode_passages(descriptions["description"].tolist()))


def test_no_descriptions_give_an_empty_table_that_conforms() -> None:
    assert EMBEDDINGS.conform(embed_descriptions(DESCRIPTIONS.frame([]), encoder=Constant(unit(0)))).num_rows == 0


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (unit(2), r"shape \(2, 384\)"),  # more than there are descriptions
        (unit(1)[:, :383], r"shape \(1, 383\)"),
        (unit(1) * np.nan, "not finite"),
        (unit(1) * np.inf, "not finite"),
        (unit(1) * 1.01, "unit norm"),
        (unit(1) * 0, "unit norm"),
    ],
)
def test_vectors_that_search_could_not_use_are_refused(vectors: Floats, message: str) -> None:
    descriptions = describe_events(*tables([behavior()]), describer=TemplateDescriber())
    with pytest.raises(ModelError, match=message):
        embed_descriptions(descriptions, encoder=Constant(vectors))
