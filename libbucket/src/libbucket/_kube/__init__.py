"""Access to the Kubernetes API.

Knows requests, watches, leases and their errors; knows nothing of binding or releasing claims.
"""
