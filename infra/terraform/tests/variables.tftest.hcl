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
  outputs = { repository_arns = { worker = "arn:worker", control-plane = "arn:control-plane" }, repository_urls = {} }
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

run "refuses_region_1" {
  command = plan

  variables {
    region = "Seoul"
  }

  expect_failures = [var.region]
}

run "refuses_name_1" {
  command = plan

  variables {
    name = "Sentinel_1"
  }

  expect_failures = [var.name]
}

run "refuses_name_2" {
  command = plan

  variables {
    name = "a-name-that-is-far-too-long"
  }

  expect_failures = [var.name]
}

run "refuses_environment_1" {
  command = plan

  variables {
    environment = "prod"
  }

  expect_failures = [var.environment]
}

run "refuses_vpc_cidr_1" {
  command = plan

  variables {
    vpc_cidr = "8.8.0.0/16"
  }

  expect_failures = [var.vpc_cidr]
}

run "refuses_vpc_cidr_2" {
  command = plan

  variables {
    vpc_cidr = "10.0.0.0/28"
  }

  expect_failures = [var.vpc_cidr]
}

run "refuses_zones_1" {
  command = plan

  variables {
    zones = 1
  }

  expect_failures = [var.zones]
}

run "refuses_endpoint_zones_1" {
  command = plan

  variables {
    endpoint_zones = 0
  }

  expect_failures = [var.endpoint_zones]
}

run "refuses_operator_cidrs_1" {
  command = plan

  variables {
    operator_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.operator_cidrs]
}

run "refuses_operator_cidrs_2" {
  command = plan

  variables {
    operator_cidrs = ["203.0.113.0/24"]
  }

  expect_failures = [var.operator_cidrs]
}

run "refuses_certificate_arn_1" {
  command = plan

  variables {
    certificate_arn = "example.com"
  }

  expect_failures = [var.certificate_arn]
}

run "refuses_control_plane_image_1" {
  command = plan

  variables {
    control_plane_image = "sentinel:latest"
  }

  expect_failures = [var.control_plane_image]
}

run "refuses_worker_image_1" {
  command = plan

  variables {
    worker_image = "sentinel:1.2"
  }

  expect_failures = [var.worker_image]
}

run "refuses_worker_ami_id_1" {
  command = plan

  variables {
    worker_ami_id = "latest"
  }

  expect_failures = [var.worker_ami_id]
}

run "refuses_bake_base_ami_id_1" {
  command = plan

  variables {
    bake_base_ami_id = "al2023"
  }

  expect_failures = [var.bake_base_ami_id]
}

run "refuses_bake_version_1" {
  command = plan

  variables {
    bake_version = "1.0"
  }

  expect_failures = [var.bake_version]
}

run "refuses_profile_1" {
  command = plan

  variables {
    profile = "fast"
  }

  expect_failures = [var.profile]
}

run "refuses_instance_type_1" {
  command = plan

  variables {
    instance_type = "c5.xlarge"
  }

  expect_failures = [var.instance_type]
}

run "refuses_max_vcpus_1" {
  command = plan

  variables {
    max_vcpus = 2
  }

  expect_failures = [var.max_vcpus]
}

run "refuses_max_vcpus_2" {
  command = plan

  variables {
    max_vcpus = 18
  }

  expect_failures = [var.max_vcpus]
}

run "refuses_log_retention_days_1" {
  command = plan

  variables {
    log_retention_days = 7
  }

  expect_failures = [var.log_retention_days]
}

run "refuses_footage_retention_days_1" {
  command = plan

  variables {
    footage_retention_days = 0
  }

  expect_failures = [var.footage_retention_days]
}

run "refuses_artifact_retention_days_1" {
  command = plan

  variables {
    artifact_retention_days = 7
  }

  expect_failures = [var.artifact_retention_days]
}

run "refuses_database_class_1" {
  command = plan

  variables {
    database_class = "t4g.small"
  }

  expect_failures = [var.database_class]
}

run "refuses_database_password_version_1" {
  command = plan

  variables {
    database_password_version = 1.5
  }

  expect_failures = [var.database_password_version]
}

run "refuses_alarm_emails_1" {
  command = plan

  variables {
    alarm_emails = []
  }

  expect_failures = [var.alarm_emails]
}

run "refuses_alarm_emails_2" {
  command = plan

  variables {
    alarm_emails = ["nobody"]
  }

  expect_failures = [var.alarm_emails]
}

run "refuses_monthly_budget_usd_1" {
  command = plan

  variables {
    monthly_budget_usd = 0
  }

  expect_failures = [var.monthly_budget_usd]
}
