"""Swaps the CRDs of a cluster for those of other programs, and back."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.admin import KubeAdmin

ROOT = Path(__file__).parents[3]
GENERATIONS = Path(__file__).parents[1] / "data"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OBC = "objectbucket.io"


@contextmanager
def crds(admin: KubeAdmin, change: str) -> Iterator[None]:
    """The cluster with other CRDs, until the end of the block."""
    names = [f"objectbucketclaims.{OBC}", f"objectbuckets.{OBC}"]
    try:
        for name in names:
            admin.delete(f"{CRDS}/{name}")
            admin.wait_gone(f"{CRDS}/{name}")
        if change:
            other = Path(change)
            admin.install_crds(other)
        yield
    finally:
        for name in names:
            admin.delete(f"{CRDS}/{name}")
            admin.wait_gone(f"{CRDS}/{name}")
        admin.install_crds(ROOT / "crds")


def generation(directory: Path, file: str, *, without_status: bool = False) -> str:
    documents: list[dict[str, Any]] = list(yaml.safe_load_all((GENERATIONS / file).read_text()))
    for crd in documents:
        if without_status:
            del crd["spec"]["versions"][0]["subresources"]
    (directory / "crds.yaml").write_text(yaml.safe_dump_all(documents))
    return str(directory)
