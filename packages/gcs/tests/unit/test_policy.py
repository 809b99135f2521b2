"""Edits of allow policies: what is added, and that everybody else's bindings stay."""

from __future__ import annotations

from typing import Any

from gcs_provisioner.policy import (
    METADATA_ROLE,
    OBJECTS_ROLE,
    WORKLOAD_ROLE,
    grant,
    grant_shared,
    impersonate,
    is_same,
    withdraw,
    withdraw_shared,
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
    first = grant_shared(OTHERS, OURS, title="objectbucket-1", bucket="b")
    both = grant_shared(first, OURS, title="objectbucket-2", bucket="b")
    assert is_same(grant_shared(both, OURS, title="objectbucket-2", bucket="b"), both)
    left = withdraw_shared(both, OURS, title="objectbucket-1")
    assert MEMBER in members(left, OBJECTS_ROLE)
    assert MEMBER in members(left, METADATA_ROLE)
    assert is_same(withdraw_shared(left, OURS, title="objectbucket-2"), OTHERS)


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
    grant(before, "somebody@p.iam.gserviceaccount.com")
    assert before == [{"role": OBJECTS_ROLE, "members": [MEMBER]}]


def test_a_condition_is_the_same_whatever_the_order_of_its_fields() -> None:
    once = grant_shared([], OURS, title="objectbucket-1", bucket="b")
    shown = [
        {**each, "condition": {**dict(reversed(each["condition"].items())), "description": ""}}
        if "condition" in each
        else each
        for each in once
    ]
    assert is_same(grant_shared(shown, OURS, title="objectbucket-1", bucket="b"), shown)
    assert not is_same(grant_shared([], OURS, title="objectbucket-2", bucket="b"), shown)
