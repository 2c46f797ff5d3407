# How the warehouse is found: what the code and the tasks of the control plane read of the database.

resource "aws_secretsmanager_secret" "this" {
  name_prefix             = "${var.name}-database-"
  description             = "Where the warehouse is and how to enter it"
  kms_key_id              = var.key_arn
  recovery_window_in_days = var.deletion_protection ? 7 : 0
}

resource "aws_secretsmanager_secret_version" "this" {
  secret_id                = aws_secretsmanager_secret.this.id
  secret_string_wo_version = var.password_version

  # As RDS writes its own secrets.
  secret_string_wo = jsonencode({
    engine   = "postgres"
    host     = local.instance.address
    port     = local.instance.port
    dbname   = local.instance.db_name
    username = local.instance.username
    password = local.password
    # Whole, as DATABASE_URL; the password is letters and digits, so nothing in it has to be escaped.
    url = "postgresql://${local.instance.username}:${local.password}@${local.instance.endpoint}/${local.instance.db_name}?sslmode=require"
  })
}
