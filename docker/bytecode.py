"""bytecode.py ENVIRONMENT: compiles the modules that a start of a provisioner imports, and sets the date of all files.

Bytecode is never checked against its source: neither changes, and the date of a source would make two builds differ.
"""

import contextlib
import os
import runpy
import subprocess
import sys
from pathlib import Path

environment = Path(sys.argv[1])
sys.dont_write_bytecode = True
sys.argv = [str(environment / "bin/provisioner"), "--version"]
with contextlib.suppress(SystemExit):
    runpy.run_path(sys.argv[0], run_name="__main__")

loaded = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
sources = sorted({path for path in loaded if path.endswith(".py")} - {__file__})
# In a process of its own, because what is written depends on which objects exist already.
compileall = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
subprocess.run([*compileall, *sources], check=True, env={**os.environ, "PYTHONHASHSEED": "0"})

date = int(os.environ["SOURCE_DATE_EPOCH"])
for path in [environment, *environment.rglob("*")]:
    os.utime(path, (date, date), follow_symlinks=False)
