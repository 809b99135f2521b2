"""Detects which fields the installed CRDs keep: another project's chart may have replaced the bundled CRDs.

Read at the start and at intervals, from the API server's OpenAPI documents, which every authenticated account may read
and which contain the schemas that are enforced. Writes nothing. Does not decide how to handle missing fields.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from libbucket import _api
from libbucket._kube.errors import ClusterUnavailable, KubeError

if TYPE_CHECKING:
    from libbucket._kube.client import KubeClient

_PATH: Final = f"/openapi/v3/apis/{_api.API_VERSION}"
_KEEPS_UNKNOWN: Final = "x-kubernetes-preserve-unknown-fields"
_CLAIM_STATUS: Final = f"/apis/{_api.API_VERSION}/namespaces/{{namespace}}/objectbucketclaims/{{name}}/status"
_BUCKET_STATUS: Final = f"/apis/{_api.API_VERSION}/objectbuckets/{{name}}/status"


@dataclass(frozen=True, kw_only=True)
class CrdFeatures:
    """The fields and subresources that the installed CRDs keep.

    Attributes:
        conditions: `status.conditions` of a claim.
        claim_ref: name, namespace and uid in an ObjectBucket's `spec.claimRef`.
        claim_status: claims have the status subresource.
        bucket_status: ObjectBuckets have the status subresource.
        bucket_conditions: `status.conditions` of an ObjectBucket.
    """

    conditions: bool = True
    claim_ref: bool = True
    claim_status: bool = True
    bucket_status: bool = True
    bucket_conditions: bool = True

    def losses(self) -> list[str]:
        """What is lost, one phrase each, for operators; empty with the bundled CRDs."""
        said = {
            "conditions of claims are not kept (only phases and Events tell why a claim waits)": self.conditions,
            "claimRef of ObjectBuckets is not kept (annotations replace it)": self.claim_ref,
            "claims have no status subresource": self.claim_status,
            "ObjectBuckets have no status subresource": self.bucket_status,
            "conditions of ObjectBuckets are not kept (only the log tells why one waits)": self.bucket_conditions,
        }
        return [phrase for phrase, is_kept in said.items() if not is_kept]


class InstalledCrds:
    """The features of the installed CRDs, which may be replaced at run time. Safe for threads.

    Args:
        client: reads the OpenAPI documents.
        features: at the start.
    """

    def __init__(self, client: KubeClient, features: CrdFeatures) -> None:
        self._client = client
        self._doubted = threading.Event()
        self.features = features

    def doubt(self) -> None:
        """Requests a check soon, because a field that was written is missing."""
        self._doubted.set()

    def wait(self, seconds: float) -> None:
        """Waits for the next check: for these seconds, or until `doubt` is called."""
        self._doubted.wait(seconds)

    def has_changed(self) -> bool:
        """Whether the installed CRDs have changed; False if the API server does not answer."""
        self._doubted.clear()
        try:
            found = read_crd_features(self._client)
        except KubeError:
            return False
        if found is None or found == self.features:
            return False
        self.features = found
        structlog.get_logger().warning(
            "the installed CRDs were replaced", lost="; ".join(found.losses()) or "nothing any more"
        )
        return True


def read_crd_features(client: KubeClient) -> CrdFeatures | None:
    """The features of the installed CRDs.

    Returns:
        None while the API server has not published the schemas of both kinds, which it does a few seconds after the
        CRDs are established.

    Raises:
        KubeError: a refusal, or no answer.
    """
    try:
        return _features_in(msgspec.json.decode(client.get(_PATH)))
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:  # not such a document
        raise ClusterUnavailable(f"{_PATH}: the response is not an OpenAPI document; is this an API server?") from error


def _features_in(document: dict[str, Any]) -> CrdFeatures | None:
    claim, bucket = _schema(document, _api.CLAIM_KIND), _schema(document, _api.BUCKET_KIND)
    if not claim or not bucket:
        return None
    paths = document.get("paths", {})
    return CrdFeatures(
        conditions=_keeps(claim, "status", "conditions", "reason"),
        claim_ref=all(_keeps(bucket, "spec", "claimRef", name) for name in ("namespace", "name", "uid")),
        claim_status=_CLAIM_STATUS in paths,
        bucket_status=_BUCKET_STATUS in paths,
        bucket_conditions=_keeps(bucket, "status", "conditions", "reason"),
    )


def _schema(document: dict[str, Any], kind: str) -> dict[str, Any]:
    wanted = {"group": _api.GROUP, "version": _api.VERSION, "kind": kind}
    schemas: dict[str, dict[str, Any]] = document.get("components", {}).get("schemas", {})
    return next((one for one in schemas.values() if wanted in one.get("x-kubernetes-group-version-kind", ())), {})


def _keeps(schema: dict[str, Any], *path: str) -> bool:
    """Whether the schema keeps a value at this path: declared, or below an object that keeps unknown fields."""
    for name in path:
        if schema.get(_KEEPS_UNKNOWN):
            return True
        schema = schema.get("items", schema)
        if name not in schema.get("properties", {}):
            return bool(schema.get("additionalProperties") or schema.get(_KEEPS_UNKNOWN))
        schema = schema["properties"][name]
    return True
