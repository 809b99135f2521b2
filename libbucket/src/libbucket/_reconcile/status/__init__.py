"""Publishes what came of it: phase, conditions, Events."""
