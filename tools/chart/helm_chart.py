"""The chart as a function: values in, manifests out, by the real `helm template`.

Under `render`, which writes what is made from the chart, and the chart's tests. Asks no cluster, and writes nothing.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from libbucket.testing.binaries import helm_binary

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "charts" / "libbucket"
BACKENDS: Final = ("aws-s3", "azure", "gcs", "minio")
REGISTRY: Final = "registry.example.com/buckets"
_SECONDS: Final = 60

Manifest = dict[str, Any]


class ChartRefused(Exception):
    """Helm does not render this; the text is what it says."""


def render(
    values: Mapping[str, Any] | Path,
    *,
    release: str = "buckets",
    namespace: str = "libbucket",
    extra: tuple[str, ...] = (),
) -> list[Manifest]:
    """The manifests of a release.

    Args:
        values: as a mapping, or the file that holds them.
        release: its name.
        namespace: its namespace.
        extra: further arguments of helm.

    Raises:
        ChartRefused: the values are invalid.
    """
    given = values.read_text() if isinstance(values, Path) else yaml.safe_dump(dict(values))
    command = [str(helm_binary()), "template", release, str(CHART), "--namespace", namespace, "--values", "-", *extra]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=_SECONDS)
    if done.returncode != 0:
        raise ChartRefused(done.stderr)
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def one(manifests: list[Manifest], kind: str) -> Manifest:
    """The only manifest of a kind.

    Raises:
        ValueError: there are none, or several.
    """
    (found,) = [each for each in manifests if each["kind"] == kind]
    return found
