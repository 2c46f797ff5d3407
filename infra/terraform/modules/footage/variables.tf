variable "name" {
  description = "First part of all names."
  type        = string
}

variable "bucket_name" {
  description = "Of the bucket; unique in the world."
  type        = string
}

variable "prefixes" {
  description = "Of the classes of objects, without a slash at the end."
  type        = object({ footage = string, artifacts = string, channel = string, models = string })

  validation {
    condition     = length(distinct(values(var.prefixes))) == 4 && alltrue([for p in values(var.prefixes) : can(regex("^[a-z][a-z0-9-]*$", p))])
    error_message = "prefixes are four different words: lifecycles and permissions go by them."
  }
}

variable "footage_retention_days" {
  description = "Footage is deleted after so many days."
  type        = number
}

variable "artifact_retention_days" {
  description = "Tables between assets are deleted after so many days."
  type        = number
}

variable "deletion_protection" {
  description = "The bucket is deleted only when empty."
  type        = bool
}

variable "key_arn" {
  description = "KMS key of what is stored."
  type        = string
}
