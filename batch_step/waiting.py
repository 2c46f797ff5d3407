"""Waiting that the termination of a run ends at once."""

from __future__ import annotations

import time

import dagster as dg


def wait(seconds: float) -> None:
    """Raises DagsterExecutionInterruptedError when the run is terminated meanwhile; `time.sleep` would go on."""
    with dg.raise_execution_interrupts():
        time.sleep(seconds)
