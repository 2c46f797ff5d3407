"""Waiting: such that the termination of a run ends it at once, and not for ever."""

from __future__ import annotations

import time
from collections.abc import Iterator

PATIENCE_S = 300.0  # how long a service may be away, or throttle, before what needs it fails
_SLOWEST_S = 20.0


def wait(seconds: float) -> None:
    """Raises DagsterExecutionInterruptedError when the run is terminated meanwhile; `time.sleep` would go on."""
    import dagster as dg

    with dg.raise_execution_interrupts():
        time.sleep(seconds)


def delays(patience_s: float = PATIENCE_S) -> Iterator[float]:
    """Seconds to wait after each of several tries, each twice the one before, until they come to `patience_s`."""
    delay, total = 0.5, 0.0
    while total < patience_s:
        yield delay
        total += delay
        delay = min(delay * 2, _SLOWEST_S)
