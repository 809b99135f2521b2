"""A fake API server with one Lease, and a clock that only a test advances, for the tests of both elections."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from libbucket._kube.client import KubeClient
from libbucket._kube.errors import AlreadyExists, ClusterUnavailable, Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket import _api
    from libbucket._kube.resources import Resource

    T = TypeVar("T", bound=_api.Object)


@dataclass
class FakeApi(KubeClient):
    """One Lease, with the resource versions of a real API server."""

    body: dict[str, Any] | None = None
    version: int = 0
    requests: list[str] = field(default_factory=list)
    before: Callable[[str], None] = lambda _: None
    """Called before each request with its verb; may raise, wait, or move a clock."""
    after: Callable[[str], None] = lambda _: None
    """The same after it took effect: an answer that is late, or lost."""

    def read(self, resource: Resource[T], name: str, *, namespace: str = "") -> T:
        self._begin("get")
        if self.body is None:
            raise NotFound(f"{namespace}/{name}")
        return self._answer("get", resource)

    def create(self, resource: Resource[T], body: dict[str, Any], *, namespace: str = "") -> T:
        self._begin("create")
        if self.body is not None:
            raise AlreadyExists(namespace)
        return self._store("create", resource, body)

    def replace(self, resource: Resource[T], name: str, body: dict[str, Any], *, namespace: str = "") -> T:
        self._begin("update")
        if self.body is None:
            raise NotFound(f"{namespace}/{name}")
        if body["metadata"]["resourceVersion"] != str(self.version):
            raise Conflict(name)
        return self._store("update", resource, body)

    def patch(
        self, resource: Resource[T], name: str, body: dict[str, Any], *, namespace: str = "", subresource: str = ""
    ) -> T:
        assert not subresource, "a Lease has none"
        self._begin("patch")
        if self.body is None:
            raise NotFound(f"{namespace}/{name}")
        metadata = dict(body["metadata"])
        if metadata.pop("resourceVersion", str(self.version)) != str(self.version):
            raise Conflict(name)
        return self._store("patch", resource, _merged(self.body, {**body, "metadata": metadata}))

    @property
    def holder(self) -> str:
        return str(self.body["spec"].get("holderIdentity", "")) if self.body else ""

    def edit(self, **spec: object) -> None:
        """Another program changes the Lease."""
        assert self.body is not None
        self.body["spec"].update(spec)
        self._bump(self.body)

    def _begin(self, verb: str) -> None:
        self.requests.append(verb)
        self.before(verb)

    def _store(self, verb: str, resource: Resource[T], body: dict[str, Any]) -> T:
        self._bump(body)
        return self._answer(verb, resource)

    def _bump(self, body: dict[str, Any]) -> None:
        self.version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self.version)}
        self.body = {**body, "metadata": metadata}

    def _answer(self, verb: str, resource: Resource[T]) -> T:
        answer = msgspec.json.encode(self.body)
        self.after(verb)
        return msgspec.json.decode(answer, type=resource.type)


def _merged(value: Any, patch: Any) -> Any:
    """A merge patch, as in RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(value) if isinstance(value, dict) else {}
    for key, change in patch.items():
        if change is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), change)
    return merged


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def failing(verbs: str = "get create update patch") -> Callable[[str], None]:
    def fail(verb: str) -> None:
        if verb in verbs.split():
            raise ClusterUnavailable("the API server is down")

    return fail
