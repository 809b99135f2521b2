"""Counts the requests that each verb sends, for a figure in a store's documentation that a test holds to what is sent.

Used by the tests of a provisioner, with the same `World` as the suite. Promises nothing by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from libbucket.testing.requests_watched import counted_requests

if TYPE_CHECKING:
    from libbucket.testing.conformance.world import World


def requests_of_each_verb(world: World) -> dict[str, int]:
    """How many requests a verb sends: by its name, `provision again` for one that finds everything done.

    Buckets are empty, and every claim's credentials are those of the backend's usual class.
    """
    bucket = world.foreign_bucket()
    with counted_requests() as provision:
        owner = world.greenfield()
    with counted_requests() as grant:
        guest = world.brownfield(bucket)
    with counted_requests() as again:
        world.again(owner)
    with counted_requests() as look:
        assert world.looks_intact(owner)
    with counted_requests() as revoke:
        world.revoke(guest.record)
    with counted_requests() as delete:
        world.delete(owner.record)
    counted = {
        "provision": provision,
        "grant": grant,
        "provision again": again,
        "is_intact": look,
        "revoke": revoke,
        "delete": delete,
    }
    return {verb: len(sent) for verb, sent in counted.items()}
