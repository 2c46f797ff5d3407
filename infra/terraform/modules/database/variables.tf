variable "name" {
  description = "First part of all names."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets in two zones at least."
  type        = list(string)
}

variable "security_group_id" {
  description = "Lets in who may connect."
  type        = string
}

variable "instance_class" {
  description = "RDS class."
  type        = string
}

variable "multi_az" {
  description = "A standby in another zone."
  type        = bool
}

variable "password_version" {
  description = "Raised by one: a new password."
  type        = number
}

variable "deletion_protection" {
  description = "The database cannot be deleted; without it, it goes without a last snapshot."
  type        = bool
}

variable "key_arn" {
  description = "KMS key of what is stored."
  type        = string
}
