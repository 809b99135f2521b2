"""What a claim waits for has the request id of the answer that says so. In memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from azure_provisioner.client import Network
from azure_provisioner.provisioner import AzureProvisioner
from libbucket import AccessDenied, BucketLost, BucketNotFound, NotReady, ProvisionerError, SecretStr, Services
from libbucket.testing import builders
from testkit.azure.error_answers import error_answer
from testkit.azure.fake_storage import FakeStorage
from testkit.azure.in_memory_backend import as_request
from testkit.azure.requests_by_name import request_name
from testkit.resilience.proxy import Instead, Request
from testkit.resilience.wire import Wire, wired

NOW = datetime(2026, 11, 1, tzinfo=UTC)


class World:
    """An account in memory, whose answers to some requests a test replaces."""

    def __init__(self) -> None:
        self.storage = FakeStorage(clock=lambda: NOW)
        self.ids: list[str] = []
        self.gone: set[int] = set()
        self.release_refusal = ""
        self._looks = 0
        held = {"AZURE_STORAGE_KEY": SecretStr(self.storage.keys[0])}
        services = Services(read_secret=lambda *_: held, now=lambda: NOW)
        self.provisioner = AzureProvisioner(services, Network(wait_seconds=0, clock=lambda: NOW))
        parameters = {"storageAccount": self.storage.account, "secretName": "admin", "secretNamespace": "azure"}
        self.request = builders.options(bucket_name="photos", parameters=parameters)

    def answered(self, request: Request) -> Instead:
        if request_name(request.method, request.path, request.query, request.headers, b"") == "GetContainerProperties":
            self._looks += 1
            if self._looks in self.gone:
                self.storage.containers.pop("photos", None)
        action = request.headers.get("x-ms-lease-action", "")
        if action == "release" and self.release_refusal:
            status, headers, body = error_answer(self.release_refusal, 403, "why")
            self.ids.append(headers["x-ms-request-id"])
            return Instead(status=status, headers=headers, body=body)
        asked = as_request(self.storage.account, request.method, request.target, request.headers, request.body)
        status, headers, body = self.storage.answer(asked)
        self.ids.append(headers.get("x-ms-request-id", ""))
        return Instead(status=status, headers=headers, body=body)

    def refused(self, kind: type[ProvisionerError], verb: str, **changed: object) -> ProvisionerError:
        request = replace(self.request, **changed)  # type: ignore[arg-type] # fields of options
        wire = Wire(self.answered, lambda _seconds: None)
        with wired(wire, ".blob.core.windows.net"), pytest.raises(kind) as refused:
            getattr(self.provisioner, verb)(request)
        return refused.value


def test_a_container_that_the_class_names_and_that_does_not_exist() -> None:
    world = World()
    assert world.refused(BucketNotFound, "grant").request_id == world.ids[-1] != ""


def test_a_container_that_is_gone_with_its_data() -> None:
    world = World()
    assert world.refused(BucketLost, "provision", was_bound=True).request_id in set(world.ids) - {""}


def test_a_container_that_is_deleted_while_it_is_made() -> None:
    world = World()
    world.gone = {2}
    assert world.refused(NotReady, "provision").request_id == world.ids[-1] != ""


def test_a_revoked_policy_that_front_ends_may_still_know() -> None:
    world = World()
    with wired(Wire(world.answered, lambda _seconds: None), ".blob.core.windows.net"):
        record = builders.recorded(world.provisioner.provision(world.request), world.request)
        with pytest.raises(NotReady, match="30 seconds") as refused:
            world.provisioner.revoke(record)
    assert refused.value.request_id in set(world.ids) - {""}


def test_a_lease_that_is_not_released() -> None:
    world = World()
    world.release_refusal = "KeyBasedAuthenticationNotPermitted"
    refused = world.refused(AccessDenied, "provision")
    assert refused.request_id == world.ids[-1] != ""
    assert "KeyBasedAuthenticationNotPermitted" in refused.message


def test_a_lease_that_has_ended_needs_no_release() -> None:
    world = World()
    world.release_refusal = "LeaseNotPresentWithLeaseOperation"
    with wired(Wire(world.answered, lambda _seconds: None), ".blob.core.windows.net"):
        world.provisioner.provision(world.request)
