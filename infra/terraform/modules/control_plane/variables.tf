variable "name" {
  description = "First part of all names."
  type        = string
}

variable "region" {
  description = "Where it runs."
  type        = string
}

variable "vpc_id" {
  description = "Of the network."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, of task and load balancer."
  type        = list(string)
}

variable "security_group_id" {
  description = "Of the task."
  type        = string
}

variable "balancer_group_id" {
  description = "Security group of the load balancer."
  type        = string
}

variable "certificate_arn" {
  description = "Of the load balancer."
  type        = string
}

variable "image" {
  description = "Of all processes, by digest."
  type        = string
}

variable "pull_policy" {
  description = "IAM statements, JSON, to pull the image."
  type        = string
}

variable "bucket_arn" {
  description = "Of footage, tables, channels and weights."
  type        = string
}

variable "prefixes" {
  description = "Of the classes of objects."
  type        = object({ footage = string, artifacts = string, channel = string, models = string })
}

variable "upload_queue_arn" {
  description = "Where uploads are announced."
  type        = string
}

variable "batch" {
  description = "What the launcher may use."
  type = object({
    queue_arns                = list(string)
    job_definition_arn_prefix = string
    log_group_arn             = string
  })
}

variable "database" {
  description = "Where the warehouse's secret is."
  type        = object({ secret_arn = string })
}

variable "environment" {
  description = "What the code reads of its deployment."
  type        = map(string)
}

variable "deletion_protection" {
  description = "The load balancer cannot be deleted."
  type        = bool
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
}

variable "key_arn" {
  description = "KMS key of what is stored."
  type        = string
}
