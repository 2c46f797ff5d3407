output "repository_urls" {
  description = "Where to push: control-plane, worker."
  value       = { for name, one in aws_ecr_repository.this : name => one.repository_url }
}

output "repository_arns" {
  description = "What pulling is allowed on: control-plane, worker."
  value       = { for name, one in aws_ecr_repository.this : name => one.arn }
}
