"""What the API server requires for a write: webhooks that must answer, quotas that must not be exhausted.

Reads through the function that it is given; knows nothing of claims but the resources that a claim is made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from libbucket import _api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    List = Callable[[str, dict[str, str]], list[dict[str, Any]]]

_REGISTRATION: Final = "/apis/admissionregistration.k8s.io/v1"
_WRITTEN: Final = (
    (
        _api.GROUP,
        frozenset({"objectbucketclaims", "objectbucketclaims/status", "objectbuckets", "objectbuckets/status"}),
    ),
    ("", frozenset({"secrets", "configmaps"})),
)
_COUNTED: Final = frozenset(
    {"secrets", "configmaps", "count/secrets", "count/configmaps", f"count/objectbucketclaims.{_api.GROUP}"}
)


def dead_webhooks(list_objects: List) -> tuple[str, ...]:
    """Webhooks with `failurePolicy: Fail` for objects of claims, whose Service has no ready endpoint.

    Selectors of a webhook are not evaluated. A webhook with a URL outside the cluster is not checked.

    Args:
        list_objects: lists the collection at a path, with a query.

    Raises:
        KubeError: a refusal, or no answer.
    """
    kinds = ("validatingwebhookconfigurations", "mutatingwebhookconfigurations")
    found = [one for kind in kinds for one in list_objects(f"{_REGISTRATION}/{kind}", {})]
    required = [each for one in found for each in one.get("webhooks") or () if _is_required(each)]
    return tuple(sorted(each["name"] for each in required if not _answers(each, list_objects)))


def full_quotas(list_objects: List, namespace: str) -> tuple[str, ...]:
    """Exhausted ResourceQuotas for claims, Secrets or ConfigMaps: `name (resource: used/hard)`.

    Args:
        list_objects: lists the collection at a path, with a query.
        namespace: whose quotas.

    Raises:
        KubeError: a refusal, or no answer.
    """
    quotas = list_objects(f"/api/v1/namespaces/{namespace}/resourcequotas", {})
    return tuple(text for quota in quotas for text in _full(quota))


def _full(quota: dict[str, Any]) -> Iterator[str]:
    status = quota.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    for resource in sorted(_COUNTED & hard.keys() & used.keys()):
        # Counts: plain integers in what the API server writes.
        if used[resource].isdigit() and hard[resource].isdigit() and int(used[resource]) >= int(hard[resource]):
            yield f"{quota['metadata']['name']} ({resource}: {used[resource]}/{hard[resource]})"


def _is_required(webhook: dict[str, Any]) -> bool:
    return webhook.get("failurePolicy", "Fail") == "Fail" and any(
        _concerns(rule) for rule in webhook.get("rules") or ()
    )


def _concerns(rule: dict[str, Any]) -> bool:
    groups, resources = set(rule.get("apiGroups") or ()), set(rule.get("resources") or ())
    return any(groups & {group, "*"} and resources & (names | {"*", "*/*"}) for group, names in _WRITTEN)


def _answers(webhook: dict[str, Any], list_objects: List) -> bool:
    service = (webhook.get("clientConfig") or {}).get("service")
    if not service:
        return True
    path = f"/apis/discovery.k8s.io/v1/namespaces/{service['namespace']}/endpointslices"
    slices = list_objects(path, {"labelSelector": f"kubernetes.io/service-name={service['name']}"})
    endpoints = [each for one in slices for each in one.get("endpoints") or ()]
    return any((each.get("conditions") or {}).get("ready", True) for each in endpoints)
