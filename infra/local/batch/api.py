"""AWS Batch over HTTP: routes, shapes and errors as in the service model that botocore carries."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import botocore.session
from botocore import xform_name
from botocore.validate import ParamValidator

from infra.local.batch import faults as fault_kinds
from infra.local.batch.faults import ADMIN_PATH, Faults, Vanish
from infra.local.batch.jobs import Job, now_ms
from infra.local.batch.limits import (
    MAX_DESCRIBED,
    MAX_STOPPED,
    Json,
    Refused,
    check_job_size,
    check_submission,
    check_tags,
    require,
)
from infra.local.batch.listing import list_jobs
from infra.local.batch.registry import Registry
from infra.local.batch.scheduler import Scheduler
from infra.local.batch.settings import BatchSettings, name_in
from infra.local.batch.submission import dependency_ids, jobs_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_STATUS_LINES = {
    200: "200 OK",
    400: "400 Bad Request",
    404: "404 Not Found",
    429: "429 Too Many Requests",
    500: "500 Internal Server Error",
}

_log = logging.getLogger(__name__)


class _Answer(Exception):
    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


class BatchApi:
    """A WSGI application. An operation of the service model is the method of its name in snake case."""

    def __init__(self, settings: BatchSettings, registry: Registry, scheduler: Scheduler, faults: Faults) -> None:
        self._settings, self._registry, self._scheduler, self._faults = settings, registry, scheduler, faults
        self._model = botocore.session.get_session().get_service_model("batch")
        self._operations = {
            self._model.operation_model(name).http["requestUri"]: name
            for name in self._model.operation_names
            if "{" not in self._model.operation_model(name).http["requestUri"]
        }

    def is_for(self, environ: WSGIEnvironment) -> bool:
        """Whether this request is for us, not for another service on this port."""
        signed_for_batch = "/batch/aws4_request" in environ.get("HTTP_AUTHORIZATION", "")
        return signed_for_batch or str(environ["PATH_INFO"]).startswith(ADMIN_PATH)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request_id = str(uuid.uuid4())
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers = [("Content-Type", "application/json"), ("x-amzn-RequestId", request_id)]
        try:
            status, answer = 200, self._answer(environ, body)
        except Refused as refusal:
            status = 400
            answer = {"message": f"Error executing request, Exception : {refusal}, RequestId: {request_id}"}
            headers.append(("x-amzn-ErrorType", "ClientException"))
        except _Answer as other:
            status, answer = other.status, {"message": other.message}
            headers.append(("x-amzn-ErrorType", other.kind))
        except Exception:  # noqa: BLE001 - the top of a request: the client gets a 500, the cause is in the server's log
            _log.exception("%s %s", environ["REQUEST_METHOD"], environ["PATH_INFO"])
            status, answer = 500, {"message": "Internal error of the local Batch; see its log"}
            headers.append(("x-amzn-ErrorType", "ServerException"))
        data = json.dumps(answer).encode()
        start_response(_STATUS_LINES[status], [*headers, ("Content-Length", str(len(data)))])
        return [data]

    def _answer(self, environ: WSGIEnvironment, body: bytes) -> Json:
        path, method = str(environ["PATH_INFO"]), str(environ["REQUEST_METHOD"])
        if path.startswith(ADMIN_PATH):
            return self._administer(method, path.removeprefix(ADMIN_PATH).strip("/"), body)
        if path.startswith("/v1/tags/"):
            return self._tags(method, unquote(path.removeprefix("/v1/tags/")), environ, body)
        name = self._operations.get(path)
        handler: Callable[[Json], Json] | None = getattr(self, xform_name(name), None) if name else None
        if name is None or handler is None:
            raise _Answer(404, "NotFoundException", f"The local Batch has no {name or path}")
        if self._faults.throttles(name):
            raise _Answer(429, "TooManyRequestsException", "Too Many Requests")
        request = json.loads(body or b"{}")
        problems = ParamValidator().validate(request, self._model.operation_model(name).input_shape)
        if problems.has_errors():
            raise Refused(problems.generate_report())
        if name == "SubmitJob":
            check_job_size(body)
        return handler(request)

    # Registered things

    def create_compute_environment(self, request: Json) -> Json:
        return self._registry.create_compute_environment(request)

    def describe_compute_environments(self, request: Json) -> Json:
        return self._registry.describe_compute_environments(request)

    def update_compute_environment(self, request: Json) -> Json:
        return self._and_wake(self._registry.update_compute_environment(request))

    def delete_compute_environment(self, request: Json) -> Json:
        return self._registry.delete_compute_environment(request)

    def create_job_queue(self, request: Json) -> Json:
        return self._registry.create_job_queue(request)

    def describe_job_queues(self, request: Json) -> Json:
        return self._registry.describe_job_queues(request)

    def update_job_queue(self, request: Json) -> Json:
        return self._and_wake(self._registry.update_job_queue(request))

    def delete_job_queue(self, request: Json) -> Json:
        return self._registry.delete_job_queue(request)

    def create_scheduling_policy(self, request: Json) -> Json:
        return self._registry.create_scheduling_policy(request)

    def describe_scheduling_policies(self, request: Json) -> Json:
        return self._registry.describe_scheduling_policies(request)

    def delete_scheduling_policy(self, request: Json) -> Json:
        return self._registry.delete_scheduling_policy(request)

    def register_job_definition(self, request: Json) -> Json:
        return self._registry.register_job_definition(request)

    def describe_job_definitions(self, request: Json) -> Json:
        return self._registry.describe_job_definitions(request)

    def deregister_job_definition(self, request: Json) -> Json:
        return self._registry.deregister_job_definition(request)

    def _and_wake(self, answer: Json) -> Json:
        self._scheduler.wake()
        return answer

    # Jobs

    def submit_job(self, request: Json) -> Json:
        queue = self._registry.queue(request["jobQueue"])
        definition = self._registry.definition(request["jobDefinition"])
        require(queue["state"] == "ENABLED", f"JobQueue {queue['jobQueueName']} is not ENABLED")
        check_submission(request, fair_share="schedulingPolicyArn" in queue, settings=self._settings)
        jobs = jobs_of(request, definition, queue, self._settings)
        with self._scheduler.lock:
            unknown = [name for job in jobs for name in job.waits_for if not self._known(name, jobs)]
            unknown += [name for name in dependency_ids(request) if name not in self._scheduler.jobs]
            require(not unknown, f"Dependent job(s) not found: {', '.join(sorted(set(unknown))[:5])}")
            self._scheduler.submit(jobs)
        return {"jobArn": jobs[0].arn, "jobName": jobs[0].name, "jobId": jobs[0].id}

    def _known(self, name: str, jobs: list[Job]) -> bool:
        return name in self._scheduler.jobs or any(job.id == name for job in jobs)

    def describe_jobs(self, request: Json) -> Json:
        names = request["jobs"]
        require(len(names) <= MAX_DESCRIBED, f"Maximum number of jobs supported is  {MAX_DESCRIBED} .")
        with self._scheduler.lock:
            found = [self._scheduler.jobs.get(name_in(name)) for name in dict.fromkeys(names)]
            return {"jobs": [job.detail() for job in found if job is not None and not self._vanished(job)]}

    def list_jobs(self, request: Json) -> Json:
        if "jobQueue" in request:
            self._registry.queue(request["jobQueue"])
        with self._scheduler.lock:
            return list_jobs([job for job in self._scheduler.jobs.values() if not self._vanished(job)], request)

    def terminate_job(self, request: Json) -> Json:
        return self._stop([request["jobId"]], request["reason"], terminate=True)

    def cancel_job(self, request: Json) -> Json:
        return self._stop([request["jobId"]], request["reason"], terminate=False)

    def terminate_jobs(self, request: Json) -> Json:
        return self._stop_many(request, terminate=True)

    def cancel_jobs(self, request: Json) -> Json:
        return self._stop_many(request, terminate=False)

    def _stop_many(self, request: Json, *, terminate: bool) -> Json:
        names = request["jobs"]
        require(len(names) <= MAX_STOPPED, f"Maximum number of jobs supported is {MAX_STOPPED}")
        self._stop(names, request["reason"], terminate=terminate)
        return {"successful": names, "errors": []}

    def _stop(self, names: list[str], reason: str, *, terminate: bool) -> Json:
        """A job that is not known is passed over, as AWS does."""
        with self._scheduler.lock:
            for name in names:
                job = self._scheduler.jobs.get(name_in(name))
                if job is not None:
                    self._scheduler.stop(job, reason, terminate=terminate)
        return {}

    def get_job_queue_snapshot(self, request: Json) -> Json:
        queue = self._registry.queue(request["jobQueue"])["jobQueueName"]
        front = self._scheduler.front_of(queue)
        used = {"capacityUnit": "VCPU", "quantity": self._scheduler.vcpus_in_use(queue)}
        return {
            "frontOfQueue": {
                "jobs": [{"jobArn": job.arn, "earliestTimeAtPosition": since} for job, since in front],
                "lastUpdatedAt": now_ms(),
            },
            "queueUtilization": {"totalCapacityUsage": [used], "lastUpdatedAt": now_ms()},
        }

    def _vanished(self, job: Job) -> bool:
        return bool(self._faults.on_job(Vanish, job))

    # Tags, and the faults

    def _tags(self, method: str, arn: str, environ: WSGIEnvironment, body: bytes) -> Json:
        tags = self._tags_of(arn)
        if method == "GET":
            return {"tags": dict(tags)}
        if method == "POST":
            added = json.loads(body)["tags"]
            check_tags({**tags, **added})
            tags.update(added)
        else:
            query = str(environ.get("QUERY_STRING", ""))
            for key in re.findall(r"tagKeys=([^&]*)", query):
                tags.pop(unquote(key), None)
        return {}

    def _tags_of(self, arn: str) -> dict[str, str]:
        if ":job/" in arn:
            job = self._scheduler.jobs.get(name_in(arn))
            if job is None or job.index is not None:
                raise Refused(f"{arn} does not exist")
            return job.tags
        tags: dict[str, str] = self._registry.tagged(arn)["tags"]
        return tags

    def _administer(self, method: str, number: str, body: bytes) -> Json:
        if method == "POST":
            try:
                return {"number": self._faults.add(fault_kinds.from_json(json.loads(body)))}
            except ValueError as error:
                raise Refused(f"Not a fault: {error}") from error
        if method == "DELETE":
            if number:
                self._faults.remove(int(number))
            else:
                self._faults.clear()
            return {}
        found: dict[str, Any] = {str(n): fault_kinds.to_json(fault) for n, fault in self._faults.in_force().items()}
        return found
