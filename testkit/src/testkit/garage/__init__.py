"""Garage for the tests of examples/s3-compatible: the real server, and a fake that is never kinder."""
