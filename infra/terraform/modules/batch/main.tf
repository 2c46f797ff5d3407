# Where GPU steps run: compute environments, queues, job definition.

locals {
  # purchase => allocation strategy. On-demand hosts are always there: the way out when spot hosts are taken back.
  purchases = merge(
    { on-demand = { type = "EC2", strategy = "BEST_FIT_PROGRESSIVE" } },
    var.spot ? { spot = { type = "SPOT", strategy = "SPOT_CAPACITY_OPTIMIZED" } } : {},
  )

  # Batch cancels a job that has been RUNNABLE for so long for one of these reasons; the launcher gives up before
  # (after 900 s), so this catches jobs whose launcher is gone.
  runnable_limit_s = 3600
  runnable_reasons = [
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
  ]

  # How many times as much of the hosts a share gets than another; Batch's weight factor is its reciprocal.
  shares = { uploads = 4, backfills = 1 }
}

# No service_role: with the service-linked one an environment is updated in place, with another it is replaced.
resource "aws_batch_compute_environment" "this" {
  for_each                        = local.purchases
  compute_environment_name_prefix = "${var.name}-${each.key}-"
  type                            = "MANAGED"

  compute_resources {
    type                = each.value.type
    allocation_strategy = each.value.strategy
    instance_type       = [var.instance_type]
    min_vcpus           = 0
    max_vcpus           = var.max_vcpus
    subnets             = var.subnet_ids
    security_group_ids  = [var.security_group_id]
    instance_role       = aws_iam_instance_profile.host.arn
    tags                = { Name = "${var.name}-worker" }

    ec2_configuration {
      image_type        = "ECS_AL2023_NVIDIA" # Amazon Linux 2 is refused for new environments since 2026-06-30
      image_id_override = var.ami_id
    }

    launch_template {
      launch_template_id = aws_launch_template.host.id
      version            = aws_launch_template.host.latest_version
    }
  }

  update_policy {
    terminate_jobs_on_update      = false
    job_execution_timeout_minutes = 60
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_batch_scheduling_policy" "this" {
  count = var.fair_share ? 1 : 0
  name  = var.name

  fair_share_policy {
    compute_reservation = 0
    share_decay_seconds = 600

    dynamic "share_distribution" {
      for_each = local.shares

      content {
        share_identifier = share_distribution.key
        weight_factor    = 1 / share_distribution.value
      }
    }
  }
}

# One queue for each way of buying, not one with two environments: Batch would keep trying the first.
resource "aws_batch_job_queue" "this" {
  for_each              = local.purchases
  name                  = "${var.name}-${each.key}${var.fair_share ? "-fair" : ""}"
  state                 = "ENABLED"
  priority              = 10
  scheduling_policy_arn = one(aws_batch_scheduling_policy.this[*].arn)

  compute_environment_order {
    order               = 1
    compute_environment = aws_batch_compute_environment.this[each.key].arn
  }

  dynamic "job_state_time_limit_action" {
    for_each = local.runnable_reasons

    content {
      state            = "RUNNABLE"
      reason           = job_state_time_limit_action.value
      max_time_seconds = local.runnable_limit_s
      action           = "CANCEL"
    }
  }
}

resource "aws_cloudwatch_log_group" "jobs" {
  name              = "/${var.name}/jobs"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arn
}

resource "aws_batch_job_definition" "this" {
  name                       = var.name
  type                       = "container"
  platform_capabilities      = ["EC2"]
  propagate_tags             = true
  scheduling_priority        = var.fair_share ? 0 : null
  deregister_on_new_revision = false # roll-back is naming the revision before

  container_properties = jsonencode({
    image            = var.image
    command          = ["python", "-m", "batch_step.worker", "--help"] # the launcher says which channel
    jobRoleArn       = aws_iam_role.job.arn
    executionRoleArn = aws_iam_role.execution.arn
    user             = "10001:10001"
    privileged       = false

    resourceRequirements = [
      { type = "VCPU", value = "4" },
      { type = "MEMORY", value = "15360" }, # MiB; of a g5.xlarge's 16384 the host keeps the rest
      { type = "GPU", value = "1" },
    ]

    environment = [for name in sort(keys(local.environment)) : { name = name, value = local.environment[name] }]

    volumes     = [{ name = "models", host = { sourcePath = "/opt/ml" } }]
    mountPoints = [{ sourceVolume = "models", containerPath = "/opt/ml", readOnly = var.ami_id != null }]

    linuxParameters = { initProcessEnabled = true, sharedMemorySize = 2048 } # MiB; torch passes batches through it

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.jobs.name
        "awslogs-region"        = var.region
        "awslogs-stream-prefix" = "worker"
      }
    }
  })

  # The launcher gives each job its own; this is for jobs that somebody submits by hand.
  timeout {
    attempt_duration_seconds = 3600
  }

  # Retries are the launcher's and Dagster's: a second attempt would find the first one's marks in the channel.
  retry_strategy {
    attempts = 1

    evaluate_on_exit {
      action           = "exit" # Batch stores it in lower case
      on_status_reason = "*"
    }
  }
}

locals {
  environment = merge(var.environment, {
    AWS_DEFAULT_REGION = var.region
    AWS_REGION         = var.region
    SENTINEL_WEIGHTS   = "/opt/ml"
  })
}
