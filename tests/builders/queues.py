"""A job queue of the local Batch that runs any command, driven through plain boto3."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.validate import ParamValidator

FINAL = ("SUCCEEDED", "FAILED")
_NOT_STARTED = re.compile(r'Missing required parameter in jobs\[\d+\]: "startedAt"')
_LIMIT_S = 30.0  # generous: the machine may be busy; a test that waits so long has failed


@dataclass
class CommandQueue:
    """Made with its compute environment and a job definition, all of this `name`."""

    name: str = "queue"
    vcpus: int = 4
    definition: dict[str, Any] = field(default_factory=dict)
    """More of RegisterJobDefinition; `containerProperties` are added to ours."""
    queue: dict[str, Any] = field(default_factory=dict)
    """More of CreateJobQueue."""

    def __post_init__(self) -> None:
        self.batch = checked(boto3.client("batch"))
        self.logs = boto3.client("logs")
        create_environment(self.batch, self.name, self.vcpus)
        order = [{"order": 1, "computeEnvironment": self.name}]
        self.batch.create_job_queue(
            **{"jobQueueName": self.name, "priority": 1, "computeEnvironmentOrder": order, **self.queue}
        )
        self.batch.register_job_definition(**definition(self.name, **self.definition))

    def submit(
        self,
        *command: str,
        name: str = "job",
        vcpus: int | None = None,
        gpus: int | None = None,
        environment: dict[str, str] | None = None,
        **request: Any,
    ) -> str:
        """The job's id. No command: the definition's."""
        overrides: dict[str, Any] = {"command": list(command)} if command else {}
        needs = [("VCPU", vcpus), ("GPU", gpus)]
        if any(amount for _, amount in needs):
            overrides["resourceRequirements"] = [{"type": k, "value": str(v)} for k, v in needs if v]
        if environment:
            overrides["environment"] = [{"name": k, "value": v} for k, v in environment.items()]
        given = {"jobName": name, "jobQueue": self.name, "jobDefinition": self.name, "containerOverrides": overrides}
        job_id: str = self.batch.submit_job(**{**given, **request})["jobId"]
        return job_id

    def job(self, job_id: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = self.batch.describe_jobs(jobs=[job_id])["jobs"]
        assert len(found) == 1, f"DescribeJobs gave {len(found)} jobs for {job_id}"
        return found[0]

    def status(self, job_id: str) -> str:
        return str(self.job(job_id)["status"])

    def wait(self, job_id: str, *statuses: str) -> dict[str, Any]:
        """The job once it is in one of these (none given: in a final one)."""
        wanted, deadline = statuses or FINAL, time.monotonic() + _LIMIT_S
        while (job := self.job(job_id))["status"] not in wanted:
            assert time.monotonic() < deadline, f"not {wanted} in {_LIMIT_S} s: {job}"
            assert job["status"] not in FINAL, f"ended before it was {wanted}: {job}"
            time.sleep(0.02)
        return job

    def why_it_waits(self, job_id: str) -> str:
        """The reason of a RUNNABLE job, which as on AWS is told a while after the state."""
        deadline = time.monotonic() + _LIMIT_S
        while not (reason := self.wait(job_id, "RUNNABLE").get("statusReason", "")):
            assert time.monotonic() < deadline, f"no reason in {_LIMIT_S} s"
            time.sleep(0.02)
        return str(reason)

    def run(self, *command: str, **request: Any) -> dict[str, Any]:
        return self.wait(self.submit(*command, **request))

    def shell(self, script: str, **request: Any) -> dict[str, Any]:
        return self.run("sh", "-c", script, **request)

    def lines(self, job: dict[str, Any]) -> list[str]:
        """Of the job's latest attempt, or of an attempt."""
        stream = job["container"]["logStreamName"]
        page = self.logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True)
        return [event["message"] for event in page["events"]]

    def lines_seen(self, job_id: str, number: int) -> list[str]:
        """The lines of a job that runs, once there are so many."""
        return self.lines_once(self.wait(job_id, "RUNNING"), number)

    def lines_once(self, job: dict[str, Any], number: int) -> list[str]:
        """The lines of an attempt, once there are so many: as on AWS, the stream may come later than the attempt."""
        deadline = time.monotonic() + _LIMIT_S
        while True:
            try:
                lines = self.lines(job)
            except self.logs.exceptions.ResourceNotFoundException:
                lines = []
            if len(lines) >= number:
                return lines
            assert time.monotonic() < deadline, f"fewer than {number} lines: {lines}"
            time.sleep(0.02)


def definition(name: str, **more: Any) -> dict[str, Any]:
    """A RegisterJobDefinition request for one vCPU."""
    container = {
        "image": "sentinel",
        "command": ["true"],
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
        **more.pop("containerProperties", {}),
    }
    return {"jobDefinitionName": name, "type": "container", "containerProperties": container, **more}


def create_environment(batch: Any, name: str, vcpus: int) -> None:
    resources = {"type": "SPOT", "maxvCpus": vcpus, "instanceTypes": ["g5.xlarge"], "subnets": ["subnet-1"]}
    batch.create_compute_environment(computeEnvironmentName=name, type="MANAGED", computeResources=resources)


def checked(batch: Any) -> Any:
    """The client, which now fails when an answer has a member that the service model does not know, or lacks one."""

    def check(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
        if response_dict["status_code"] != 200:
            return
        answer = json.loads(response_dict["body"])
        report = ParamValidator().validate(answer, operation_model.output_shape).generate_report()
        # The model has startedAt required; AWS leaves it out of a job that has not started.
        wrong = [line for line in report.splitlines() if not _NOT_STARTED.fullmatch(line)]
        assert not wrong, (operation_model.name, wrong)

    batch.meta.events.register("before-parse.batch", check)
    return batch
