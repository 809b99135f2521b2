"""Carries out an Action: calls the provisioner and writes the objects. Decides nothing."""
