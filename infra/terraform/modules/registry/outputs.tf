output "repository_urls" {
  description = "Where to push: control-plane, worker."
  value       = { for name, one in aws_ecr_repository.this : name => one.repository_url }
}

output "pull_policies" {
  description = "IAM statements, JSON, to pull an image: control-plane, worker."
  value       = { for name, one in data.aws_iam_policy_document.pull : name => one.json }
}
