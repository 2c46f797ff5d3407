"""Every figure and promise of the deployment, as the configuration has it. No terraform is needed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.builders.terraform import ROOT
from tests.infra.terraform.conftest import Blocks


def _at(blocks: Blocks, kind: str, end: str) -> dict[str, Any]:
    """The one whose path ends so; a path of the root is given whole."""
    paths = [(block["__tfmeta"]["path"], block) for block in blocks[kind]]
    (found,) = [block for path, block in paths if path == end or (end[0] in ".[" and path.endswith(end))]
    return found


@pytest.mark.parametrize(
    ("kind", "end", "path", "value"),
    [
        ("variable", "variable.region", "default", "ap-northeast-2"),
        ("variable", "variable.spot", "default", False),
        ("variable", "variable.instance_type", "default", "g5.xlarge"),
        ("variable", "variable.max_vcpus", "default", 16),
        ("aws_batch_compute_environment", '["on-demand"]', "type", "MANAGED"),
        ("aws_batch_compute_environment", '["on-demand"]', "compute_resources.instance_type", ["g5.xlarge"]),
        ("aws_batch_compute_environment", '["on-demand"]', "compute_resources.min_vcpus", 0),
        ("aws_batch_compute_environment", '["on-demand"]', "compute_resources.max_vcpus", 16),
        ("aws_batch_compute_environment", '["on-demand"]', "compute_resources.type", "EC2"),
        (
            "aws_batch_compute_environment",
            '["on-demand"]',
            "compute_resources.ec2_configuration.image_type",
            "ECS_AL2023_NVIDIA",
        ),
        ("aws_batch_job_queue", '["on-demand"]', "priority", 10),
        ("aws_batch_job_definition", ".this", "timeout.attempt_duration_seconds", 3600),
        ("aws_batch_job_definition", ".this", "retry_strategy.attempts", 1),
        ("aws_batch_job_definition", ".this", "retry_strategy.evaluate_on_exit.action", "exit"),
        ("aws_launch_template", ".host", "metadata_options.http_tokens", "required"),
        ("aws_launch_template", ".host", "metadata_options.http_put_response_hop_limit", 2),
        ("aws_launch_template", ".host", "block_device_mappings.ebs.encrypted", True),
        ("aws_ecr_repository", '["worker"]', "image_tag_mutability", "IMMUTABLE"),
        ("aws_ecr_repository", '["control-plane"]', "image_tag_mutability", "IMMUTABLE"),
        ("aws_ecr_repository", '["worker"]', "image_scanning_configuration.scan_on_push", True),
        ("aws_db_instance", ".this", "engine", "postgres"),
        ("aws_db_instance", ".this", "engine_version", "16"),
        ("aws_db_instance", ".this", "publicly_accessible", False),
        ("aws_db_instance", ".this", "storage_encrypted", True),
        ("aws_db_instance", ".this", "backup_retention_period", 14),
        ("aws_db_instance", ".this", "deletion_protection", True),
        ("aws_sqs_queue", ".uploads", "visibility_timeout_seconds", 180),
        ("aws_sqs_queue", ".dead_letters", "message_retention_seconds", 14 * 24 * 3600),
        ("aws_lb", ".this", "internal", True),
        ("aws_lb_listener", ".https", "protocol", "HTTPS"),
        ("aws_ecs_service", ".this", "desired_count", 1),
        ("aws_ecs_service", ".this", "deployment_maximum_percent", 100),
        ("aws_ecs_service", ".this", "network_configuration.assign_public_ip", False),
        ("aws_s3_bucket_public_access_block", ".this", "block_public_acls", True),
        ("aws_s3_bucket_public_access_block", ".this", "block_public_policy", True),
        ("aws_s3_bucket_public_access_block", ".this", "ignore_public_acls", True),
        ("aws_s3_bucket_public_access_block", ".this", "restrict_public_buckets", True),
        ("aws_s3_bucket_notification", ".uploads", "queue.events", ["s3:ObjectCreated:*"]),
    ],
)
def test_a_figure(blocks: Blocks, kind: str, end: str, path: str, value: object) -> None:
    found: Any = _at(blocks, kind, end)
    for name in path.split("."):
        found = found[name]
    assert found == value


def test_each_class_of_objects_has_its_lifecycle(blocks: Blocks) -> None:
    """Footage, tables, channels; what is left of uploads and old versions goes, too. Weights stay."""
    rules = _at(blocks, "aws_s3_bucket_lifecycle_configuration", ".this")["rule"]
    days = {rule["filter"].get("prefix"): rule.get("expiration", {}).get("days") for rule in rules}
    assert days == {"videos/": 30, "artifacts/": 365, "steps/": 7, None: None}
    assert {rule["status"] for rule in rules} == {"Enabled"}


def test_a_message_received_five_times_goes_to_the_dead_letters(blocks: Blocks) -> None:
    assert '"maxReceiveCount":5' in _at(blocks, "aws_sqs_queue", ".uploads")["redrive_policy"]


def test_batch_cancels_what_can_never_start(blocks: Blocks) -> None:
    actions = _at(blocks, "aws_batch_job_queue", '["on-demand"]')["job_state_time_limit_action"]
    assert {(a["state"], a["action"], a["max_time_seconds"]) for a in actions} == {("RUNNABLE", "CANCEL", 3600)}
    assert len({a["reason"] for a in actions}) == 3


def test_alarms_watch_what_wakes_a_person(blocks: Blocks) -> None:
    alarms = {alarm["alarm_name"].removeprefix("sentinel-"): alarm for alarm in blocks["aws_cloudwatch_metric_alarm"]}
    assert set(alarms) == {
        "dead-letters", "oldest-message", "failed-jobs", "blocked-queue",
        "database-storage", "bucket-size", "control-plane-down",
    }  # fmt: skip
    assert (alarms["dead-letters"]["threshold"], alarms["oldest-message"]["threshold"]) == (0, 900)
    assert all(alarm["alarm_actions"] for alarm in alarms.values())
    assert len(blocks["aws_ce_anomaly_subscription"]) == len(blocks["aws_budgets_budget"]) == 1
    assert len(blocks["aws_cloudwatch_dashboard"]) == 1


def test_nothing_is_public(blocks: Blocks) -> None:
    """No way in from the internet, and none out: no gateway, no NAT, no public address, no open range."""
    for kind in (
        "aws_internet_gateway",
        "aws_nat_gateway",
        "aws_eip",
        "aws_security_group_rule",
        "aws_lambda_function_url",
    ):
        assert kind not in blocks
    rules = blocks["aws_vpc_security_group_ingress_rule"] + blocks["aws_vpc_security_group_egress_rule"]
    assert not [
        rule for rule in rules if rule.get("cidr_ipv4") or rule.get("cidr_ipv6")
    ]  # operator_cidrs: none by default
    assert not [group for group in blocks["aws_security_group"] if group.get("ingress") or group.get("egress")]
    source = "".join(path.read_text() for path in ROOT.rglob("*.tf"))
    assert "0.0.0.0/0" not in source
    assert "::/0" not in source


def test_gpu_workers_have_no_way_to_the_database() -> None:
    """By the table of flows, which is all that the rules are made of but for S3 and operators."""
    text = (ROOT / "modules/network/security_groups.tf").read_text()
    flows = re.findall(r"from = aws_security_group\.(\w+)\.id, to = aws_security_group\.(\w+)\.id, port = (\d+)", text)
    assert set(flows) == {
        ("balancer", "control_plane", "3000"),
        ("control_plane", "database", "5432"),
        ("control_plane", "endpoints", "443"),
        ("worker", "endpoints", "443"),
    }


@pytest.mark.parametrize(
    ("kind", "attribute"),
    [
        ("aws_sqs_queue", "kms_master_key_id"),
        ("aws_sns_topic", "kms_master_key_id"),
        ("aws_cloudwatch_log_group", "kms_key_id"),
        ("aws_db_instance", "kms_key_id"),
        ("aws_secretsmanager_secret", "kms_key_id"),
        ("aws_imagebuilder_component", "kms_key_id"),
    ],
)
def test_all_that_is_stored_is_encrypted_with_our_key(blocks: Blocks, kind: str, attribute: str) -> None:
    assert blocks[kind]
    assert all(attribute in block for block in blocks[kind])


def test_the_key_turns_and_old_clients_stay_out(blocks: Blocks) -> None:
    (key,) = blocks["aws_kms_key"]
    assert key["enable_key_rotation"]
    rule = _at(blocks, "aws_s3_bucket_server_side_encryption_configuration", ".this")["rule"]
    assert rule["apply_server_side_encryption_by_default"]["sse_algorithm"] == "aws:kms"
    parameters = _at(blocks, "aws_db_parameter_group", ".this")["parameter"]
    assert {p["name"]: p["value"] for p in parameters}["rds.force_ssl"] == "1"


def test_logs_are_kept_for_a_year(blocks: Blocks) -> None:
    assert {group["retention_in_days"] for group in blocks["aws_cloudwatch_log_group"]} == {365}


def test_variables_are_typed_described_and_validated(blocks: Blocks) -> None:
    """Each has a type and a description; each of the root, but for yes and no, refuses what cannot be meant."""
    files = sorted(ROOT.rglob("variables.tf"))
    for path in files:
        for body in re.split(r'^variable "', path.read_text(), flags=re.MULTILINE)[1:]:
            name = body.split('"')[0]
            assert re.search(r"^  description\s+= \"", body, re.MULTILINE), f"{path}: {name}"
            assert re.search(r"^  type\s+= ", body, re.MULTILINE), f"{path}: {name}"
            if path.parent == ROOT and not re.search(r"^  type\s+= bool$", body, re.MULTILINE):
                assert "validation {" in body, name
    for path in ROOT.rglob("outputs.tf"):
        bodies = re.split(r'^output "', path.read_text(), flags=re.MULTILINE)[1:]
        assert all("description" in body for body in bodies), path
