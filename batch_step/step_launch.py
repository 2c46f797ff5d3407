"""One step of one run, from the launcher's call to its final event: as many jobs as the infrastructure budget allows.

Each job has a channel of its own, `<base>/<run>/<step>/<attempt>.<loss>`, in which the step runs at most once. A run
worker that resumes a run walks the same channels: it replays what is finished and follows what is in flight.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg

from batch_step import clients, console, cost, shared_job
from batch_step.carriers import Carrier, Carriers
from batch_step.channel import ABANDONED, EXECUTION, JOB, REFERENCE, Channel, open_channel, path_part
from batch_step.claim import Claim
from batch_step.cost import Accounts
from batch_step.dagster_internals import step_context_to_step_run_ref
from batch_step.errors import StepLost
from batch_step.failures import Evidence, FailureClass, RetriedBy, classify
from batch_step.following import Following, StepEnd, StepEvents, engine_event, identity
from batch_step.jobs import BatchJobs
from batch_step.logs import LogFollower, LogStream
from batch_step.parent import end_with_run_worker
from batch_step.partitions import dynamic_partitions_of
from batch_step.records import Abandoned, Execution, WorkerError
from batch_step.reference import StepReference
from batch_step.terms import Terms
from batch_step.waiting import wait
from batch_step.watcher import JobWatch

RUN_TAG, STEP_TAG, PARTITION_TAG = "dagster/run_id", "dagster/step", "dagster/partition"
_SLOWEST_RETRY_S = 120.0


class StepLaunch:
    """Runs the step of `context` as Batch jobs; `events` is what `StepLauncher.launch_step` returns."""

    def __init__(
        self,
        context: dg.StepExecutionContext,
        terms: Terms,
        jobs: BatchJobs,
        is_last: Callable[[bool], bool],
        on_event: Callable[[dg.EventLogEntry], object],
    ) -> None:
        self._context, self._terms, self._jobs = context, terms, jobs
        self._is_last, self._on_event = is_last, on_event
        self._carriers = Carriers(context, terms, jobs)
        self._attempt = context.previous_attempt_count

    def events(self) -> Iterator[dg.DagsterEvent]:
        end_with_run_worker()
        losses: list[Abandoned] = []
        while True:
            channel = open_channel(self._channel_uri(len(losses)))
            loss = Abandoned.read(channel, ABANDONED)
            if loss is None:
                loss = yield from self._one_job(channel, losses)
            if loss is None:
                return  # never raise after a final event: Dagster cannot digest both (its issue 10086)
            losses.append(loss)
            failure = FailureClass[loss.failure]
            if failure.retried_by is not RetriedBy.LAUNCHER or len(losses) > self._terms.infrastructure_retries:
                links = self._links(loss.job_id, channel) if loss.job_id else {"channel": _path(channel)}
                yield self._event(cost.TOOK, {**_paid_for(losses).metadata(), **links})
                raise self._lost(failure, losses)
            delay = min(_SLOWEST_RETRY_S, self._terms.retry_delay_s * 2 ** (len(losses) - 1))
            yield self._event(
                f"{failure.summary}; trying again in {delay:.0f} s on {self._terms.queue_after(losses)}"
                f" ({len(losses)} of {self._terms.infrastructure_retries} infrastructure retries)"
            )
            wait(delay)

    def _channel_uri(self, loss: int) -> str:
        step = path_part(self._context.step.key)
        return f"{self._terms.channel.rstrip('/')}/{self._context.run_id}/{step}/{self._attempt}.{loss}"

    # One job: until the step is over (None) or the job is given up.

    def _one_job(self, channel: Channel, losses: list[Abandoned]) -> Generator[dg.DagsterEvent, None, Abandoned | None]:
        claim = Claim(channel, self._terms.beat_s, self._terms.takeover_s)
        yield from self._take(claim)
        with claim:
            if not claim.is_first and (given_up := Abandoned.read(channel, ABANDONED)) is not None:
                return given_up
            if channel.get(REFERENCE) is None:
                channel.put(REFERENCE, self._reference().dump())
            for replaced in itertools.count():
                carrier = self._carriers.of(channel, self._terms.queue_after(losses))
                end, paid = yield from self._follow(channel, claim, carrier, _paid_for(losses))
                if end.evidence is None:
                    return None
                failure = classify(end.evidence)
                untaken = end.untaken and failure.retried_by is RetriedBy.LAUNCHER
                if not untaken or carrier.session is None or replaced == self._terms.infrastructure_retries:
                    loss = Abandoned(failure.name, end.evidence.why, carrier.job_id, paid.host_s, paid.usd)
                    loss.write(channel, ABANDONED)
                    return loss
                # A shared job that ended between two steps is simply replaced: nothing of this step was lost.
                shared_job.close(carrier.session, shared_job.GONE)
                channel.put(JOB, b"null")
                yield self._event(f"Batch job {carrier.job_id} ended before it took this step; another one will")
        raise AssertionError("count() does not end")

    def _take(self, claim: Claim) -> Iterator[dg.DagsterEvent]:
        told = False
        while not claim.try_take():
            if not told:
                told = True
                yield self._event("Another run worker follows this step; waiting until it ends or goes silent")
            wait(self._terms.poll_s)

    def _reference(self) -> StepReference:
        return StepReference(
            step=step_context_to_step_run_ref(self._context),
            partitions=dynamic_partitions_of(self._context),
            code=self._terms.code,
            lease_seconds=self._terms.lease_s,
            resume_seconds=self._terms.resume_s,
            timeout_seconds=self._terms.timeout_s,
            told=self._terms.told,
        )

    # Following it.

    def _follow(
        self, channel: Channel, claim: Claim, carrier: Carrier, before: Accounts
    ) -> Generator[dg.DagsterEvent, None, tuple[StepEnd, Accounts]]:
        """How it ended, and what was paid for this job; `before`: for the jobs of this step that were lost."""
        yield self._event(self._submitted(carrier), self._links(carrier.job_id, channel))
        events = StepEvents(self._context, channel, self._already_recorded(claim), self._on_event)
        job_id = carrier.job_id
        while True:
            with self._carriers.watcher.watch(job_id) as watch, self._terminating(job_id):
                following = self._following(channel, claim, watch, events, carrier)
                end = yield from following.run()
                if end.taken_by is None:
                    paid = yield from self._conclude(channel, carrier, watch, following, end, before)
                    return end, paid
                job_id = end.taken_by
            yield self._event(f"Batch job {job_id} has taken this step before; following that one")

    def _following(
        self, channel: Channel, claim: Claim, watch: JobWatch, events: StepEvents, carrier: Carrier
    ) -> Following:
        since = None if carrier.session is None else int(time.time() * 1000)
        return Following(
            context=self._context,
            channel=channel,
            claim=claim,
            watch=watch,
            events=events,
            log=LogFollower(clients.client("logs") if self._terms.follow_logs else None, _print, since_ms=since),
            timeline=cost.Timeline(),
            shared=carrier.session is not None,
            poll_seconds=self._terms.poll_s,
            stuck_after_seconds=self._terms.stuck_after_s,
            purchase=self._terms.purchase_of(carrier.queue),
            position=lambda: self._jobs.queue_position(carrier.queue, watch.job_id),
        )

    def _conclude(
        self,
        channel: Channel,
        carrier: Carrier,
        watch: JobWatch,
        following: Following,
        end: StepEnd,
        before: Accounts,
    ) -> Generator[dg.DagsterEvent, None, Accounts]:
        if end.final is not None and "startedAt" not in watch.detail:  # the step was faster than the watcher
            self._carriers.watcher.look(watch)
        following.log.close(LogStream.of_job(watch.detail))
        if not watch.ended and end.evidence is not None and not end.untaken:
            self._jobs.try_to_terminate(watch.job_id, f"batch_step: {end.evidence.why}")
        if end.final is None:
            assert end.evidence is not None
            yield self._failure_event(channel, watch, following.log, end.evidence)
            return Accounts() if end.untaken else self._accounts(channel, watch, following, carrier)[0]
        event = end.final.dagster_event
        assert event is not None
        error = None if event.is_step_success else WorkerError.read(channel, "error.json")
        if error is not None:
            retried = RetriedBy.DAGSTER if event.is_step_up_for_retry else RetriedBy.NOBODY
            yield self._failure_event(channel, watch, following.log, Evidence(error=error), retried)
        paid, where_it_went = self._accounts(channel, watch, following, carrier)
        accounts = {**where_it_went, **(before + paid).metadata()}
        yield self._event(cost.TOOK, {**accounts, **self._links(watch.job_id, channel)})
        final = following.events.store_final()
        has_failed = event.is_step_failure
        if carrier.session is not None and not event.is_step_up_for_retry and self._is_last(has_failed):
            self._carriers.leave(carrier, has_failed=has_failed)
        if carrier.session is None:
            self._carriers.watcher.end_later(watch.job_id, self._terms.finish_grace_s)
        yield final
        return paid

    def _already_recorded(self, claim: Claim) -> Counter[Any]:
        if claim.is_first:
            return Counter()
        entries = self._context.instance.all_logs(self._context.run_id)
        return Counter(identity(e) for e in entries if e.step_key == self._context.step.key)

    @contextmanager
    def _terminating(self, job_id: str) -> Iterator[None]:
        """A run that is terminated takes its job along. Any other way out leaves the job to the lease: a run worker
        that resumes the run within that time finds it running."""
        try:
            yield
        except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt):
            self._event(f"The run was terminated: stopping Batch job {job_id}")
            self._jobs.try_to_terminate(job_id, f"Dagster run {self._context.run_id} was terminated")
            raise

    # What people are told.

    def _submitted(self, carrier: Carrier) -> str:
        verb = "Following" if carrier.adopted else "In line for" if carrier.session is not None else "Submitted"
        count = carrier.runs_before
        runs = f"{count} runs of this backfill have" if count > 1 else "another run of this backfill has"
        before = f", which {runs} had before" if count else ""
        return f"{verb} Batch job {carrier.job_id} on {carrier.queue}{before}"

    def _links(self, job_id: str, channel: Channel | None = None) -> dict[str, Any]:
        links: dict[str, Any] = {
            "job": dg.MetadataValue.text(job_id),
            "console": dg.MetadataValue.url(console.job_url(self._jobs.region, job_id)),
        }
        if channel is not None:
            links["channel"] = _path(channel)
        return links

    def _failure_event(
        self,
        channel: Channel,
        watch: JobWatch,
        log: LogFollower,
        evidence: Evidence,
        retried_by: RetriedBy | None = None,
    ) -> dg.DagsterEvent:
        """`retried_by`: who does retry it, where Dagster has already decided."""
        failure = classify(evidence)
        metadata = {**self._links(watch.job_id, channel), **self._explain(failure, evidence.why, retried_by)}
        stream = LogStream.of_job(watch.detail)
        if stream is not None:
            metadata["log"] = dg.MetadataValue.url(console.log_url(self._jobs.region, stream.group, stream.name))
            if not self._terms.follow_logs:
                log = LogFollower(clients.client("logs"), lambda _: None)
                log.close(stream)
        if log.tail:
            metadata["last log lines"] = dg.MetadataValue.md("```\n" + "\n".join(log.tail) + "\n```")
        return self._event(f"{failure.name}: {failure.summary}. {evidence.why}", metadata)

    @staticmethod
    def _explain(failure: FailureClass, why: str, retried_by: RetriedBy | None = None) -> dict[str, Any]:
        return {
            "failure": failure.name,
            "reason": why,
            "retried by": (retried_by or failure.retried_by).value,
            "what to do": failure.remedy,
        }

    def _accounts(
        self, channel: Channel, watch: JobWatch, following: Following, carrier: Carrier
    ) -> tuple[Accounts, dict[str, Any]]:
        """What is paid for the step's part of this job, and for which host and which phases, as metadata."""
        timeline = following.timeline
        timeline.read_job(watch.detail)
        execution = Execution.read(channel, EXECUTION)
        if execution is not None:
            timeline.mark("taken", execution.started_at)  # of a job that was lost, there is no other word
        if carrier.slot > 0:
            timeline = timeline.without_the_job()
        kind, purchase = (execution.instance_type, execution.purchase) if execution else (None, None)
        until = timeline.at.get("uploaded", timeline.at.get("stopped", time.time()))
        if carrier.session is None and watch.detail:
            since = timeline.at.get("taken") if "uploaded" in timeline.at else None
            seconds = cost.attempt_seconds(watch.detail, until, since)
        else:  # of a job that serves several steps, this step's own part; or of one that Batch does not know any more
            seconds = max(0.0, until - timeline.at.get("taken", until))
        price = cost.price_per_hour(self._terms.prices, kind, purchase)
        usd = cost.money(seconds, price) if seconds > 0 else 0.0
        spent = {name: dg.MetadataValue.float(s) for name, s in timeline.phases().items()}
        host = dg.MetadataValue.text(f"{kind or 'unknown type'}, {purchase or 'unknown purchase'}")
        return Accounts(seconds, usd, carrier.runs_before == 0), {**spent, "host": host}

    def _lost(self, failure: FailureClass, losses: list[Abandoned]) -> BaseException:
        """What Dagster is told when no job finished the step."""
        why = f"{failure.summary}: {losses[-1].why}"
        if failure.retried_by is RetriedBy.LAUNCHER:
            why = f"{why} (after {len(losses)} jobs)"
        cause = StepLost(why, where=f"step {self._context.step.key}", remedy=failure.remedy)
        policy = self._context.op_retry_policy
        if policy is not None and failure.retried_by is not RetriedBy.NOBODY:
            retry = dg.RetryRequested(policy.max_retries, policy.calculate_delay(self._attempt + 1))
            retry.__cause__ = cause
            return retry
        metadata = {**self._explain(failure, losses[-1].why), "jobs": ", ".join(x.job_id or "?" for x in losses)}
        if losses[-1].job_id:
            metadata |= self._links(losses[-1].job_id)
        error = dg.Failure(f"{failure.name}: {cause}", metadata=metadata, allow_retries=False)
        error.__cause__ = cause
        return error

    def _event(self, message: str, metadata: dict[str, Any] | None = None) -> dg.DagsterEvent:
        return engine_event(self._context, message, metadata)


def _paid_for(losses: Sequence[Abandoned]) -> Accounts:
    return sum((Accounts(loss.host_s, loss.cost_usd, is_cold=True) for loss in losses), Accounts())


def _path(channel: Channel) -> dg.PathMetadataValue:
    return dg.MetadataValue.path(channel.uri)


def _print(text: str) -> None:
    sys.stdout.write(text)
