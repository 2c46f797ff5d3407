"""What AWS refuses: each check raises Refused, which the caller sees as a ClientException.

Limits without another source are those of the service model that botocore 1.44.5 carries.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from infra.local.batch.settings import BatchSettings

Json = dict[str, Any]

MAX_JOB_BYTES = 30 * 1024  # "Job size must be less than 30 KiB": AWS's message, github.com/ASFHyP3/hyp3/issues/3041
MAX_DEFINITION_BYTES = 24 * 1024  # service_limits of the user guide
MAX_OVERRIDES_BYTES = 8192  # of ECS, found when the job starts: github.com/Netflix/metaflow/issues/977
MAX_DESCRIBED = 100
MAX_STOPPED = 50  # TerminateJobs, CancelJobs
MAX_DEPENDENCIES = 20
MAX_ARRAY = 10_000
MAX_TAGS = 50
MAX_ATTEMPTS = 10
MAX_RULES = 5
MAX_ENVIRONMENTS_OF_QUEUE = 3
MAX_SCHEDULING_PRIORITY = 9999

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_SHARE = re.compile(r"[A-Za-z0-9]{1,255}\*?")
_RULE_PATTERNS = {
    "onStatusReason": re.compile(r"[A-Za-z0-9.:\s]{0,511}[A-Za-z0-9.:\s*]"),
    "onReason": re.compile(r"[A-Za-z0-9.:\s]{0,511}[A-Za-z0-9.:\s*]"),
    "onExitCode": re.compile(r"[0-9]{0,511}[0-9*]"),
}


class Refused(Exception):
    """The request breaks a rule of AWS Batch; the message is what the caller reads."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise Refused(message)


def check_name(kind: str, name: str) -> None:
    require(_NAME.fullmatch(name) is not None, f"{kind} name should match valid pattern")


def check_job_size(body: bytes) -> None:
    size = len(body)
    require(size < MAX_JOB_BYTES, f"Job size must be less than 30 KiB, got {-(-size // 1024)} KiB")


def check_tags(tags: Mapping[str, str]) -> None:
    require(len(tags) <= MAX_TAGS, f"Number of tags must be at most {MAX_TAGS}, got {len(tags)}")
    for key, value in tags.items():
        require(1 <= len(key) <= 128, f"Tag key must have 1 to 128 characters: {key[:40]!r}")
        require(len(value) <= 256, f"Tag value must have at most 256 characters: that of {key!r}")
        require(not key.lower().startswith("aws:"), f"Tag key must not begin with aws: {key!r}")


def check_timeout(timeout: Json | None, settings: BatchSettings) -> None:
    seconds = (timeout or {}).get("attemptDurationSeconds")
    least = settings.minimum_timeout_s
    require(seconds is None or seconds >= least, f"attemptDurationSeconds must be at least {least}, got {seconds}")


def check_retry_strategy(strategy: Json | None) -> None:
    if strategy is None:
        return
    attempts, rules = strategy.get("attempts"), strategy.get("evaluateOnExit", [])
    require(attempts is not None or not rules, "evaluateOnExit needs attempts")
    require(attempts is None or 1 <= attempts <= MAX_ATTEMPTS, f"attempts must be between 1 and {MAX_ATTEMPTS}")
    require(len(rules) <= MAX_RULES, f"evaluateOnExit must have at most {MAX_RULES} rules, got {len(rules)}")
    for rule in rules:
        require(rule["action"].upper() in ("RETRY", "EXIT"), f"action must be RETRY or EXIT, got {rule['action']}")
        require(len(rule) > 1, "A rule of evaluateOnExit needs onStatusReason, onReason or onExitCode")
        for key, pattern in _RULE_PATTERNS.items():
            if key in rule:
                require(pattern.fullmatch(rule[key]) is not None, f"{key} is not a valid pattern: {rule[key]!r}")


def check_environment(variables: Iterable[Json]) -> None:
    for variable in variables:
        name = variable.get("name", "")
        require(not name.startswith("AWS_BATCH"), f"Environment variable names must not start with AWS_BATCH: {name}")


def check_resources(requirements: Iterable[Json]) -> None:
    for requirement in requirements:
        kind, value = requirement["type"], requirement["value"]
        try:
            amount = float(value)
        except ValueError:
            raise Refused(f"resourceRequirements: {kind} is not a number: {value!r}") from None
        whole = kind == "VCPU" or amount.is_integer()  # fractions of a vCPU exist on Fargate only, and are let pass
        require(amount > 0 and whole, f"resourceRequirements: invalid value of {kind}: {value!r}")


def check_definition(request: Json, settings: BatchSettings) -> None:
    check_name("Job definition", request["jobDefinitionName"])
    size = len(json.dumps(request))
    require(size <= MAX_DEFINITION_BYTES, f"Job definition size must be at most 24 KiB, got {-(-size // 1024)} KiB")
    require(request["type"] == "container", "Only job definitions of type container are emulated")
    container = request.get("containerProperties")
    if container is None:
        raise Refused("containerProperties must be provided: other kinds are not emulated")
    require(bool(container.get("image")), "Container image must be provided")
    for kind, old in (("VCPU", "vcpus"), ("MEMORY", "memory")):
        given = any(r["type"] == kind for r in container.get("resourceRequirements", []))
        require(given or container.get(old, 0) > 0, f"Container resource requirement {kind} must be provided")
    check_resources(container.get("resourceRequirements", []))
    check_environment(container.get("environment", []))
    check_retry_strategy(request.get("retryStrategy"))
    check_timeout(request.get("timeout"), settings)
    check_tags(request.get("tags", {}))


def check_submission(request: Json, *, fair_share: bool, settings: BatchSettings) -> None:
    require(_NAME.fullmatch(request["jobName"]) is not None, "Job name should match valid pattern")
    overrides = request.get("containerOverrides", {})
    check_resources(overrides.get("resourceRequirements", []))
    check_environment(overrides.get("environment", []))
    check_retry_strategy(request.get("retryStrategy"))
    check_timeout(request.get("timeout"), settings)
    check_tags(request.get("tags", {}))
    size = request.get("arrayProperties", {}).get("size")
    require(size is None or 2 <= size <= MAX_ARRAY, f"Array size must be between 2 and {MAX_ARRAY}, got {size}")
    dependencies = request.get("dependsOn", [])
    require(len(dependencies) <= MAX_DEPENDENCIES, f"A job can depend on at most {MAX_DEPENDENCIES} jobs")
    for dependency in dependencies:
        kind = dependency.get("type")
        require("jobId" in dependency or kind == "SEQUENTIAL", "A dependency needs a jobId, unless SEQUENTIAL")
        require(kind is None or size is not None, f"Dependencies of type {kind} are for array jobs")
    share, priority = request.get("shareIdentifier"), request.get("schedulingPriorityOverride")
    if fair_share:
        require(share is not None, "shareIdentifier must be specified: the job queue has a scheduling policy")
        require(share is None or _SHARE.fullmatch(share) is not None, f"shareIdentifier is invalid: {share!r}")
    else:
        require(share is None, "shareIdentifier must not be specified: the job queue has no scheduling policy")
    within = priority is None or 0 <= priority <= MAX_SCHEDULING_PRIORITY
    require(within, f"schedulingPriorityOverride must be between 0 and {MAX_SCHEDULING_PRIORITY}")
