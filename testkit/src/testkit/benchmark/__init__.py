"""Measures the core on a real API server, with a store in memory."""
