"""One claim, from its status to its spec: observe, plan, apply, report.

Knows the wire contract and the provisioner contract. Doesn't know why it was woken, how the queue turns, or
which store is behind the provisioner.
"""
