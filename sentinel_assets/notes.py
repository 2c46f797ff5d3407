"""What a stage on a job says of its video: notes, which `gpu_steps.GpuSteps` writes to the warehouse for it.

A job has no route to the database. Both halves of the conversation are here: what is sent, and how it is read.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import dagster as dg

from batch_step import send_note

_INTERVAL_S = 2.0  # between two notes of a stage's progress: each is a line on the run's page


class VideoLog(Protocol):
    """A stage's remarks on its video: `resources.provided.AnalysisLog` where there is a database, else notes."""

    def progress(self, partition: str, run_id: str, percent: float, stage: str) -> None: ...

    def add_warning(self, partition: str, text: str) -> None: ...


@dataclass
class NotedLog:
    """A VideoLog for one stage on a job, whose part of the video's 0..100 ends at `last`."""

    context: dg.AssetExecutionContext
    last: float
    _sent_at: float = field(default=0.0, init=False)

    def progress(self, partition: str, run_id: str, percent: float, stage: str) -> None:
        now = time.monotonic()
        if self._sent_at and now - self._sent_at < _INTERVAL_S and percent < self.last:
            return  # but never of the last word: nothing would come after it to bring the row up to it
        self._sent_at = now
        note = {"progress": percent, "stage": stage, "partition": partition, "run_id": run_id}
        send_note(self.context, f"video {partition}: {percent:.0f}%, {stage}", note)

    def add_warning(self, partition: str, text: str) -> None:
        send_note(self.context, f"video {partition}: {text}", {"warning": text, "partition": partition})


def write_down(note: dict[str, Any], log: VideoLog) -> None:
    """What a note of a NotedLog says, into another log; notes of other kinds are left alone."""
    if "progress" in note:
        log.progress(note["partition"], note["run_id"], note["progress"], note["stage"])
    elif "warning" in note:
        log.add_warning(note["partition"], note["warning"])
