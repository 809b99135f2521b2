"""Writes the files that are made from the chart: `python tools/chart/render.py`. Tests hold them to it.

- `charts/libbucket/files/crds`: copies of `crds`, because a chart can't reach beyond its folder;
- `deploy/<backend>`: the chart with its defaults, for `kubectl apply -k`;
- the table of values in the chart's README, from the comments in `values.yaml`.

Changes nothing else, and asks no cluster.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

import yaml

from chart.helm_chart import BACKENDS, CHART, REGISTRY, ROOT, render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEPLOY: Final = ROOT / "deploy"
README: Final = CHART / "README.md"
BEGIN, END = "<!-- made: begin -->", "<!-- made: end -->"
_OF_HELM: Final = ("app.kubernetes.io/managed-by", "helm.sh/chart")
_HEAD: Final = "# Made from charts/libbucket by tools/chart/render.py: change that.\n"
_KEY: Final = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z]+):(?P<rest>.*)")

_KUSTOMIZATION: Final = """\
# {backend} for who doesn't use Helm, with the defaults of charts/libbucket. deploy/README.md says how.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [namespace.yaml, manifests.yaml]
images:
  - name: {image}
    newName: {image} # where yours is
    newTag: "{tag}"
"""

_NAMESPACE: Final = """\
apiVersion: v1
kind: Namespace
metadata:
  name: {namespace}
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""


def files() -> dict[Path, str]:
    """Everything that is made, by its path."""
    made = {CHART / "files" / "crds" / path.name: path.read_text() for path in sorted((ROOT / "crds").glob("*.yaml"))}
    for backend in BACKENDS:
        made |= {DEPLOY / backend / name: text for name, text in _kustomize(backend).items()}
    made[README] = _with_table(README.read_text())
    return made


def _kustomize(backend: str) -> dict[str, str]:
    namespace = f"libbucket-{backend}"
    # Not the CRDs: `kubectl delete -k` would take them, all claims of the cluster with them, and their buckets.
    values = {"backend": backend, "image": {"registry": REGISTRY}, "crds": {"install": False}}
    manifests = render(values, release=f"{backend}-provisioner", namespace=namespace)
    for manifest in manifests:
        _forget_helm(manifest)
    image, _, tag = next(_images(manifests)).rpartition(":")
    return {
        "kustomization.yaml": _KUSTOMIZATION.format(backend=backend, image=image, tag=tag),
        "namespace.yaml": _NAMESPACE.format(namespace=namespace),
        "manifests.yaml": _HEAD + yaml.safe_dump_all(manifests, sort_keys=False, width=110),
    }


def _forget_helm(found: Any) -> None:
    """Takes out what Helm says of itself, wherever it stands."""
    if isinstance(found, dict):
        for name in _OF_HELM:
            found.pop(name, None)
    for each in found.values() if isinstance(found, dict) else found if isinstance(found, list) else ():
        _forget_helm(each)


def _images(manifests: list[dict[str, Any]]) -> Iterator[str]:
    for manifest in manifests:
        if manifest["kind"] == "Deployment":
            yield from (container["image"] for container in manifest["spec"]["template"]["spec"]["containers"])


def _with_table(page: str) -> str:
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = [f"| `{path}` | {default} | {comment} |" for path, default, comment in documented_values()]
    table = "\n".join(["| value | default | meaning |", "|---|---|---|", *rows])
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def documented_values() -> list[tuple[str, str, str]]:
    """Path, default and comment of every value that has no values below it, and of every one that has a comment."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    rows, parents, comment = [], list[str](), list[str]()
    for line in (CHART / "values.yaml").read_text().splitlines():
        found = _KEY.fullmatch(line)
        if found is None:
            text = line.strip()
            comment = [*comment, text.removeprefix("# ")] if text.startswith("#") else []
            continue
        parents = [*parents[: len(found["indent"]) // 2], found["key"]]
        default = _at(defaults, parents)
        if comment or not (isinstance(default, dict) and default):
            rows.append((".".join(parents), _shown(default), " ".join(comment).replace("|", "\\|")))
        comment = []
    return rows


def _at(values: Any, path: list[str]) -> Any:
    for name in path:
        values = values[name]
    return values


def _shown(default: Any) -> str:
    if isinstance(default, dict) and default:
        return ""
    text = yaml.safe_dump(default, default_flow_style=True, width=1000).removesuffix("...\n")
    return f"`{text.strip()}`"


def main() -> int:
    """Writes what is not current, and says what that was."""
    for path, text in files().items():
        if not path.is_file() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
