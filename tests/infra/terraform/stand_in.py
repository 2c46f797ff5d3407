"""What the local AWS lacks of the deployment, as files that Terraform reads over its own ("override files").

| missing there | so |
| --- | --- |
| EC2 Image Builder | no module `ami` |
| conditions of bucket policies: a Deny without TLS denies all | no bucket policy |
| RedriveAllowPolicy of SQS | the provider would wait for it |
| a tag in a budget's filter; cost anomaly monitors (an error 500) | no budget, no monitor |
| listeners without a certificate that ACM knows | the test imports one first |
| the backend | the state is a file |
"""

OVERRIDES = {
    "stand_in_override.tf": """
terraform {
  backend "local" {}
}

module "ami" {
  count = 0
}

output "image_pipeline_arn" {
  value = null
}
""",
    "modules/footage/stand_in_override.tf": """
resource "aws_sqs_queue_redrive_allow_policy" "dead_letters" {
  count = 0
}

resource "aws_s3_bucket_policy" "this" {
  count = 0
}
""",
    "modules/watch/stand_in_override.tf": """
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
""",
}
