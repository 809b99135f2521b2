"""Google Cloud Storage in tests: the fake of its APIs, and the backend of the conformance suite."""
