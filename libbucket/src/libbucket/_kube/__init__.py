"""Access to the Kubernetes API: the only importer of the `kubernetes` client.

Knows requests, watches, leases and their errors; knows nothing of binding or releasing claims.
"""
