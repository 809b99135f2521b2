"""What an application tries with its credentials and real clients, past us and straight at the store."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import urllib3

from libbucket.testing.application import Refused
from libbucket.testing.conformance.environment import CONTENT, OBJECT
from libbucket.testing.conformance.operations import OPERATIONS, Operation
from testkit.resilience.tenant_environment import Attack
from testkit.resilience.trials import Violation
from testkit.resilience.untrusted import UNTRUSTED_APPLICATIONS, UntrustedApplication

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket.testing.application import Application
    from testkit.resilience.tenant_environment import TenantEnvironment
    from testkit.stores.base import Bound

_LEAST_ENDED: Final = frozenset({401, 403, 404})
"""What a signed URL is answered when who signed it is gone."""


def get_into_other_buckets(tenants: TenantEnvironment) -> str:
    """Every operation of the conformance suite: works in its own bucket, and in no other."""
    bound, untrusted = _bind(tenants)
    administrator = tenants.environment.store.administrator()
    old = f"{tenants.environment.namespace}-old"
    administrator.put(old, OBJECT, CONTENT)
    refused = 0
    for client, application in untrusted.applications().items():
        for operation in _possible(untrusted):
            administrator.put(bound.bucket, OBJECT, CONTENT)
            operation.attempt(application, bound.bucket, bound.bucket)
            administrator.put(bound.bucket, OBJECT, CONTENT)
            if operation.check in untrusted.capabilities.unchecked:
                continue
            for bucket in (tenants.victim.bucket, old):
                what = f"{client}: {operation} in {bucket}"
                _assert_refused(what, operation, application, (bucket, bound.bucket))
                refused += 1
    assert administrator.get(old, OBJECT) == CONTENT
    administrator.delete(old, OBJECT)
    return f"{refused} requests refused, each of which works in its own bucket"


def go_on_after_the_end(tenants: TenantEnvironment) -> str:
    """The same with credentials of a claim that was deleted, whose bucket stays."""
    thief = tenants.thief
    bound, untrusted = _bind(tenants, "retain")
    applications = untrusted.applications()
    administrator = tenants.environment.store.administrator()
    for application in applications.values():
        assert application.list_keys(bound.bucket) == [OBJECT]
    thief.delete("mine")
    refused = 0
    for client, application in applications.items():
        for operation in _possible(untrusted):
            _assert_refused(f"{client}: {operation}", operation, application, (bound.bucket, bound.bucket))
            refused += 1
    assert administrator.list_keys(bound.bucket) == [OBJECT]
    _remove(tenants, bound)
    return f"{refused} requests refused, each of which had worked; the bucket and its data stayed"


def list_all_buckets(tenants: TenantEnvironment) -> str:
    bound, untrusted = _bind(tenants)
    seen = []
    for application in untrusted.applications().values():
        with suppress(Refused):
            seen += application.list_all()
        application.list_keys(bound.bucket)
    assert tenants.victim.bucket not in seen, "the victim's bucket is listed"
    assert not {each for each in seen if each != bound.bucket}, f"it sees {seen}"
    return f"it sees {'its own' if seen else 'none'}"


def read_permissions(tenants: TenantEnvironment) -> str:
    _, untrusted = _bind(tenants)
    peeks = untrusted.peeks()
    open_to_it = []
    for what, peek in peeks.items():
        peek.control()
        try:
            peek.attempt()
        except Refused:
            continue
        open_to_it.append(what)
    assert not open_to_it, f"it reads {open_to_it}"
    return f"{len(peeks)} refused ({', '.join(peeks)}), each answered to the administrator"


def make_credentials(tenants: TenantEnvironment) -> str:
    """What can be made out of the given credentials opens no other bucket, and ends with them."""
    bound, untrusted = _bind(tenants, "retain")
    made: dict[str, Application] = {}
    refused = []
    for what, make in untrusted.makers().items():
        try:
            application = make()
        except Refused:
            refused.append(what)
            continue
        if application is None:
            raise Violation(f"it made {what}")
        made[what] = application
    for what, application in made.items():
        assert application.get(bound.bucket, OBJECT) == CONTENT, what
        _assert_closed(f"{what} reads the victim's", partial(application.get, tenants.victim.bucket, "kept"))
    tenants.assert_own_only(bound)
    tenants.thief.delete("mine")
    for what, application in made.items():
        _assert_closed(f"{what} outlives the claim", partial(application.get, bound.bucket, OBJECT))
    _remove(tenants, bound)
    ended = f"; {', '.join(made)} reached no other bucket, and ended with the claim" if made else ""
    return f"refused: {', '.join(refused)}{ended}"


def keep_a_signed_url(tenants: TenantEnvironment) -> str:
    bound, untrusted = _bind(tenants, "retain")
    urls = untrusted.signed_urls(OBJECT)
    pool = urllib3.PoolManager(timeout=20, retries=False)
    for what, url in urls.items():
        answer = pool.request("GET", url)
        assert (answer.status, answer.data) == (200, CONTENT), f"{what}: {answer.status}"
    tenants.thief.delete("mine")
    seen = [pool.request("GET", url).status for url in urls.values()]
    assert set(seen) <= _LEAST_ENDED, f"signed URLs are answered {seen} after the claim's end"
    assert tenants.environment.store.administrator().get(bound.bucket, OBJECT) == CONTENT
    _remove(tenants, bound)
    return f"{', '.join(urls)}: 200 before the claim's end, {', '.join(map(str, seen))} after it"


def come_without_credentials(tenants: TenantEnvironment) -> str:
    bound, untrusted = _bind(tenants)
    for application in untrusted.applications().values():
        for bucket, key in ((tenants.victim.bucket, "kept"), (bound.bucket, OBJECT)):
            _assert_closed(f"an anonymous request reads {bucket}", partial(application.anonymous_get, bucket, key))
            _assert_closed(f"it opens {bucket}", partial(application.make_public, bucket))
        assert application.get(bound.bucket, OBJECT) == CONTENT
    return "no anonymous request reads anything, and no claim opens its bucket or the victim's"


def _bind(tenants: TenantEnvironment, kind: str = "greenfield") -> tuple[Bound, UntrustedApplication]:
    tenants.thief.claim("mine", kind)
    bound = tenants.thief.wait_bound("mine")
    administrator = tenants.environment.store.administrator()
    administrator.put(bound.bucket, OBJECT, CONTENT)
    return bound, UNTRUSTED_APPLICATIONS[tenants.environment.name](tenants.environment.store, bound)


def _possible(untrusted: UntrustedApplication) -> Iterator[Operation]:
    return (each for each in OPERATIONS if each.ability not in untrusted.capabilities.cannot)


def _assert_refused(what: str, operation: Operation, application: Application, where: tuple[str, str]) -> None:
    _assert_closed(what, lambda: operation.attempt(application, *where))


def _assert_closed(what: str, request: Callable[[], object]) -> None:
    try:
        request()
    except Refused:
        return
    raise Violation(f"not refused: {what}")


def _remove(tenants: TenantEnvironment, bound: Bound) -> None:
    administrator = tenants.environment.store.administrator()
    for key in administrator.list_keys(bound.bucket):
        administrator.delete(bound.bucket, key)
    administrator.remove_bucket(bound.bucket)


ATTACKS: Final = (
    Attack(name="other-buckets", expected="refused, whatever the request", run=get_into_other_buckets),
    Attack(name="after-the-end", expected="refused, whatever the request", run=go_on_after_the_end),
    Attack(name="list-all-buckets", expected="no bucket of another tenant", run=list_all_buckets, quick=True),
    Attack(name="read-permissions", expected="refused", run=read_permissions, quick=True),
    Attack(
        name="make-credentials",
        expected="refused, or no wider and no longer than its own",
        run=make_credentials,
        quick=True,
    ),
    Attack(name="signed-url", expected="refused once the claim is gone", run=keep_a_signed_url, quick=True),
    Attack(name="without-credentials", expected="refused", run=come_without_credentials),
)
