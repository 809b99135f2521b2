"""From a command line to a running controller, and back to an exit code.

The top layer. Only `run` and this package use arguments, environment variables, signals and streams.
"""
