output "queue_name" {
  description = "Where GPU steps go first."
  value       = aws_batch_job_queue.this[var.spot ? "spot" : "on-demand"].name
}

output "on_demand_queue_name" {
  description = "Where they go after reclaims; null where they go there anyway."
  value       = var.spot ? aws_batch_job_queue.this["on-demand"].name : null
}

output "queue_arns" {
  description = "All queues."
  value       = values(aws_batch_job_queue.this)[*].arn
}

output "job_definition_arn" {
  description = "With its revision."
  value       = aws_batch_job_definition.this.arn
}

output "job_definition_arn_prefix" {
  description = "Without its revision."
  value       = aws_batch_job_definition.this.arn_prefix
}

output "log_group" {
  description = "Of jobs."
  value       = aws_cloudwatch_log_group.jobs.name
}

output "log_group_arn" {
  description = "Of jobs."
  value       = aws_cloudwatch_log_group.jobs.arn
}

output "job_role_arn" {
  description = "What a GPU job is."
  value       = aws_iam_role.job.arn
}
