"""The Kubernetes API, as this project uses it: the only importer of the `kubernetes` client.

Knows requests, watches, leases and how they fail; knows nothing of claims being bound or released.
"""
