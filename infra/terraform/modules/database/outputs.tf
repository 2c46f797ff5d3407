output "identifier" {
  description = "For metrics."
  value       = local.instance.identifier
}

output "secret_arn" {
  description = "With engine, host, port, dbname, username, password."
  value       = aws_secretsmanager_secret.this.arn
}

output "key_arn" {
  description = "Key of the secret."
  value       = var.key_arn
}
