"""What every test may ask for: real footage, real weights, a real database."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from resources.weights import Catalogue

from tests.goldens import Golden

_CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def footage() -> Path:
    """The folder of real clips: SENTINEL_FOOTAGE, or shared/footage beside the checkout; skips where there is none."""
    folder = Path(os.environ.get("SENTINEL_FOOTAGE") or _CHECKOUT.parent / "shared" / "footage")
    if not folder.is_dir():
        pytest.skip("no folder of real clips (SENTINEL_FOOTAGE)")
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-goldens", action="store_true", help="Write the recorded results anew; review the diff.")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares with a recorded result under tests/golden."""
    return Golden(update=request.config.getoption("--update-goldens"))


@pytest.fixture(scope="session")
def weights() -> Callable[[str], Path]:
    """The verified file of a model, by its name in models.yaml; fetched where it is not here, never skipped."""
    catalogue = Catalogue.load()
    return lambda name: catalogue.fetch(catalogue.model(name))
