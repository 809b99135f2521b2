"""The documents: what they allow, and that the note of a creation is known again."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from minio_provisioner.parameters import Locks
from minio_provisioner.policy import build_access, build_intent, is_intent


def _allowed(locks: Locks | None = None) -> dict[str, set[str]]:
    allowed: defaultdict[str, set[str]] = defaultdict(set)
    for statement in build_access("photos", locks=locks)["Statement"]:
        for resource in statement["Resource"] if statement["Effect"] == "Allow" else ():
            allowed[resource] |= set(statement["Action"])
    return allowed


def _retention(**locks: Any) -> dict[str, Any]:
    """The only statement that permits to set a retention."""
    statements = build_access("photos", locks=Locks(**locks))["Statement"]
    (found,) = [one for one in statements if "s3:PutObjectRetention" in one["Action"]]
    assert isinstance(found, dict)
    return found


def test_access_names_the_bucket_and_its_objects_and_nothing_else() -> None:
    assert set(_allowed()) == {"arn:aws:s3:::photos", "arn:aws:s3:::photos/*"}


@pytest.mark.parametrize("locks", [None, Locks(), Locks(max_days=0)])
def test_no_action_changes_the_bucket_and_none_is_a_wildcard(locks: Locks | None) -> None:
    for actions in _allowed(locks).values():
        assert not [action for action in actions if "*" in action]
    on_bucket = _allowed(locks)["arn:aws:s3:::photos"]
    assert all(action.startswith(("s3:Get", "s3:List")) for action in on_bucket)


def test_the_admin_api_is_denied() -> None:
    denied = [one for one in build_access("photos", locks=None)["Statement"] if one["Effect"] == "Deny"]
    assert [one["Action"] for one in denied] == [["admin:*"]]


def test_locks_are_set_only_where_the_class_has_object_locking() -> None:
    assert not [action for actions in _allowed().values() for action in actions if "Retention" in action]
    assert "s3:PutObjectRetention" in _allowed(Locks())["arn:aws:s3:::photos/*"]


def test_a_class_bounds_days_and_mode_of_a_retention() -> None:
    assert "Condition" not in _retention()
    assert _retention(max_days=7)["Condition"] == {
        "NumericLessThanEquals": {"s3:object-lock-remaining-retention-days": [7]}
    }
    assert _retention(max_days=7, mode="GOVERNANCE")["Condition"]["StringEquals"] == {
        "s3:object-lock-mode": ["GOVERNANCE"]
    }


def test_a_class_without_retention_gives_no_permission_to_set_one() -> None:
    allowed = _allowed(Locks(max_days=0))["arn:aws:s3:::photos/*"]
    assert "s3:PutObjectRetention" not in allowed
    assert "s3:PutObjectLegalHold" in allowed


def test_the_note_of_a_creation_is_known_again_for_its_bucket_only_and_allows_nothing() -> None:
    note = build_intent("photos")
    assert is_intent(note, "photos")
    assert not is_intent(note, "photo")
    assert not is_intent(build_access("photos", locks=None), "photos")
    assert not is_intent({}, "photos")
    assert not [one for one in note["Statement"] if one["Effect"] == "Allow"]
