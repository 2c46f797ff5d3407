# The two images. A tag, once pushed, stays what it is.

resource "aws_ecr_repository" "this" {
  for_each             = toset(["control-plane", "worker"])
  name                 = "${var.name}-${each.key}"
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = var.key_arn
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each   = aws_ecr_repository.this
  repository = each.value.name

  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Twenty images to roll back to"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 20 }
      action       = { type = "expire" }
    }]
  })
}

# What whoever runs an image is allowed; each role adds what is its own.
data "aws_iam_policy_document" "pull" {
  for_each = aws_ecr_repository.this

  statement {
    sid       = "LogInToRegistry"
    actions   = ["ecr:GetAuthorizationToken"] # has no resource
    resources = ["*"]
  }

  statement {
    sid       = "PullImage"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [each.value.arn]
  }
}
