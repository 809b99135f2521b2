"""Buckets in Garage for Kubernetes ObjectBucketClaims."""
