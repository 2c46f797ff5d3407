"""What an instance with its ECS agent does for one attempt of a job: pull, inject, start, follow, stop."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.exceptions

from infra.local.batch.faults import Faults, LateLogs, OutOfMemory, PullError, SpotReclaim
from infra.local.batch.jobs import Attempt, Ending, Job, now_ms
from infra.local.batch.limits import Json
from infra.local.batch.logs import DEFAULT_GROUP, LogService, LogStream
from infra.local.batch.process import Process, Reaper
from infra.local.batch.settings import BatchSettings

_TICK_S = 0.05  # between two looks at whether a running job is to stop; its end and its output are seen at once

# In AWS's words
EXITED = "Essential container in task exited"
NOT_STARTED = "Task failed to start"
TIMED_OUT = "Job attempt duration exceeded timeout"
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"


@dataclass(frozen=True)
class _Interruption:
    """Why a process does not go on to its own end. It has `grace_s` after SIGTERM; at 0 it is killed without one."""

    ending: Callable[[int], Ending]
    """Of the exit code that the process then has."""
    grace_s: float


@dataclass(frozen=True)
class Clients:
    """boto3 clients of this server, as the agent's role has them."""

    secretsmanager: Any
    ssm: Any
    logs: LogService


class Host:
    """Runs attempts, each in the thread of its caller."""

    def __init__(
        self, settings: BatchSettings, faults: Faults, clients: Clients, environment: Mapping[str, str]
    ) -> None:
        """`environment`: what every container here is given, before the image's and the job's own."""
        self._settings, self._faults, self._clients = settings, faults, clients
        self._environment = dict(environment)
        self._reaper = Reaper()
        self.closing = threading.Event()
        """Once set, what runs is killed without grace."""
        self._running: dict[str, int] = {}

    def close(self) -> None:
        self._reaper.close()

    def running(self) -> dict[str, int]:
        return dict(self._running)

    def run(
        self, job: Job, attempt: Attempt, on_started: Callable[[], None], on_late_logs: Callable[[LogStream], None]
    ) -> Ending:
        """The whole attempt. `on_late_logs` gets the stream when it is to open only after the attempt."""
        if job.stopping.wait(self._faults.slowness(job, attempt.number, "STARTING")):
            return Ending(job.stop_reason or "", is_final=True)
        for fault in self._faults.on_job(PullError, job, attempt.number):
            return Ending(NOT_STARTED, reason=fault.message)
        try:
            environment = self._container_environment(job, attempt)
        except (botocore.exceptions.ClientError, KeyError, ValueError) as error:
            reason = f"ResourceInitializationError: unable to pull secrets or registry auth: {error}"
            return Ending(NOT_STARTED, reason=reason)
        with self._workdir() as folder:
            try:
                if self._settings.workdir is None:  # what a container writes to /tmp goes with it
                    environment = {"TMPDIR": str(folder), **environment}
                process = Process(job.container["command"], environment, folder, self._reaper)
            except (OSError, ValueError) as error:
                reason = f"CannotStartContainerError: Error response from daemon: failed to create task: {error}"
                return Ending(NOT_STARTED, reason=reason)
            stream = self._stream(job, attempt)
            try:
                attempt.started_at = now_ms()
                self._running[job.id] = process.pid
                on_started()
                interruption = self._follow(process, job, attempt, stream)
            finally:
                self._running.pop(job.id, None)
                stream.write(process.close())
                attempt.stopped_at = now_ms()
                stream.end()
                stream.deliver(now=True)
            if time.monotonic() < stream.opens_at:
                on_late_logs(stream)
        self.closing.wait(self._faults.slowness(job, attempt.number, "RUNNING"))
        code = process.exit_code()
        assert code is not None
        if interruption is not None:
            return interruption.ending(code)
        return Ending(EXITED, code, OUT_OF_MEMORY if process.was_killed else "")

    def _follow(self, process: Process, job: Job, attempt: Attempt, stream: LogStream) -> _Interruption | None:
        """Until the process has ended; why, if not by itself."""
        began = time.monotonic()
        interruption, kill_at = None, 0.0
        while True:
            now = time.monotonic()
            if interruption is None:
                interruption = self._interruption(job, attempt, now - began)
                if interruption is not None:
                    kill_at = now + interruption.grace_s
                    if interruption.grace_s > 0:
                        process.ask_to_end()
            if interruption is not None and (now >= kill_at or self.closing.is_set()):
                process.kill()
            stream.deliver()
            if process.exit_code() is not None:
                return interruption
            stream.write(process.read(_TICK_S))

    def _interruption(self, job: Job, attempt: Attempt, running_s: float) -> _Interruption | None:
        for loss in self._faults.on_job(SpotReclaim, job, attempt.number):
            if running_s >= loss.after_s - loss.notice_s:
                return _reclaim(loss)
        for kill in self._faults.on_job(OutOfMemory, job, attempt.number):
            if running_s >= kill.after_s:
                return _Interruption(lambda _: Ending(EXITED, 137, OUT_OF_MEMORY), 0.0)
        if job.stopping.is_set():
            reason = job.stop_reason or ""
        elif job.timeout_s is not None and running_s >= job.timeout_s:
            reason = TIMED_OUT
        else:
            return None
        grace_s = 0.0 if self.closing.is_set() else self._settings.grace_s
        return _Interruption(lambda code: Ending(reason, code, is_final=True), grace_s)

    def _stream(self, job: Job, attempt: Attempt) -> LogStream:
        late = max((fault.seconds for fault in self._faults.on_job(LateLogs, job, attempt.number)), default=0.0)
        options = job.container.get("logConfiguration", {}).get("options", {})
        group = options.get("awslogs-group", DEFAULT_GROUP)
        return LogStream(self._clients.logs, group, attempt.log_stream, time.monotonic() + late)

    @contextmanager
    def _workdir(self) -> Iterator[Path]:
        if self._settings.workdir is not None:
            yield self._settings.workdir
            return
        with tempfile.TemporaryDirectory(dir=self._reaper.folder, ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    def _container_environment(self, job: Job, attempt: Attempt) -> dict[str, str]:
        environment = {**self._environment, **self._settings.environment}
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, job.gpus))
        environment |= {variable["name"]: variable["value"] for variable in job.container["environment"]}
        environment |= {secret["name"]: self._secret(secret["valueFrom"]) for secret in job.container["secrets"]}
        # The user guide's job_env_vars page
        environment |= {
            "AWS_BATCH_JOB_ID": job.id,
            "AWS_BATCH_JOB_ATTEMPT": str(attempt.number),
            "AWS_BATCH_JQ_NAME": job.queue,
            "AWS_BATCH_CE_NAME": job.environment or "",
        }
        if job.index is not None:
            environment["AWS_BATCH_JOB_ARRAY_INDEX"] = str(job.index)
            environment["AWS_BATCH_JOB_ARRAY_SIZE"] = str(job.array_size)
        return environment

    def _secret(self, reference: str) -> str:
        """Of Secrets Manager (`arn...:secret:name-suffix[:json-key[:stage[:version]]]`), else a parameter of SSM."""
        if ":secretsmanager:" not in reference:
            name = reference.split(":parameter", 1)[-1]
            return str(self._clients.ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])
        parts = reference.split(":")
        arn, (key, stage, version) = ":".join(parts[:7]), [*parts[7:], "", "", ""][:3]
        wanted: Json = {"SecretId": arn}
        wanted |= {"VersionStage": stage} if stage else {}
        wanted |= {"VersionId": version} if version else {}
        text = str(self._clients.secretsmanager.get_secret_value(**wanted)["SecretString"])
        return str(json.loads(text)[key]) if key else text


def _reclaim(loss: SpotReclaim) -> _Interruption:
    grace_s = min(loss.notice_s, loss.after_s)

    def ending(code: int) -> Ending:
        if code == 0 and grace_s > 0:
            return Ending(EXITED, code)  # it had finished when the host went
        return Ending(f"Host EC2 (instance {loss.instance}) terminated.")

    return _Interruption(ending, grace_s)
