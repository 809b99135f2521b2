"""One claim, from what is to what should be: gather, decide, act, report.

Knows the wire contract and the provisioner contract. Doesn't know why it was woken, how the queue turns, or
which store is behind the provisioner.
"""
