# What the code reads of its deployment (resources/cloud.py, resources/settings.py).

locals {
  # Of every process, GPU jobs included. No address of a database is among them: jobs have no route to one.
  environment_of_jobs = {
    SENTINEL_DEPLOYMENT     = "aws"
    SENTINEL_PROFILE        = var.profile
    SENTINEL_FOOTAGE_BUCKET = module.footage.bucket_name
    SENTINEL_ARTIFACTS      = "s3://${module.footage.bucket_name}/${local.prefixes.artifacts}"
    SENTINEL_STEP_CHANNEL   = "s3://${module.footage.bucket_name}/${local.prefixes.channel}"
    SENTINEL_MODELS_MIRROR  = "s3://${module.footage.bucket_name}/${local.prefixes.models}"
  }

  # Of the control plane.
  environment = merge(local.environment_of_jobs, {
    SENTINEL_UPLOAD_QUEUE    = module.footage.upload_queue_url
    SENTINEL_BATCH_QUEUE     = module.batch.queue_name
    SENTINEL_JOB_DEFINITION  = module.batch.job_definition_arn
    SENTINEL_DATABASE_SECRET = module.database.secret_arn
    SENTINEL_STEP_TIME_LIMIT = tostring(var.step_time_limit_seconds)
    SENTINEL_HOST_PRICES     = join(",", [for host, usd in var.host_prices : "${host}=${usd}"])
    }, module.batch.on_demand_queue_name == null ? {} : {
    SENTINEL_ON_DEMAND_QUEUE = module.batch.on_demand_queue_name
    }, !var.fair_share ? {} : {
    SENTINEL_UPLOAD_SHARE   = "uploads"
    SENTINEL_BACKFILL_SHARE = "backfills"
  })
}
