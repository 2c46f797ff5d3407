"""A job queue for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.builders.queues import CommandQueue

if TYPE_CHECKING:
    from infra.local.aws import LocalAws


@pytest.fixture
def queue(aws: LocalAws) -> CommandQueue:
    return CommandQueue()
