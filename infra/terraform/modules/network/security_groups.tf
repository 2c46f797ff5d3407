# Who may talk to whom, and nobody else. In particular GPU workers have no way to the database.
#
#   operators --443--> balancer --3000--> control plane --5432--> database
#   control plane, workers --443--> endpoints, S3

resource "aws_security_group" "balancer" {
  name        = "${var.name}-balancer"
  description = "Load balancer of the Dagster UI"
  vpc_id      = aws_vpc.this.id
}

resource "aws_security_group" "control_plane" {
  name        = "${var.name}-control-plane"
  description = "Dagster webserver, daemon and code location"
  vpc_id      = aws_vpc.this.id
}

resource "aws_security_group" "worker" {
  name        = "${var.name}-worker"
  description = "GPU hosts and the host on which their image is baked"
  vpc_id      = aws_vpc.this.id
}

resource "aws_security_group" "database" {
  name        = "${var.name}-database"
  description = "PostgreSQL"
  vpc_id      = aws_vpc.this.id
}

resource "aws_security_group" "endpoints" {
  name        = "${var.name}-endpoints"
  description = "Interface endpoints of AWS services"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "operators" {
  for_each          = toset(var.operator_cidrs)
  security_group_id = aws_security_group.balancer.id
  description       = "Operators open the UI"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

locals {
  # From one group to another: key, port, why.
  flows = {
    balancer_to_ui            = { from = aws_security_group.balancer.id, to = aws_security_group.control_plane.id, port = 3000, why = "Dagster webserver" }
    control_plane_to_database = { from = aws_security_group.control_plane.id, to = aws_security_group.database.id, port = 5432, why = "PostgreSQL" }
    control_plane_to_services = { from = aws_security_group.control_plane.id, to = aws_security_group.endpoints.id, port = 443, why = "AWS services" }
    worker_to_services        = { from = aws_security_group.worker.id, to = aws_security_group.endpoints.id, port = 443, why = "AWS services" }
  }
}

resource "aws_vpc_security_group_egress_rule" "flow" {
  for_each                     = local.flows
  security_group_id            = each.value.from
  referenced_security_group_id = each.value.to
  description                  = each.value.why
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_ingress_rule" "flow" {
  for_each                     = local.flows
  security_group_id            = each.value.to
  referenced_security_group_id = each.value.from
  description                  = each.value.why
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "s3" {
  for_each = {
    control_plane = aws_security_group.control_plane.id
    worker        = aws_security_group.worker.id
  }
  security_group_id = each.value
  description       = "S3 by its gateway endpoint"
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
