"""The documents: what they allow, and that the note of a creation is known again."""

from __future__ import annotations

import pytest

from minio_provisioner.policy import build_access, build_intent, is_intent


def _allowed(*, object_locking: bool = False) -> dict[str, set[str]]:
    statements = build_access("photos", object_locking=object_locking)["Statement"]
    allowed = [one for one in statements if one["Effect"] == "Allow"]
    return {resource: set(one["Action"]) for one in allowed for resource in one["Resource"]}


def test_access_names_the_bucket_and_its_objects_and_nothing_else() -> None:
    assert set(_allowed()) == {"arn:aws:s3:::photos", "arn:aws:s3:::photos/*"}


@pytest.mark.parametrize("locking", [False, True])
def test_no_action_changes_the_bucket_and_none_is_a_wildcard(*, locking: bool) -> None:
    for actions in _allowed(object_locking=locking).values():
        assert not [action for action in actions if "*" in action]
    on_bucket = _allowed(object_locking=locking)["arn:aws:s3:::photos"]
    assert all(action.startswith(("s3:Get", "s3:List")) for action in on_bucket)


def test_the_admin_api_is_denied() -> None:
    denied = [one for one in build_access("photos", object_locking=False)["Statement"] if one["Effect"] == "Deny"]
    assert [one["Action"] for one in denied] == [["admin:*"]]


def test_locks_are_set_only_where_the_class_has_object_locking() -> None:
    assert not [action for actions in _allowed().values() for action in actions if "Retention" in action]
    assert "s3:PutObjectRetention" in _allowed(object_locking=True)["arn:aws:s3:::photos/*"]


def test_the_note_of_a_creation_is_known_again_for_its_bucket_only_and_allows_nothing() -> None:
    note = build_intent("photos")
    assert is_intent(note, "photos")
    assert not is_intent(note, "photo")
    assert not is_intent(build_access("photos", object_locking=False), "photos")
    assert not is_intent({}, "photos")
    assert not [one for one in note["Statement"] if one["Effect"] == "Allow"]
