output "vpc_id" {
  description = "Of the VPC."
  value       = aws_vpc.this.id
}

output "subnet_ids" {
  description = "Private subnets, one a zone; the first ones hold the endpoints."
  value       = aws_subnet.private[*].id
}

output "balancer_security_group_id" {
  description = "Of the load balancer."
  value       = aws_security_group.balancer.id
}

output "control_plane_security_group_id" {
  description = "Of webserver, daemon and code location."
  value       = aws_security_group.control_plane.id
}

output "worker_security_group_id" {
  description = "Of GPU hosts."
  value       = aws_security_group.worker.id
}

output "database_security_group_id" {
  description = "Of PostgreSQL."
  value       = aws_security_group.database.id
}
