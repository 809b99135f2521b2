"""Buckets in Google Cloud Storage for Kubernetes ObjectBucketClaims."""
