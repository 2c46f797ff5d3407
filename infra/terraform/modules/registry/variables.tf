variable "name" {
  description = "First part of all names."
  type        = string
}

variable "key_arn" {
  description = "KMS key of what is stored."
  type        = string
}
