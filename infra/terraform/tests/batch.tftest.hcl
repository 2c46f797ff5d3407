# Figures that are known only when the module's JSON is evaluated. No account: the provider is a mock.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }

  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/role" }
  }

  mock_resource "aws_iam_instance_profile" {
    defaults = { arn = "arn:aws:iam::123456789012:instance-profile/profile" }
  }

  mock_resource "aws_batch_compute_environment" {
    defaults = { arn = "arn:aws:batch:ap-northeast-2:123456789012:compute-environment/environment" }
  }

  mock_resource "aws_batch_scheduling_policy" {
    defaults = { arn = "arn:aws:batch:ap-northeast-2:123456789012:scheduling-policy/policy" }
  }

  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:ap-northeast-2:123456789012:log-group:group" }
  }
}

variables {
  name               = "sentinel"
  region             = "ap-northeast-2"
  subnet_ids         = ["subnet-1", "subnet-2"]
  security_group_id  = "sg-1"
  instance_type      = "g5.xlarge"
  max_vcpus          = 16
  spot               = false
  fair_share         = true
  ami_id             = null
  image              = "registry/worker@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  pull_policy        = "{\"Version\":\"2012-10-17\",\"Statement\":[]}"
  bucket_arn         = "arn:aws:s3:::footage"
  prefixes           = { footage = "videos", artifacts = "artifacts", channel = "steps", models = "models" }
  environment        = { SENTINEL_PROFILE = "gpu" }
  log_retention_days = 365
  key_arn            = "arn:aws:kms:ap-northeast-2:123456789012:key/key"
}

run "a_job_has_a_whole_g5_xlarge" {
  module { source = "./modules/batch" }

  assert {
    condition = { for need in jsondecode(aws_batch_job_definition.this.container_properties).resourceRequirements : need.type => need.value } == {
      VCPU = "4", MEMORY = "15360", GPU = "1"
    }
    error_message = "4 vCPUs, 15360 MiB, 1 GPU"
  }

  assert {
    condition     = jsondecode(aws_batch_job_definition.this.container_properties).volumes[0].host.sourcePath == "/opt/ml"
    error_message = "models come from the host's /opt/ml"
  }

  assert {
    condition     = !jsondecode(aws_batch_job_definition.this.container_properties).mountPoints[0].readOnly
    error_message = "without a baked AMI the first job of a host downloads the weights"
  }

  assert {
    condition     = jsondecode(aws_batch_job_definition.this.container_properties).user == "10001:10001"
    error_message = "jobs are not root"
  }

  assert {
    condition     = length(aws_batch_job_queue.this) == 1 && output.on_demand_queue_name == null
    error_message = "no spot by default, so no second queue"
  }

  assert {
    condition     = { for share in aws_batch_scheduling_policy.this[0].fair_share_policy[0].share_distribution : share.share_identifier => share.weight_factor } == { uploads = 0.25, backfills = 1 }
    error_message = "uploads get four times as much as backfills"
  }
}

run "a_baked_ami_is_read_only" {
  module { source = "./modules/batch" }

  variables {
    ami_id = "ami-0123456789abcdef0"
  }

  assert {
    condition     = jsondecode(aws_batch_job_definition.this.container_properties).mountPoints[0].readOnly
    error_message = "what was hash-checked stays as it is"
  }

  assert {
    condition     = strcontains(base64decode(aws_launch_template.host.user_data), "prefer-cached") && strcontains(base64decode(aws_launch_template.host.user_data), "cat /opt/ml/*")
    error_message = "the image comes from the host, the weights are read ahead"
  }
}

run "spot_first_then_on_demand" {
  module { source = "./modules/batch" }

  variables {
    spot       = true
    fair_share = false
  }

  assert {
    condition     = output.queue_name == "sentinel-spot" && output.on_demand_queue_name == "sentinel-on-demand"
    error_message = "the launcher goes from the first to the second"
  }

  assert {
    condition     = aws_batch_compute_environment.this["spot"].compute_resources[0].type == "SPOT" && aws_batch_compute_environment.this["on-demand"].compute_resources[0].type == "EC2"
    error_message = "each queue has its way of buying"
  }

  assert {
    condition     = length(aws_batch_scheduling_policy.this) == 0 && aws_batch_job_queue.this["spot"].scheduling_policy_arn == null
    error_message = "first come, first served"
  }
}

run "jobs_are_told_no_database" {
  module { source = "./modules/batch" }
  command = plan

  variables {
    environment = { SENTINEL_DATABASE_SECRET = "arn" }
  }

  expect_failures = [var.environment]
}
