"""Work that is fetched while the piece before it is in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def batches_ahead(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of `size`, the last one shorter; each is taken from `items` by another thread while the one
    before is in use, and no more than that one. So a video is decoded while a model looks at what was decoded before.

    What `items` raises is raised in the place of the batch that it was for. It is never entered by two threads at once.
    """
    if size < 1:
        raise ValueError(f"a batch of {size}, expected at least 1")
    upcoming = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        following = thread.submit(lambda: list(islice(upcoming, size)))
        while batch := following.result():
            following = thread.submit(lambda: list(islice(upcoming, size)))
            yield batch
