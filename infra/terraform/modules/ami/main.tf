# EC2 Image Builder bakes the hosts' AMI: the newest ECS GPU image, the worker's image, and the weights, each compared
# with its sha256 by the worker's own code. Started by hand or a pipeline of yours; its AMI becomes `worker_ami_id`.

data "aws_ssm_parameter" "base" {
  count = var.base_ami_id == null ? 1 : 0
  name  = "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
}

locals {
  base_ami_id = var.base_ami_id != null ? var.base_ami_id : nonsensitive(data.aws_ssm_parameter.base[0].value)
}

resource "aws_imagebuilder_component" "bake" {
  name        = "${var.name}-bake"
  description = "Worker image into Docker's store, weights to /opt/ml, both checked"
  platform    = "Linux"
  version     = var.recipe_version
  kms_key_id  = var.key_arn

  data = templatefile("${path.module}/../../../ami/bake.yaml.tftpl", {
    image    = var.image
    registry = split("/", var.image)[0]
    region   = var.region
    profile  = var.profile
    mirror   = "s3://${var.bucket_name}/${var.models_prefix}"
  })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_imagebuilder_image_recipe" "this" {
  name         = "${var.name}-worker"
  version      = var.recipe_version
  parent_image = local.base_ami_id

  component {
    component_arn = aws_imagebuilder_component.bake.arn
  }

  block_device_mapping {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = 100
      volume_type           = "gp3"
      encrypted             = true
      delete_on_termination = true
    }
  }

  systems_manager_agent {
    uninstall_after_build = false
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_imagebuilder_infrastructure_configuration" "this" {
  name                          = "${var.name}-bake"
  instance_profile_name         = aws_iam_instance_profile.bake.name
  instance_types                = [var.instance_type] # with a GPU: the test runs the worker on it
  subnet_id                     = var.subnet_id
  security_group_ids            = [var.security_group_id]
  terminate_instance_on_failure = true

  instance_metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 2 # the worker's container fetches the weights
  }
}

resource "aws_imagebuilder_distribution_configuration" "this" {
  name = "${var.name}-worker"

  distribution {
    region = var.region

    ami_distribution_configuration {
      name = "${var.name}-worker-{{ imagebuilder:buildDate }}"

      ami_tags = {
        Project = var.name
        Image   = var.image
        Profile = var.profile
      }
    }
  }
}

resource "aws_imagebuilder_image_pipeline" "this" {
  name                             = "${var.name}-worker"
  image_recipe_arn                 = aws_imagebuilder_image_recipe.this.arn
  infrastructure_configuration_arn = aws_imagebuilder_infrastructure_configuration.this.arn
  distribution_configuration_arn   = aws_imagebuilder_distribution_configuration.this.arn

  image_tests_configuration {
    image_tests_enabled = true
    timeout_minutes     = 60
  }
}

resource "aws_cloudwatch_log_group" "bake" {
  name              = "/aws/imagebuilder/${var.name}-worker" # Image Builder's own name for it
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arn
}
