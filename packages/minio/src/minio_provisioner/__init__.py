"""Buckets in MinIO for Kubernetes ObjectBucketClaims."""
