"""What a backend author tests with: a real control plane, builders, a provisioner in memory, the conformance suite.

Depends on the core; nothing of the core depends on it. Import the module that you need: only some need pytest.
"""
