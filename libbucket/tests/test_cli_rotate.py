"""`libbucket rotate`: when it refuses, and whom it names."""

from __future__ import annotations

from typing import Any

import pytest

from libbucket import _api
from libbucket._cli.facts import Facts
from libbucket._cli.rotate import users_of, why_not


def facts(**what: Any) -> Facts:
    claim = _api.ObjectBucketClaim(
        metadata=_api.Meta(name="photos", namespace="shop", uid="u1", deletion_timestamp=what.pop("deleted", None)),
        status_or_none=_api.ClaimStatus(
            phase=what.pop("phase", "Bound"),
            conditions=[_api.Condition(type="Ready", status=what.pop("ready", "True"))],
        ),
    )
    return Facts(**{"claim": claim, "secret": secret("u1"), **what})


def secret(uid: str) -> _api.Metadata:
    owner = _api.OwnerReference(kind=_api.CLAIM_KIND, name="photos", uid=uid, controller=True)
    return _api.Metadata(metadata=_api.Meta(name="photos", namespace="shop", owner_references=[owner]))


def test_a_bound_claim_may_be_rotated() -> None:
    assert why_not(facts()) == ""


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"deleted": "2026-01-01T00:00:00Z"}, "being deleted"),
        ({"is_namespace_terminating": True}, "being deleted"),
        ({"phase": "Pending"}, "not Bound and Ready"),
        ({"ready": "False"}, "not Bound and Ready"),
        ({"secret": None}, "Secret is missing"),
        ({"secret": secret("u2")}, "not the claim's"),
        ({"dead_webhooks": ("w.example.com",)}, "could not be written because of w.example.com"),
        ({"full_quotas": ("small (secrets: 1/1)",)}, "could not be written because of small"),
    ],
)
def test_a_claim_that_could_be_left_without_credentials_is_refused(what: dict[str, Any], said: str) -> None:
    assert said in why_not(facts(**what))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"containers": [{"envFrom": [{"secretRef": {"name": "photos"}}]}]}, "restart"),
        ({"containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "photos", "key": "a"}}}]}]}, "restart"),
        ({"initContainers": [{"envFrom": [{"secretRef": {"name": "photos"}}]}], "containers": []}, "restart"),
        ({"volumes": [{"secret": {"secretName": "photos"}}]}, "mounts it"),
        ({"volumes": [{"projected": {"sources": [{"secret": {"name": "photos"}}]}}]}, "mounts it"),
    ],
)
def test_pods_that_read_the_secret_are_named(spec: dict[str, Any], said: str) -> None:
    (line,) = users_of([{"metadata": {"name": "web"}, "spec": spec}], "photos")
    assert line.startswith("Pod web ")
    assert said in line


def test_pods_that_read_another_secret_are_not_named() -> None:
    spec = {
        "containers": [{"envFrom": [{"configMapRef": {"name": "photos"}}], "env": [{"name": "a", "value": "photos"}]}],
        "volumes": [{"configMap": {"name": "photos"}}],
    }
    assert list(users_of([{"metadata": {"name": "web"}, "spec": spec}], "photos")) == []
