"""Which job carries a step: one of its own, its run's, or one that another run of the same backfill has done with."""

from __future__ import annotations

import itertools
import logging
import time
from dataclasses import dataclass, replace
from hashlib import sha256
from uuid import uuid4

import dagster as dg

from batch_step import handover, shared_job
from batch_step.channel import EXECUTION, JOB, Channel, open_channel
from batch_step.claim import Claim
from batch_step.errors import ChannelUnavailable
from batch_step.handover import Offer
from batch_step.jobs import BatchJobs, JobRequest
from batch_step.limits import job_name, tag_value
from batch_step.records import Execution, JobRecord
from batch_step.terms import Terms
from batch_step.waiting import wait
from batch_step.watcher import JobWatcher, watcher_of

RUN_TAG, STEP_TAG, PARTITION_TAG = "dagster/run_id", "dagster/step", "dagster/partition"
BACKFILL_TAG = "dagster/backfill"
_TO_COME = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED]

_LOG = logging.getLogger(__name__)


@dataclass
class Carrier:
    """The job that carries the step, and where it was put in line if the job serves several."""

    job_id: str
    queue: str
    adopted: bool
    session: Channel | None = None
    slot: int = 0
    """The step's place in the line of a job that serves several."""
    runs_before: int = 0
    """How many runs have had the job before this one."""


