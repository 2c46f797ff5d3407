"""Dagster's multiprocess executor runs each step in a child of the run worker. When the run worker is killed, a child
that follows a job would go on beating the job's lease, for a run that nobody executes any more.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from typing import Any

from batch_step.dagster_internals import execute_command_in_child_process

_GONE = "batch_step: the run worker of this step is gone; ending with it, as if both had been killed"


def end_with_run_worker() -> None:
    """From now on this process ends when the run worker does; its job then hears no beat, or that of a run worker that
    resumes the run. Nothing is recorded of it: to Dagster it is the run worker that was lost.

    Does nothing where this process is the run worker itself, which may outlive what launched it.
    """
    run_worker = multiprocessing.parent_process()
    this: Any = multiprocessing.current_process()
    if run_worker is None or getattr(this, "_target", None) is not execute_command_in_child_process:
        return

    def end() -> None:
        run_worker.join()  # it wakes when the kernel closes a pipe of the run worker: no pid is compared, none polled
        print(_GONE, file=sys.stderr, flush=True)  # noqa: T201 - the step's compute log
        os._exit(1)

    threading.Thread(target=end, name="batch-step-parent", daemon=True).start()
