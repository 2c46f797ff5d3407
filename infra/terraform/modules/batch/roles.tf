# What a GPU job may: the bucket, and nothing else. No database, no queue, no secret.

data "aws_caller_identity" "here" {}

data "aws_iam_policy_document" "task_trust" {
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

data "aws_iam_policy_document" "job" {
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = [for prefix in values(var.prefixes) : "${var.bucket_arn}/${prefix}/*"]
  }

  statement {
    sid       = "WriteTablesAndEvents"
    actions   = ["s3:PutObject"]
    resources = ["${var.bucket_arn}/${var.prefixes.artifacts}/*", "${var.bucket_arn}/${var.prefixes.channel}/*"]
  }

  statement {
    sid       = "TellAbsentFromForbidden"
    actions   = ["s3:ListBucket"] # without it S3 answers 403, not 404, for what is not there
    resources = [var.bucket_arn]
  }

  statement {
    sid       = "OfTheBucket"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${var.region}.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "job" {
  name               = "${var.name}-job"
  assume_role_policy = data.aws_iam_policy_document.task_trust.json
}

resource "aws_iam_role_policy" "job" {
  name   = "bucket"
  role   = aws_iam_role.job.id
  policy = data.aws_iam_policy_document.job.json
}

# What the ECS agent does for a job: pull its image, write its log.
data "aws_iam_policy_document" "execution" {
  source_policy_documents = [var.pull_policy]

  statement {
    sid       = "WriteLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.jobs.arn}:*"]
  }
}

resource "aws_iam_role" "execution" {
  name               = "${var.name}-job-execution"
  assume_role_policy = data.aws_iam_policy_document.task_trust.json
}

resource "aws_iam_role_policy" "execution" {
  name   = "pull-and-log"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}
