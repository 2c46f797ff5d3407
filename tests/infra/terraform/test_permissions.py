"""No role may more than the code does, and none less."""

from __future__ import annotations

import ast
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.builders.terraform import CHECKOUT
from tests.infra.terraform.calls import ACTIONS, BESIDE_CALLS, BY_AWS, CALLS, Role
from tests.infra.terraform.conftest import Blocks

if TYPE_CHECKING:
    from infra.local.aws import LocalAws

_PACKAGES = ("batch_step", "resources", "sensors", "sentinel_assets")
_SERVICES = ("s3", "sqs", "batch", "logs", "secretsmanager", "sts", "ecs", "ec2", "cloudwatch", "ssm")
_TRANSFERS = {"upload_file", "upload_fileobj", "download_file", "download_fileobj", "generate_presigned_url"}
_POLICIES: dict[Role, str] = {
    "control_plane": "module.control_plane.data.aws_iam_policy_document.task",
    "job": "module.batch.data.aws_iam_policy_document.job",
    "uploader": "module.footage.data.aws_iam_policy_document.uploader",
}


@cache
def _operations() -> dict[str, tuple[str, str]]:
    """Python's name of each operation of those services: its service and its own name."""
    import botocore.session
    from botocore import xform_name

    session = botocore.session.Session()
    return {
        xform_name(name): (service, name)
        for service in reversed(_SERVICES)
        for name in session.get_service_model(service).operation_names
    }


def _named_in(path: Path) -> set[str]:
    """Operations that a module names, as a method or in a string (`get_paginator("list_jobs")`)."""
    tree = ast.parse(path.read_text())
    own = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    called = {n.func.attr for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}
    strings = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return (called | strings) & (_operations().keys() | _TRANSFERS) - own


def test_the_table_is_what_the_sources_name() -> None:
    """A new call anywhere in our code has to be entered, and with it thought about."""
    named: dict[str, set[str]] = {}
    for package in _PACKAGES:
        for path in (CHECKOUT / package).rglob("*.py"):
            module = str(path.relative_to(CHECKOUT))
            if found := _named_in(path):
                named[module] = found
    table: dict[str, set[str]] = defaultdict(set)
    for row in CALLS:
        table[row.module] |= row.operations
        assert all(_operations()[name][0] == row.service for name in row.operations - _TRANSFERS), row
    assert named == dict(table)


def _allowed(blocks: Blocks, role: Role) -> dict[str, list[str]]:
    """Actions of the role's policy, and on what."""
    (document,) = [d for d in blocks["aws_iam_policy_document"] if d["__tfmeta"]["path"] == _POLICIES[role]]
    allowed = {action: s["resources"] for s in document["statement"] for action in s["actions"]}
    assert not [action for action in allowed if "*" in action]
    return allowed


@pytest.mark.parametrize("role", ["control_plane", "job", "uploader"])
def test_a_role_may_what_the_code_calls_and_nothing_else(blocks: Blocks, role: Role) -> None:
    needed = set(BESIDE_CALLS[role])
    for row in CALLS:
        if role in row.roles:
            names = [f"{row.service}:{_operations().get(name, ('', name))[1]}" for name in row.operations]
            needed |= {ACTIONS.get(name, name) for name in names}
    assert set(_allowed(blocks, role)) == needed


@pytest.mark.parametrize("policy", BY_AWS)
def test_what_aws_does_in_our_name_is_listed_and_nothing_else(blocks: Blocks, policy: str) -> None:
    module, _, name = policy.partition(".")
    path = f"module.{module}.data.aws_iam_policy_document.{name}"
    (document,) = [d for d in blocks["aws_iam_policy_document"] if d["__tfmeta"]["path"].split("[")[0] == path]
    assert sorted(_actions(blocks, document)) == sorted(BY_AWS[policy])


