"""Draws the layers of the core, as import-linter checks them, as `docs/architecture-layers.svg`.

`python tools/docs/draw_layers.py`, after a change of `[tool.importlinter]`.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs/architecture-layers.svg"
STYLE_OF = ROOT / "docs/architecture-claim.svg"  # both pictures have the style of this one, drawn manually
PUBLIC = ("run", "provisioner", "errors", "types")
"""Where the packages' arrow ends: the modules beside them are public as well."""
LEFT, RIGHT, HEIGHT, STEP, GAP, RAIL = 196, 656, 28, 36, 7, 164


def main() -> None:
    """Writes the picture."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (core,) = [one for one in settings["contracts"] if one["type"] == "layers" and one["containers"] == ["libbucket"]]
    layers = [re.findall(r"\w+", layer) for layer in core["layers"]]
    packages = [name for name in settings["root_packages"] if name != "libbucket"]
    style = STYLE_OF.read_text().partition("</title>\n")[2].partition("</defs>\n")[0] + "</defs>\n"
    head = f'viewBox="0 0 800 {54 + STEP * len(layers)}" role="img" aria-labelledby="title"'
    title = '  <title id="title">Layers of the core, and the packages</title>\n'
    body = draw_core(layers) + draw_packages(layers, packages)
    PICTURE.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {head}>\n{title}{style}{body}</svg>\n')


def draw_core(layers: list[list[str]]) -> str:
    """The layers, from the top, and the client of the API below one of them."""
    width, height = RIGHT - LEFT, 36 + STEP * len(layers)
    drawn = f'  <rect class="group" x="{LEFT - 10}" y="8" width="{width + 20}" height="{height}" rx="8"/>\n'
    drawn += small((LEFT + RIGHT) // 2, 26, "libbucket, the core: each layer imports layers below it only")
    for row, names in enumerate(layers):
        # `types` first, where the packages' arrow comes from.
        ordered = sorted(names, key=lambda name: name.startswith("_"))
        per_letter = (width - GAP * (len(names) - 1)) / sum(len(name) + 2 for name in names)
        x = float(LEFT)
        for name in ordered:
            drawn += box(name, x, y_of(row), per_letter * (len(name) + 2), is_public=is_public(name, names))
            x += per_letter * (len(name) + 2) + GAP
    client = y_of(next(row for row, names in enumerate(layers) if "_kube" in names))
    drawn += f'  <rect x="694" y="{client}" width="98" height="{HEIGHT}" rx="5"/>\n'
    drawn += f'  <text x="743" y="{client + 18}">kubernetes</text>\n' + small(743, client + 46, "the API client")
    return drawn + arrow(f"M{RIGHT} {client + 14}H692")


def draw_packages(layers: list[list[str]], packages: list[str]) -> str:
    """The packages, and a line from them to the public modules."""
    first = 5
    ends = [y_of(row) + 14 for row, names in enumerate(layers) if {*names} & {*PUBLIC}]
    drawn = small(81, y_of(first) - 10, "the provisioner packages")
    for row, name in enumerate(packages, start=first):
        drawn += box(name, 8, y_of(row), 146, is_public=False)
        drawn += f'  <path class="arrow" d="M154 {y_of(row) + 14}H{RAIL}"/>\n'
    for line, text in enumerate(("they import the public", "modules (blue), and", "the SDK of their store")):
        drawn += small(81, y_of(first + len(packages)) + 14 + 16 * line, text)
    return drawn + "".join(arrow(f"M{RAIL} {y_of(first) + 14}V{end}H{LEFT - 2}") for end in ends)


def y_of(row: int) -> int:
    """Top of a row."""
    return 36 + STEP * row


def is_public(name: str, layer: list[str]) -> bool:
    """Whether a provisioner package may use a module."""
    return not name.startswith("_") and bool({*layer} & {*PUBLIC})


def box(name: str, x: float, y: int, width: float, *, is_public: bool) -> str:
    """A module."""
    kind = ' class="own"' if is_public else ""
    rect = f'  <rect{kind} x="{x:.1f}" y="{y}" width="{width:.1f}" height="{HEIGHT}" rx="5"/>\n'
    return rect + f'  <text class="module" x="{x + width / 2:.1f}" y="{y + 18}">{name}</text>\n'


def small(x: int, y: int, text: str) -> str:
    """A remark."""
    return f'  <text class="small" x="{x}" y="{y}">{text}</text>\n'


def arrow(path: str) -> str:
    """A line with a head."""
    return f'  <path class="arrow" d="{path}" marker-end="url(#head)"/>\n'


if __name__ == "__main__":
    main()
