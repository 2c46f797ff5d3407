"""The deployment as the local AWS can have it: files that Terraform reads over its own ("override files"), and one in
the place of another. infra/README.md lists the same, for readers.

| missing there | so |
| --- | --- |
| EC2 Image Builder | no module `ami` |
| conditions of bucket policies: a Deny without TLS denies all | no bucket policy |
| RedriveAllowPolicy of SQS | the provider would wait for it |
| a tag in a budget's filter; cost anomaly monitors (an error 500) | no budget, no monitor |
| listeners without a certificate that ACM knows | the test imports one first |
| containers: a job is a process of this machine | what the worker's image sets is in the job definition |
| a database behind RDS, whose instance the provider polls for four minutes | an address alone, but for WITH_DATABASE |
| the backend | the state is a file |
"""

from __future__ import annotations

import json
from collections.abc import Mapping

WITH_DATABASE = "SENTINEL_TERRAFORM_DATABASE"
"""Environment variable: anything but nothing, and the drill makes and deletes the RDS instance, too."""

_ROOT = """
terraform {
  backend "local" {}
}

module "ami" {
  count = 0
}

output "image_pipeline_arn" {
  value = null
}
"""

_FOOTAGE = """
resource "aws_sqs_queue" "dead_letters" {
  redrive_allow_policy = null
}

resource "aws_s3_bucket_policy" "this" {
  count = 0
}
"""

_WATCH = """
resource "aws_budgets_budget" "this" {
  count = 0
}

resource "aws_ce_anomaly_monitor" "this" {
  count = 0
}

resource "aws_ce_anomaly_subscription" "this" {
  count            = 0
  monitor_arn_list = []
}
"""

_BATCH = """
locals {
  environment = merge(var.environment, { AWS_DEFAULT_REGION = var.region, AWS_REGION = var.region }, %s)
}
"""

_INSTANCE = """
locals {
  instance = {
    identifier = "sentinel"
    address    = "database.internal"
    port       = 5432
    endpoint   = "database.internal:5432"
    db_name    = "sentinel"
    username   = "sentinel"
  }
}
"""


def files(image: Mapping[str, str], *, with_database: bool) -> dict[str, str]:
    """By path below infra/terraform; `image`: the variables that the worker's image has."""
    found = {
        "stand_in_override.tf": _ROOT,
        "modules/footage/stand_in_override.tf": _FOOTAGE,
        "modules/watch/stand_in_override.tf": _WATCH,
        "modules/batch/stand_in_override.tf": _BATCH % json.dumps(dict(image)),
    }
    return found if with_database else {**found, "modules/database/instance.tf": _INSTANCE}
