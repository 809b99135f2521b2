"""MinIO in tests: the real server, a node that answers as scripted, and the backend of the conformance suite."""
