"""Pods of provisioners, by the chart's label: whether each is ready, and why not.

Pure but for the function that lists; used by `reader` and `doctor`.
"""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from libbucket._run.settings import parse_truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    List = Callable[[str, dict[str, str]], list[dict[str, Any]]]

_LABEL: Final = "app.kubernetes.io/part-of=libbucket"
_ENTRY_POINT: Final = "/opt/libbucket/bin/provisioner"
"""Of the images, which have no shell and no PATH to it: docker/Dockerfile."""
_LIST_ORPHANS: Final = ("--list-orphans", "--log-format=json")


@dataclass(frozen=True, kw_only=True)
class PodFact:
    """A pod that the chart labels as a provisioner.

    Attributes:
        key: namespace and name.
        account: namespace and name of its service account.
        problem: why it is not ready; "" if it is.
        has_shards: whether its replicas share the claims, from its flags and environment.
        namespaces: that it serves, from its flags and environment; empty for all.
        list_orphans: the command that has its program list the buckets without a claim, for a report.
    """

    key: str
    account: str
    problem: str
    has_shards: bool = False
    namespaces: tuple[str, ...] = ()
    list_orphans: str = ""


def list_pods(list_objects: List, namespace: str) -> tuple[PodFact, ...]:
    """The provisioners' pods of a namespace, or of all if it is "".

    Args:
        list_objects: lists the collection at a path, with a query.
        namespace: "" for all.

    Raises:
        KubeError: a refusal, or no answer.
    """
    path = f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods"
    return tuple(map(_pod_fact, list_objects(path, {"labelSelector": _LABEL})))


def _pod_fact(pod: dict[str, Any]) -> PodFact:
    meta, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    namespace = meta.get("namespace", "")
    return PodFact(
        key=f"{namespace}/{meta.get('name', '')}",
        account=f"{namespace}/{spec.get('serviceAccountName') or 'default'}",
        problem=_problem(pod.get("status") or {}),
        has_shards=any(_has_shards(one) for one in spec.get("containers") or ()),
        namespaces=tuple(sorted({name for one in spec.get("containers") or () for name in _served(one)})),
        list_orphans=_list_orphans(meta, spec.get("containers") or [{}]),
    )


def _list_orphans(meta: dict[str, Any], containers: list[dict[str, Any]]) -> str:
    """With the container's own arguments: another process in it has its environment, and not its flags."""
    container = next((one for one in containers if one.get("name") == "provisioner"), containers[0])
    where = ["--namespace", meta.get("namespace", ""), meta.get("name", ""), "--container", container.get("name", "")]
    program = [*(container.get("command") or [_ENTRY_POINT]), *(container.get("args") or ())]
    return shlex.join(["kubectl", "exec", *where, "--", *program, *_LIST_ORPHANS])


def _has_shards(container: dict[str, Any]) -> bool:
    """Whether `--sharding` or its variable is set."""
    arguments = [*(container.get("command") or ()), *(container.get("args") or ())]
    values = [one.get("value") or "" for one in container.get("env") or () if one.get("name") == "LIBBUCKET_SHARDING"]
    values += [str(one).partition("=")[2] or "true" for one in arguments if re.fullmatch("--sharding(=.*)?", str(one))]
    with suppress(ValueError):  # the program refuses such a value, and does not start
        return bool(values) and parse_truth(values[-1])
    return False


def _served(container: dict[str, Any]) -> Iterator[str]:
    """The values of `--namespace`, in either spelling, or of its variable."""
    arguments = [*(container.get("command") or ()), *(container.get("args") or ())]
    for index, argument in enumerate(arguments):
        if argument == "--namespace":
            yield from arguments[index + 1 : index + 2]
        elif argument.startswith("--namespace="):
            yield argument.partition("=")[2]
    for one in container.get("env") or ():
        if one.get("name") == "LIBBUCKET_NAMESPACE":
            yield from filter(None, map(str.strip, (one.get("value") or "").split(",")))


def _problem(status: dict[str, Any]) -> str:
    conditions = {one.get("type"): one for one in status.get("conditions") or ()}
    if conditions.get("Ready", {}).get("status") == "True":
        return ""
    found = [*_container_problems(status), _sentence(conditions.get("PodScheduled", {}), status="False")]
    return next(filter(None, found), f"it is {status.get('phase') or 'not scheduled yet'}, and not ready")


def _container_problems(status: dict[str, Any]) -> Iterator[str]:
    for container in status.get("containerStatuses") or ():
        state = container.get("state") or {}
        yield _sentence(state.get("waiting") or {})
        ended = state.get("terminated") or {}
        yield f"it ended with exit code {ended.get('exitCode')}" if ended else ""


def _sentence(found: dict[str, Any], *, status: str | None = None) -> str:
    if not found.get("reason") or found.get("status") != status:
        return ""
    message = found.get("message") or ""
    return f"{found['reason']}: {message}" if message else str(found["reason"])
