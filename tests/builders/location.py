"""The code location with what tests vary: TEST_EXECUTOR (in_process, multiprocess) and TEST_REUSE (run, step)."""

import os

import dagster as dg

from resources.settings import Settings
from sentinel_assets.definitions import definitions

_EXECUTORS: dict[str, dg.ExecutorDefinition] = {
    "in_process": dg.in_process_executor,
    # Forked from a process that has loaded all this: on two cores a bare start is most of what a step takes here.
    "multiprocess": dg.multiprocess_executor.configured({"start_method": {"forkserver": {}}}),
}
_LAUNCHER = {
    "reuse": os.environ.get("TEST_REUSE", "run"),
    # On a machine that does other things too a process takes its time to start, and so does the step after the next.
    "idle_seconds": 900,
    "lease_seconds": 120,
}

defs = definitions(
    Settings.from_env(), executor=_EXECUTORS[os.environ.get("TEST_EXECUTOR", "in_process")], launcher=_LAUNCHER
)
