"""A deployment's bucket and queue, and the sensor over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resources.warehouse import Warehouse
from tests.builders.bucket import UploadBucket

if TYPE_CHECKING:
    from infra.local.aws import LocalAws


@pytest.fixture
def bucket(aws: LocalAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> UploadBucket:
    """The environment names it, a database and a home."""
    made = UploadBucket.new()
    monkeypatch.setenv("SENTINEL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("SENTINEL_FOOTAGE_BUCKET", made.bucket)
    monkeypatch.setenv("SENTINEL_UPLOAD_QUEUE", made.queue)
    return made


@pytest.fixture
def warehouse(bucket: UploadBucket, database_url: str) -> Iterator[Warehouse]:
    with Warehouse(database_url) as opened:
        yield opened
