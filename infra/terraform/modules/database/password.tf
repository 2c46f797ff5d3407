# Made anew at each plan, used only when `password_version` changes, and never written to plan or state.
ephemeral "aws_secretsmanager_random_password" "this" {
  password_length     = 40
  exclude_punctuation = true # it becomes part of a URL
}

# By itself in this file: mock providers have no ephemeral resources, so tests put another file in its place.
locals {
  password = ephemeral.aws_secretsmanager_random_password.this.random_password
}