class Carriers:
    """The jobs of one step of a run: `of` its channel, and `leave` when the run has no more steps for it."""

    def __init__(self, context: dg.StepExecutionContext, terms: Terms, jobs: BatchJobs) -> None:
        self._context, self._terms, self._jobs = context, terms, jobs

    @property
    def watcher(self) -> JobWatcher:
        return watcher_of(self._jobs, self._terms.describe_every_s, self._terms.unknown_after_s)

    def of(self, channel: Channel, queue: str) -> Carrier:
        """The job that the channel has already, or one on that queue."""
        record = _job_of(channel)
        execution = Execution.read(channel, EXECUTION)
        if record is not None:
            session = open_channel(record.session) if record.session else None
            job_id = execution.job_id if execution and execution.job_id else record.job_id
            return Carrier(job_id, record.queue, True, session, record.slot, record.runs_before)
        if execution is not None and execution.job_id:
            return Carrier(execution.job_id, queue, adopted=True)
        return self._put_in_line(channel, queue) if self._terms.shared else self._own_job(channel, queue)

    def leave(self, carrier: Carrier, *, has_failed: bool) -> None:
        """The run has no more steps for this job: it is left to the next run of the backfill, or ends.

        It ends where the last of them failed, too: whatever broke that one may have broken the process. Nothing is
        raised, as the final event is recorded by then: what cannot be said to the job, its idle time says.
        """
        session = carrier.session
        assert session is not None
        of = Offer(carrier.job_id, session.uri, carrier.runs_before + 1, uuid4().hex)
        try:
            if handover.is_offered(session, of):
                return  # by a run worker that was lost; the job may have gone on to another run
            if has_failed or not self._is_wanted(carrier):
                shared_job.close(session, "the run has no more steps for it")
            else:
                handover.offer(self._offers(carrier.queue), session, of)
        except ChannelUnavailable as error:
            _LOG.warning("job %s is left to end by itself in %g s: %s", carrier.job_id, self._terms.idle_s, error)

    def _own_job(self, channel: Channel, queue: str) -> Carrier:
        request = self._request(queue, channel.uri, [*self._terms.command, channel.uri], self._context.step.key)
        job_id, adopted = self._jobs.submit_or_adopt(request)
        JobRecord(job_id, queue, time.time(), adopted).write(channel, JOB)
        return Carrier(job_id, queue, adopted)

    def _put_in_line(self, channel: Channel, queue: str) -> Carrier:
        """Into the run's job for steps of this kind; another one where there is none that takes more."""
        for number in itertools.count():
            place = open_channel(f"{self._base(self._context.run_id)}/jobs-{self._kind(queue)}/{number}")
            record = self._shared_job(place, queue)
            if record is None:
                continue
            session = open_channel(record.session or place.uri)
            slot = shared_job.enqueue(session, channel.uri)
            if slot is None:
                continue
            replace(record, slot=slot).write(channel, JOB)
            return Carrier(record.job_id, queue, record.adopted, session, slot, record.runs_before)
        raise AssertionError("count() does not end")

    def _shared_job(self, place: Channel, queue: str) -> JobRecord | None:
        """The job of this place among those that the run has had; a new place is given one. None when it has ended."""
        record = _job_of(place)
        if record is None:
            claim = Claim(place, self._terms.beat_s, self._terms.takeover_s)
            while not claim.try_take() and (record := _job_of(place)) is None:
                wait(self._terms.poll_s)
            if record is None:
                with claim:
                    record = _job_of(place)
                    if record is None:
                        record = self._left_by_another(queue) or self._new_shared_job(place, queue)
                        record.write(place, JOB)
                        if not record.runs_before:
                            return record
        with self.watcher.watch(record.job_id) as watch:
            watch.changed.wait(self._terms.unknown_after_s)
            return None if watch.ended else record

    def _new_shared_job(self, place: Channel, queue: str) -> JobRecord:
        command = [*self._terms.command, "--serve", f"{self._terms.idle_s:g}", place.uri]
        job_id, adopted = self._jobs.submit_or_adopt(self._request(queue, place.uri, command, "run"))
        return JobRecord(job_id, queue, time.time(), adopted, session=place.uri)

    def _left_by_another(self, queue: str) -> JobRecord | None:
        offer = handover.take(self._offers(queue)) if self._terms.backfill else None
        if offer is None or not offer.is_within(self._base("")):
            return None
        return JobRecord(offer.job_id, queue, time.time(), True, session=offer.session, runs_before=offer.runs)

    def _offers(self, queue: str) -> Channel:
        """Where the backfill's runs leave jobs to each other: to those of the same code, as a job refuses any other."""
        code = sha256(repr(self._terms.code).encode()).hexdigest()[:8]
        return open_channel(f"{self._base(f'backfill-{self._terms.backfill}')}/offers-{self._kind(queue)}-{code}")

    def _is_wanted(self, carrier: Carrier) -> bool:
        """Whether another run of the backfill may have the job: one is to come, and no job waits for the host. One of
        the same backfill is no exception: it came first, and would wait until all others are done."""
        backfill = self._terms.backfill
        if backfill is None or carrier.runs_before + 1 >= self._terms.runs_per_job:
            return False
        try:
            to_come = dg.RunsFilter(tags={BACKFILL_TAG: backfill}, statuses=_TO_COME)
            is_to_come = self._context.instance.get_runs_count(to_come) > 0
            return is_to_come and not self._jobs.somebody_waits(carrier.queue)
        except Exception as error:  # noqa: BLE001 - Dagster's storage, or Batch: whatever it is, the step is over
            _LOG.warning("job %s is not left to another run: %s", carrier.job_id, error)
            return False

    def _base(self, of: str) -> str:
        return f"{self._terms.channel.rstrip('/')}/{of}"

    def _kind(self, queue: str) -> str:
        """Steps share a job only if they ask for the same machine and the same image."""
        t = self._terms
        kind = (queue, t.job_definition, t.vcpus, t.memory_mib, t.gpus, sorted(t.environment.items()))
        return sha256(repr(kind).encode()).hexdigest()[:8]

    def _request(self, queue: str, uri: str, command: list[str], label: str) -> JobRequest:
        t, run = self._terms, self._context.dagster_run
        tags = {RUN_TAG: run.run_id, STEP_TAG: label, PARTITION_TAG: run.tags.get("dagster/partition", "")}
        if t.shared and t.backfill:
            tags |= {BACKFILL_TAG: t.backfill, PARTITION_TAG: ""}  # it will serve several
        return JobRequest(
            # The digest is of the channel's address: this run, step, attempt and loss, and nothing else, has this name.
            name=job_name(t.name_prefix, label, run.run_id[:8], unique=sha256(uri.encode()).hexdigest()[:16]),
            queue=queue,
            definition=t.job_definition,
            command=command,
            environment=t.environment,
            tags={k: tag_value(v) for k, v in tags.items() if v},
            vcpus=t.vcpus,
            memory_mib=t.memory_mib,
            gpus=t.gpus,
            timeout_s=t.job_timeout_s,
            share=t.share,
            priority=t.priority,
        )


def _job_of(channel: Channel) -> JobRecord | None:
    data = channel.get(JOB)
    return None if data in (None, b"null") else JobRecord.read(channel, JOB)
