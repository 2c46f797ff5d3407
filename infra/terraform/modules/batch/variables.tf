variable "name" {
  description = "First part of all names."
  type        = string
}

variable "region" {
  description = "Where jobs run."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets."
  type        = list(string)
}

variable "security_group_id" {
  description = "Of hosts: AWS services and S3, nothing else."
  type        = string
}

variable "instance_type" {
  description = "Of hosts."
  type        = string
}

variable "max_vcpus" {
  description = "Of each compute environment."
  type        = number
}

variable "spot" {
  description = "A second environment and queue of spot hosts."
  type        = bool
}

variable "fair_share" {
  description = "Queues with the shares `uploads` and `backfills`."
  type        = bool
}

variable "ami_id" {
  description = "AMI with weights and image; null: none."
  type        = string
}

variable "image" {
  description = "Of the worker, by digest."
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

variable "environment" {
  description = "What the code in a job reads of its deployment."
  type        = map(string)

  validation {
    condition     = !anytrue([for name in keys(var.environment) : strcontains(name, "DATABASE")])
    error_message = "GPU jobs have no route to the database and are told no address of one."
  }
}

variable "log_retention_days" {
  description = "How long job logs are kept."
  type        = number
}

variable "key_arn" {
  description = "KMS key of what is stored."
  type        = string
}
