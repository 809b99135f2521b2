"""Lays the pages of the documentation site together, and has Sphinx build them: `nox -s docs`.

    python -m website BUILD          # BUILD/source, then BUILD/html

The pages are the repository's own, so that they are read on GitHub as well. A link to a file that is no page leads to a
copy of it beside the pages. `reference` writes the pages that are made from code. A warning of Sphinx is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from website import reference

ROOT: Final = Path(__file__).parents[2]
SITE: Final = Path("docs/site")
_LINK: Final = re.compile(r"(?s)(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^()\s]+)\)")
_FENCE: Final = re.compile(r"(?ms)^( *)```.*?^\1```$")

PAGES: Final = {
    SITE / "index.md": "index.md",
    **{path.relative_to(ROOT): path.name for path in sorted((ROOT / "docs").glob("*.md"))},
    **{
        path.relative_to(ROOT): f"decisions/{path.name.replace('README', 'index')}"
        for path in sorted((ROOT / "docs/decisions").glob("*.md"))
    },
    **{
        path.relative_to(ROOT): f"stores/{path.parent.name}.md"
        for path in sorted((ROOT / "packages").glob("*/README.md"))
    },
    Path("charts/libbucket/README.md"): "chart.md",
    Path("docker/README.md"): "images.md",
    Path("examples/custom-backend/README.md"): "custom-backend.md",
    Path("examples/s3-compatible/README.md"): "s3-compatible.md",
    Path("CONTRIBUTING.md"): "contributing.md",
    Path("SECURITY.md"): "security.md",
    Path("CODE_OF_CONDUCT.md"): "code-of-conduct.md",
}
"""Pages of the repository, and where the site has them."""

CONTENTS: Final = {
    "Start": [
        "start",
        "deploying",
        "stores/minio",
        "stores/aws-s3",
        "stores/gcs",
        "stores/azure",
        *(path.stem for path in sorted((ROOT / "docs").glob("first-hour-on-*.md"))),
    ],
    "Understand": ["concepts", "architecture", "glossary", "decisions/index"],
    "Use": ["tasks", "command-line", "migration"],
    "Operate": ["operating", "disasters", "reliability", "performance", "security", "chart", "images"],
    "Reference": [f"reference/{name}" for name in reference.PAGES] + ["stores"],
    "Extend": [
        "writing-a-provisioner",
        "custom-backend",
        "s3-compatible",
        "testing",
        "contributing",
        "releasing",
        "code-of-conduct",
    ],
}
"""The navigation; pages in none of these come last, under "More"."""


ADDITIONS: Final = {
    'p class="caption" role="heading"': 'aria-level="2"',
    'aside class="sidebar-drawer"': 'aria-label="Site"',
    'aside class="toc-drawer[^"]*"': 'aria-label="On this page"',
    'div class="table-wrapper[^"]*"': 'tabindex="0" role="group" aria-label="Table"',
    "pre": 'tabindex="0"',
}
"""Attributes that the theme leaves out, by the beginning of the tag that gets them; axe reports each of them."""


@dataclass
class Sources:
    """The folder that Sphinx reads.

    Attributes:
        folder: where pages are written.
        files: of the repository that pages link to, and that are copied.
    """

    folder: Path
    files: set[Path] = field(default_factory=set)

    def write(self, name: str, text: str) -> None:
        """Writes one page."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def relinked(self, page: Path, text: str) -> str:
        """The text of a page with links as the site has them; code is left as it is."""
        parts, end = [], 0
        for fence in _FENCE.finditer(text):
            parts += [_LINK.sub(lambda link: self._link(page, link), text[end : fence.start()]), fence[0]]
            end = fence.end()
        return "".join([*parts, _LINK.sub(lambda link: self._link(page, link), text[end:])])

    def _link(self, page: Path, link: re.Match[str]) -> str:
        label, target = link[1], link[2]
        name, _, anchor = target.partition("#")
        if not name or re.match(r"[a-z]+:", target):
            return link[0]
        path = Path(os.path.normpath(page.parent / name))
        if (ROOT / path).is_dir():
            path = next((each for each in (path / "README.md", path) if each in PAGES), path)
        here = Path(PAGES[page]).parent
        if path in PAGES:
            return f"{label}({os.path.relpath(PAGES[path], here)}{'#' + anchor if anchor else ''})"
        if label.startswith("!"):
            self._copy(path, self.folder / path.name)
            return f"{label}({os.path.relpath(path.name, here)})"
        if (ROOT / path).is_file():
            self.files.add(path)
            return f'<a href="{os.path.relpath(f"files/{path}", here)}">{_as_html(label[1:-1])}</a>'
        return label[1:-1]  # a folder of the repository: nothing to show

    def copy_files(self) -> None:
        """Copies what pages link to."""
        for path in self.files:
            self._copy(path, self.folder / "files" / "files" / path)

    def _copy(self, path: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, target)


def main(build: Path) -> int:
    """Builds the site into a folder; returns Sphinx's exit code."""
    shutil.rmtree(build, ignore_errors=True)
    sources = Sources(build / "source")
    for page, name in PAGES.items():
        text = sources.relinked(page, (ROOT / page).read_text())
        sources.write(name, text + (contents() if name == "index.md" else children(name)))
    for name, made in reference.PAGES.items():
        sources.write(f"reference/{name}.md", made())
    sources.copy_files()
    shutil.copyfile(ROOT / SITE / "conf.py", sources.folder / "conf.py")
    (sources.folder / "_static").mkdir()
    shutil.copyfile(ROOT / SITE / "site.css", sources.folder / "_static/site.css")
    options = ["-W", "--keep-going", "-q", "-b", "html"]
    command = [sys.executable, "-m", "sphinx", *options, str(sources.folder), str(build / "html")]
    done = subprocess.run(command, check=False).returncode
    for page in (build / "html").rglob("*.html"):
        page.write_text(accessible(page.read_text()))
    return done


def accessible(html: str) -> str:
    """A page of the theme with what screen readers and keyboards need besides: levels, names, and stops to scroll."""
    for found, added in ADDITIONS.items():
        html = re.sub(rf"<({found})(?=[ >])", rf"<\1 {added}", html)
    return html


def contents() -> str:
    """The navigation, at the end of the front page."""
    named = {page for pages in CONTENTS.values() for page in pages} | {"index"}
    tops = [name.removesuffix(".md") for name in PAGES.values() if not name.startswith("decisions/0")]
    rest = [name for name in tops if name not in named]
    trees = (
        f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(pages) + "\n```\n"
        for caption, pages in (*CONTENTS.items(), ("More", rest))
        if pages
    )
    return "".join(trees)


def children(name: str) -> str:
    """The pages below a page: those of decisions."""
    if name != "decisions/index.md":
        return ""
    below = [Path(each).stem for each in PAGES.values() if each.startswith("decisions/0")]
    return "\n```{toctree}\n:hidden:\n\n" + "\n".join(below) + "\n```\n"


def _as_html(label: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", label)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
