"""Swaps the CRDs of a cluster for those of other programs, and back."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from kubernetes.client.exceptions import ApiException

from testkit.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.admin import KubeAdmin

GENERATIONS = Path(__file__).with_name("crds")
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OBC = "objectbucket.io"


@contextmanager
def crds(admin: KubeAdmin, change: str) -> Iterator[None]:
    """The cluster with other CRDs, until the end of the block; without any if `change` is empty."""
    try:
        _remove_crds(admin)
        if change:
            admin.install_crds(Path(change))
        yield
    finally:
        _remove_crds(admin)
        admin.install_crds(ROOT / "crds")


def replace_crds(admin: KubeAdmin, directory: Path | str) -> None:
    """Writes other CRDs over those that are installed, as another chart does: every object stays."""
    for file in sorted(Path(directory).glob("*.yaml")):
        for crd in yaml.safe_load_all(file.read_text()):
            if crd:
                admin.patch(f"{CRDS}/{crd['metadata']['name']}", {"spec": {"versions": crd["spec"]["versions"]}})


def _remove_crds(admin: KubeAdmin) -> None:
    """Removes the CRDs, and what earlier tests left behind: a claim with a finalizer would hold them for ever."""
    for kind in ("objectbucketclaims", "objectbuckets"):
        name = f"{kind}.{OBC}"
        if admin.find(f"{CRDS}/{name}") is None:
            continue
        for left in admin.items(f"/apis/{OBC}/v1alpha1/{kind}"):
            space = left["metadata"].get("namespace")
            where = f"namespaces/{space}/{kind}" if space else kind
            path = f"/apis/{OBC}/v1alpha1/{where}/{left['metadata']['name']}"
            with suppress(ApiException):  # going by itself, meanwhile
                admin.patch(path, {"metadata": {"finalizers": None}})
        admin.delete(f"{CRDS}/{name}")
        admin.wait_gone(f"{CRDS}/{name}")


def generation(directory: Path, file: str, *, without_status: bool = False) -> str:
    documents: list[dict[str, Any]] = list(yaml.safe_load_all((GENERATIONS / file).read_text()))
    for crd in documents:
        if without_status:
            del crd["spec"]["versions"][0]["subresources"]
    (directory / "crds.yaml").write_text(yaml.safe_dump_all(documents))
    return str(directory)
