"""Azure Blob Storage in the sweep: the fake, behind connections that lead nowhere else, on the turned clock.

Once with the account's key, once with an application of Entra ID that signs user-delegation SAS, and once with the
machine's identity, of which only the requests for tokens are tried. The fake begins anew with each simulation.
"""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Final
from unittest.mock import patch

from azure_provisioner.client import Network, silence_clients
from azure_provisioner.provisioner import AzureProvisioner
from azure_provisioner.tokens import Tokens
from libbucket import SecretStr
from testkit.answers.adapter import CANARY, REQUEST_ID, Adapter
from testkit.answers.catalogue import GENERIC, Catalogue, load
from testkit.azure.error_answers import entra_error_answer, error_answer, machine_error_answer
from testkit.azure.fake_identities import ENTRA_HOST, MACHINE_HOST, FakeIdentities
from testkit.azure.fake_storage import FakeStorage
from testkit.azure.in_memory_backend import InMemoryBackend, as_request
from testkit.azure.requests_by_name import request_name
from testkit.resilience.proxy import Instead, Request
from testkit.resilience.wire import Wire, wired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from libbucket import ObjectBucket
    from libbucket.provisioner import Provisioner, Services
    from testkit.answers.adapter import Clock
    from testkit.answers.catalogue import Answer
    from testkit.answers.injector import Injector
    from testkit.azure.error_answers import Answer as Rendered

_HOSTS: Final = (".blob.core.windows.net", ENTRA_HOST, MACHINE_HOST)
_ELSEWHERE: Final = "otheraccount"
_EMPTY: Final = b"<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>"
_AUTHORITIES: Final = frozenset({"DiscoverAuthority", "DiscoverTenant", "GetToken", "GetMachineToken"})
_MACHINE: Final = frozenset({"GetMachineToken"})


@dataclass(frozen=True, kw_only=True)
class _Codes(Catalogue):
    """Codes of the account are answered by the account only, and those of an authority by that authority."""

    def to(self, request: str) -> dict[str, Answer]:
        found = super().to(request)
        if request not in _AUTHORITIES:
            return found
        anyones = {each.name for each in GENERIC}
        return {name: each for name, each in found.items() if name in anyones or request in each.requests}


@dataclass(frozen=True, kw_only=True)
class _OfMachine(_Codes):
    def to(self, request: str) -> dict[str, Answer]:
        return super().to(request) if request in _MACHINE else {}


class AzureAdapter(Adapter):
    """An account, with its key."""

    name = "azure"
    new_keys = frozenset({"SetContainerAcl"})
    gone_keys = frozenset({"SetContainerAcl", "DeleteContainer"})
    locks = True
    late = 0.0
    longest_call = Network().read_seconds + 15.0
    elsewhere = _ELSEWHERE

    def __init__(self) -> None:
        self._now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._storage = FakeStorage(clock=lambda: self._now())  # noqa: PLW0108 - replaced by each simulation
        elsewhere = FakeStorage(clock=self._storage.clock, account=_ELSEWHERE, keys=self._storage.keys)
        elsewhere.tokens = self._storage.tokens  # one tenant
        self._accounts = {each.account: each for each in (self._storage, elsewhere)}
        self._identities = FakeIdentities(self._storage)
        self._backend = InMemoryBackend(self._storage)
        self._wire = Wire(self._answered, self._pass_time, answer_seconds=Network().read_seconds)

    @property
    def wire(self) -> Wire:
        """What connections to Azure lead to."""
        return self._wire

    def attach(self, injector: Injector) -> None:
        self._wire.injector = injector

    @cached_property
    def catalogue(self) -> Catalogue:
        found = load("azure")
        return _Codes(answers=found.answers, delays=found.delays)

    @property
    def upstream(self) -> str:
        return ""

    @property
    def backend(self) -> InMemoryBackend:
        return self._backend

    def provisioner(self, services: Services, clock: Clock) -> Provisioner:
        self._now, self._clock = services.now, clock
        for each in self._accounts.values():
            for kept in (each.containers, each.busy, each.held):
                kept.clear()
        self.make_bystander()
        return AzureProvisioner(services, Network(wait_seconds=0, clock=services.now), Tokens(clock=clock.seconds))

    def parameters(self, url: str) -> Mapping[str, str]:
        account = url or self._storage.account
        return {**self._backend.parameters, "storageAccount": account}

    def secrets(self, namespace: str, name: str) -> Mapping[str, SecretStr]:
        del namespace, name
        held = {"AZURE_STORAGE_KEY": self._storage.keys[0], **self._identities.client_secret}
        return {key: SecretStr(value) for key, value in held.items()}

    def request_name(self, request: Request) -> str:
        return request_name(request.method, request.path, request.query, request.headers, request.body)

    def subject(self, request: Request) -> str:
        return request.path.strip("/").partition("/")[0]

    def render(self, answer: Answer, request: Request) -> Instead:
        status, headers, body = self._rendered(answer, request)
        ids = {name: REQUEST_ID for name in headers if name == "x-ms-request-id"}
        dates = {name: format_datetime(self._now(), usegmt=True) for name in headers if name == "Date"}
        return Instead(status=status, headers={**headers, **ids, **dates}, body=body)

    def keys_of(self, record: ObjectBucket) -> int:
        return len(self._backend.administrator.policies(record))

    def lock(self, bucket: str) -> None:
        self._storage.held.add(bucket)

    def unlock(self, bucket: str) -> None:
        self._storage.held.discard(bucket)

    def _pass_time(self, seconds: float) -> None:
        self._clock.sleep(seconds)

    def _rendered(self, answer: Answer, request: Request) -> Rendered:
        host = request.headers["host"]
        if host == MACHINE_HOST:
            return machine_error_answer(answer.status, answer.code, CANARY)
        if host == ENTRA_HOST:
            return _of_entra(answer)
        if answer.status < 400:  # a front end that remembers a policy lets the claim in
            return answer.status, {"x-ms-request-id": REQUEST_ID, "Content-Type": "application/xml"}, _EMPTY
        is_head = request.method == "HEAD"
        return error_answer(answer.code, answer.status, CANARY, details=answer.details, is_head=is_head)

    def _answered(self, request: Request) -> Instead:
        host = request.headers["host"]
        if host == MACHINE_HOST:
            status, headers, body = self._identities.machine(request.query, dict(request.headers))
        elif host == ENTRA_HOST:
            status, headers, body = self._identities.entra(request.method, request.path, request.body)
        else:
            account = host.partition(".")[0]
            asked = as_request(account, request.method, request.target, request.headers, request.body)
            status, headers, body = self._accounts[account].answer(asked)
        return Instead(status=status, headers=headers, body=body)


