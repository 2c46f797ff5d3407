"""Ctrl-C at the moments at which an exception between two lines would be lost, or leave something broken behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from sentinel_assets.interrupts import heed, held_back, interruptible, remembered
from sentinel_assets.wiring import RunInterrupted, _not_tried_again


class Lossy:
    """Python prints and drops what is raised in a finaliser."""

    def __del__(self) -> None:
        ctrl_c()


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def test_work_gives_what_it_gives_and_raises_what_it_raises() -> None:
    """From another thread than the one that asks."""
    assert interruptible(threading.current_thread) is not threading.main_thread()
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0)


def test_work_ends_where_it_heeds() -> None:
    """Not between two other lines; what asked it to end is forgotten with it."""
    done: list[str] = []

    def work() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        until(lambda: "asked" in done)
        done.append("not torn")
        heed()
        done.append("never")

    with pytest.raises(KeyboardInterrupt):
        interruptible(work, on_asked=lambda: done.append("asked"))
    assert done == ["asked", "not torn"]
    interruptible(heed)


def test_the_second_time_nobody_waits() -> None:
    """For work that does not heed."""
    ends = threading.Event()

    def work() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        ends.wait(30)

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interruptible(work, on_asked=ctrl_c)
    assert not ends.is_set()
    assert time.monotonic() - started < 20
    ends.set()


def test_what_is_held_back_comes_at_the_end() -> None:
    """An import is through by then; an error of it is no news for somebody who wants it to end."""
    through: list[bool] = []

    @held_back()
    def load(*, fails: bool) -> None:
        ctrl_c()
        through.append(True)
        if fails:
            raise ImportError

    for fails in (False, True):
        with pytest.raises(KeyboardInterrupt):
            load(fails=fails)
    assert len(through) == 2


def test_handlers_are_put_back() -> None:
    """After both, with and without a signal; one that the system has is left to it."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        for context in (held_back, remembered):
            with context():
                signal.raise_signal(signal.SIGTERM)
            with pytest.raises(KeyboardInterrupt), context():
                ctrl_c()
            assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_was_lost_is_raised_once_more() -> None:
    """Where the work next looks, or else at its end."""
    reached: list[str] = []

    def work(*, looks: bool) -> None:
        with remembered() as heed_all:
            heed_all()
            Lossy()
            reached.append("lost")
            if looks:
                heed_all()
            reached.append("end")

    for looks in (True, False):
        with pytest.raises(KeyboardInterrupt):
            work(looks=looks)
    assert reached == ["lost", "lost", "end"]


def test_an_interrupt_that_became_an_error_is_one() -> None:
    """As half an import is an AttributeError."""

    @remembered()
    def work() -> None:
        try:
            ctrl_c()
        except KeyboardInterrupt:
            raise AttributeError("partially initialized module") from None

    with pytest.raises(KeyboardInterrupt):
        work()


def test_an_interrupted_step_is_not_run_again_by_its_retry_policy() -> None:
    """Dagster asks the policy of an interrupt too: the run would go on though somebody has ended it."""
    tries: list[Callable[[], None]] = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1, delay=0.01))
    def interrupted() -> None:
        with _not_tried_again(), remembered() as heed_all:
            tries.append(heed_all)
            ctrl_c()

    result = dg.materialize([interrupted], raise_on_error=False)
    assert not result.success
    assert len(tries) == 1
    (failure,) = [e for e in result.all_events if e.is_step_failure]
    assert failure.step_failure_data.error is not None
    assert failure.step_failure_data.error.cls_name == RunInterrupted.__name__


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_command_line_that_is_interrupted_before_it_is_there_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    command = [sys.executable, "-m", "sentinel_assets", "--help"]
    early = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (early.returncode, early.stdout, early.stderr) == (-signal.SIGINT, "", "")
    whole = subprocess.run(command, capture_output=True, text=True, check=True)
    assert whole.stdout.startswith("Usage: ")
