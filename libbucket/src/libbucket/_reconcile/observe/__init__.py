"""Reads everything that a plan depends on into a Snapshot; writes nothing and decides nothing."""
