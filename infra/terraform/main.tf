# The whole deployment. Each module is one noun; what one needs of another is passed here, by name.

data "aws_caller_identity" "here" {}

locals {
  bucket_name = "${var.name}-footage-${data.aws_caller_identity.here.account_id}"
  # The three classes of objects, each with a lifecycle and permissions of its own, and the mirror of the weights.
  prefixes = {
    footage   = "videos"
    artifacts = "artifacts"
    channel   = "steps"
    models    = "models"
  }
}

module "encryption" {
  source = "./modules/encryption"
  name   = var.name
  region = var.region
}

module "network" {
  source             = "./modules/network"
  name               = var.name
  region             = var.region
  cidr               = var.vpc_cidr
  zones              = var.zones
  endpoint_zones     = var.endpoint_zones
  operator_cidrs     = var.operator_cidrs
  log_retention_days = var.log_retention_days
  key_arn            = module.encryption.key_arn
}

module "footage" {
  source                  = "./modules/footage"
  name                    = var.name
  bucket_name             = local.bucket_name
  prefixes                = local.prefixes
  footage_retention_days  = var.footage_retention_days
  artifact_retention_days = var.artifact_retention_days
  deletion_protection     = var.deletion_protection
  key_arn                 = module.encryption.key_arn
}

module "registry" {
  source  = "./modules/registry"
  name    = var.name
  key_arn = module.encryption.key_arn
}

module "database" {
  source              = "./modules/database"
  name                = var.name
  subnet_ids          = module.network.subnet_ids
  security_group_id   = module.network.database_security_group_id
  instance_class      = var.database_class
  multi_az            = var.database_multi_az
  password_version    = var.database_password_version
  deletion_protection = var.deletion_protection
  key_arn             = module.encryption.key_arn
}

module "batch" {
  source             = "./modules/batch"
  name               = var.name
  region             = var.region
  subnet_ids         = module.network.subnet_ids
  security_group_id  = module.network.worker_security_group_id
  instance_type      = var.instance_type
  max_vcpus          = var.max_vcpus
  spot               = var.spot
  fair_share         = var.fair_share
  ami_id             = var.worker_ami_id
  image              = var.worker_image
  pull_policy        = module.registry.pull_policies["worker"]
  bucket_arn         = module.footage.bucket_arn
  prefixes           = local.prefixes
  environment        = local.environment_of_jobs
  log_retention_days = var.log_retention_days
  key_arn            = module.encryption.key_arn
}

module "control_plane" {
  source              = "./modules/control_plane"
  name                = var.name
  region              = var.region
  vpc_id              = module.network.vpc_id
  subnet_ids          = module.network.subnet_ids
  security_group_id   = module.network.control_plane_security_group_id
  balancer_group_id   = module.network.balancer_security_group_id
  certificate_arn     = var.certificate_arn
  image               = var.control_plane_image
  pull_policy         = module.registry.pull_policies["control-plane"]
  bucket_arn          = module.footage.bucket_arn
  prefixes            = local.prefixes
  upload_queue_arn    = module.footage.upload_queue_arn
  batch               = module.batch
  database            = module.database
  environment         = local.environment
  deletion_protection = var.deletion_protection
  log_retention_days  = var.log_retention_days
  key_arn             = module.encryption.key_arn
}

module "ami" {
  source             = "./modules/ami"
  name               = var.name
  region             = var.region
  subnet_id          = module.network.subnet_ids[0]
  security_group_id  = module.network.worker_security_group_id
  base_ami_id        = var.bake_base_ami_id
  recipe_version     = var.bake_version
  instance_type      = var.instance_type
  image              = var.worker_image
  pull_policy        = module.registry.pull_policies["worker"]
  profile            = var.profile
  bucket_name        = module.footage.bucket_name
  bucket_arn         = module.footage.bucket_arn
  models_prefix      = local.prefixes.models
  log_retention_days = var.log_retention_days
  key_arn            = module.encryption.key_arn
}

module "watch" {
  source             = "./modules/watch"
  name               = var.name
  region             = var.region
  emails             = var.alarm_emails
  monthly_budget_usd = var.monthly_budget_usd
  upload_queue       = module.footage.upload_queue_name
  dead_letter_queue  = module.footage.dead_letter_queue_name
  bucket_name        = module.footage.bucket_name
  batch_queue_arns   = module.batch.queue_arns
  database           = module.database.identifier
  balancer           = module.control_plane.balancer
  target_group       = module.control_plane.target_group
  log_retention_days = var.log_retention_days
  key_arn            = module.encryption.key_arn
}
