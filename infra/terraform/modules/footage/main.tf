# The bucket with its three classes of objects, and who may send to the queue that announces uploads.

resource "aws_s3_bucket" "this" {
  bucket        = var.bucket_name
  force_destroy = !var.deletion_protection
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = var.key_arn
    }
  }
}

# An upload of the same key is another version of the footage; the one before can be brought back for a week.
resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket     = aws_s3_bucket.this.id
  depends_on = [aws_s3_bucket_versioning.this]

  rule {
    id     = "footage"
    status = "Enabled"

    filter {
      prefix = "${var.prefixes.footage}/"
    }

    expiration {
      days = var.footage_retention_days
    }
  }

  rule {
    id     = "artifacts"
    status = "Enabled"

    filter {
      prefix = "${var.prefixes.artifacts}/"
    }

    expiration {
      days = var.artifact_retention_days
    }
  }

  rule {
    # What a step and its host say to each other is history when the step is over; a week helps who looks for a fault.
    id     = "channel"
    status = "Enabled"

    filter {
      prefix = "${var.prefixes.channel}/"
    }

    expiration {
      days = 7
    }
  }

  rule {
    id     = "leftovers"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 7
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "OnlyEncryptedConnections"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  bucket     = aws_s3_bucket.this.id
  policy     = data.aws_iam_policy_document.bucket.json
  depends_on = [aws_s3_bucket_public_access_block.this]
}

# For a backend or a person that uploads: attach it to them.
data "aws_iam_policy_document" "uploader" {
  statement {
    sid       = "UploadFootage"
    actions   = ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.this.arn}/${var.prefixes.footage}/*"]
  }

  statement {
    sid       = "EncryptIt"
    actions   = ["kms:GenerateDataKey", "kms:Decrypt"] # Decrypt: the parts of a multipart upload are joined
    resources = [var.key_arn]
  }
}

resource "aws_iam_policy" "uploader" {
  name   = "${var.name}-uploader"
  policy = data.aws_iam_policy_document.uploader.json
}
