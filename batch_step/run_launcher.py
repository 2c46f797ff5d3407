"""Launches each Dagster run as a process of this machine, and can tell whether it still lives.

Dagster's own launcher for one machine cannot: a run whose process was killed is then failed, or counts as started for
ever. With this one, run monitoring finds it within its poll interval and resumes it: a new process executes the same
run, whose steps on AWS Batch follow the jobs that they had. In dagster.yaml:

    run_launcher:
      module: batch_step.run_launcher
      class: ProcessRunLauncher
      config: {log_dir: /var/log/runs}
    run_monitoring: {enabled: true, poll_interval_seconds: 5, max_resume_run_attempts: 3}

Where a machine is replaced by another of which there is one at a time (an ECS service of one task), `alone: true` says
so: a run of the machine before is then a lost run, to be resumed here, and not one that somebody else looks after. The
daemon and the webserver have to see each other's processes (`pidMode: task`).
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Self

import dagster as dg
import psutil
from dagster._core.launcher.base import (
    CheckRunHealthResult,
    LaunchRunContext,
    ResumeRunContext,
    RunLauncher,
    WorkerStatus,
)
from dagster._grpc.types import ExecuteRunArgs, ResumeRunArgs
from dagster._serdes import ConfigurableClass
from dagster._serdes.config_class import ConfigurableClassData

__all__ = ["ProcessRunLauncher", "Worker"]

WORKER_TAG = "batch_step/worker"

_SAME_START_S = 1.0  # the kernel counts starts in ticks of 10 ms; a recycled pid starts later than this


@dataclass(frozen=True)
class Worker:
    """The process of a run, told from a later one of the same pid by its start, s since the epoch."""

    host: str
    pid: int
    started: float

    @classmethod
    def of_tags(cls, tags: Mapping[str, str]) -> Self | None:
        """None for a run that was not launched here."""
        return cls(**json.loads(tags[WORKER_TAG])) if WORKER_TAG in tags else None

    def process(self) -> psutil.Process | None:
        """None when it is gone."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _SAME_START_S
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


class ProcessRunLauncher(RunLauncher, ConfigurableClass):
    """`log_dir` gets a file for each run: what its process prints. Without it, that goes where the daemon's goes.

    `alone`: no other machine launches runs of this instance at the same time.
    """

    def __init__(
        self, log_dir: str | None = None, alone: bool = False, inst_data: ConfigurableClassData | None = None
    ) -> None:
        self._log_dir = Path(log_dir) if log_dir else None
        self._alone = alone
        self._inst_data = inst_data
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {
            "log_dir": dg.Field(dg.StringSource, is_required=False),
            "alone": dg.Field(dg.BoolSource, is_required=False, default_value=False),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        return cls(inst_data=inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        origin = context.job_code_origin
        assert origin is not None, "a run of a job that is in no code location"
        run_id = context.dagster_run.run_id
        args = ExecuteRunArgs(job_origin=origin, run_id=run_id, instance_ref=self._instance.get_ref())
        self._start(run_id, args.get_command_args())

    @property
    def supports_resume_run(self) -> bool:
        return True

    def resume_run(self, context: ResumeRunContext) -> None:
        origin = context.job_code_origin
        assert origin is not None, "a run of a job that is in no code location"
        run_id = context.dagster_run.run_id
        args = ResumeRunArgs(job_origin=origin, run_id=run_id, instance_ref=self._instance.get_ref())
        self._start(run_id, args.get_command_args())

    def terminate(self, run_id: str) -> bool:
        """Interrupt the run's process, which ends its jobs and calls the run canceled; False where there is none."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        process = self._process(run)
        if process is None:
            if self._is_elsewhere(run):
                return False
            self._instance.report_run_canceled(run, "The run's process was gone already.")
            return True
        process.send_signal(signal.SIGINT)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """A run that no launcher started, or one on another machine, is none of its business: taken for alive."""
        if self._is_elsewhere(run) or self._process(run) is not None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "the run's process is gone")

    def get_run_worker_debug_info(self, run: dg.DagsterRun, include_container_logs: bool | None = True) -> str | None:
        if self._log_dir is None:
            return "What the run's process printed is in the log of the daemon"
        log = self._log_dir / f"{run.run_id}.log"
        return f"What the run's process printed is in {log}" if log.exists() else None

    def _start(self, run_id: str, arguments: Sequence[str]) -> None:
        self._reap()
        with self._log(run_id) as log:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # it outlives the daemon, and what is typed at the daemon's terminal
            )
        self._started[run_id] = process
        worker = Worker(socket.gethostname(), process.pid, psutil.Process(process.pid).create_time())
        self._instance.add_run_tags(run_id, {WORKER_TAG: json.dumps(asdict(worker))})

    def _process(self, run: dg.DagsterRun) -> psutil.Process | None:
        self._reap()
        now = self._instance.get_run_by_id(run.run_id)  # the tag of a run that was resumed is a new one
        worker = Worker.of_tags((now or run).tags)
        return worker.process() if worker else None

    def _is_elsewhere(self, run: dg.DagsterRun) -> bool:
        worker = Worker.of_tags(run.tags)
        return worker is None or (worker.host != socket.gethostname() and not self._alone)

    def _reap(self) -> None:
        self._started = {run_id: process for run_id, process in self._started.items() if process.poll() is None}

    @contextmanager
    def _log(self, run_id: str) -> Iterator[IO[bytes] | None]:
        """Where what the run's process prints is appended; None: where our own output goes."""
        if self._log_dir is None:
            yield None
            return
        self._log_dir.mkdir(parents=True, exist_ok=True)
        with (self._log_dir / f"{run_id}.log").open("ab") as log:
            yield log
