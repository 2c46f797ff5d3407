# The EC2 hosts: disk, metadata service, what they do at boot, and what they may.

resource "aws_launch_template" "host" {
  name_prefix = "${var.name}-host-"
  description = "GPU hosts of ${var.name}"

  user_data = base64encode(templatefile("${path.module}/boot.mime.tftpl", {
    is_baked = var.ami_id != null
    image    = var.image
  }))

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = 100 # GB
      volume_type           = "gp3"
      throughput            = 250 # MB/s; image and weights are read at boot
      encrypted             = true
      delete_on_termination = true
    }
  }

  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
    # From a container the service is two hops away; the worker asks it for type, price class and spot notices.
    http_put_response_hop_limit = 2
  }

  monitoring {
    enabled = true
  }

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "${var.name}-worker" }
  }

  tag_specifications {
    resource_type = "volume"
    tags          = { Name = "${var.name}-worker" }
  }

  lifecycle {
    create_before_destroy = true
  }
}

data "aws_iam_policy_document" "host_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

# What the ECS agent does. Not AmazonEC2ContainerServiceforEC2Role, which may also create clusters and tag anything.
data "aws_iam_policy_document" "host" {
  statement {
    sid       = "FindTheCluster"
    actions   = ["ecs:DiscoverPollEndpoint"] # has no resource
    resources = ["*"]
  }

  statement {
    sid = "ServeTheCluster"
    actions = [
      "ecs:RegisterContainerInstance", "ecs:DeregisterContainerInstance", "ecs:UpdateContainerInstancesState",
      "ecs:Poll", "ecs:StartTelemetrySession",
      "ecs:SubmitAttachmentStateChanges", "ecs:SubmitContainerStateChange", "ecs:SubmitTaskStateChange",
    ]
    # Batch names its clusters after the compute environment.
    resources = [
      "arn:aws:ecs:${var.region}:${data.aws_caller_identity.here.account_id}:cluster/*${var.name}-*",
      "arn:aws:ecs:${var.region}:${data.aws_caller_identity.here.account_id}:container-instance/*${var.name}-*",
    ]
  }
}

resource "aws_iam_role" "host" {
  name               = "${var.name}-worker-host"
  assume_role_policy = data.aws_iam_policy_document.host_trust.json
}

resource "aws_iam_role_policy" "host" {
  name   = "ecs-agent"
  role   = aws_iam_role.host.id
  policy = data.aws_iam_policy_document.host.json
}

resource "aws_iam_instance_profile" "host" {
  name = "${var.name}-worker-host"
  role = aws_iam_role.host.name
}
