"""Runs images for tests: `pods` as a kubelet does, `installation` as the chart says, `inside` the conformance suite."""
