resource "aws_cloudwatch_event_rule" "batch" {
  for_each      = local.events
  name          = "${var.name}-${each.key}"
  event_pattern = jsonencode(merge({ source = ["aws.batch"] }, each.value))
}

resource "aws_cloudwatch_log_group" "events" {
  name              = "/aws/events/${var.name}-batch" # EventBridge writes only below /aws/events/
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arn
}

resource "aws_cloudwatch_event_target" "log" {
  for_each = aws_cloudwatch_event_rule.batch
  rule     = each.value.name
  arn      = aws_cloudwatch_log_group.events.arn
}

data "aws_iam_policy_document" "events" {
  statement {
    sid       = "EventBridgeWrites"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.events.arn}:*"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com", "delivery.logs.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = values(aws_cloudwatch_event_rule.batch)[*].arn
    }
  }
}

resource "aws_cloudwatch_log_resource_policy" "events" {
  policy_name     = "${var.name}-batch-events"
  policy_document = data.aws_iam_policy_document.events.json
}
