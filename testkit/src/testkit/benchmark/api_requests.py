"""The API server's own count of requests: `apiserver_request_total`, by verb and resource.

Of the kinds that a provisioner uses; what the API server asks itself (leases, priorities) is about others. The
count does not say who asked, so its user asks nothing about these kinds meanwhile, or subtracts it.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from libbucket.testing.controlplane import Cluster

Requests = Counter[tuple[str, str]]
"""How often, by verb and resource: `("PATCH", "objectbucketclaims/status")`."""

_METRIC: Final = "apiserver_request_total"
_RESOURCES: Final = frozenset(
    {
        "objectbucketclaims",
        "objectbuckets",
        "secrets",
        "configmaps",
        "events",
        "storageclasses",
        "customresourcedefinitions",
        "selfsubjectaccessreviews",
    }
)
_QUIET_SECONDS: Final = 0.5
_LIMIT_SECONDS: Final = 30.0


def settled_requests(cluster: Cluster) -> Requests:
    """The count once it is stable: a request is counted a moment after its answer.

    Raises:
        TimeoutError: requests keep coming.
    """
    deadline = time.monotonic() + _LIMIT_SECONDS
    found = _read(cluster)
    while time.monotonic() < deadline:
        time.sleep(_QUIET_SECONDS)
        previous, found = found, _read(cluster)
        if found == previous:
            return found
    raise TimeoutError(f"the API server still receives requests after {_LIMIT_SECONDS:.0f} s")


def _read(cluster: Cluster) -> Requests:
    # Only these lines: parsing all that an API server has to say takes a second.
    lines = [line for line in cluster.metrics().splitlines() if line.startswith(f"{_METRIC}{{")]
    found: Requests = Counter()
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            resource, subresource = sample.labels["resource"], sample.labels["subresource"]
            if resource in _RESOURCES:
                name = f"{resource}/{subresource}" if subresource else resource
                found[sample.labels["verb"], name] += int(sample.value)
    return found
