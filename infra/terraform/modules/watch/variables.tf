variable "name" {
  description = "First part of all names, and the tag Project by which costs are told apart."
  type        = string
}

variable "region" {
  description = "Whose metrics the dashboard shows."
  type        = string
}

variable "emails" {
  description = "Who is told."
  type        = list(string)
}

variable "monthly_budget_usd" {
  description = "What a month may cost."
  type        = number
}

variable "bucket_limit_gb" {
  description = "More than this in the bucket is worth a look."
  type        = number
  default     = 1000
}

variable "upload_queue" {
  description = "Name of the queue of uploads."
  type        = string
}

variable "dead_letter_queue" {
  description = "Name of the dead-letter queue."
  type        = string
}

variable "bucket_name" {
  description = "Of the footage."
  type        = string
}

variable "batch_queue_arns" {
  description = "Whose jobs are watched."
  type        = list(string)
}

variable "database" {
  description = "Identifier of the database."
  type        = string
}

variable "balancer" {
  description = "Load balancer of the UI, as metrics name it."
  type        = string
}

variable "target_group" {
  description = "Of the UI, as metrics name it."
  type        = string
}

variable "log_retention_days" {
  description = "How long events are kept."
  type        = number
}

variable "key_arn" {
  description = "KMS key of what is stored."
  type        = string
}
