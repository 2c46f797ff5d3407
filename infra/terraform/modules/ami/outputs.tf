output "pipeline_arn" {
  description = "Start it to bake."
  value       = aws_imagebuilder_image_pipeline.this.arn
}
