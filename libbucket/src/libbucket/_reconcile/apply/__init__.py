"""Carries an Action out: calls the provisioner and writes the objects. Decides nothing."""
