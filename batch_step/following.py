"""Following one job until its step is over: events, states and log lines as they come."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from batch_step.channel import ERROR, EXECUTION, MANIFEST, Channel
from batch_step.claim import Claim
from batch_step.cost import Timeline
from batch_step.dagster_internals import EngineEventData
from batch_step.failures import Evidence
from batch_step.logs import LogFollower, LogStream
from batch_step.partitions import apply_change
from batch_step.records import Execution, Manifest, WorkerError
from batch_step.rehome import Rehomer
from batch_step.streaming import EventReader
from batch_step.watcher import JobWatch

_MANIFEST_WAIT_S = 5.0  # it follows the final event at once
_POSITION_EVERY_S = 30.0

Identity = tuple[float, str | None, str]


def identity(entry: dg.EventLogEntry) -> Identity:
    """Tells entries of a run apart; re-homing leaves it as it is."""
    kind = entry.dagster_event.event_type_value if entry.dagster_event is not None else None
    return entry.timestamp, kind, entry.user_message


@dataclass
class StepEnd:
    """How following a job ended. With `final` the step is over; else `evidence` says what became of the job."""

    final: dg.EventLogEntry | None = None
    evidence: Evidence | None = None
    taken_by: str | None = None  # another job runs the step: follow that one
    untaken: bool = False  # the job ended before it took the step


@dataclass
class StepEvents:
    """The step's events on their way from the channel to the run: each is stored once and yielded once."""

    context: dg.StepExecutionContext
    channel: Channel
    recorded: Counter[Identity]  # what an earlier run worker of this run has stored
    on_event: Callable[[dg.EventLogEntry], object]  # is told of each, re-homed, before it is stored
    final: dg.EventLogEntry | None = None

    def __post_init__(self) -> None:
        self._reader = EventReader(self.channel)
        self._rehome = Rehomer(self.context)

    @property
    def chunks(self) -> int:
        return self._reader.chunks

    def new(self) -> Iterator[dg.DagsterEvent]:
        """All that has arrived. The final event is kept back: it must be the last thing that the run hears."""
        while entries := self._reader.read():
            for entry in entries:
                if _is_final(entry):
                    self.final = entry
                elif (event := self._store(entry)) is not None:
                    yield event

    def store_final(self) -> dg.DagsterEvent:
        assert self.final is not None
        event = self._store(self.final)
        assert event is not None
        return event

    def _store(self, entry: dg.EventLogEntry) -> dg.DagsterEvent | None:
        entry = self._rehome(entry)
        self.on_event(entry)
        who = identity(entry)
        if self.recorded[who] > 0:
            self.recorded[who] -= 1
        else:
            apply_change(self.context.instance, entry)  # before what may be of a partition that is new
            self.context.instance.handle_new_event(entry)
        return entry.dagster_event


def _is_final(entry: dg.EventLogEntry) -> bool:
    event = entry.dagster_event
    return event is not None and (event.is_step_success or event.is_step_failure or event.is_step_up_for_retry)


@dataclass
class Following:
    """One job, followed for one step."""

    context: dg.StepExecutionContext
    channel: Channel
    claim: Claim
    watch: JobWatch
    events: StepEvents
    log: LogFollower
    timeline: Timeline
    shared: bool  # the job serves other steps too, so its end and the step's are two things
    poll_seconds: float
    stuck_after_seconds: float
    purchase: str | None = None  # how the queue's hosts are bought, where the worker could not tell
    position: Callable[[], int | None] = lambda: None
    _told: str = ""
    _reason: tuple[str, float] = ("", 0.0)
    _position_at: float = field(default=0.0)
    _position: int | None = None

    def run(self) -> Generator[dg.DagsterEvent, None, StepEnd]:
        final_seen = 0.0
        while True:
            ended = self.watch.ended  # looked at before reading: what was written before the end is then surely seen
            yield from self.events.new()
            yield from self._tell_state()
            self.log.poll(LogStream.of_job(self.watch.detail))
            manifest = Manifest.read(self.channel, MANIFEST) if ended or self.shared or self.events.final else None
            if manifest is not None and self.events.chunks >= manifest.chunks:
                self._read_manifest(manifest)
                if self.events.final is not None:
                    return StepEnd(self.events.final)
                if ended:  # not before: what Batch says of the end explains what the worker says
                    return StepEnd(evidence=self._evidence())
            if self.events.final is not None:
                final_seen = final_seen or time.monotonic()
                if ended or time.monotonic() - final_seen > _MANIFEST_WAIT_S:
                    return StepEnd(self.events.final)
            elif ended and manifest is None:
                return self._without_manifest()
            elif self._is_stuck():
                return StepEnd(evidence=Evidence("RUNNABLE", self._reason[0], stuck=True))
            self.claim.require()
            with dg.raise_execution_interrupts():
                self.claim.superseded.wait(self.poll_seconds)

    def _read_manifest(self, manifest: Manifest) -> None:
        for name, at in manifest.marks.items():
            self.timeline.mark(name, at)

    def _without_manifest(self) -> StepEnd:
        execution = Execution.read(self.channel, EXECUTION)
        if execution is not None and execution.job_id not in ("", self.watch.job_id):
            return StepEnd(taken_by=execution.job_id)
        return StepEnd(evidence=self._evidence(), untaken=execution is None)

    def _evidence(self) -> Evidence:
        detail = self.watch.detail
        container = detail.get("container", {})
        execution = Execution.read(self.channel, EXECUTION)
        return Evidence(
            status=self.watch.status,
            status_reason=detail.get("statusReason", ""),
            container_reason=container.get("reason", ""),
            exit_code=container.get("exitCode"),
            error=WorkerError.read(self.channel, ERROR),
            purchase=(execution.purchase if execution is not None else None) or self.purchase,
            cancelled=bool(detail.get("isTerminated") or detail.get("isCancelled")),
        )

    def _is_stuck(self) -> bool:
        """RUNNABLE with one and the same reason for longer than a host needs to boot: a reason that shows up while the
        first instance is still coming is normal (Nextflow issue 7479)."""
        reason = self.watch.detail.get("statusReason", "") if self.watch.status == "RUNNABLE" else ""
        code = reason.split(" - ")[0]
        now = time.monotonic()
        if code != self._reason[0].split(" - ")[0] or not self._reason[1]:
            self._reason = reason, now
        return bool(reason) and now - self._reason[1] > self.stuck_after_seconds

    def _tell_state(self) -> Iterator[dg.DagsterEvent]:
        status, detail = self.watch.status, self.watch.detail
        if not detail:
            return
        self.timeline.read_job(detail)
        if status in ("STARTING", "RUNNABLE"):
            self.timeline.mark(status.lower(), time.time())
        reason = detail.get("statusReason", "") if status == "RUNNABLE" else ""
        said = f"{status} {reason}".strip()
        if said != self._told:
            self._told = said
            yield engine_event(
                self.context, f"Batch job {self.watch.job_id} is {status}{': ' + reason if reason else ''}"
            )
        if status == "RUNNABLE" and time.monotonic() - self._position_at > _POSITION_EVERY_S:
            self._position_at = time.monotonic()
            position = self.position()
            if position is not None and position != self._position:
                self._position = position
                yield engine_event(self.context, f"Batch job {self.watch.job_id} is number {position} in its queue")


def engine_event(
    context: dg.StepExecutionContext, message: str, metadata: dict[str, Any] | None = None
) -> dg.DagsterEvent:
    return dg.DagsterEvent.engine_event(context, message, EngineEventData(metadata or {}))
