"""A warehouse of the test's own, and a video in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from resources.warehouse import Video, Warehouse


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    with Warehouse(database_url) as opened:
        yield opened


@pytest.fixture
def video(warehouse: Warehouse) -> Video:
    return warehouse.register_video("/clips/aisle.mp4", name="aisle.mp4")
