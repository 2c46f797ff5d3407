# What the build host may: be led by Image Builder, pull the worker's image, read the weights.

data "aws_caller_identity" "here" {}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "bake" {
  source_policy_documents = [var.pull_policy]

  statement {
    sid       = "ReadWeights"
    actions   = ["s3:GetObject"]
    resources = ["${var.bucket_arn}/${var.models_prefix}/*"]
  }

  statement {
    sid       = "ReadComponent"
    actions   = ["imagebuilder:GetComponent"]
    resources = ["arn:aws:imagebuilder:${var.region}:${data.aws_caller_identity.here.account_id}:component/${var.name}-bake/*"]
  }

  statement {
    sid       = "OfWeightsAndComponent"
    actions   = ["kms:Decrypt"]
    resources = [var.key_arn]
  }

  statement {
    sid       = "WriteLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.bake.arn}:*"]
  }
}

resource "aws_iam_role" "bake" {
  name               = "${var.name}-bake"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "bake" {
  name   = "pull-and-read"
  role   = aws_iam_role.bake.id
  policy = data.aws_iam_policy_document.bake.json
}

# How Image Builder leads its build host; AWS keeps the list.
resource "aws_iam_role_policy_attachment" "led_by_ssm" {
  role       = aws_iam_role.bake.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "bake" {
  name = "${var.name}-bake"
  role = aws_iam_role.bake.name
}
