"""bytecode.py ENVIRONMENT: compiles the modules that a start of a provisioner imports, and sets the date of all files.

Bytecode is never checked against its source: neither changes, and the date of a source would make two builds differ.
"""

import contextlib
import os
import py_compile
import runpy
import sys
from pathlib import Path

environment = Path(sys.argv[1])
sys.dont_write_bytecode = True
sys.argv = [str(environment / "bin/provisioner"), "--version"]
with contextlib.suppress(SystemExit):
    runpy.run_path(sys.argv[0], run_name="__main__")

for module in list(sys.modules.values()):
    source = getattr(module, "__file__", None) or ""
    if source.endswith(".py") and module.__spec__ is not None:
        py_compile.compile(source, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)

date = int(os.environ["SOURCE_DATE_EPOCH"])
for path in [environment, *environment.rglob("*")]:
    os.utime(path, (date, date), follow_symlinks=False)
