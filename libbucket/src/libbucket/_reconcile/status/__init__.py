"""Publishes the result: phase, conditions, Events."""
