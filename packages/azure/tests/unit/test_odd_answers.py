"""Answers that Azure never gives and what stands before it might: nothing is deleted, revoked or overwritten on them.

Each has a header of Azure's, so that none is known for another's by that alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from libbucket import ProvisionerError
from libbucket.testing import builders
from testkit.azure.fake_storage.model import Container, Policy
from testkit.azure.in_memory_world import BEGINNING, DELEGATED, World, world_in_memory
from testkit.azure.requests_by_name import OF_THE_PROVISIONER
from testkit.resilience.proxy import Instead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testkit.azure.in_memory_world import Bound
    from testkit.resilience.proxy import Request

PAGE: Final = b"<!DOCTYPE html><html><body>Please log in</body></html>"
BODIES: Final = {
    "nothing": b"",
    "a page": PAGE,
    "another document": b"<?xml version='1.0'?><html/>",
    "no document": b"\xff\xfe\x00<",
    "an error": b"<?xml version='1.0'?><Error><Code>ServerBusy</Code></Error>",
    "lists": b"<?xml version='1.0'?><EnumerationResults><Blobs/></EnumerationResults>",
}
OF_THE_STORE: Final = [name for name in OF_THE_PROVISIONER if not name.startswith(("GetToken", "GetMachine", "Disc"))]
DATE: Final = f"{BEGINNING:%a, %d %b %Y %H:%M:%S} GMT"


@pytest.fixture
def world() -> Iterator[World]:
    with world_in_memory() as made:
        made.storage.containers["others"] = Container(metadata={"kept": "yes"}, modified=made.now)
        made.storage.containers["others"].policies["manual"] = Policy(permission="r", expiry="2040-01-01")
        yield made


def odd(world: World, name: str, status: int, body: bytes, **headers: str) -> None:
    """Answers one kind of request so from now on."""

    def instead(_request: Request, found: str) -> Instead | None:
        plain = {"x-ms-request-id": "1-2-3", "Date": DATE, "Content-Type": "text/html", **headers}
        return Instead(status=status, headers=plain, body=body) if found == name else None

    world.instead = instead


def attempts(world: World, bound: Bound) -> list[ProvisionerError]:
    """What is raised by all verbs; anything but the core's errors ends the test."""
    found = []
    p = world.provisioner
    others = world.request("others", **bound.request.parameters)
    calls = (
        lambda: p.provision(bound.again()),
        lambda: p.provision(world.request("new", **bound.request.parameters)),
        lambda: p.grant(others),
        lambda: p.is_intact(bound.again()),
        lambda: p.revoke(builders.intent(others, greenfield=False)),
        lambda: p.delete_empty(bound.record),
    )
    for call in calls:
        try:
            call()
        except ProvisionerError as error:
            found.append(error)
    return found


@pytest.mark.parametrize("name", OF_THE_STORE)
def test_no_data_are_lost_and_no_policy_of_others(world: World, name: str) -> None:
    given = DELEGATED if name == "GetUserDelegationKey" else {}
    bound = world.bind(world.request(**given))
    world.application(bound).put("photos", "a", b"1")
    for status, body in ((200, b""), (200, PAGE), (206, b""), (304, b"")):
        odd(world, name, status, body)
        attempts(world, bound)
        assert world.storage.containers["photos"].blobs == {"a": b"1"}, (status, body)
        assert "manual" in world.storage.containers["others"].policies, (status, body)
        assert world.storage.containers["others"].metadata == {"kept": "yes"}, (status, body)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_listing_that_is_none_does_not_show_that_a_container_is_empty(world: World, body: bytes) -> None:
    bound = world.bind(world.request())
    odd(world, "ListBlobs", 200, body)
    with pytest.raises(ProvisionerError):
        world.provisioner.delete_empty(bound.record)
    assert "photos" in world.storage.containers


@pytest.mark.parametrize("modified", ["", "yesterday"])
@pytest.mark.parametrize("verb", ["delete", "delete_empty"])
def test_a_container_whose_last_change_is_not_known_is_not_deleted(world: World, verb: str, modified: str) -> None:
    """Its deletion is under the condition that it was not changed since."""
    bound = world.bind(world.request())
    metadata = {f"x-ms-meta-{key}": value for key, value in world.storage.containers["photos"].metadata.items()}
    odd(world, "GetContainerProperties", 200, b"", **metadata, **({"Last-Modified": modified} if modified else {}))
    with pytest.raises(ProvisionerError) as refused:
        getattr(world.provisioner, verb)(bound.record)
    assert bool(refused.value.request_id) == (modified == ""), "Azure's client refuses a time that it can't read"
    assert "photos" in world.storage.containers


@pytest.mark.parametrize("modified", ["", "yesterday"])
@pytest.mark.parametrize("verb", ["grant", "revoke"])
def test_policies_whose_last_change_is_not_known_are_not_edited(world: World, verb: str, modified: str) -> None:
    bound = world.bind(world.request("others"), greenfield=False)
    before = dict(world.storage.containers["others"].policies)
    body = b"<?xml version='1.0'?><SignedIdentifiers/>"
    times = {"Last-Modified": modified} if modified else {}
    odd(world, "GetContainerAcl", 200, body, **{"Content-Type": "application/xml", **times})
    with pytest.raises(ProvisionerError) as refused:
        getattr(world.provisioner, verb)(bound.again() if verb == "grant" else bound.record)
    assert bool(refused.value.request_id) == (modified == ""), "Azure's client refuses a time that it can't read"
    assert dict(world.storage.containers["others"].policies) == before


def test_a_date_that_can_not_be_read_says_nothing_of_the_clock(world: World) -> None:
    bound = world.bind(world.request(**DELEGATED))
    body = b"<?xml version='1.0'?><Error><Code>AuthenticationFailed</Code></Error>"
    odd(world, "GetContainerProperties", 403, body, **{"x-ms-error-code": "AuthenticationFailed", "Date": "soon"})
    with pytest.raises(ProvisionerError, match="does not accept the credentials"):
        world.provisioner.provision(bound.again())
