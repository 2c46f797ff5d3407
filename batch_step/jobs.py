"""AWS Batch jobs: asking for one exactly once, and ending it.

SubmitJob has no client token, so a repeated call makes a second job. Three things stand against that: a name that is
unique to what is to be run, a look at ListJobs by that name before submitting, and a call that is never repeated
blindly (boto's own retries are off for it). What still slips through the worker settles: see `worker.run_channel`.

Batch may throttle, err or be out of reach for minutes; that delays a step and does not fail it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from batch_step import clients
from batch_step.clients import http_status, may_pass, patiently
from batch_step.errors import BatchUnavailable, SubmitUncertain
from batch_step.limits import check_submission
from batch_step.waiting import PATIENCE_S, delays, wait

_LOG = logging.getLogger(__name__)

IN_FLIGHT = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
ENDED = ("SUCCEEDED", "FAILED")
DESCRIBE_LIMIT = 100  # ids in one DescribeJobs


@dataclass(frozen=True)
class JobRequest:
    """A job to submit. Memory in MiB; None leaves what the job definition says."""

    name: str
    queue: str
    definition: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    vcpus: float | None = None
    memory_mib: int | None = None
    gpus: int | None = None
    timeout_s: int | None = None
    share: str | None = None  # fair-share identifier, for queues with a scheduling policy
    priority: int | None = None  # within the share

    def to_api(self) -> dict[str, Any]:
        """The parameters of SubmitJob. Raises LimitExceeded."""
        needs = {"VCPU": self.vcpus, "MEMORY": self.memory_mib, "GPU": self.gpus}
        overrides: dict[str, Any] = {
            "command": list(self.command),
            "environment": [{"name": k, "value": v} for k, v in sorted(self.environment.items())],
            "resourceRequirements": [{"type": k, "value": f"{v:g}"} for k, v in needs.items() if v],
        }
        request: dict[str, Any] = {
            "jobName": self.name,
            "jobQueue": self.queue,
            "jobDefinition": self.definition,
            "containerOverrides": {k: v for k, v in overrides.items() if v},
            "tags": dict(self.tags),
            "propagateTags": True,
            # Retries are the launcher's: a second attempt would find the first one's marks in the channel.
            "retryStrategy": {"attempts": 1},
        }
        if self.timeout_s is not None:
            request["timeout"] = {"attemptDurationSeconds": self.timeout_s}
        if self.share is not None:
            request["shareIdentifier"] = self.share
            if self.priority is not None:
                request["schedulingPriorityOverride"] = self.priority
        check_submission(request)
        return request


class BatchJobs:
    """The Batch calls of the launcher, on a boto3 client with retries (`client`) and one without (`single_try`)."""

    def __init__(self, client: Any, single_try: Any, pause: Callable[[float], object] = time.sleep) -> None:
        self._client, self._single_try, self._pause = client, single_try, pause

    @classmethod
    def from_environment(cls) -> BatchJobs:
        """One for each boto3 client of this process, so that all steps share its watcher."""
        client = clients.client("batch")
        return _SHARED.setdefault(id(client), cls(client, clients.client("batch", attempts=1), wait))

    @property
    def region(self) -> str:
        return str(self._client.meta.region_name)

    def submit_or_adopt(self, request: JobRequest) -> tuple[str, bool]:
        """(job id, whether it was there already).

        Raises LimitExceeded, BatchUnavailable, SubmitUncertain, or what boto3 raises for a request that Batch refuses.
        """
        parameters = request.to_api()
        found = self._find_patiently(request.name, request.queue)
        if found is not None:
            return found, True
        return self._submit(parameters)

    def _submit(self, parameters: dict[str, Any]) -> tuple[str, bool]:
        from botocore.exceptions import BotoCoreError, ClientError

        for delay in delays():
            try:
                return str(self._single_try.submit_job(**parameters)["jobId"]), False
            except (BotoCoreError, ClientError) as e:
                if not may_pass(e):
                    raise
                last, refused = e, isinstance(e, ClientError) and http_status(e) < 500
            self._pause(delay)
            if not refused:  # no answer: it may have been accepted
                found = self._find_patiently(parameters["jobName"], parameters["jobQueue"])
                if found is not None:
                    return found, True
        raise SubmitUncertain(
            f"SubmitJob was tried for {PATIENCE_S:.0f} s: {last}",
            where=parameters["jobName"],
            remedy="Look at the queue and at the account's request limits",
        )

    def _find_patiently(self, name: str, queue: str) -> str | None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return patiently(lambda: self.find(name, queue), PATIENCE_S, self._pause)
        except (BotoCoreError, ClientError) as e:
            if not may_pass(e):
                raise
            raise BatchUnavailable(
                f"ListJobs was tried for {PATIENCE_S:.0f} s: {e}",
                where=name,
                remedy="Check this machine's route to AWS Batch and the account's request limits",
            ) from e

    def find(self, name: str, queue: str) -> str | None:
        """The queue's job of that name, in any state: one in flight before one that ended, then the newest."""
        pages = self._client.get_paginator("list_jobs").paginate(
            jobQueue=queue, filters=[{"name": "JOB_NAME", "values": [name]}]
        )
        found = [
            (job["status"] in IN_FLIGHT, int(job.get("createdAt", 0)), str(job["jobId"]))
            for page in pages
            for job in page["jobSummaryList"]
            if job["jobName"] == name
        ]
        return max(found)[2] if found else None

    def describe(self, job_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """At most 100 jobs by id; ids that Batch does not know are left out."""
        return {job["jobId"]: job for job in self._client.describe_jobs(jobs=list(job_ids))["jobs"]}

    def terminate(self, job_id: str, reason: str) -> None:
        """Ends a job in whatever state; one that has ended stays as it is. The reason becomes its statusReason."""
        self._client.terminate_job(jobId=job_id, reason=reason[:1024])

    def in_flight(self, queue: str, name_prefix: str) -> list[str]:
        """Ids of the queue's jobs that have not ended and whose name begins so."""
        pages = self._client.get_paginator("list_jobs").paginate(
            jobQueue=queue, filters=[{"name": "JOB_NAME", "values": [f"{name_prefix}*"]}]
        )
        return [j["jobId"] for page in pages for j in page["jobSummaryList"] if j["status"] in IN_FLIGHT]

    def somebody_waits(self, queue: str) -> bool:
        """Whether a job of the queue waits for a host."""
        listed = self._client.list_jobs(jobQueue=queue, jobStatus="RUNNABLE", maxResults=1)
        return bool(listed["jobSummaryList"])

    def try_to_terminate(self, job_id: str, reason: str) -> None:
        """The same where there is something more important to be told than that Batch does not answer: the lease and
        the reaper end what this leaves."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self.terminate(job_id, reason)
        except (BotoCoreError, ClientError) as e:
            _LOG.warning("could not end job %s (%s): %s", job_id, reason, e)

    def queue_position(self, queue: str, job_id: str) -> int | None:
        """The place of a job among the first 100 RUNNABLE ones, from 1; None further back or where Batch cannot say."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            front = self._client.get_job_queue_snapshot(jobQueue=queue)["frontOfQueue"]["jobs"]
        except (BotoCoreError, ClientError) as e:
            # Fair-share queues give none while they are empty, and not every emulator has the call.
            _LOG.info("GetJobQueueSnapshot of %s: %s", queue, e)
            return None
        return next((n for n, job in enumerate(front, 1) if job["jobArn"].endswith(job_id)), None)


_SHARED: dict[int, BatchJobs] = {}  # each holds its client, which `clients` holds too: ids stay unique
