"""The code location with what tests vary: TEST_EXECUTOR (in_process, multiprocess) and TEST_REUSE (run, step)."""

import os
from typing import Any

import dagster as dg

from resources.settings import Settings
from sentinel_assets.definitions import definitions

_EXECUTORS: dict[str, dg.ExecutorDefinition] = {
    "in_process": dg.in_process_executor,
    "multiprocess": dg.multiprocess_executor,
}
_reuse: Any = os.environ.get("TEST_REUSE", "run")

defs = definitions(
    Settings.from_env(), executor=_EXECUTORS[os.environ.get("TEST_EXECUTOR", "in_process")], reuse=_reuse
)
