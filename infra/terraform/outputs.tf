output "environment" {
  description = "The control plane's environment: with it the same code runs anywhere against this deployment."
  value       = local.environment
}

output "footage_bucket" {
  description = "Where uploads go."
  value       = module.footage.bucket_name
}

output "footage_prefix" {
  description = "Of objects that announce themselves as videos."
  value       = local.prefixes.footage
}

output "upload_queue_url" {
  description = "Where uploads are announced."
  value       = module.footage.upload_queue_url
}

output "dead_letter_queue_url" {
  description = "Where messages end that were received five times in vain."
  value       = module.footage.dead_letter_queue_url
}

output "batch_queue" {
  description = "Where GPU steps go first."
  value       = module.batch.queue_name
}

output "on_demand_queue" {
  description = "Where they go after spot reclaims; null without spot hosts."
  value       = module.batch.on_demand_queue_name
}

output "job_definition" {
  description = "Of GPU steps, with its revision."
  value       = module.batch.job_definition_arn
}

output "database_secret_arn" {
  description = "Secret with host, port, name, user and password of the warehouse."
  value       = module.database.secret_arn
}

output "repository_urls" {
  description = "Where to push the two images."
  value       = module.registry.repository_urls
}

output "image_pipeline_arn" {
  description = "Start it to bake an AMI."
  value       = module.ami.pipeline_arn
}

output "ui_host" {
  description = "Of the Dagster UI, over HTTPS, for operator_cidrs."
  value       = module.control_plane.balancer_dns_name
}

output "cluster" {
  description = "ECS cluster of the control plane."
  value       = module.control_plane.cluster_name
}

output "uploader_policy_arn" {
  description = "Attach it to whoever uploads footage."
  value       = module.footage.uploader_policy_arn
}

output "job_log_group" {
  description = "Logs of GPU jobs."
  value       = module.batch.log_group
}
