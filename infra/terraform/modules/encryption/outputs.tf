output "key_arn" {
  description = "Of the key."
  value       = aws_kms_key.this.arn
}
