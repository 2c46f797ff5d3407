"""As many items at once as a device's memory holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from sentinel_assets.vision.errors import ModelError

Item = TypeVar("Item")
Result = TypeVar("Result")

log = logging.getLogger(__name__)


class Batches:
    """Splits work into batches of `size`; where one does not fit on the GPU, it is halved and the work goes on.

    The smaller size is kept: what did not fit once is not tried again. Results do not depend on the size.
    """

    def __init__(self, size: int, name: str) -> None:
        if size < 1:
            raise ValueError(f"a batch of {size}, expected at least 1")
        self.size = size
        self._name = name

    def over(self, items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Result]]) -> list[Result]:
        """`work` of all items, in their order. Raises ModelError when a single one does not fit."""
        results: list[Result] = []
        while len(results) < len(items):
            batch = items[len(results) : len(results) + self.size]
            done = self._attempt(batch, work)
            if done is None:
                if len(batch) == 1:
                    raise ModelError(
                        "the GPU has not enough memory for a single image",
                        where=self._name,
                        remedy="Free its memory, or choose a GPU with more",
                    )
                self.size = len(batch) // 2
                log.warning("%s: %d images did not fit on the GPU, going on with %d", self._name, len(batch), self.size)
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            results.extend(done)
        return results

    @staticmethod
    def _attempt(batch: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Result]]) -> Sequence[Result] | None:
        """None where the memory did not suffice; with the exception, what it held on to is let go of."""
        try:
            return work(batch)
        except torch.OutOfMemoryError:
            return None
