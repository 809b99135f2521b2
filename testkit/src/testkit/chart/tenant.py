"""A tenant of a release: a namespace with claims on a real MinIO, and a class that the release serves."""

from __future__ import annotations

import base64
import secrets
import time
from typing import TYPE_CHECKING, Any

from libbucket.testing.builders import a_claim, a_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket.testing.admin import KubeAdmin
    from testkit.minio.server import MinioServer

OBC = "/apis/objectbucket.io/v1alpha1"
FINALIZER = "objectbucket.io/finalizer"
SECONDS = 30
_CLASSES = "/apis/storage.k8s.io/v1/storageclasses"

Wire = dict[str, Any]


class Tenant:
    """A namespace, and a class for it.

    Args:
        admin: reads and writes the cluster.
        namespace: of the claims.
        server: the MinIO.
        provisioner_name: what the release serves.
        secret_namespace: of the administrator's Secret; the claims' own if none is given.
    """

    def __init__(
        self,
        admin: KubeAdmin,
        namespace: str,
        server: MinioServer,
        *,
        provisioner_name: str,
        secret_namespace: str = "",
    ) -> None:
        self.admin = admin
        self.namespace = namespace
        self.provisioner_name = provisioner_name
        self.storage_class = f"class-{secrets.token_hex(4)}"
        self._server = server
        self._secret_namespace = secret_namespace or namespace

    def open(self) -> None:
        """Makes the administrator's Secret and the class."""
        held = {"MINIO_ROOT_USER": self._server.user, "MINIO_ROOT_PASSWORD": self._server.password}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "minio-admin"}, "stringData": held}
        self.admin.apply(secret, namespace=self._secret_namespace)
        parameters = {
            "endpoint": self._server.url,
            "secretName": "minio-admin",
            "secretNamespace": self._secret_namespace,
        }
        provisioner = self.provisioner_name
        self.admin.apply(a_class(name=self.storage_class, provisioner=provisioner, parameters=parameters))

    def close(self) -> None:
        """Takes the class away; the namespace goes with its fixture."""
        self.admin.delete(f"{_CLASSES}/{self.storage_class}")

    def claim(self, name: str, *, storage_class: str = "", **what: Any) -> Wire:
        """Makes a claim."""
        body = a_claim(name=name, namespace=self.namespace, storage_class=storage_class or self.storage_class, **what)
        return self.admin.create(f"{OBC}/namespaces/{self.namespace}/objectbucketclaims", body)

    def claim_path(self, name: str) -> str:
        return f"{OBC}/namespaces/{self.namespace}/objectbucketclaims/{name}"

    def path(self, plural: str, name: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/{plural}/{name}"

    def is_bound(self, name: str) -> bool:
        """Whether the claim can be used, and nothing about it is older than its last edit."""
        claim = self.admin.find(self.claim_path(name)) or {}
        status = claim.get("status", {})
        conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
        return status.get("phase") == "Bound" and conditions.get("Ready") == "True"

    def wait_bound(self, name: str) -> None:
        self.wait_claim(name, lambda _claim: self.is_bound(name))

    def wait_claim(self, name: str, predicate: Callable[[Wire], bool]) -> Wire:
        """The claim, once it is so."""
        found = self.admin.wait_for(
            self.claim_path(name), lambda claim: claim is not None and predicate(claim), timeout=SECONDS
        )
        assert found is not None
        return found

    def delete(self, name: str) -> None:
        """Deletes a claim and waits until it is gone."""
        self.admin.delete(self.claim_path(name))
        self.admin.wait_gone(self.claim_path(name), timeout=SECONDS)

    def secret(self, name: str) -> dict[str, str]:
        """The decoded data of a claim's Secret."""
        data = (self.admin.find(self.path("secrets", name)) or {}).get("data", {})
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def config(self, name: str) -> dict[str, str]:
        """The data of a claim's ConfigMap."""
        data: dict[str, str] = (self.admin.find(self.path("configmaps", name)) or {}).get("data", {})
        return data


def wait_until(is_so: Callable[[], bool]) -> None:
    """Polls: for what no watch of an object reports."""
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not become so"
        time.sleep(0.05)