def _actions(blocks: Blocks, document: dict[str, Any]) -> Iterator[str]:
    """Those of the document, and of the documents that it takes in."""
    statements = document["statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        yield from statement["actions"]
    for source in document.get("source_policy_documents", []):
        (taken,) = [d for d in blocks["aws_iam_policy_document"] if d["id"] == source]
        yield from _actions(blocks, taken)


@pytest.mark.parametrize(
    ("role", "image"),
    [("ami.bake", "worker"), ("batch.execution", "worker"), ("control_plane.execution", "control-plane")],
)
def test_who_runs_an_image_may_pull_that_one(blocks: Blocks, role: str, image: str) -> None:
    by_path = {d["__tfmeta"]["path"]: d for d in blocks["aws_iam_policy_document"]}
    module, _, name = role.partition(".")
    (taken,) = by_path[f"module.{module}.data.aws_iam_policy_document.{name}"]["source_policy_documents"]
    pull = by_path[f'module.registry.data.aws_iam_policy_document.pull["{image}"]']
    assert taken == pull["id"]
    (repository,) = [d for d in blocks["aws_ecr_repository"] if d["__tfmeta"]["path"].endswith(f'["{image}"]')]
    (allowed,) = [s["resources"] for s in pull["statement"] if s["sid"] == "PullImage"]
    assert allowed == [repository["id"]]


def test_every_policy_is_held_against_a_list(blocks: Blocks) -> None:
    """A new one in Terraform has to be entered there. The uploader's is no role's."""
    assert len(blocks["aws_iam_role_policy"]) == len(BY_AWS) + len(_POLICIES) - 1


def test_jobs_reach_the_bucket_only(blocks: Blocks) -> None:
    """They write no footage and no weights, and read no other bucket."""
    allowed = _allowed(blocks, "job")
    assert {action.partition(":")[0] for action in allowed} == {"s3", "kms"}
    assert {r.rpartition("/")[0].rpartition("/")[2] for r in allowed["s3:PutObject"]} == {"artifacts", "steps"}
    assert {r.rpartition("/")[0].rpartition("/")[2] for r in allowed["s3:GetObject"]} == {
        "videos", "artifacts", "steps", "models"
    }  # fmt: skip


def test_what_stands_on_everything_has_no_resource(blocks: Blocks) -> None:
    """`*` is there only for actions that IAM knows no resource of, and for a key's own policy."""
    allowed = {
        "ecr:GetAuthorizationToken", "ecs:DiscoverPollEndpoint", "batch:DescribeJobs", "batch:ListJobs",
        "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
    }  # fmt: skip
    for document in blocks["aws_iam_policy_document"]:
        if document["__tfmeta"]["path"].startswith("module.encryption"):
            continue
        statements = document["statement"]
        for statement in statements if isinstance(statements, list) else [statements]:
            if statement.get("resources") == ["*"]:
                assert set(statement["actions"]) <= allowed, document["__tfmeta"]["path"]


def test_roles_are_taken_by_their_own_service_only(blocks: Blocks) -> None:
    trusts = {
        d["__tfmeta"]["path"]: d["statement"]["principals"]["identifiers"]
        for d in blocks["aws_iam_policy_document"]
        if d["__tfmeta"]["path"].endswith("trust")
    }
    assert {path.split(".")[1] + "." + path.split(".")[-1]: who for path, who in trusts.items()} == {
        "network.flow_trust": ["vpc-flow-logs.amazonaws.com"],
        "batch.host_trust": ["ec2.amazonaws.com"],
        "batch.task_trust": ["ecs-tasks.amazonaws.com"],
        "control_plane.trust": ["ecs-tasks.amazonaws.com"],
        "ami.trust": ["ec2.amazonaws.com"],
    }


@contextmanager
def _sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[tuple[str, str]]]:
    """What boto3 sends while the context lasts: service and operation."""
    import botocore.client

    sent: set[tuple[str, str]] = set()
    send = botocore.client.BaseClient._make_api_call
    here = threading.get_ident()  # the local Batch has threads of its own in this process

    def record(self: Any, operation: str, parameters: Any) -> Any:
        if threading.get_ident() == here:
            sent.add((self.meta.service_model.service_name, operation))
        return send(self, operation, parameters)

    with monkeypatch.context() as patch:
        patch.setattr(botocore.client.BaseClient, "_make_api_call", record)
        yield sent


def _table(*modules: str) -> set[tuple[str, str]]:
    return {_operations()[name] for row in CALLS if row.module in modules for name in row.operations}


def test_running_code_calls_what_the_table_says(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Channel, jobs, logs, tables, footage and weights against the local AWS: the calls of their rows, all of them."""
    from batch_step.channel import S3Channel
    from batch_step.jobs import BatchJobs
    from batch_step.logs import LogFollower, LogStream
    from resources.weight_sources import copy_from
    from tests.builders.queues import CommandQueue

    boto3.client("s3").create_bucket(
        Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-2"}
    )
    with _sent(monkeypatch) as sent:
        channel = S3Channel("s3://bucket/steps/1", boto3.client("s3"))
        assert channel.put_if_absent("a", b"1")
        assert channel.get("a") == b"1"
    assert sent == _table("batch_step/channel.py")

    queue = CommandQueue()
    job_id = queue.submit("echo", "hello")
    deadline = time.monotonic() + 60
    while queue.batch.describe_jobs(jobs=[job_id])["jobs"][0]["status"] != "SUCCEEDED":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with _sent(monkeypatch) as sent:
        jobs = BatchJobs(boto3.client("batch"), boto3.client("batch"))
        found = jobs.describe([job_id])[job_id]
        assert jobs.find(found["jobName"], found["jobQueue"]) == job_id
        jobs.terminate(job_id, "over")
        jobs.queue_position(found["jobQueue"], job_id)
        _submit(jobs, found)
    assert sent == _table("batch_step/jobs.py")

    lines: list[str] = []
    with _sent(monkeypatch) as sent:
        follower = LogFollower(boto3.client("logs"), lines.append)
        follower.poll(LogStream.of_job(found))
    assert sent == _table("batch_step/logs.py")

    with _sent(monkeypatch) as sent:
        copy_from("s3://bucket/steps/1/a", _file(), 1, lambda fraction: None)
    assert sent == _table("resources/weight_sources.py")


def _submit(jobs: Any, like: dict[str, Any]) -> None:
    from batch_step.jobs import JobRequest

    jobs.submit_or_adopt(JobRequest("another", like["jobQueue"], like["jobDefinition"], ["true"], tags={"a": "b"}))


def _file() -> Path:
    from tests.builders.folders import new_folder

    return new_folder("weights-") / "part"


def test_the_readme_names_the_permissions_of_the_launcher() -> None:
    """batch_step could be published on its own; what its README asks for is what it calls."""
    text = (CHECKOUT / "batch_step/README.md").read_text()
    for row in CALLS:
        if row.module.startswith("batch_step/"):
            for name in row.operations:
                assert re.search(rf"\b{_operations()[name][1]}\b", text), name
