"""AWS S3 in tests: emulators, an S3 with regions and accounts in memory, and the backend of the conformance suite."""
