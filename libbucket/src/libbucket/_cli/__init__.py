"""The operators' command line: `libbucket`, and the same as a kubectl plugin, `kubectl libbucket`.

Runs where an operator's kubeconfig is, with the permissions of that kubeconfig. Nothing of the core imports it, and
images leave it out. It needs the extra `libbucket[cli]`. Writes only what a question was answered for, and reads no
values of Secrets.
"""
