"""Ctrl-C, and the signals that end a process, where the exception that they raise would be lost or do harm.

Such an exception comes up between any two lines. Within an import it leaves half a module behind; a finaliser drops it;
native code that looks up a name takes it for "there is no such name"; and the work goes on as if nobody had asked.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
_Handler = Callable[[int, FrameType | None], object]

_asked = threading.Event()
"""Whether the work of `interruptible` is to end."""


def interruptible(work: Callable[[], T], *, on_asked: Callable[[], None] = lambda: None) -> T:
    """What `work` gives or raises. It runs in a thread of its own, where no signal comes up between two of its lines:
    it ends by KeyboardInterrupt when it next heeds that it was asked to. A second Ctrl-C does not wait for that."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where the outcome is asked for
            outcome.set_exception(error)

    def ask() -> None:
        if _asked.is_set():
            raise KeyboardInterrupt
        _asked.set()
        on_asked()

    with ended_by_signals(ask):
        try:
            threading.Thread(target=run, name="work", daemon=True).start()
            wait([outcome])
        finally:
            _asked.clear()
    return outcome.result()


def heed() -> None:
    """Called by work now and then. Raises KeyboardInterrupt where `interruptible` was asked to end."""
    if _asked.is_set():
        raise KeyboardInterrupt


def _interrupt() -> None:
    raise KeyboardInterrupt


@contextmanager
def ended_by_signals(ask: Callable[[], None] = _interrupt) -> Iterator[None]:
    """SIGTERM and the end of the terminal do what Ctrl-C does, and Ctrl-C's signal does so also where a script started
    us in its background, with that signal ignored: it ends the `with` blocks around us, or whatever `ask` does."""
    before = {
        number: signal.signal(number, lambda _signal, _frame: ask())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held_back() -> Iterator[None]:
    """For imports and the loading of models: a signal waits until they are through."""
    arrived: list[int] = []
    try:
        with _handling(lambda _before: lambda number, _frame: arrived.append(number)):
            yield
    finally:
        if arrived:
            signal.raise_signal(arrived[0])


@contextmanager
def remembered() -> Iterator[Callable[[], None]]:
    """Gives what to call now and then: it heeds, and raises a signal once more whose exception was lost or has become
    another error. The end of the block does so too."""
    arrived: list[int] = []

    def remember(before: _Handler) -> _Handler:
        def interrupt(number: int, frame: FrameType | None) -> None:
            arrived.append(number)
            before(number, frame)

        return interrupt

    def heed_all() -> None:
        heed()
        if arrived:
            signal.raise_signal(arrived[0])

    with _handling(remember):
        try:
            yield heed_all
        finally:
            heed_all()


@contextmanager
def _handling(handler: Callable[[_Handler], _Handler]) -> Iterator[None]:
    """Puts, in place of each handler, what `handler` makes of it. Only the main thread can; in another there is nothing
    to do, as signals interrupt none but the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours = {
        number: one for number, one in before.items() if callable(one)
    }  # else the system's way, which raises nothing
    for number, one in ours.items():
        signal.signal(number, handler(one))
    try:
        yield
    finally:
        for number, one in ours.items():
            signal.signal(number, one)
