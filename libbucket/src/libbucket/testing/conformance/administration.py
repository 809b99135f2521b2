# ruff: noqa: D102 - the name of a guarantee is its sentence, and pytest passes by name

"""Guarantees about the administrator's credentials: each call reads the Secret that the class names."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import pytest

from libbucket._outcomes import OUTAGES, store_signal
from libbucket.errors import ProvisionerError
from libbucket.testing import builders
from libbucket.testing.conformance.environment import Environment, Guarantees, assert_works, raises

if TYPE_CHECKING:
    from libbucket.testing.conformance.environment import Tenant
    from libbucket.types import BucketOptions, ObjectBucket

_MISSING: Final = (
    "Backend.rotating is missing, so nothing tests that a rotated Secret of the administrator is used: write it"
)
_KEPT: Final = "the call goes on with credentials that the administrator's Secret does not hold any more"


class Administration(Guarantees):
    """A class names a Secret, and an administrator may replace what it holds at any time."""

    @pytest.mark.parametrize("verb", ["provision", "grant", "delete", "revoke"])
    def test_the_administrators_credentials_are_read_anew_for_each_call(
        self, environment: Environment, verb: str
    ) -> None:
        is_spoilt = threading.Event()
        provisioner = environment.backend.rotating(is_spoilt.is_set)
        if provisioner is None:
            if "secretName" in environment.backend.parameters:
                pytest.fail(_MISSING)
            pytest.skip("a class of this store names no Secret of an administrator")
        tenant = environment.tenant(greenfield=verb in {"provision", "delete"})
        environment.again(tenant, by=provisioner)  # what it keeps, it has now
        call = getattr(provisioner, verb)
        is_spoilt.set()
        with raises(ProvisionerError, _KEPT) as refused:
            call(_argument(tenant, verb))
        assert store_signal(refused.value) not in OUTAGES, "wrong credentials are taken for an outage of the store"
        assert_works(tenant)
        is_spoilt.clear()
        environment.patiently(call, _argument(tenant, verb))


def _argument(tenant: Tenant, verb: str) -> BucketOptions | ObjectBucket:
    is_binding = verb in {"provision", "grant"}
    return builders.again(tenant.request, tenant.answer) if is_binding else tenant.record
