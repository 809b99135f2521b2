"""The cluster side of the demo: applies the examples, follows the status of a claim, reads its Secret and ConfigMap.

Between `script`, which prints the steps, and the API server. Knows claims and classes; knows no store.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from libbucket.testing.problems import SetupFailed
from libbucket.testing.progress import waiting
from testkit.stores.base import Bound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from demo.console import DemoConsole
    from libbucket.testing.admin import KubeAdmin

Object = dict[str, Any]

NAMESPACE = "libbucket-demo"
_API = "/apis/objectbucket.io/v1alpha1"
_LIMIT = 90.0


@dataclass(frozen=True, kw_only=True)
class ClusterHelper:
    """One cluster, one namespace, one folder of examples."""

    admin: KubeAdmin
    console: DemoConsole
    examples: Path

    def open(self, admin_secret: Mapping[str, str], secret_name: str) -> None:
        """Makes the namespace, and the administrator's Secret in it."""
        if self.admin.find(f"/api/v1/namespaces/{NAMESPACE}") is not None:
            raise SetupFailed(f"namespace {NAMESPACE} exists already: an earlier demo's? Delete it and try again")
        self.admin.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        body = {"metadata": {"name": secret_name}, "stringData": dict(admin_secret)}
        self.admin.create(f"/api/v1/namespaces/{NAMESPACE}/secrets", body)

    def close(self) -> None:
        """Deletes what `open` and `apply_class` created in an existing cluster."""
        for found in self.admin.items(f"{_API}/namespaces/{NAMESPACE}/objectbucketclaims"):
            self.delete_claim(found["metadata"]["name"])
        classes = "/apis/storage.k8s.io/v1/storageclasses"
        for found in self.admin.items(classes, label_selector=f"app.kubernetes.io/part-of={NAMESPACE}"):
            self.admin.delete(f"{classes}/{found['metadata']['name']}")
        namespace = f"/api/v1/namespaces/{NAMESPACE}"
        self.admin.delete(namespace)
        # Waited for, so that the next demo does not meet it.
        self._wait(namespace, lambda found: found is None, f"waiting for namespace {NAMESPACE} to go")

    def apply_class(self, file: str, provisioner: str, parameters: Mapping[str, str]) -> None:
        """Applies a class of the examples with what the file can't know, and shows each change."""
        body = self._load(file)
        changes = [("provisioner", body["provisioner"], provisioner)]
        changes += [(f"parameters.{key}", body["parameters"].get(key, ""), value) for key, value in parameters.items()]
        body["provisioner"] = provisioner
        body["parameters"] |= parameters
        body["metadata"]["labels"] = {"app.kubernetes.io/part-of": NAMESPACE}
        self._refuse_foreign(body)
        self.admin.apply(body)
        self.console.event("applied", f"examples/{self.examples.name}/{file}: StorageClass {body['metadata']['name']}")
        for field, before, after in changes:
            if before != after:
                self.console.line(f"            {field}: {after}   (the file says {before})")

    def apply_claim(self, file: str, *, name: str = "") -> str:
        """Applies a claim of the examples, maybe under another name; gives its name."""
        body = self._load(file)
        body["metadata"]["name"] = name or body["metadata"]["name"]
        self.admin.apply(body, namespace=NAMESPACE)
        self.console.event("applied", f"examples/{self.examples.name}/{file}: claim {body['metadata']['name']}")
        return str(body["metadata"]["name"])

    def wait_bound(self, name: str) -> Bound:
        """Follows a claim until it is bound, and reads what a pod and an administrator would read.

        Raises:
            SetupFailed: it was not bound in time, or it failed; with its own words.
        """
        follow = _Follow(self.console, name)
        claim = self._wait(self._claim(name), follow, f"waiting for claim {name} to be bound")
        if claim is None or claim["status"]["phase"] != "Bound":
            raise SetupFailed(f"claim {name} was not bound; its status is {(claim or {}).get('status')}")
        bucket = self.admin.get(f"{_API}/objectbuckets/{claim['spec']['objectBucketName']}")
        environment = self.secret(name) | self.config_map(name)
        return Bound(name=name, environment=environment, state=bucket["spec"].get("additionalState", {}))

    def secret(self, name: str) -> dict[str, str]:
        found = self.admin.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/{name}")
        return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}

    def config_map(self, name: str) -> dict[str, str]:
        data: dict[str, str] = self.admin.get(f"/api/v1/namespaces/{NAMESPACE}/configmaps/{name}")["data"]
        return data

    def delete_claim(self, name: str) -> None:
        """Deletes a claim and waits until it is gone."""
        self.admin.delete(self._claim(name))
        self.console.event("deleted", f"claim {name}")
        self._wait(self._claim(name), lambda claim: claim is None, f"waiting for claim {name} to go")
        self.console.event("gone", f"claim {name}")

    def what_is_left(self, name: str) -> list[str]:
        """Which objects of a claim still exist."""
        namespaced = f"/api/v1/namespaces/{NAMESPACE}"
        paths = {
            "claim": self._claim(name),
            "Secret": f"{namespaced}/secrets/{name}",
            "ConfigMap": f"{namespaced}/configmaps/{name}",
            "ObjectBucket": f"{_API}/objectbuckets/obc-{NAMESPACE}-{name}",
        }
        return [kind for kind, path in paths.items() if self.admin.find(path) is not None]

    def _wait(self, path: str, predicate: Callable[[Object | None], bool], message: str) -> Object | None:
        with waiting(message):
            try:
                return self.admin.wait_for(path, predicate, timeout=_LIMIT)
            except TimeoutError as error:
                raise SetupFailed(str(error)) from error

    def _claim(self, name: str) -> str:
        return f"{_API}/namespaces/{NAMESPACE}/objectbucketclaims/{name}"

    def _load(self, file: str) -> Object:
        body: Object = yaml.safe_load((self.examples / file).read_text())
        return body

    def _refuse_foreign(self, body: Object) -> None:
        name = body["metadata"]["name"]
        found = self.admin.find(f"/apis/storage.k8s.io/v1/storageclasses/{name}")
        if found is not None and found["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") != NAMESPACE:
            raise SetupFailed(f"the cluster has a StorageClass {name} that is not the demo's: it stays as it is")


class _Follow:
    """Prints what changes about a claim; done when it is Bound or Failed."""

    def __init__(self, console: DemoConsole, name: str) -> None:
        self._console = console
        self._name = name
        self._shown = ""

    def __call__(self, claim: Object | None) -> bool:
        status = (claim or {}).get("status", {})
        phase = status.get("phase", "")
        ready: Object = next((each for each in status.get("conditions", []) if each["type"] == "Ready"), {})
        line = f"{phase:<8} {ready.get('reason', '')}: {ready.get('message', '')}".rstrip(" :")
        if phase and line != self._shown:
            self._console.event(self._name, line)
        self._shown = line
        return phase in {"Bound", "Failed"}
