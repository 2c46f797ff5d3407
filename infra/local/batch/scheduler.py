"""Which job goes on to which state, and which one is next to get a host."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable

from infra.local.batch.faults import TOO_LARGE, Faults, NoCapacity, Stuck
from infra.local.batch.host import Host
from infra.local.batch.jobs import Attempt, Ending, Job, Status, now_ms
from infra.local.batch.limits import Json
from infra.local.batch.logs import LogStream
from infra.local.batch.registry import Registry
from infra.local.batch.retries import is_retried
from infra.local.batch.settings import BatchSettings

_IDLE_S = 5.0  # all that happens wakes the scheduler; this is a net under it
_SNAPSHOT_JOBS = 100  # GetJobQueueSnapshot, service model

# The user guide's pages on jobs stuck in RUNNABLE
MAX_VCPUS_TOO_SMALL = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue cannot meet the CPU "
    "requirement of the job."
)
DEPENDENCY_FAILED = "Dependent Job failed"
CHILD_FAILED = "Array Child Job failed"

_log = logging.getLogger(__name__)


class Scheduler:
    """Holds the jobs. One thread moves them on, and each attempt has one of its own; `close` ends them all.

    `lock` guards jobs: whoever reads more than one field of one holds it.
    """

    def __init__(self, settings: BatchSettings, registry: Registry, faults: Faults, host: Host) -> None:
        self._settings, self._registry, self._faults, self._host = settings, registry, faults, host
        self._changed = threading.Condition(threading.RLock())
        self.lock = self._changed
        self.jobs: dict[str, Job] = {}
        self._active: dict[str, Job] = {}
        self._free_gpus = list(range(settings.gpus))
        self._attempts: set[threading.Thread] = set()
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="batch-scheduler", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def submit(self, jobs: list[Job]) -> None:
        with self._changed:
            for job in jobs:
                self.jobs[job.id] = self._active[job.id] = job
            self._changed.notify_all()

    def stop(self, job: Job, reason: str, *, terminate: bool) -> None:
        """Terminate, or cancel, which leaves alone what has a host (service model, CancelJob)."""
        with self._changed:
            if job.status.is_final:
                return
            if job.size is not None:
                job.is_cancelled, job.is_terminated = True, job.is_terminated or terminate
                for child in job.children:
                    self.stop(child, reason, terminate=terminate)
            elif job.status.has_host:
                if terminate:
                    job.is_terminated, job.stop_reason = True, reason
                    job.stopping.set()
            else:
                job.is_cancelled, job.is_terminated, job.stop_reason = True, terminate, reason
                if job.status is not Status.PENDING:  # which ends when its dependencies have
                    self._finish(job, Status.FAILED, reason)
            self._changed.notify_all()

    def front_of(self, queue: str) -> list[tuple[Job, int]]:
        """The next RUNNABLE jobs in the order in which they will start, each with the time (ms) it got there."""
        with self.lock:
            waiting = [job for job in self._active.values() if job.queue == queue and job.position is not None]
            places = sorted((job.position, job) for job in waiting if job.position)
            return [(job, since) for (_, since), job in places[:_SNAPSHOT_JOBS]]

    def vcpus_in_use(self, queue: str) -> float:
        with self.lock:
            return sum(job.vcpus for job in self._active.values() if job.queue == queue and job.status.has_host)

    def forget_all(self) -> None:
        """Kill what runs, wait for it to be gone, and forget every job."""
        with self._changed:
            for job in list(self._active.values()):
                self.stop(job, "The local Batch was reset", terminate=True)
        self._host.closing.set()
        self._join_attempts()
        with self._changed:
            self._host.closing.clear()
            self.jobs.clear()
            self._active.clear()
            self._later.clear()

    def close(self) -> None:
        """Kill what runs; no thread and no process of it is left."""
        self._host.closing.set()
        with self._changed:
            self._closing = True
            for job in self._active.values():
                job.stop_reason = job.stop_reason or "The local Batch was stopped"
                job.stopping.set()
            self._changed.notify_all()
        self._thread.join()
        self._join_attempts()
        for _, action in self._later:
            action()
        self._host.close()

    def _join_attempts(self) -> None:
        with self.lock:
            threads = list(self._attempts)
        for thread in threads:
            thread.join()

    # The thread that moves jobs on

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closing:
                    return
                wait_s = self._advance()
                actions = self._due_actions()
                if not actions:
                    self._changed.wait(wait_s)
            for action in actions:
                action()

    def _due_actions(self) -> list[Callable[[], None]]:
        now = time.monotonic()
        due = [action for when, action in self._later if when <= now]
        self._later = [(when, action) for when, action in self._later if when > now]
        return due

    def _advance(self) -> float:
        """Move on what can; after how many seconds to look again, if nothing happens."""
        now = time.monotonic()
        waits = [_IDLE_S, *(when - now for when, _ in self._later)]
        for job in list(self._active.values()):
            if job.size is not None:
                self._settle_array(job)
            elif job.status in (Status.SUBMITTED, Status.PENDING):
                waits.append(self._remaining(job, now))
                if waits[-1] <= 0:
                    self._check_dependencies(job)
        waits.extend([self._serve(queue, now) for queue in self._registry.queues()])
        return max(0.0, min(wait for wait in waits if wait > 0))

    def _remaining(self, job: Job, now: float) -> float:
        """How long a fault keeps it in its state yet."""
        return job.since + self._faults.slowness(job, job.next_attempt, job.status) - now

    def _check_dependencies(self, job: Job) -> None:
        states = [self.jobs[name].status for name in job.waits_for]
        over = all(state.is_final for state in states)
        if job.is_cancelled and over:
            self._finish(job, Status.FAILED, job.stop_reason)
        elif Status.FAILED in states:
            self._finish(job, Status.FAILED, DEPENDENCY_FAILED)
        elif over:
            job.enter(Status.RUNNABLE)
        elif job.status is not Status.PENDING:
            job.enter(Status.PENDING)

    def _settle_array(self, parent: Job) -> None:
        states = {child.status for child in parent.children}
        if all(state.is_final for state in states):
            failed = Status.FAILED in states
            self._finish(parent, Status.FAILED if failed else Status.SUCCEEDED, CHILD_FAILED if failed else None)
        elif parent.status is not Status.PENDING and states != {Status.SUBMITTED}:
            parent.enter(Status.PENDING)

    def _finish(self, job: Job, status: Status, reason: str | None) -> None:
        job.enter(status, reason)
        self._active.pop(job.id, None)
        self._changed.notify_all()

    # Placing

    def _serve(self, queue: Json, now: float) -> float:
        """Start the queue's jobs, strictly in order: one that cannot be placed keeps those behind it waiting."""
        name, waits = queue["jobQueueName"], [_IDLE_S]
        waiting = []
        for job in self._active.values():
            if job.queue == name and job.status is Status.RUNNABLE:
                remaining = self._remaining(job, now)
                if remaining > 0:
                    waits.append(remaining)
                waiting.append(job)
        while waiting:
            job = min(waiting, key=self._turn(queue))
            if self._remaining(job, now) > 0 or not self._place(job, queue):
                waits.append(self._limit_time(job, queue, now))
                break
            waiting.remove(job)
        for place, job in enumerate(sorted(waiting, key=self._turn(queue))):
            if job.status is Status.RUNNABLE and (job.position is None or job.position[0] != place):
                job.position = (place, now_ms())
        return min(wait for wait in waits if wait > 0)

    def _turn(self, queue: Json) -> Callable[[Job], tuple[float, int, int]]:
        """First come, first served; with a scheduling policy the share that uses least, then priority, then that."""
        if "schedulingPolicyArn" not in queue:
            return lambda job: (0.0, 0, job.order)
        weights = self._registry.weights_of(queue)
        usage: dict[str, float] = {}
        for job in self._active.values():
            if job.queue == queue["jobQueueName"] and job.status.has_host:
                share = job.share or ""
                usage[share] = usage.get(share, 0.0) + job.vcpus * _weight(weights, share)
        return lambda job: (usage.get(job.share or "", 0.0), -(job.priority or 0), job.order)

    def _place(self, job: Job, queue: Json) -> bool:
        """Give it a host, or say why it has none. True also when the job is over instead."""
        if job.refusal is not None:
            self._finish(job, Status.FAILED, job.refusal)
            return True
        reasons = [fault.reason for fault in self._faults.on_job(Stuck, job)]
        reasons += [fault.reason for fault in self._faults.on_job(NoCapacity, job)]
        if reasons:
            job.block(reasons[0])
            return False
        environments = [e for e in self._registry.environments_of(queue) if e["state"] == "ENABLED"]
        limits = {e["computeEnvironmentName"]: _max_vcpus(e) for e in environments}
        if limits and all(job.vcpus > limit for limit in limits.values()):
            job.block(MAX_VCPUS_TOO_SMALL)
            return False
        gpus = int(job.needs("GPU"))
        job.block(TOO_LARGE if gpus > self._settings.gpus else None)
        for name, limit in limits.items():
            if self._used_vcpus(name) + job.vcpus <= limit and gpus <= len(self._free_gpus):
                job.gpus, self._free_gpus = self._free_gpus[:gpus], self._free_gpus[gpus:]
                self._start(job, name)
                return True
        return False

    def _used_vcpus(self, environment: str) -> float:
        running = (job for job in self._active.values() if job.environment == environment and job.status.has_host)
        return sum(job.vcpus for job in running)

    def _limit_time(self, job: Job, queue: Json, now: float) -> float:
        """Take the queue's jobStateTimeLimitActions on the job at its head; seconds until the next is due."""
        waits = [_IDLE_S]
        for action in queue.get("jobStateTimeLimitActions", []):
            if job.status_reason and job.status_reason.startswith(action["reason"]):
                remaining = job.blocked_since + action["maxTimeSeconds"] - now
                if remaining > 0:
                    waits.append(remaining)
                else:
                    job.is_cancelled = True
                    reason = f"Canceled by JobStateTimeLimit action due to reason: {action['reason']}"
                    self._finish(job, Status.FAILED, reason)
                    return 0.001  # the next one is at the head
        return min(waits)

    # Attempts

    def _start(self, job: Job, environment: str) -> None:
        task = uuid.uuid4().hex
        options = job.container.get("logConfiguration", {}).get("options", {})
        prefix = options.get("awslogs-stream-prefix", job.definition)
        job.environment = environment
        job.current = Attempt(
            number=job.next_attempt,
            task_arn=self._settings.ecs_arn("task", task),
            host_arn=self._settings.ecs_arn("container-instance", task),
            log_stream=f"{prefix}/default/{task}",
        )
        job.enter(Status.STARTING)
        thread = threading.Thread(
            target=self._attempt, args=(job, job.current), name=f"batch-job-{job.id}", daemon=True
        )
        self._attempts.add(thread)
        thread.start()

    def _attempt(self, job: Job, attempt: Attempt) -> None:
        try:
            ending = self._host.run(job, attempt, lambda: self._started(job, attempt), self._open_later)
        except Exception as error:  # noqa: BLE001 - the top of a thread: a fault of ours must not look like a job that runs
            _log.exception("attempt %s of job %s", attempt.number, job.id)
            ending = Ending(f"Internal error of the local Batch: {error!r}", is_final=True)
        with self._changed:
            self._ended(job, attempt, ending)
            self._attempts.discard(threading.current_thread())

    def _started(self, job: Job, attempt: Attempt) -> None:
        with self.lock:
            job.started_at = attempt.started_at
            job.enter(Status.RUNNING)

    def _open_later(self, stream: LogStream) -> None:
        with self._changed:
            self._later.append((stream.opens_at, lambda: stream.deliver(now=True)))
            self._changed.notify_all()

    def _ended(self, job: Job, attempt: Attempt, ending: Ending) -> None:
        attempt.ending = ending
        if attempt.stopped_at is None:  # it had no process
            attempt.stopped_at = now_ms()
        job.attempts.append(attempt)
        job.current = None
        self._free_gpus = sorted([*self._free_gpus, *job.gpus])
        job.gpus = []
        job.environment = None
        final = ending.is_final or job.is_terminated
        made = len(job.attempts)
        if ending.succeeded:
            self._finish(job, Status.SUCCEEDED, ending.status_reason)
        elif final or not is_retried(job.retry_strategy, made, ending.exit_code, ending.reason, ending.status_reason):
            self._finish(job, Status.FAILED, ending.status_reason)
        else:
            job.enter(Status.RUNNABLE)
            self._changed.notify_all()


def _max_vcpus(environment: Json) -> float:
    return float(environment.get("computeResources", {}).get("maxvCpus", environment.get("unmanagedvCpus", 0)))


def _weight(weights: dict[str, float], share: str) -> float:
    """A factor for `name*` is that of each share whose identifier begins so (service model, ShareAttributes)."""
    for identifier, weight in weights.items():
        if identifier == share or (identifier.endswith("*") and share.startswith(identifier[:-1])):
            return weight
    return 1.0
