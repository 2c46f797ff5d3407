variable "name" {
  description = "First part of all names."
  type        = string
}

variable "region" {
  description = "Region whose log groups use the key."
  type        = string
}
