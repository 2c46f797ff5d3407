output "bucket_name" {
  description = "Of the bucket."
  value       = aws_s3_bucket.this.bucket
}

output "bucket_arn" {
  description = "Of the bucket."
  value       = aws_s3_bucket.this.arn
}

output "upload_queue_url" {
  description = "Where uploads are announced."
  value       = aws_sqs_queue.uploads.url
}

output "upload_queue_arn" {
  description = "Where uploads are announced."
  value       = aws_sqs_queue.uploads.arn
}

output "upload_queue_name" {
  description = "For metrics."
  value       = aws_sqs_queue.uploads.name
}

output "dead_letter_queue_url" {
  description = "Where messages end that were received five times in vain."
  value       = aws_sqs_queue.dead_letters.url
}

output "dead_letter_queue_name" {
  description = "For metrics."
  value       = aws_sqs_queue.dead_letters.name
}

output "uploader_policy_arn" {
  description = "For whoever uploads."
  value       = aws_iam_policy.uploader.arn
}
