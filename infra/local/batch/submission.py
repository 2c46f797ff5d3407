"""From a SubmitJob request and a job definition to jobs: what overrides what."""

from __future__ import annotations

import itertools
import json
import uuid
from dataclasses import replace

from infra.local.batch.jobs import Job
from infra.local.batch.limits import MAX_OVERRIDES_BYTES, MAX_TAGS, Json
from infra.local.batch.settings import BatchSettings, name_in

_orders = itertools.count()


def jobs_of(request: Json, definition: Json, queue: Json, settings: BatchSettings) -> list[Job]:
    """The job; for an array job the parent, then its children."""
    overrides = request.get("containerOverrides", {})
    parameters = {**definition.get("parameters", {}), **request.get("parameters", {})}
    timeout = request.get("timeout") or definition.get("timeout") or {}
    propagate = bool(request.get("propagateTags", definition.get("propagateTags", False)))
    tags = request.get("tags", {})
    job_id = str(uuid.uuid4())
    size = request.get("arrayProperties", {}).get("size")
    dependencies = request.get("dependsOn", [])
    job = Job(
        id=job_id,
        name=request["jobName"],
        arn=settings.arn("job", job_id),
        order=next(_orders),
        queue=queue["jobQueueName"],
        queue_arn=queue["jobQueueArn"],
        definition=definition["jobDefinitionName"],
        definition_arn=definition["jobDefinitionArn"],
        container=_container(definition["containerProperties"], overrides, parameters),
        parameters=parameters,
        retry_strategy={"attempts": 1, **(request.get("retryStrategy") or definition.get("retryStrategy") or {})},
        timeout_s=timeout.get("attemptDurationSeconds"),
        tags=tags,
        propagate_tags=propagate,
        platforms=definition["platformCapabilities"],
        depends_on=dependencies,
        waits_for=[d["jobId"] for d in dependencies if "jobId" in d and d.get("type") != "N_TO_N"],
        share=request.get("shareIdentifier"),
        priority=request.get("schedulingPriorityOverride", definition.get("schedulingPriority")),
        refusal=_refusal(overrides, {**definition.get("tags", {}), **tags} if propagate else {}),
        size=size,
    )
    job.children = [_child(job, index) for index in range(size or 0)]
    return [job, *job.children]


def _child(parent: Job, index: int) -> Job:
    """The child of an array job: it waits for what the parent waits for, and as its dependencies' types say."""
    waits_for = list(parent.waits_for)
    for dependency in parent.depends_on:
        if dependency.get("type") == "N_TO_N":
            waits_for.append(f"{dependency['jobId']}:{index}")
        if dependency.get("type") == "SEQUENTIAL" and index > 0:
            waits_for.append(f"{parent.id}:{index - 1}")
    child = replace(
        parent,
        id=f"{parent.id}:{index}",
        arn=f"{parent.arn}:{index}",
        order=next(_orders),
        index=index,
        size=None,
        array_size=parent.size,
        children=[],
        attempts=[],
        gpus=[],
        waits_for=waits_for,
    )
    child.stopping = type(parent.stopping)()  # `replace` shared the parent's
    return child


def _container(base: Json, overrides: Json, parameters: dict[str, str]) -> Json:
    environment = {
        e["name"]: e.get("value", "") for e in [*base.get("environment", []), *overrides.get("environment", [])]
    }
    resources = {
        r["type"]: r for r in [*base.get("resourceRequirements", []), *overrides.get("resourceRequirements", [])]
    }
    command = overrides.get("command") or base.get("command") or []
    return {
        "volumes": [],
        "mountPoints": [],
        "ulimits": [],
        "secrets": [],
        **base,
        "command": [_with_parameter(word, parameters) for word in command],
        "environment": [{"name": name, "value": value} for name, value in environment.items()],
        "resourceRequirements": list(resources.values()),
    }


def _with_parameter(word: str, parameters: dict[str, str]) -> str:
    """`Ref::name` is replaced by the parameter of that name; one that is not given stays as it is."""
    return parameters.get(word.removeprefix("Ref::"), word) if word.startswith("Ref::") else word


def _refusal(overrides: Json, propagated_tags: dict[str, str]) -> str | None:
    if len(json.dumps(overrides, separators=(",", ":")).encode()) > MAX_OVERRIDES_BYTES:
        return f"Container Overrides length must be at most {MAX_OVERRIDES_BYTES}"
    if len(propagated_tags) > MAX_TAGS:
        return f"Number of combined tags of job and job definition must be at most {MAX_TAGS}"
    return None


def dependency_ids(request: Json) -> list[str]:
    """Ids of the jobs that the new one depends on."""
    return [name_in(d["jobId"]) for d in request.get("dependsOn", []) if "jobId" in d]
