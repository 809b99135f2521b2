"""Environments on a real API server: a namespace, a class, and a provisioner over a store."""
