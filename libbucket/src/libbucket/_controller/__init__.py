"""The running provisioner: wiring, workers, leader election.

Between the command line, which starts and stops it, and the reconcile loop.
"""
