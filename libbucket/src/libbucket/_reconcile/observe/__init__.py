"""Reads what a decision depends on into a Snapshot; writes nothing and decides nothing."""
