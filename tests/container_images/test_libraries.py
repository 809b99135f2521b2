"""Every shared library in an image can be loaded: none that it is linked with was left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testkit.container_images.pods import run_to_end

from .conftest import python_in

if TYPE_CHECKING:
    from images.__main__ import Provisioner
    from images.builders import Builder

LOAD_ALL = """
import ctypes, pathlib
found = [path for path in pathlib.Path("/opt/libbucket").rglob("*.so*") if not path.is_symlink()]
for path in found:
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        print(error)
print(len(found), "libraries")
"""


def test_every_library_can_be_loaded(engine: Builder, provisioner: Provisioner) -> None:
    ended = run_to_end(engine, python_in(provisioner, LOAD_ALL))

    assert ended.output.count("\n") == 1, ended.output
    assert int(ended.output.split()[0]) >= 5
