locals {
  graphs = [
    { title = "Uploads waiting", stat = "Maximum", metrics = [
      ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", var.upload_queue],
      [".", ".", ".", var.dead_letter_queue],
    ] },
    { title = "Age of the oldest upload (s)", stat = "Maximum", metrics = [
      ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", var.upload_queue],
    ] },
    { title = "GPU jobs failed, queues blocked", stat = "Sum", metrics = [
      for rule in aws_cloudwatch_event_rule.batch : ["AWS/Events", "MatchedEvents", "RuleName", rule.name]
    ] },
    { title = "Database: free storage (bytes)", stat = "Minimum", metrics = [
      ["AWS/RDS", "FreeStorageSpace", "DBInstanceIdentifier", var.database],
    ] },
    { title = "Database: CPU (%), connections", stat = "Average", metrics = [
      ["AWS/RDS", "CPUUtilization", "DBInstanceIdentifier", var.database],
      [".", "DatabaseConnections", ".", "."],
    ] },
    { title = "Bucket (bytes)", stat = "Average", metrics = [
      ["AWS/S3", "BucketSizeBytes", "BucketName", var.bucket_name, "StorageType", "StandardStorage"],
    ] },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = concat([
      for n, graph in local.graphs : {
        type       = "metric"
        x          = 8 * (n % 3)
        y          = 6 * floor(n / 3)
        width      = 8
        height     = 6
        properties = { title = graph.title, region = var.region, stat = graph.stat, period = 300, metrics = graph.metrics }
      }
      ], [{
        type       = "alarm"
        x          = 0
        y          = 12
        width      = 24
        height     = 3
        properties = { title = "Alarms", alarms = values(aws_cloudwatch_metric_alarm.this)[*].arn }
    }])
  })
}
