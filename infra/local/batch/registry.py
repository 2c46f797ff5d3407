"""What is created before jobs can be: compute environments, job queues, scheduling policies, job definitions."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from infra.local.batch.limits import (
    MAX_ENVIRONMENTS_OF_QUEUE,
    Json,
    Refused,
    check_definition,
    check_name,
    check_tags,
    require,
)
from infra.local.batch.settings import BatchSettings, name_in


class Registry:
    """Records are the JSON that the Describe calls show. Names are unique in each kind, as in one region of AWS."""

    def __init__(self, settings: BatchSettings) -> None:
        self._settings = settings
        self._lock = threading.RLock()
        self._environments: dict[str, Json] = {}
        self._queues: dict[str, Json] = {}
        self._policies: dict[str, Json] = {}
        self._definitions: dict[str, list[Json]] = {}

    def clear(self) -> None:
        with self._lock:
            for table in (self._environments, self._queues, self._policies, self._definitions):
                table.clear()

    # What the scheduler and SubmitJob ask

    def queue(self, reference: str) -> Json:
        """Raises Refused when there is none of this name or ARN."""
        return _found(self._queues, reference, f"JobQueue {reference} not found.")

    def queues(self) -> list[Json]:
        """In the order in which they are served."""
        with self._lock:
            return sorted(self._queues.values(), key=lambda queue: -int(queue["priority"]))

    def environments_of(self, queue: Json) -> list[Json]:
        """In the order in which they are tried."""
        with self._lock:
            order = sorted(queue["computeEnvironmentOrder"], key=lambda entry: int(entry["order"]))
            return [self._environments[name_in(entry["computeEnvironment"])] for entry in order]

    def weights_of(self, queue: Json) -> dict[str, float]:
        """Weight factors of the shares of a queue with a scheduling policy."""
        with self._lock:
            policy = self._policies[name_in(queue["schedulingPolicyArn"])]
        shares = policy.get("fairsharePolicy", {}).get("shareDistribution", [])
        return {share["shareIdentifier"]: float(share.get("weightFactor", 1.0)) for share in shares}

    def definition(self, reference: str) -> Json:
        """The revision named, else the latest active one; raises Refused when it is not there or not active."""
        name, _, revision = name_in(reference).partition(":")
        with self._lock:
            revisions = self._definitions.get(name, [])
            active = [d for d in revisions if d["status"] == "ACTIVE" and revision in ("", str(d["revision"]))]
        if not active:
            raise Refused(f"JobDefinition name {name_in(reference)} does not exist or is not in ACTIVE status")
        return active[-1]

    def tagged(self, arn: str) -> Json:
        """The record with this ARN, whose `tags` may be changed."""
        name = name_in(arn)
        with self._lock:
            if ":job-definition/" in arn:
                base, _, revision = name.partition(":")
                for record in self._definitions.get(base, []):
                    if str(record["revision"]) == revision:
                        return record
            for key, table in (
                (":compute-environment/", self._environments),
                (":job-queue/", self._queues),
                (":scheduling-policy/", self._policies),
            ):
                if key in arn and name in table:
                    return table[name]
        raise Refused(f"{arn} does not exist")

    # Compute environments

    def create_compute_environment(self, request: Json) -> Json:
        name = request["computeEnvironmentName"]
        check_name("Compute environment", name)
        check_tags(request.get("tags", {}))
        managed = request["type"].upper() == "MANAGED"
        require(not managed or "computeResources" in request, "computeResources must be provided when MANAGED")
        require(managed or "unmanagedvCpus" in request, "unmanagedvCpus must be provided when UNMANAGED")
        arn = self._settings.arn("compute-environment", name)
        record = {
            "state": "ENABLED",
            "tags": {},
            **request,
            "computeEnvironmentArn": arn,
            "ecsClusterArn": self._settings.ecs_arn("cluster", name),
            "containerOrchestrationType": "ECS",
            "status": "VALID",
            "statusReason": "ComputeEnvironment Healthy",
        }
        with self._lock:
            require(name not in self._environments, "Object already exists")
            self._environments[name] = record
        return {"computeEnvironmentName": name, "computeEnvironmentArn": arn}

    def describe_compute_environments(self, request: Json) -> Json:
        return {"computeEnvironments": self._described(self._environments, request.get("computeEnvironments"))}

    def update_compute_environment(self, request: Json) -> Json:
        reference = request["computeEnvironment"]
        with self._lock:
            record = dict(_found(self._environments, reference, f"Object {reference} does not exist"))
            record["state"] = request.get("state", record["state"])
            resources = {**record.get("computeResources", {}), **request.get("computeResources", {})}
            if resources:
                record["computeResources"] = resources
            for key in ("serviceRole", "unmanagedvCpus", "updatePolicy"):
                if key in request:
                    record[key] = request[key]
            self._environments[record["computeEnvironmentName"]] = record
        return {key: record[key] for key in ("computeEnvironmentName", "computeEnvironmentArn")}

    def delete_compute_environment(self, request: Json) -> Json:
        name = name_in(request["computeEnvironment"])
        with self._lock:
            record = self._environments.get(name)
            if record is not None:
                require(record["state"] == "DISABLED", "Cannot delete, found existing ENABLED state")
                used = any(name == e["computeEnvironmentName"] for q in self.queues() for e in self.environments_of(q))
                require(not used, "Cannot delete, found existing JobQueue relationship")
                del self._environments[name]
        return {}

    # Job queues and scheduling policies

    def create_job_queue(self, request: Json) -> Json:
        name = request["jobQueueName"]
        check_name("Job queue", name)
        check_tags(request.get("tags", {}))
        arn = self._settings.arn("job-queue", name)
        with self._lock:
            require(name not in self._queues, "Object already exists")
            record = {"state": "ENABLED", "tags": {}, **request, "jobQueueArn": arn, "status": "VALID"}
            record["statusReason"], record["jobQueueType"] = "JobQueue Healthy", "ECS"
            self._queues[name] = self._checked(record)
        return {"jobQueueName": name, "jobQueueArn": arn}

    def describe_job_queues(self, request: Json) -> Json:
        return {"jobQueues": self._described(self._queues, request.get("jobQueues"))}

    def update_job_queue(self, request: Json) -> Json:
        with self._lock:
            record = {**self.queue(request["jobQueue"])}
            policy = request.get("schedulingPolicyArn")
            require(policy is None or "schedulingPolicyArn" in record, "A FIFO job queue stays one")
            record |= {key: value for key, value in request.items() if key != "jobQueue"}
            self._queues[record["jobQueueName"]] = self._checked(record)
        return {key: record[key] for key in ("jobQueueName", "jobQueueArn")}

    def delete_job_queue(self, request: Json) -> Json:
        with self._lock:
            record = self._queues.get(name_in(request["jobQueue"]))
            if record is not None:
                require(record["state"] == "DISABLED", "Cannot delete, found existing ENABLED state")
                del self._queues[record["jobQueueName"]]
        return {}

    def create_scheduling_policy(self, request: Json) -> Json:
        name = request["name"]
        check_name("Scheduling policy", name)
        arn = self._settings.arn("scheduling-policy", name)
        with self._lock:
            require(name not in self._policies, "Object already exists")
            self._policies[name] = {"tags": {}, **request, "arn": arn}
        return {"name": name, "arn": arn}

    def describe_scheduling_policies(self, request: Json) -> Json:
        with self._lock:
            found = [self._policies.get(name_in(arn)) for arn in request["arns"]]
        return {"schedulingPolicies": [record for record in found if record]}

    def delete_scheduling_policy(self, request: Json) -> Json:
        name = name_in(request["arn"])
        with self._lock:
            used = any(name == name_in(q.get("schedulingPolicyArn", "")) for q in self._queues.values())
            require(not used, "Cannot delete, found existing JobQueue relationship")
            self._policies.pop(name, None)
        return {}

    def _checked(self, queue: Json) -> Json:
        environments = queue.get("computeEnvironmentOrder", [])
        within = 1 <= len(environments) <= MAX_ENVIRONMENTS_OF_QUEUE
        require(within, f"A job queue has 1 to {MAX_ENVIRONMENTS_OF_QUEUE} compute environments")
        require(0 <= queue["priority"] <= 1000, "priority must be between 0 and 1000")
        for entry in environments:
            reference = entry["computeEnvironment"]
            _found(self._environments, reference, f"Object {reference} does not exist")
        if "schedulingPolicyArn" in queue:
            reference = queue["schedulingPolicyArn"]
            _found(self._policies, reference, f"Scheduling policy {reference} does not exist")
        for action in queue.get("jobStateTimeLimitActions", []):
            least = self._settings.minimum_time_limit_s
            within = least <= action["maxTimeSeconds"] <= 86_400
            require(within, f"maxTimeSeconds must be between {least} and 86400")
            require((action["state"], action["action"]) == ("RUNNABLE", "CANCEL"), "Only RUNNABLE jobs, only CANCEL")
        return queue

    # Job definitions

    def register_job_definition(self, request: Json) -> Json:
        check_definition(request, self._settings)
        name = request["jobDefinitionName"]
        with self._lock:
            revisions = self._definitions.setdefault(name, [])
            revision = len(revisions) + 1
            arn = self._settings.arn("job-definition", f"{name}:{revision}")
            shown = {key: value for key, value in request.items() if key != "retryStrategy"}
            record = {"parameters": {}, "tags": {}, "propagateTags": False, "platformCapabilities": ["EC2"], **shown}
            if "retryStrategy" in request:
                record["retryStrategy"] = {"evaluateOnExit": [], **request["retryStrategy"]}
            record |= {"jobDefinitionArn": arn, "revision": revision, "status": "ACTIVE"}
            revisions.append({**record, "containerOrchestrationType": "ECS"})
        return {"jobDefinitionName": name, "jobDefinitionArn": arn, "revision": revision}

    def describe_job_definitions(self, request: Json) -> Json:
        with self._lock:
            everything = [record for revisions in self._definitions.values() for record in revisions]
        if "jobDefinitions" in request:
            wanted = {name_in(reference) for reference in request["jobDefinitions"]}
            found = [d for d in everything if f"{d['jobDefinitionName']}:{d['revision']}" in wanted]
        else:
            name = request.get("jobDefinitionName")
            found = [d for d in everything if name in (None, d["jobDefinitionName"])]
        status = request.get("status")
        found = [d for d in found if status in (None, d["status"])]
        found.sort(key=lambda d: -int(d["revision"]))
        return page("jobDefinitions", found, request, 100)

    def deregister_job_definition(self, request: Json) -> Json:
        name, _, revision = name_in(request["jobDefinition"]).partition(":")
        require(bool(revision), "The revision of the job definition must be given")
        with self._lock:
            for record in self._definitions.get(name, []):
                if str(record["revision"]) == revision:
                    record["status"] = "INACTIVE"
        return {}

    def _described(self, table: dict[str, Json], references: Iterable[str] | None) -> list[Json]:
        wanted = {name_in(reference) for reference in references or []}
        with self._lock:
            return [record for name, record in table.items() if not wanted or name in wanted]


def page(key: str, found: list[Any], request: Json, most: int) -> Json:
    """One page of a list: `maxResults` of it from where `nextToken` says, and the token of the next page."""
    token = request.get("nextToken", "0")
    require(token.isdecimal(), "Invalid nextToken")
    start, size = int(token), min(request.get("maxResults") or most, most)
    require(size >= 1, "maxResults must be at least 1")
    shown: Json = {key: found[start : start + size]}
    if start + size < len(found):
        shown["nextToken"] = str(start + size)
    return shown


def _found(table: dict[str, Json], reference: str, otherwise: str) -> Json:
    record = table.get(name_in(reference))
    if record is None:
        raise Refused(otherwise)
    return record
