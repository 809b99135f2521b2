# ruff: noqa: D102 - the name of a guarantee is its sentence, and pytest passes by name

"""Guarantees about calls at the same time: one provisioner object serves all workers, and replicas change over."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from libbucket.errors import RetrySoon
from libbucket.testing.conformance.environment import (
    Environment,
    Guarantees,
    Tenant,
    assert_refused,
    assert_shut_out,
    assert_works,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from libbucket.provisioner import Provisioner
    from libbucket.types import BucketOptions

_WORKERS = 4
_TIME_LIMIT = 120

Result = TypeVar("Result")


class Concurrency(Guarantees):
    """Several threads at once."""

    def test_claims_bound_at_once_each_get_their_own_bucket_and_no_others(self, environment: Environment) -> None:
        requests = [environment.request() for _ in range(_WORKERS)]
        tenants = _at_once([partial(environment.greenfield, request) for request in requests])
        assert len({tenant.bucket for tenant in tenants}) == _WORKERS, "two claims got one bucket"
        for tenant in tenants:
            environment.put(tenant.bucket)
        for tenant, other in zip(tenants, tenants[1:] + tenants[:1], strict=True):
            assert_works(tenant)
            _assert_closed(environment, tenant, other.bucket)

    def test_claims_granted_at_once_on_one_bucket_are_all_let_in(self, environment: Environment) -> None:
        bucket = environment.foreign_bucket()
        tenants = _at_once([partial(environment.brownfield, bucket)] * _WORKERS)
        for tenant in tenants:
            assert_works(tenant)

    def test_grants_revoked_at_once_leave_the_last_one_in(self, environment: Environment) -> None:
        bucket = environment.foreign_bucket()
        *leaving, staying = [environment.brownfield(bucket) for _ in range(_WORKERS)]
        _at_once([partial(environment.revoke, tenant.record) for tenant in leaving])
        for tenant in leaving:
            assert_shut_out(tenant)
        assert_works(staying)

    def test_two_replicas_on_one_claim_end_with_one_working_set_of_credentials(self, environment: Environment) -> None:
        request = environment.request()
        replicas = [environment.backend.provisioner() for _ in range(2)]
        tenants = _at_once([partial(_tolerantly, environment, request, by) for by in replicas])
        bound = [tenant for tenant in tenants if tenant is not None]
        settled = environment.again(bound[0]) if bound else environment.greenfield(request)
        assert_works(settled)
        for tenant in bound:
            if tenant.credentials != settled.credentials:
                environment.put(tenant.bucket)
                assert_shut_out(tenant)
        environment.delete(settled.record)
        assert not environment.administrator.bucket_exists(settled.bucket), "the bucket is still there"
        assert not environment.administrator.identity_exists(settled.record), "the claim's identity is still there"

    def test_claims_deleted_at_once_are_all_gone(self, environment: Environment) -> None:
        *leaving, staying = [environment.greenfield() for _ in range(_WORKERS)]
        _at_once([partial(environment.delete, tenant.record) for tenant in leaving])
        assert not [tenant.bucket for tenant in leaving if environment.administrator.bucket_exists(tenant.bucket)], (
            "the bucket is still there"
        )
        assert_works(staying)


def _at_once(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """Makes all calls from threads that start together; the first error is raised."""
    start = threading.Barrier(len(calls))

    def call_together(call: Callable[[], Result]) -> Result:
        start.wait(_TIME_LIMIT)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        running = [pool.submit(call_together, call) for call in calls]
        return [one.result(_TIME_LIMIT) for one in running]


def _tolerantly(environment: Environment, request: BucketOptions, by: Provisioner) -> Tenant | None:
    """Binds, or ignores a conflict of the two: the core retries."""
    try:
        return environment.bind(request, greenfield=True, by=by)
    except RetrySoon:
        return None


def _assert_closed(environment: Environment, tenant: Tenant, bucket: str) -> None:
    assert_refused("reading from another tenant bound at once", lambda: environment.read(tenant.application, bucket))
    assert_refused("listing another tenant bound at once", lambda: tenant.application.reach(bucket))
