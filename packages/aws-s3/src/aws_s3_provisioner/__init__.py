"""Buckets in AWS S3 for Kubernetes ObjectBucketClaims."""
