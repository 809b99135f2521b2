"""Addresses of service accounts: whose they are, and where they were made."""

from __future__ import annotations

import pytest

from gcs_provisioner.account_names import build_account_id, build_email, is_own_name, project_of


@pytest.mark.parametrize("project", ["my-project-1", "example.com:my-project-1"])
@pytest.mark.parametrize("user_id", ["obc-0123456789abcdef01234567", "x", "Not-A-Name", build_account_id("a/b/c")])
def test_an_address_tells_its_project_and_its_claim(project: str, user_id: str) -> None:
    email = build_email(user_id, project)
    assert project_of(email, "another") == project
    assert is_own_name(email, user_id)


def test_an_account_with_another_name_is_a_shared_one() -> None:
    assert not is_own_name("everyones@my-project-1.iam.gserviceaccount.com", "obc-0123456789abcdef01234567")
    assert is_own_name(build_email("derived-otherwise-before", "my-project-1"), "derived-otherwise-before")
    assert is_own_name(build_email(build_account_id("a"), "my-project-1"), "derived-by-a-later-release")


@pytest.mark.parametrize(
    "email",
    ["", "1-compute@developer.gserviceaccount.com", "p@appspot.gserviceaccount.com", "a@.iam.gserviceaccount.com"],
)
def test_an_address_of_another_form_is_taken_to_be_of_the_class_project(email: str) -> None:
    assert project_of(email, "of-the-class") == "of-the-class"
    assert not is_own_name(email, "obc-0123456789abcdef01234567")
