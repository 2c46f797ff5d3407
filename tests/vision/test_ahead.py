"""Batches come whole and in order, one is fetched while another is in use, and nothing runs on when it is over."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel_assets.vision.ahead import batches_ahead


@given(st.lists(st.integers()), st.integers(1, 5))
def test_batches_hold_every_item_once_and_in_order(items: list[int], size: int) -> None:
    batches = list(batches_ahead(items, size))
    assert [item for batch in batches for item in batch] == items
    assert all(len(batch) == size for batch in batches[:-1])
    assert all(batches)


def test_the_next_batch_is_fetched_while_one_is_in_use_and_no_further() -> None:
    asked = threading.Semaphore(0)
    given_so_far = []

    def items() -> Iterator[int]:
        for number in range(10):
            given_so_far.append(number)
            asked.release()
            yield number

    batches = batches_ahead(items(), 2)
    assert next(batches) == [0, 1]
    for _ in range(4):
        assert asked.acquire(timeout=10)  # two of the first batch, two of the next
    assert not asked.acquire(timeout=0.2)
    assert given_so_far == [0, 1, 2, 3]
    assert next(batches) == [2, 3]


def test_what_fails_is_raised_where_it_was_needed_and_what_came_before_is_given() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the file is gone")

    batches = batches_ahead(items(), 1)
    assert next(batches) == [1]
    with pytest.raises(OSError, match="the file is gone"):
        next(batches)


def test_an_iterator_that_is_left_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    batches = batches_ahead(range(10), 2)
    assert next(batches) == [0, 1]
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a batch of 0"):
        next(batches_ahead([1], 0))
