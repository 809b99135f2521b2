"""Names of buckets that Google takes, and those that it keeps for itself."""

from __future__ import annotations

import pytest

from gcs_provisioner.buckets import is_bucket_name
from libbucket import InvalidClaim
from libbucket.testing.conformance.environment import Environment, assert_works


@pytest.mark.parametrize(
    "name", ["data.example.de", "a.b.example.co.uk", "x.io", "my-data.eu", f"{'a' * 63}.example.com"]
)
def test_a_bucket_that_is_named_after_a_domain_may_have_short_labels(name: str) -> None:
    """https://cloud.google.com/storage/docs/buckets#naming: each label between dots has 63 characters at most."""
    assert is_bucket_name(name, dots=True)
    assert not is_bucket_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "a./.b",
            "a..b",
            ".example.com",
            "example.com.",
            "a.?.com",
            "a.-b.com",
            "192.168.5.4",
            f"{'a' * 64}.com",
            "ab",
        ),
        *(".".join(["a" * 60] * 4), "a.\n.com", "exämple.com"),
    ],
)
def test_what_no_bucket_is_called_is_not_asked_for(name: str) -> None:
    assert not is_bucket_name(name, dots=True)


def test_an_existing_bucket_that_is_named_after_a_domain_is_granted(environment: Environment) -> None:
    name = "data.example.de"
    environment.administrator.make_bucket(name)
    try:
        tenant = environment.brownfield(name)
        assert_works(tenant)
        environment.revoke(tenant.record)
        assert not environment.administrator.identity_exists(tenant.record)
    finally:
        environment.administrator.purge_bucket(name)


@pytest.mark.parametrize("name", ["my-google-data", "goog-data", "g00gle-data", "my-g00gle"])
def test_a_name_that_google_keeps_for_itself_is_the_claims_mistake(environment: Environment, name: str) -> None:
    """The same page: neither "google" nor close misspellings, such as "g00gle"."""
    with pytest.raises(InvalidClaim, match=r"spec\.bucketName"):
        environment.provisioner.provision(environment.request(bucket=name))
