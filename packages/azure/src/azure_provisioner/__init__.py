"""Buckets in Azure Blob Storage for Kubernetes ObjectBucketClaims."""
