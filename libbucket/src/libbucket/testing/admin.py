"""Reads, writes and watches a cluster with plain dicts and paths, as a test or a demo wants it.

    admin = KubeAdmin(kubeconfig)
    admin.create("/api/v1/namespaces", {"metadata": {"name": "demo"}})
    admin.wait_for("/api/v1/namespaces/demo", lambda ns: ns is not None, timeout=5)

Used by `controlplane`, `fixtures` and tests. Rides on the `kubernetes` client for connection and authentication.
Has nothing to do with how libbucket itself talks to the API server: what checks the core must not share its bugs.
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import urllib3
import yaml
from kubernetes import config
from kubernetes.client.exceptions import ApiException

from libbucket.testing.problems import SetupFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_REQUEST_SECONDS: Final = 30.0
_ESTABLISH_SECONDS: Final = 30.0
_PAUSE: Final = 0.1
_JSON: Final = "application/json"
_CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

Object = dict[str, Any]
"""A Kubernetes object as JSON."""


class KubeAdmin:
    """One connection to one API server, with the permissions of its kubeconfig. Safe for threads.

    Every method raises `kubernetes.client.exceptions.ApiException` when the API server refuses.

    Args:
        kubeconfig: a file with one current context.
    """

    def __init__(self, kubeconfig: Path) -> None:
        self._api = config.new_client_from_config(config_file=str(kubeconfig))
        self._plurals: dict[tuple[str, str], tuple[str, bool]] = {}

    def close(self) -> None:
        """Closes the connections."""
        self._api.rest_client.pool_manager.clear()

    def get(self, path: str) -> Object:
        """The object, or the list, at a path."""
        return self._request("GET", path)

    def find(self, path: str) -> Object | None:
        """The object at a path; None if it does not exist."""
        try:
            return self.get(path)
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def items(self, path: str, *, label_selector: str = "") -> list[Object]:
        """All objects of a collection."""
        query = f"?{urlencode({'labelSelector': label_selector})}" if label_selector else ""
        found: list[Object] = self.get(path + query)["items"]
        return found

    def text(self, path: str) -> str:
        """What a path answers that does not speak JSON: `/metrics`, `/readyz`."""
        return self._send("GET", path, None, {"Accept": "*/*"}).decode()

    def create(self, collection: str, body: Object) -> Object:
        """Creates an object in a collection, or a subresource (`.../token`)."""
        return self._request("POST", collection, body)

    def replace(self, path: str, body: Object) -> Object:
        """Replaces an object."""
        return self._request("PUT", path, body)

    def patch(self, path: str, body: Object) -> Object:
        """Merges `body` into an object (JSON merge patch)."""
        return self._request("PATCH", path, body, content_type="application/merge-patch+json")

    def apply(self, body: Object, *, namespace: str = "") -> Object:
        """Creates the object or applies `body` (server-side apply).

        Args:
            body: with apiVersion, kind and name.
            namespace: for a namespaced object that names none.
        """
        path = self.path_of(body, namespace=namespace)
        query = "?fieldManager=libbucket-testing&force=true"
        return self._request("PATCH", path + query, body, content_type="application/apply-patch+yaml")

    def apply_yaml(self, file: Path, *, namespace: str = "") -> list[Object]:
        """Applies every document of a YAML file, in order."""
        documents = yaml.safe_load_all(file.read_text())
        return [self.apply(body, namespace=namespace) for body in documents if body]

    def delete(self, path: str, *, propagation: str = "Background") -> None:
        """Deletes an object; one that does not exist is fine."""
        try:
            self._request("DELETE", path, {"propagationPolicy": propagation})
        except ApiException as error:
            if error.status != 404:
                raise

    def path_of(self, body: Object, *, namespace: str = "") -> str:
        """The path of an object, from discovery."""
        version, metadata = body["apiVersion"], body["metadata"]
        plural, is_namespaced = self._resource(version, body["kind"])
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        scope = f"/namespaces/{metadata.get('namespace') or namespace or 'default'}" if is_namespaced else ""
        return f"{root}{scope}/{plural}/{metadata['name']}"

    def wait_for(
        self, path: str, predicate: Callable[[Object | None], bool], *, timeout: float = 30.0
    ) -> Object | None:
        """Watches one object until `predicate` returns True.

        Args:
            path: of an object, which need not exist.
            predicate: gets the object as it is, None while there is none.
            timeout: seconds.

        Returns:
            The object that the predicate took.

        Raises:
            TimeoutError: the time is over; with the object as it was last seen.
        """
        deadline = time.monotonic() + timeout
        current: Object | None = None
        while time.monotonic() < deadline:
            try:
                for current in self._states(path, deadline):
                    if predicate(current):
                        return current
            except (urllib3.exceptions.HTTPError, ApiException) as error:
                # A server that is being restarted, and an expired watch: list again.
                if isinstance(error, ApiException) and error.status not in {0, 404, 410, 429, 500, 503}:
                    raise
                time.sleep(_PAUSE)
        raise TimeoutError(f"{path} was not as expected within {timeout:.0f} s; it is: {json.dumps(_brief(current))}")

    def wait_gone(self, path: str, *, timeout: float = 30.0) -> None:
        """Waits until there is no such object.

        Raises:
            TimeoutError: it is still there; with the object as it was last seen.
        """
        self.wait_for(path, lambda found: found is None, timeout=timeout)

    def watch(
        self, collection: str, *, resource_version: str, timeout: float, field_selector: str = ""
    ) -> Iterator[Object]:
        """The events of a collection from a version on, until the server ends the stream."""
        query = {"watch": "true", "resourceVersion": resource_version, "timeoutSeconds": str(max(1, int(timeout)))}
        if field_selector:
            query["fieldSelector"] = field_selector
        response = self._open("GET", f"{collection}?{urlencode(query)}", None, {}, timeout=timeout + 5)
        with closing(response):
            rest = b""
            for chunk in response.stream(amt=None):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (json.loads(line) for line in lines if line)

    def install_crds(self, directory: Path) -> list[str]:
        """Applies the CRDs of all YAML files of a directory and waits until they can be used.

        Returns:
            Their names.

        Raises:
            SetupFailed: there are none, or one was not established in time.
        """
        applied = [crd for file in sorted(directory.glob("*.yaml")) for crd in self.apply_yaml(file)]
        names = [crd["metadata"]["name"] for crd in applied if crd["kind"] == "CustomResourceDefinition"]
        if not names:
            raise SetupFailed(f"there are no CustomResourceDefinitions in {directory}")
        for name in names:
            self._wait_usable(name)
        return names

    def _wait_usable(self, name: str) -> None:
        try:
            crd = self.wait_for(f"{_CRDS}/{name}", _is_established, timeout=_ESTABLISH_SECONDS)
        except TimeoutError as error:
            raise SetupFailed(f"CustomResourceDefinition {name} can't be used: {error}") from None
        assert crd is not None
        spec = crd["spec"]
        version = next(version["name"] for version in spec["versions"] if version["served"])
        # Established comes a moment before requests are answered.
        deadline = time.monotonic() + _ESTABLISH_SECONDS
        while self.find(f"/apis/{spec['group']}/{version}/{spec['names']['plural']}?limit=1") is None:
            if time.monotonic() > deadline:
                raise SetupFailed(f"CustomResourceDefinition {name} is established, but not served")
            time.sleep(_PAUSE)

    def _states(self, path: str, deadline: float) -> Iterator[Object | None]:
        collection, _, name = path.rpartition("/")
        selector = f"metadata.name={name}"
        found = self.get(f"{collection}?{urlencode({'fieldSelector': selector})}")
        yield found["items"][0] if found["items"] else None
        version = found["metadata"]["resourceVersion"]
        remaining = max(0.0, deadline - time.monotonic())
        for event in self.watch(collection, resource_version=version, timeout=remaining, field_selector=selector):
            if event["type"] == "ERROR":
                return
            if event["type"] != "BOOKMARK":
                yield None if event["type"] == "DELETED" else event["object"]

    def _resource(self, version: str, kind: str) -> tuple[str, bool]:
        if (version, kind) not in self._plurals:
            root = f"/apis/{version}" if "/" in version else f"/api/{version}"
            for resource in self.get(root)["resources"]:
                if "/" not in resource["name"]:
                    self._plurals[version, resource["kind"]] = resource["name"], resource["namespaced"]
        return self._plurals[version, kind]

    def _request(self, method: str, path: str, body: Object | None = None, *, content_type: str = _JSON) -> Object:
        answer: Object = json.loads(self._send(method, path, body, {"Content-Type": content_type}))
        return answer

    def _send(self, method: str, path: str, body: Object | None, headers: Mapping[str, str]) -> bytes:
        with closing(self._open(method, path, body, headers)) as response:
            data: bytes = response.data
        return data

    def _open(
        self, method: str, path: str, body: Object | None, headers: Mapping[str, str], timeout: float = _REQUEST_SECONDS
    ) -> urllib3.BaseHTTPResponse:
        authorization = self._api.configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        credentials = {"Authorization": authorization} if authorization else {}
        response: urllib3.BaseHTTPResponse = self._api.rest_client.pool_manager.request(
            method,
            self._api.configuration.host + path,
            body=None if body is None else json.dumps(body).encode(),
            headers={"Accept": _JSON, **headers, **credentials},
            timeout=timeout,
            retries=False,
            preload_content=False,
        )
        if response.status >= 400:
            with closing(response):
                raise _refusal(response)
        return response


def _refusal(response: urllib3.BaseHTTPResponse) -> ApiException:
    error = ApiException(status=response.status, reason=response.reason)
    error.body = response.data.decode(errors="replace")
    return error


def _is_established(crd: Object | None) -> bool:
    conditions = (crd or {}).get("status", {}).get("conditions") or []  # null for a moment after it was made
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def _brief(found: Object | None) -> Object | None:
    """Without what fills a screen and without what a Secret holds."""
    if found is None:
        return None
    metadata = {key: value for key, value in found.get("metadata", {}).items() if key != "managedFields"}
    shown = {key: value for key, value in found.items() if key in {"kind", "spec", "status"}}
    return {**shown, "metadata": metadata}