def _of_entra(answer: Answer) -> Rendered:
    code = answer.code.removeprefix("AADSTS")
    if code.isdigit():
        return entra_error_answer(int(code), answer.status, answer.details["error"], CANARY)
    return answer.status, {"x-ms-request-id": REQUEST_ID}, json.dumps({"error": code, "why": CANARY}).encode()


class DelegatedAzureAdapter(AzureAdapter):
    """An account with an application of Entra ID, whose claims get user-delegation SAS: no trial renews one.

    A user delegation key is nothing that the account holds: it makes no keys that have to be counted.
    """

    name = "azure-delegated"
    new_keys = frozenset()
    gone_keys = frozenset({"DeleteContainer"})
    settling = 6 * 3600.0
    _parameters: ClassVar[Mapping[str, str]] = {"credentials": "user-delegation-sas", "expiry": "6h"}

    def parameters(self, url: str) -> Mapping[str, str]:
        return {**super().parameters(url), **self._parameters}

    def keys_of(self, record: ObjectBucket) -> int:
        del record
        return 0

    def damage(self, record: ObjectBucket) -> None:
        """All user delegation keys of the account are revoked."""
        del record
        self._storage.generation += 1


class MachineAzureAdapter(DelegatedAzureAdapter):
    """The same with the identity of the machine: only its requests for tokens are answered otherwise."""

    name = "azure-machine"
    without_ids = _MACHINE

    @cached_property
    def catalogue(self) -> Catalogue:
        return _OfMachine(answers=load("azure").answers)

    def parameters(self, url: str) -> Mapping[str, str]:
        found = super().parameters(url)
        return {name: value for name, value in found.items() if not name.startswith("secret")}


@contextmanager
def _quiet(*loggers: str) -> Iterator[None]:
    """As `libbucket.run` has it at every verbosity: clients' debugging shows bodies and secrets."""
    found = [logging.getLogger(name) for name in loggers]
    levels = [each.level for each in found]
    for each in found:
        each.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for each, level in zip(found, levels, strict=True):
            each.setLevel(level)


@contextmanager
def _in_memory(adapter: AzureAdapter) -> Iterator[AzureAdapter]:
    with (
        wired(adapter.wire, *_HOSTS),
        _quiet("azure", "urllib3", "msal"),
        patch("requests.sessions.get_environ_proxies", lambda *_args, **_rest: {}),  # read for each request
    ):
        silence_clients()
        yield adapter


def azure() -> AbstractContextManager[AzureAdapter]:
    """With the account's key."""
    return _in_memory(AzureAdapter())


def azure_delegated() -> AbstractContextManager[AzureAdapter]:
    """With an application of Entra ID."""
    return _in_memory(DelegatedAzureAdapter())


def azure_machine() -> AbstractContextManager[AzureAdapter]:
    """With the machine's identity."""
    return _in_memory(MachineAzureAdapter())
