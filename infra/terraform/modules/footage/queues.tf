locals {
  retention_s = 14 * 24 * 3600 # the most that SQS allows
}

resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.name}-uploads-dead-letters"
  message_retention_seconds = local.retention_s
  kms_master_key_id         = var.key_arn
}

resource "aws_sqs_queue" "uploads" {
  name                      = "${var.name}-uploads"
  message_retention_seconds = local.retention_s
  receive_wait_time_seconds = 20 # long polls: fewer calls, sooner seen
  kms_master_key_id         = var.key_arn
  # Longer than the sensor's tick and its evaluation (60 s at most): it deletes in the tick after.
  visibility_timeout_seconds = 180

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = 5
  })
}

resource "aws_sqs_queue_redrive_allow_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.id

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.uploads.arn]
  })
}

data "aws_caller_identity" "here" {}

data "aws_iam_policy_document" "uploads" {
  statement {
    sid       = "BucketAnnouncesUploads"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.uploads.arn]

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

resource "aws_sqs_queue_policy" "uploads" {
  queue_url = aws_sqs_queue.uploads.id
  policy    = data.aws_iam_policy_document.uploads.json
}

resource "aws_s3_bucket_notification" "uploads" {
  bucket     = aws_s3_bucket.this.id
  depends_on = [aws_sqs_queue_policy.uploads]

  queue {
    id            = "uploads"
    queue_arn     = aws_sqs_queue.uploads.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = "${var.prefixes.footage}/"
  }
}
