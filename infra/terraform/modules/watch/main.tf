# What wakes a person, what it looks like, what it costs.

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.key_arn
}

resource "aws_sns_topic_subscription" "mail" {
  for_each  = toset(var.emails)
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

data "aws_caller_identity" "here" {}

data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "AlarmsAndCosts"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com", "costalerts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.here.account_id]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

locals {
  # name => metric, and when it is too much. `missing`: what silence means.
  alarms = {
    dead-letters = {
      why       = "A message was received five times in vain: its video is not analysed. See it with aws sqs receive-message."
      namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = var.dead_letter_queue }
      statistic = "Maximum", period = 300, periods = 1, above = true, threshold = 0, missing = "notBreaching"
    }
    oldest-message = {
      why       = "Uploads wait for the sensor: is the daemon up, is the sensor on?"
      namespace = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", dimensions = { QueueName = var.upload_queue }
      statistic = "Maximum", period = 300, periods = 2, above = true, threshold = 900, missing = "notBreaching"
    }
    failed-jobs = {
      why       = "GPU jobs fail: the run's page in the Dagster UI says why. One or two are reclaimed hosts."
      namespace = "AWS/Events", metric = "MatchedEvents", dimensions = { RuleName = aws_cloudwatch_event_rule.batch["failed-jobs"].name }
      statistic = "Sum", period = 900, periods = 1, above = true, threshold = 2, missing = "notBreaching"
    }
    blocked-queue = {
      why       = "The first job of a queue has been RUNNABLE too long and Batch knows a reason: no capacity, a limit, a misconfiguration."
      namespace = "AWS/Events", metric = "MatchedEvents", dimensions = { RuleName = aws_cloudwatch_event_rule.batch["blocked-queue"].name }
      statistic = "Sum", period = 300, periods = 1, above = true, threshold = 0, missing = "notBreaching"
    }
    database-storage = {
      why       = "Less than 4 GiB is free; storage grows by itself up to 200 GB, so look at what grows."
      namespace = "AWS/RDS", metric = "FreeStorageSpace", dimensions = { DBInstanceIdentifier = var.database }
      statistic = "Minimum", period = 300, periods = 3, above = false, threshold = 4 * 1024 * 1024 * 1024, missing = "missing"
    }
    bucket-size = {
      why       = "More footage than expected: does the lifecycle delete, does a camera upload too much?"
      namespace = "AWS/S3", metric = "BucketSizeBytes", dimensions = { BucketName = var.bucket_name, StorageType = "StandardStorage" }
      statistic = "Average", period = 86400, periods = 1, above = true, threshold = var.bucket_limit_gb * 1000000000, missing = "notBreaching"
    }
    control-plane-down = {
      why       = "The Dagster UI does not answer, so neither daemon nor sensor may be up."
      namespace = "AWS/ApplicationELB", metric = "HealthyHostCount", dimensions = { LoadBalancer = var.balancer, TargetGroup = var.target_group }
      statistic = "Maximum", period = 300, periods = 2, above = false, threshold = 1, missing = "breaching"
    }
  }

  # Events of Batch, by which CloudWatch counts what Batch has no metrics for.
  events = {
    failed-jobs   = { "detail-type" = ["Batch Job State Change"], detail = { jobQueue = var.batch_queue_arns, status = ["FAILED"] } }
    blocked-queue = { "detail-type" = ["Batch Job Queue Blocked"], detail = { jobQueue = var.batch_queue_arns } }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.why
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = each.value.periods
  comparison_operator = each.value.above ? "GreaterThanThreshold" : "LessThanThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}
