# What the control plane may. Every action is one that the code calls, or that AWS needs to carry it out; the table is
# tests/infra/terraform/calls.py.

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.here.account_id]
    }
  }
}

locals {
  batch_arn = "arn:aws:batch:${var.region}:${data.aws_caller_identity.here.account_id}"
}

data "aws_iam_policy_document" "task" {
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = [for prefix in values(var.prefixes) : "${var.bucket_arn}/${prefix}/*"]
  }

  statement {
    sid       = "WriteTablesAndSteps"
    actions   = ["s3:PutObject"]
    resources = ["${var.bucket_arn}/${var.prefixes.artifacts}/*", "${var.bucket_arn}/${var.prefixes.channel}/*"]
  }

  statement {
    sid       = "DropKeptResults"
    actions   = ["s3:DeleteObject"]
    resources = ["${var.bucket_arn}/${var.prefixes.artifacts}/kept/*"]
  }

  statement {
    sid       = "ListKeptResultsAndTellAbsentFromForbidden"
    actions   = ["s3:ListBucket"]
    resources = [var.bucket_arn]
  }

  statement {
    sid       = "TakeUploads"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage"]
    resources = [var.upload_queue_arn]
  }

  statement {
    sid     = "SubmitSteps"
    actions = ["batch:SubmitJob", "batch:TagResource"]
    resources = concat(var.batch.queue_arns, [
      var.batch.job_definition_arn_prefix, "${var.batch.job_definition_arn_prefix}:*", "${local.batch_arn}:job/*",
    ])
  }

  statement {
    sid       = "SeeTheQueue"
    actions   = ["batch:GetJobQueueSnapshot"]
    resources = var.batch.queue_arns
  }

  statement {
    sid       = "FollowJobs"
    actions   = ["batch:DescribeJobs", "batch:ListJobs"] # have no resource
    resources = ["*"]
  }

  statement {
    sid       = "EndJobs"
    actions   = ["batch:TerminateJob"]
    resources = ["${local.batch_arn}:job/*"] # a job's ARN holds neither its name nor its queue
  }

  statement {
    sid       = "ReadJobLogs"
    actions   = ["logs:GetLogEvents"]
    resources = ["${var.batch.log_group_arn}:log-stream:*"]
  }

  statement {
    sid       = "FindTheWarehouse"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [var.database.secret_arn]
  }

  statement {
    sid       = "OfBucketQueueAndSecret"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${var.region}.amazonaws.com", "sqs.${var.region}.amazonaws.com", "secretsmanager.${var.region}.amazonaws.com"]
    }
  }

  statement {
    sid = "PortForwardingAndExec"
    actions = [
      "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
      "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
    ]
    resources = ["*"] # have no resource
  }
}

resource "aws_iam_role" "task" {
  name               = "${var.name}-control-plane"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "task" {
  name   = "what-the-code-calls"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.task.json
}

data "aws_iam_policy_document" "execution" {
  source_policy_documents = [var.pull_policy]

  statement {
    sid       = "WriteLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }

  statement {
    sid       = "InjectSecret"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [var.database.secret_arn]
  }

  statement {
    sid       = "OfTheSecret"
    actions   = ["kms:Decrypt"]
    resources = [var.key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["secretsmanager.${var.region}.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "execution" {
  name               = "${var.name}-control-plane-execution"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "execution" {
  name   = "pull-log-and-secret"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}
