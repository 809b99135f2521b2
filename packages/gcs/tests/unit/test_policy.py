"""Edits of allow policies: what is added, and that everybody else's bindings stay."""

from __future__ import annotations

from typing import Any

from gcs_provisioner.policy import (
    EARLIER_ROLE,
    METADATA_ROLE,
    OBJECTS_ROLE,
    WORKLOAD_ROLE,
    federated_member,
    grant,
    grant_titled,
    impersonate,
    is_same,
    withdraw,
    withdraw_titled,
    workload_member,
)

OURS = "obc-1@p.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{OURS}"
OTHERS: list[dict[str, Any]] = [
    {"role": "roles/storage.legacyBucketOwner", "members": ["projectOwner:p"]},
    {"role": OBJECTS_ROLE, "members": ["serviceAccount:other@p.iam.gserviceaccount.com"]},
    {
        "role": OBJECTS_ROLE,
        "members": ["user:jane@example.com"],
        "condition": {"title": "until monday", "expression": "request.time < timestamp('2030-01-01T00:00:00Z')"},
    },
]


def members(bindings: list[dict[str, Any]], role: str) -> set[str]:
    return {member for each in bindings if each["role"] == role for member in each["members"]}


def test_a_grant_adds_two_roles_and_leaves_the_others_bindings() -> None:
    granted = grant(OTHERS, OURS)
    assert MEMBER in members(granted, OBJECTS_ROLE)
    assert members(granted, METADATA_ROLE) == {MEMBER}
    assert is_same(withdraw(granted, OURS), OTHERS)
    assert [each for each in granted if each.get("condition")] == [OTHERS[2]], (
        "nobody gets in under another's condition"
    )


def test_a_grant_again_changes_nothing() -> None:
    once = grant(OTHERS, OURS)
    assert is_same(grant(once, OURS), once)


def test_what_is_left_of_a_removed_account_of_that_name_goes() -> None:
    left = f"deleted:{MEMBER}?uid=12"
    others = f"deleted:{MEMBER}m?uid=12"
    before = [{"role": OBJECTS_ROLE, "members": [left, others]}]
    assert members(grant(before, OURS), OBJECTS_ROLE) == {MEMBER, others}
    assert withdraw(before, OURS) == [{"role": OBJECTS_ROLE, "members": [others]}]


def test_claims_that_share_an_account_have_bindings_of_their_own() -> None:
    first = grant_titled(OTHERS, MEMBER, title="objectbucket-1", bucket="b")
    both = grant_titled(first, MEMBER, title="objectbucket-2", bucket="b")
    assert is_same(grant_titled(both, MEMBER, title="objectbucket-2", bucket="b"), both)
    left = withdraw_titled(both, title="objectbucket-1")
    assert MEMBER in members(left, OBJECTS_ROLE)
    assert MEMBER in members(left, METADATA_ROLE)
    assert is_same(withdraw_titled(left, title="objectbucket-2"), OTHERS)


def test_exactly_the_named_kubernetes_accounts_may_act() -> None:
    one, two = (workload_member("p.svc.id.goog", "shop", name) for name in ("one", "two"))
    assert one == "serviceAccount:p.svc.id.goog[shop/one]"
    changed = impersonate(impersonate(OTHERS, [one]), [two])
    assert members(changed, WORKLOAD_ROLE) == {two}
    assert is_same(impersonate(changed, []), OTHERS)


def test_on_a_shared_account_each_claim_lets_in_its_own() -> None:
    member = workload_member("p.svc.id.goog", "shop", "default")
    both = impersonate(impersonate([], [member], title="1"), [member], title="2")
    assert len(both) == 2
    assert members(impersonate(both, [], title="1"), WORKLOAD_ROLE) == {member}


def test_edits_leave_what_they_were_given_as_it_is() -> None:
    before = [{"role": OBJECTS_ROLE, "members": [MEMBER]}]
    withdraw(before, OURS)
    grant(before, "another@p.iam.gserviceaccount.com")
    assert before == [{"role": OBJECTS_ROLE, "members": [MEMBER]}]


def test_a_condition_is_the_same_whatever_the_order_of_its_fields() -> None:
    once = grant_titled([], MEMBER, title="objectbucket-1", bucket="b")
    shown = [
        {**each, "condition": {**dict(reversed(each["condition"].items())), "description": ""}}
        if "condition" in each
        else each
        for each in once
    ]
    assert is_same(grant_titled(shown, MEMBER, title="objectbucket-1", bucket="b"), shown)
    assert not is_same(grant_titled([], MEMBER, title="objectbucket-2", bucket="b"), shown)


def test_a_role_of_earlier_releases_is_replaced() -> None:
    """https://cloud.google.com/storage/docs/access-control/iam-roles: objectAdmin can lock objects, and unlock them."""
    others = {"role": EARLIER_ROLE, "members": ["user:jane@example.com"]}
    granted = grant([{"role": EARLIER_ROLE, "members": [MEMBER]}, others], OURS)
    assert members(granted, EARLIER_ROLE) == {"user:jane@example.com"}
    assert members(granted, OBJECTS_ROLE) == {MEMBER}


def test_a_claim_with_a_federated_identity_has_a_binding_of_its_own() -> None:
    """Two claims of one namespace can name the same Kubernetes service account."""
    pod = federated_member("123", "p.svc.id.goog", "shop", "photos")
    assert pod == (
        "principal://iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/p.svc.id.goog"
        "/subject/ns/shop/sa/photos"
    )
    both = grant_titled(grant_titled(OTHERS, pod, title="1", bucket="b"), pod, title="2", bucket="b")
    left = withdraw_titled(both, title="1")
    assert members(left, METADATA_ROLE) == {pod}
    assert is_same(withdraw_titled(left, title="2"), OTHERS)


def test_a_claim_that_names_another_kubernetes_account_shuts_the_first_out() -> None:
    one, two = (federated_member("123", "p.svc.id.goog", "shop", name) for name in ("one", "two"))
    changed = grant_titled(grant_titled([], one, title="1", bucket="b"), two, title="1", bucket="b")
    assert members(changed, OBJECTS_ROLE) == members(changed, METADATA_ROLE) == {two}
