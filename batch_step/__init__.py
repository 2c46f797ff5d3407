"""Dagster steps as AWS Batch jobs. See README.md in this folder."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batch_step.launcher import BatchStepLauncher as BatchStepLauncher
    from batch_step.notes import in_job as in_job
    from batch_step.notes import note_in as note_in
    from batch_step.notes import send_note as send_note
    from batch_step.notes import told as told
    from batch_step.reaper import orphan_reaper as orphan_reaper

__all__ = ["BatchStepLauncher", "in_job", "note_in", "orphan_reaper", "send_note", "told"]

_MODULES = {
    "BatchStepLauncher": "launcher",
    "in_job": "notes",
    "note_in": "notes",
    "orphan_reaper": "reaper",
    "send_note": "notes",
    "told": "notes",
}


def __getattr__(name: str) -> Any:
    """Imported on first use: the worker starts without what only the host needs."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
