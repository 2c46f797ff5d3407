output "cluster_name" {
  description = "ECS cluster."
  value       = aws_ecs_cluster.this.name
}

output "balancer_dns_name" {
  description = "Of the UI, over HTTPS."
  value       = aws_lb.this.dns_name
}

output "balancer" {
  description = "For metrics."
  value       = aws_lb.this.arn_suffix
}

output "target_group" {
  description = "For metrics."
  value       = aws_lb_target_group.ui.arn_suffix
}

output "task_role_arn" {
  description = "What the control plane is."
  value       = aws_iam_role.task.arn
}
