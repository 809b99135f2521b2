"""From a Snapshot to one Action. Pure: no I/O, no clock, no randomness."""
