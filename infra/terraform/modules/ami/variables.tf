variable "name" {
  description = "First part of all names."
  type        = string
}

variable "region" {
  description = "Where the AMI is made and used."
  type        = string
}

variable "subnet_id" {
  description = "Of the build host; its zone has the endpoints."
  type        = string
}

variable "security_group_id" {
  description = "Of the build host."
  type        = string
}

variable "base_ami_id" {
  description = "What it starts from; null: the recommended ECS GPU image."
  type        = string
}

variable "recipe_version" {
  description = "Of component and recipe."
  type        = string
}

variable "instance_type" {
  description = "Of the build host."
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

variable "profile" {
  description = "Whose weights are baked in."
  type        = string
}

variable "bucket_name" {
  description = "Where the mirror of the weights is."
  type        = string
}

variable "bucket_arn" {
  description = "Where the mirror of the weights is."
  type        = string
}

variable "models_prefix" {
  description = "Of the mirror."
  type        = string
}

variable "log_retention_days" {
  description = "How long build logs are kept."
  type        = number
}

variable "key_arn" {
  description = "KMS key of what is stored."
  type        = string
}
