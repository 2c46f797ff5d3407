# Values that are refused before anything is made. No account: the provider is a mock.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
}

# What the modules would make is not looked at here.
override_module {
  target  = module.encryption
  outputs = { key_arn = "arn:aws:kms:ap-northeast-2:123456789012:key/key" }
}

override_module {
  target = module.network
  outputs = {
    vpc_id                          = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"], balancer_security_group_id = "sg-1"
    control_plane_security_group_id = "sg-2", worker_security_group_id = "sg-3", database_security_group_id = "sg-4"
  }
}

override_module {
  target = module.footage
  outputs = {
    bucket_name      = "footage", bucket_arn = "arn:aws:s3:::footage"
    upload_queue_url = "https://sqs/uploads", upload_queue_arn = "arn:aws:sqs:ap-northeast-2:123456789012:uploads"
  }
}

override_module {
  target  = module.registry
  outputs = { pull_policies = { worker = "{}", control-plane = "{}" }, repository_urls = {} }
}

override_module {
  target  = module.database
  outputs = { identifier = "database", secret_arn = "arn:secret" }
}

override_module {
  target = module.batch
  outputs = {
    queue_name         = "on-demand", on_demand_queue_name = null, queue_arns = ["arn:queue"]
    job_definition_arn = "arn:definition:1", job_definition_arn_prefix = "arn:definition", log_group_arn = "arn:group"
  }
}

override_module {
  target = module.control_plane
}

override_module {
  target = module.ami
}

override_module {
  target = module.watch
}

variables {
  certificate_arn     = "arn:aws:acm:ap-northeast-2:123456789012:certificate/00000000-0000-0000-0000-000000000000"
  control_plane_image = "registry/control-plane@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  worker_image        = "registry/worker@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  alarm_emails        = ["on-call@example.com"]
}

run "refuses_what_cannot_be_meant" {
  command = plan

  variables {
    region                    = "Seoul"
    name                      = "Sentinel_1"
    environment               = "prod"
    vpc_cidr                  = "8.8.0.0/16"
    zones                     = 1
    endpoint_zones            = 0
    operator_cidrs            = ["0.0.0.0/0"]
    certificate_arn           = "example.com"
    control_plane_image       = "sentinel:latest"
    worker_image              = "sentinel:1.2"
    worker_ami_id             = "latest"
    bake_base_ami_id          = "al2023"
    bake_version              = "1.0"
    profile                   = "fast"
    instance_type             = "c5.xlarge"
    max_vcpus                 = 2
    log_retention_days        = 7
    footage_retention_days    = 0
    artifact_retention_days   = 7
    database_class            = "t4g.small"
    database_password_version = 1.5
    alarm_emails              = []
    monthly_budget_usd        = 0
  }

  expect_failures = [
    var.region,
    var.name,
    var.environment,
    var.vpc_cidr,
    var.zones,
    var.endpoint_zones,
    var.operator_cidrs,
    var.certificate_arn,
    var.control_plane_image,
    var.worker_image,
    var.worker_ami_id,
    var.bake_base_ami_id,
    var.bake_version,
    var.profile,
    var.instance_type,
    var.max_vcpus,
    var.log_retention_days,
    var.footage_retention_days,
    var.artifact_retention_days,
    var.database_class,
    var.database_password_version,
    var.alarm_emails,
    var.monthly_budget_usd,
  ]
}

run "refuses_what_is_nearly_right" {
  command = plan

  variables {
    name           = "a-name-that-is-far-too-long"
    vpc_cidr       = "10.0.0.0/28"
    operator_cidrs = ["203.0.113.0/24"]
    max_vcpus      = 18
    alarm_emails   = ["nobody"]

    step_time_limit_seconds = 4 # hours, perhaps
    host_prices             = { "g5.xlarge" = 1.006 }
  }

  expect_failures = [
    var.name,
    var.vpc_cidr,
    var.operator_cidrs,
    var.max_vcpus,
    var.alarm_emails,
    var.step_time_limit_seconds,
    var.host_prices,
  ]
}

run "takes_what_is_right" {
  command = plan

  assert {
    condition     = output.environment.SENTINEL_BATCH_QUEUE == "on-demand" && !contains(keys(output.environment), "SENTINEL_ON_DEMAND_QUEUE")
    error_message = "one queue, on demand"
  }

  assert {
    condition     = output.environment.SENTINEL_STEP_TIME_LIMIT == "14400"
    error_message = "a stage has four hours unless a deployment says otherwise"
  }
}
