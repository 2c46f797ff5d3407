# What each interface endpoint is for. Each costs by the hour and zone, so none stands here for nothing.
locals {
  interface_endpoints = {
    "ecr.api"        = "both images"
    "ecr.dkr"        = "both images"
    "ecs"            = "hosts register with the cluster"
    "ecs-agent"      = "hosts register with the cluster"
    "ecs-telemetry"  = "hosts register with the cluster"
    "logs"           = "jobs and control plane write, the launcher reads"
    "sqs"            = "the upload sensor"
    "batch"          = "the step launcher"
    "secretsmanager" = "the database's address"
    "ssm"            = "Image Builder's build host"
    "ssmmessages"    = "port forwarding to the UI; Image Builder's build host"
    "ec2messages"    = "Image Builder's build host"
    "imagebuilder"   = "Image Builder's build host"
  }
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.private.id]
  tags              = { Name = "${var.name}-s3" }
}

resource "aws_vpc_endpoint" "interface" {
  for_each            = local.interface_endpoints
  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${var.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = slice(aws_subnet.private[*].id, 0, min(var.endpoint_zones, var.zones))
  security_group_ids  = [aws_security_group.endpoints.id]
  tags                = { Name = "${var.name}-${each.key}", Purpose = each.value }
}
