"""From a command line to a running controller, and back to an exit code.

Above everything else. Only `run` and this know of arguments, environment variables, signals and streams.
"""
