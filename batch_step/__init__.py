"""Dagster steps as AWS Batch jobs. See README.md in this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batch_step.launcher import BatchStepLauncher as BatchStepLauncher
    from batch_step.reaper import orphan_reaper as orphan_reaper

__all__ = ["BatchStepLauncher", "orphan_reaper"]


def __getattr__(name: str) -> Any:
    """Imported on first use: the worker starts without what only the host needs."""
    if name == "BatchStepLauncher":
        from batch_step.launcher import BatchStepLauncher

        return BatchStepLauncher
    if name == "orphan_reaper":
        from batch_step.reaper import orphan_reaper

        return orphan_reaper
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
