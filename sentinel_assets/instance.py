"""How Dagster itself is set up: what it keeps, in which order runs come, and what becomes of a lost one.

Written as dagster.yaml by `workplace.dagster_home`; infra deployments have the same, with their own storage.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

GPU_POOL = "gpu"

_RUNS = 8  # at once: each is a process of 150 MB, most of the time waiting for its jobs
BACKFILL_RUNS = 4  # of them; the rest is kept for uploads
_GPU_STEPS = 4  # at once: as many as there are hosts at most


def postgres_storage(config: Mapping[str, Any]) -> dict[str, Any]:
    """The storage of records there; `config` is that of Dagster's own storage `postgres`."""
    ours = {"module": "resources.dagster_storage", "class": "PooledPostgresStorage", "config": dict(config)}
    return {"custom": ours}


def for_commands(storage: Mapping[str, Any] | None) -> dict[str, Any]:
    """Of a command that executes runs in its own process, without a daemon."""
    return {
        **_common(storage),
        # Dagster would follow stdout and stderr with processes of its own, which a Ctrl-C in the terminal makes
        # print tracebacks. What a stage has to say goes to the run's events.
        "compute_logs": {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
        },
    }


def for_daemon(storage: Mapping[str, Any] | None, logs: Path) -> dict[str, Any]:
    """Of the webserver, the daemon and the runs that it starts; `logs` gets what steps and runs print."""
    return {
        **_common(storage),
        "compute_logs": {
            "module": "dagster.core.storage.local_compute_log_manager",
            "class": "LocalComputeLogManager",
            "config": {"base_dir": str(logs / "steps")},
        },
        "run_launcher": {
            "module": "batch_step.run_launcher",
            "class": "ProcessRunLauncher",
            "config": {"log_dir": str(logs / "runs")},
        },
        "run_queue": {"dequeue_interval_seconds": 1, "dequeue_use_threads": True},
        "concurrency": {
            "pools": {"granularity": "op", "default_limit": _GPU_STEPS},
            "runs": {
                "max_concurrent_runs": _RUNS,
                "tag_concurrency_limits": [
                    # Runs of one video one after the other: two would write the same tables.
                    {"key": "dagster/partition", "value": {"applyLimitPerUniqueValue": True}, "limit": 1},
                    # An upload finds a free place however many videos are redone.
                    {"key": "dagster/backfill", "limit": BACKFILL_RUNS},
                ],
            },
        },
        "run_monitoring": {
            "enabled": True,
            "poll_interval_seconds": 5,
            "start_timeout_seconds": 180,
            "cancel_timeout_seconds": 180,
            "max_resume_run_attempts": 3,
            "free_slots_after_run_end_seconds": 30,
        },
        # A run that could not be resumed is started anew twice; a step that failed has had its own retries.
        "run_retries": {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False},
        "sensors": {"use_threads": True, "num_workers": 4},
    }


def _common(storage: Mapping[str, Any] | None) -> dict[str, Any]:
    kept = {"storage": dict(storage)} if storage is not None else {}
    return {"telemetry": {"enabled": False}, "nux": {"enabled": False}, **kept}
