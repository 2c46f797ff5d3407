# Policies stand in the queues themselves: as resources of their own, Terraform would watch each of them for half a minute
# more. So the two queues name each other by ARNs that are made of names.

data "aws_caller_identity" "here" {}

data "aws_region" "here" {}

locals {
  retention_s = 14 * 24 * 3600 # the most that SQS allows
  queue_name  = "${var.name}-uploads"
  queue_arn   = "arn:aws:sqs:${data.aws_region.here.name}:${data.aws_caller_identity.here.account_id}:${local.queue_name}"
}

resource "aws_sqs_queue" "dead_letters" {
  name                      = "${local.queue_name}-dead-letters"
  message_retention_seconds = local.retention_s
  kms_master_key_id         = var.key_arn

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [local.queue_arn]
  })
}

resource "aws_sqs_queue" "uploads" {
  name                      = local.queue_name
  message_retention_seconds = local.retention_s
  receive_wait_time_seconds = 20 # long polls: fewer calls, sooner seen
  kms_master_key_id         = var.key_arn
  policy                    = data.aws_iam_policy_document.uploads.json
  # Longer than the sensor's tick and its evaluation (60 s at most): it deletes in the tick after.
  visibility_timeout_seconds = 180

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = 5
  })
}

data "aws_iam_policy_document" "uploads" {
  statement {
    sid       = "BucketAnnouncesUploads"
    actions   = ["sqs:SendMessage"]
    resources = [local.queue_arn]

    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_s3_bucket.this.arn]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.here.account_id]
    }
  }
}

resource "aws_s3_bucket_notification" "uploads" {
  bucket = aws_s3_bucket.this.id

  queue {
    id            = "uploads"
    queue_arn     = aws_sqs_queue.uploads.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = "${var.prefixes.footage}/"
  }
}
