# Dagster: one task with its three processes, which find each other on loopback. There must be one daemon, so there is
# one task; a deployment stops the old one before it starts the new one.

data "aws_caller_identity" "here" {}

locals {
  grpc_port = 4000
  ui_port   = 3000

  environment = merge(var.environment, {
    AWS_DEFAULT_REGION = var.region
    AWS_REGION         = var.region
    SENTINEL_HOME      = "/var/lib/sentinel"
    SENTINEL_WEIGHTS   = "/var/lib/sentinel/weights"
  })

  # The warehouse's address and that of Dagster's own tables, put into the environment by ECS at the start of the task.
  secrets = [
    for variable, key in { DATABASE_URL = "url", DAGSTER_PG_HOST = "host", DAGSTER_PG_USERNAME = "username", DAGSTER_PG_PASSWORD = "password" } :
    { name = variable, valueFrom = "${var.database.secret_arn}:${key}::" }
  ]

  containers = {
    # Makes both databases and brings their tables up to date; the others start when it has succeeded.
    prepare = {
      command = ["python", "/opt/sentinel/prepare_database.py"]
      after   = []
      health  = null
    }
    code = {
      command = ["dagster", "api", "grpc", "--module-name", "sentinel_assets.definitions", "--host", "127.0.0.1", "--port", tostring(local.grpc_port)]
      after   = [{ containerName = "prepare", condition = "SUCCESS" }]
      health  = ["CMD", "dagster", "api", "grpc-health-check", "--port", tostring(local.grpc_port)]
    }
    webserver = {
      command = ["dagster-webserver", "--host", "0.0.0.0", "--port", tostring(local.ui_port), "--workspace", "/opt/sentinel/workspace.yaml"]
      after   = [{ containerName = "code", condition = "HEALTHY" }]
      health  = ["CMD", "python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:${local.ui_port}/server_info', timeout=4)"]
    }
    daemon = {
      command = ["dagster-daemon", "run", "--workspace", "/opt/sentinel/workspace.yaml"]
      after   = [{ containerName = "code", condition = "HEALTHY" }]
      health  = ["CMD", "dagster-daemon", "liveness-check"]
    }
  }
}

resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}/control-plane"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arn
}

resource "aws_ecs_task_definition" "this" {
  family                   = "${var.name}-control-plane"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  pid_mode                 = "task" # a run is a process that the daemon starts and the webserver can interrupt
  cpu                      = 1024
  memory                   = 4096 # MiB: three processes of 200 to 300, and 150 for each run that waits for its job
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.execution.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }

  volume {
    name = "home"
  }

  volume {
    name = "tmp"
  }

  container_definitions = jsonencode([
    for name, container in local.containers : merge({
      name                   = name
      image                  = var.image
      command                = container.command
      essential              = name != "prepare"
      user                   = "10001:10001"
      privileged             = false
      readonlyRootFilesystem = true
      dependsOn              = container.after
      stopTimeout            = 120 # s, the most that Fargate allows: runs write down that they were interrupted
      environment            = [for variable in sort(keys(local.environment)) : { name = variable, value = local.environment[variable] }]
      secrets                = local.secrets

      portMappings = name == "webserver" ? [{ containerPort = local.ui_port, hostPort = local.ui_port, protocol = "tcp" }] : []

      mountPoints = [
        { sourceVolume = "home", containerPath = "/var/lib/sentinel", readOnly = false },
        { sourceVolume = "tmp", containerPath = "/tmp", readOnly = false },
      ]
      linuxParameters = { initProcessEnabled = true }
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          "awslogs-group"         = aws_cloudwatch_log_group.this.name
          "awslogs-region"        = var.region
          "awslogs-stream-prefix" = name
        }
      }
      }, container.health == null ? {} : {
      healthCheck = { command = container.health, interval = 30, timeout = 15, retries = 3, startPeriod = 120 }
    })
  ])
}

resource "aws_ecs_service" "this" {
  name            = "${var.name}-control-plane"
  cluster         = aws_ecs_cluster.this.id
  task_definition = aws_ecs_task_definition.this.arn
  launch_type     = "FARGATE"
  desired_count   = 1

  deployment_maximum_percent         = 100 # never two daemons
  deployment_minimum_healthy_percent = 0
  health_check_grace_period_seconds  = 300
  enable_execute_command             = true # also what port forwarding to the UI goes through
  propagate_tags                     = "SERVICE"

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [var.security_group_id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.ui.arn
    container_name   = "webserver"
    container_port   = local.ui_port
  }

  depends_on = [aws_lb_listener.https]
}
