variable "name" {
  description = "First part of all names."
  type        = string
}

variable "region" {
  description = "Whose services the endpoints lead to."
  type        = string
}

variable "cidr" {
  description = "Addresses of the VPC."
  type        = string
}

variable "zones" {
  description = "Number of availability zones with a subnet."
  type        = number
}

variable "endpoint_zones" {
  description = "Number of zones in which interface endpoints stand."
  type        = number
}

variable "operator_cidrs" {
  description = "Private ranges that may open the UI."
  type        = list(string)
}

variable "log_retention_days" {
  description = "How long the flow log is kept."
  type        = number
}

variable "key_arn" {
  description = "KMS key of what is stored."
  type        = string
}
