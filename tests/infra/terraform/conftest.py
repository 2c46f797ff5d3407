"""The configuration as it reads with the defaults of its variables."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders.terraform import ROOT

Blocks = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="session")
def blocks() -> Blocks:
    """All blocks by kind, `for_each` and locals resolved."""
    tfparse = pytest.importorskip("tfparse", reason="tfparse is not installed")
    parsed: Blocks = tfparse.load_from_path(str(ROOT))
    return parsed
