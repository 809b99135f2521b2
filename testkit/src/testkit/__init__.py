"""What the tests of this workspace share: fakes of the API server, and a core on top of them. Never published."""
