"""`libbucket new NAME`: writes a complete provisioner package for a store with an HTTP API, for its author to change.

Renders the files of `template/`, in which the store is called depot; decides nothing about claims, and reads no
cluster.
"""

from __future__ import annotations

import re
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST: Final = 20
_SUFFIX: Final = ".tmpl"
_NEXT: Final = """\
{folder} is a provisioner that passes its tests, on a small HTTP store. Next:

    cd {folder}
    python3 -m venv .venv && .venv/bin/pip install --editable '.[dev]'
    .venv/bin/pytest
    grep -rn TODO .      # what is specific to your store; each names a section of the guide
"""


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--directory", default=".", metavar="PATH", help="Where the package's folder is made. Default: here.")
def new(name: str, directory: str) -> None:
    """Writes a provisioner package for the store NAME, ready to be tested and changed."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise click.BadParameter(
            f"{name!r} must be at most {_LONGEST} lower-case letters, digits and inner dashes", param_hint="NAME"
        )
    folder = Path(directory) / f"{name}-provisioner"
    try:
        folder.mkdir(parents=True)
        for path, text in render(name):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    except FileExistsError:
        raise click.ClickException(f"{folder} exists: choose another name, or another --directory") from None
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename}: {error.strerror}") from error
    click.echo(_NEXT.format(folder=folder), nl=False)


def render(name: str) -> Iterator[tuple[str, str]]:
    """The files of the package for a store of this name: each one's path, and its text."""
    module, title = name.replace("-", "_"), "".join(part.capitalize() for part in name.split("-"))
    own = distribution("libbucket")
    major, minor = own.version.split(".")[:2]
    words = {
        "depot_provisioner": f"{module}_provisioner",
        "Depot": title,
        "DEPOT": module.upper(),
        "depot": name,
        "@@version@@": f"{major}.{minor}",
        "@@next@@": f"{major}.{int(minor) + 1}",
        "/package/": f"/{module}_provisioner/",
    }
    for path, text in _templates(files("libbucket._cli") / "template"):
        yield _replaced(path.removesuffix(_SUFFIX), words), _replaced(text, words)
    yield "LICENSE", own.read_text("licenses/LICENSE") or ""


def _templates(folder: Traversable, path: str = "") -> Iterator[tuple[str, str]]:
    for each in sorted(folder.iterdir(), key=lambda one: one.name):
        if each.is_dir():
            yield from _templates(each, f"{path}{each.name}/")
        elif each.name.endswith(_SUFFIX):
            yield f"{path}{each.name}", each.read_text()


def _replaced(text: str, words: dict[str, str]) -> str:
    pattern = "|".join(map(re.escape, words))
    return re.sub(pattern, lambda found: words[found[0]], text)
