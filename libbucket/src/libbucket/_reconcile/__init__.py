"""One claim, from its status to its spec: observe, plan, apply, report.

Knows the wire contract and the provisioner contract. Does not know why it was called, how the queue works, or
which store is behind the provisioner.
"""
