"""ListJobs: what a filter or a status finds, newest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from infra.local.batch.jobs import Job
from infra.local.batch.limits import Json, Refused, require
from infra.local.batch.registry import page
from infra.local.batch.settings import name_in

_PAGE_BY_STATUS = 1000
_PAGE_BY_FILTER = 100


def list_jobs(jobs: Iterable[Job], request: Json) -> Json:
    """The answer to a ListJobs request over these jobs, of whatever queue."""
    sources = [key for key in ("jobQueue", "arrayJobId", "multiNodeJobId") if key in request]
    require(len(sources) == 1, "Exactly one of jobQueue, arrayJobId or multiNodeJobId must be specified")
    require("multiNodeJobId" not in request, "Multi-node parallel jobs are not emulated")
    filters = request.get("filters", [])
    require(len(filters) <= 1, "Only one filter can be used at a time")
    if "arrayJobId" in request:
        parent = request["arrayJobId"]
        found = [job for job in jobs if job.index is not None and job.id.rpartition(":")[0] == parent]
    else:
        queue = name_in(request["jobQueue"])
        found = [job for job in jobs if job.index is None and job.queue == queue]
    found.sort(key=lambda job: -job.order)
    status: str | None = request.get("jobStatus", "RUNNING")
    if filters and "arrayJobId" not in request:
        matches, keeps_status = _filter(filters[0])
        found = [job for job in found if matches(job)]
        status = request.get("jobStatus") if keeps_status else None
        if filters[0]["name"] == "JOB_NAME":
            found.sort(key=lambda job: job.name)
    found = [job for job in found if status in (None, str(job.status))]
    listed = page("jobSummaryList", found, request, _PAGE_BY_FILTER if filters else _PAGE_BY_STATUS)
    return {**listed, "jobSummaryList": [job.summary() for job in listed["jobSummaryList"]]}


def _filter(given: Json) -> tuple[Callable[[Job], bool], bool]:
    """The test that a filter makes, and whether jobStatus counts beside it."""
    name, values = given.get("name"), given.get("values", [])
    require(len(values) == 1, "A filter has exactly one value")
    value = values[0]
    if name == "JOB_NAME":
        return lambda job: _is(job.name.lower(), value.lower()), False
    if name == "JOB_DEFINITION":
        if value.startswith("arn:"):
            return lambda job: job.definition_arn == value, False
        return lambda job: _is(job.definition, value), False
    if name == "SHARE_IDENTIFIER":
        return lambda job: job.share == value, True
    if name in ("BEFORE_CREATED_AT", "AFTER_CREATED_AT"):
        require(value.isdecimal(), f"The value of {name} must be milliseconds, got {value!r}")
        moment = int(value)
        before = name == "BEFORE_CREATED_AT"
        return lambda job: job.created_at < moment if before else job.created_at > moment, False
    raise Refused(f"Filter {name!r} is not supported")


def _is(text: str, pattern: str) -> bool:
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
