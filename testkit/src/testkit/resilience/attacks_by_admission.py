"""What the API server refuses in one namespace: admission webhooks that are down or hang, and quotas.

The namespace is the attacker's; its claims say why they wait, in the API server's words, and make one key each. A
claim of another namespace binds as fast as ever.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from testkit.cluster.memory_environment import OBC, condition
from testkit.resilience.bind_times import bind_times
from testkit.resilience.proxied_environment import STORE
from testkit.resilience.proxy import FaultInjector, Request, Verdict
from testkit.resilience.tenant_environment import Attack, reasons_of
from testkit.resilience.trials import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from testkit.resilience.tenant_environment import Tenant, TenantEnvironment

_WEBHOOKS: Final = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
_NOWHERE: Final = "https://127.0.0.1:1/"
_REJECTED: Final = "RejectedByCluster"
_STUCK: Final = 2
_MANY: Final = 30
_HANG_SECONDS: Final = 10
_SECRETS: Final = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}
_STATUS: Final = {
    "apiGroups": ["objectbucket.io"],
    "apiVersions": ["*"],
    "operations": ["UPDATE"],
    "resources": ["objectbucketclaims/status"],
}


def refuse_secrets(tenants: TenantEnvironment) -> str:
    """A webhook that is down decides about the Secrets of one namespace."""
    return _refuse(tenants, lambda: _webhook(tenants, _SECRETS, _probe_secret), "failed calling webhook")


def forbid_by_quota(tenants: TenantEnvironment, plural: str) -> str:
    """A quota lets no object of a kind into one namespace."""
    return _refuse(tenants, lambda: _quota(tenants, plural), "exceeded quota")


def _refuse(tenants: TenantEnvironment, refusal: Callable[[], AbstractContextManager[None]], words: str) -> str:
    thief, keys = tenants.thief, _Keys()
    usual = bind_times(tenants, "before")
    with tenants.environment.injecting(keys):
        with refusal():
            _claim_stuck(thief, _STUCK)
            said = [_await_rejection(thief, number, words) for number in range(_STUCK)]
            beside = bind_times(tenants, "beside")
            _retry_now(thief, _STUCK)
            keys.assert_one_each(_names_of_users(tenants), _STUCK)
        _assert_bound_at_last(thief, _STUCK)
        keys.assert_one_each(_names_of_users(tenants), _STUCK)
    return f"{beside.beside(usual)}; one key for each stuck claim; said: {said[0]}"


def refuse_status(tenants: TenantEnvironment) -> str:
    """A webhook that is down decides about the status of one namespace's claims."""
    thief = tenants.thief
    usual = bind_times(tenants, "before")
    thief.claim_of("probe", "no-such-class")
    with _webhook(tenants, _STATUS, _probe_status):
        _claim_stuck(thief, _STUCK)
        said = [_await_event(thief, number) for number in range(_STUCK)]
        beside = bind_times(tenants, "beside")
    _assert_bound_at_last(thief, _STUCK)
    return f"{beside.beside(usual)}; the Event: {said[0]}"


def hang_a_webhook(tenants: TenantEnvironment) -> str:
    """A webhook that accepts connections and never answers, and thirty claims whose Secrets it decides about."""
    thief, keys = tenants.thief, _Keys()
    usual = bind_times(tenants, "before")
    with tenants.environment.injecting(keys):
        with _black_hole() as url, _webhook(tenants, _SECRETS, _probe_secret, url=url):
            _claim_stuck(thief, _MANY)
            first = bind_times(tenants, "first")  # while as many workers hang as may
            eventually(lambda: _assert_rejected(thief, 1), seconds=6 * _HANG_SECONDS)
            beside = bind_times(tenants, "beside")
            rejected = _count_rejected(thief)
        _assert_bound_at_last(thief, _MANY)
        keys.assert_one_each(_names_of_users(tenants), _MANY)
    return (
        f"{beside.beside(usual)}; in the first seconds {first.beside(usual)}; by then {rejected} of {_MANY} said "
        f"{_REJECTED}; one key for each; all bound when it was over"
    )


class _Keys(FaultInjector):
    """Counts the keys that the provisioner makes in MinIO, by the name of their user."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()
        self._lock = threading.Lock()

    def before(self, request: Request) -> Verdict:
        if request.proxy == STORE and request.path.endswith("/add-user"):
            user = parse_qs(urlsplit(request.target).query)["accessKey"][0]
            with self._lock:
                self.made[user] += 1
        return Verdict.PASS

    def assert_one_each(self, users: set[str], number: int) -> None:
        """Fails unless each of these users was made once."""
        found = {user: count for user, count in self.made.items() if user in users}
        assert len(found) == number, f"{len(found)} of {number} claims have a key"
        assert set(found.values()) == {1}, f"keys were made again: {sorted(found.values())}"


@contextmanager
def _webhook(
    tenants: TenantEnvironment, rule: dict[str, Any], probe: Callable[[Tenant], object], *, url: str = _NOWHERE
) -> Iterator[None]:
    """Is in force in the attacker's namespace until the block ends."""
    thief, admin = tenants.thief, tenants.environment.admin
    name = f"webhook-{thief.namespace}"
    hook = {
        "name": "policy.example.com",
        "clientConfig": {"url": url},
        "rules": [rule],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": _HANG_SECONDS,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": thief.namespace}},
    }
    admin.create(_WEBHOOKS, {"metadata": {"name": name}, "webhooks": [hook]})
    try:
        eventually(lambda: _assert_in_force(thief, probe, is_in_force=True))
        yield
    finally:
        admin.delete(f"{_WEBHOOKS}/{name}")
        eventually(lambda: _assert_in_force(thief, probe, is_in_force=False))


@contextmanager
def _quota(tenants: TenantEnvironment, plural: str) -> Iterator[None]:
    """No further object of a kind may be created in the attacker's namespace until the block ends."""
    thief, admin = tenants.thief, tenants.environment.admin
    quotas = thief.path("resourcequotas")
    hard = {f"count/{plural}": "0"}
    made = admin.create(quotas, {"metadata": {"name": "none"}, "spec": {"hard": hard}})
    # The control plane runs no quota controller, which would write what is in use.
    used = {"hard": hard, "used": {f"count/{plural}": "0"}}
    admin.patch(f"{quotas}/{made['metadata']['name']}/status", {"status": used})
    probe = partial(_probe, plural=plural)
    try:
        eventually(lambda: _assert_in_force(thief, probe, is_in_force=True))
        yield
    finally:
        admin.delete(f"{quotas}/none")
        eventually(lambda: _assert_in_force(thief, probe, is_in_force=False))


@contextmanager
def _black_hole() -> Iterator[str]:
    """An address that accepts every connection and says nothing, until the block ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        yield f"https://127.0.0.1:{listening.getsockname()[1]}/"


def _probe(tenant: Tenant, *, plural: str) -> None:
    # A second is enough to tell: what hangs is in force.
    tenant.admin.create(f"{tenant.path(plural)}?dryRun=All&timeout=1s", {"metadata": {"name": "probe"}})


_probe_secret: Final = partial(_probe, plural="secrets")


def _probe_status(tenant: Tenant) -> None:
    tenant.admin.patch(f"{tenant.claim_path('probe')}/status?dryRun=All", {"status": {"phase": "Pending"}})


def _assert_in_force(tenant: Tenant, probe: Callable[[Tenant], object], *, is_in_force: bool) -> None:
    try:
        probe(tenant)
    except (ApiException, HTTPError):  # at its time limit the API server may also close the connection
        refused = True
    else:
        refused = False
    assert refused is is_in_force, f"the API server {'refuses' if refused else 'takes'} it in {tenant.namespace}"


def _claim_stuck(tenant: Tenant, number: int) -> None:
    for each in range(number):
        tenant.claim(_stuck(each))


def _stuck(number: int) -> str:
    return f"stuck-{number}"


def _await_rejection(tenant: Tenant, number: int, words: str) -> str:
    claim = tenant.wait_reason(_stuck(number), _REJECTED)
    message = str(condition(claim)["message"])
    assert words in message, f"the condition does not hold the API server's sentence: {message}"
    assert claim["status"]["phase"] == "Pending", claim["status"]["phase"]
    return message


def _await_event(tenant: Tenant, number: int) -> str:
    found: list[str] = []

    def check() -> None:
        events = tenant.events(_stuck(number))
        found[:] = [each["message"] for each in events if each["reason"] == _REJECTED]
        assert found, f"no Event of {_stuck(number)} says {_REJECTED}"

    eventually(check, seconds=30)
    assert len(found) == 1, f"{len(found)} Events say {_REJECTED}"
    assert "failed calling webhook" in found[0], found[0]
    return found[0]


def _retry_now(tenant: Tenant, number: int) -> None:
    """Has every stuck claim reconciled again, three times: an edit of its author wakes it."""
    for turn in range(3):
        for each in range(number):
            tenant.patch(_stuck(each), {"spec": {"additionalConfig": {"turn": str(turn)}}})
            tenant.wait(_stuck(each), _has_observed_generation)


def _has_observed_generation(claim: dict[str, Any]) -> bool:
    ready = condition(claim)
    return bool(ready.get("observedGeneration") == claim["metadata"]["generation"] and ready["reason"] == _REJECTED)


def _names_of_users(tenants: TenantEnvironment) -> set[str]:
    """The users in the store that the attacker's stuck claims have."""
    found = tenants.environment.admin.items(f"{OBC}/objectbuckets")
    notes = [each["metadata"].get("annotations", {}) for each in found]
    return {
        str(json.loads(each["objectbucket.io/record"])["userId"])
        for each in notes
        if each.get("objectbucket.io/claim-namespace") == tenants.thief.namespace
        and each["objectbucket.io/claim-name"].startswith("stuck-")
    }


def _count_rejected(tenant: Tenant) -> int:
    return sum(_REJECTED in reasons_of(each) for each in tenant.admin.items(tenant.claims))


def _assert_rejected(tenant: Tenant, at_least: int) -> None:
    found = _count_rejected(tenant)
    assert found >= at_least, f"{found} claims say {_REJECTED}"


def _assert_bound_at_last(tenant: Tenant, number: int) -> None:
    """The control: without the refusal the same claims bind. Their authors edit them, so that no attack has to wait."""
    for each in range(number):
        tenant.patch(_stuck(each), {"spec": {"additionalConfig": {"turn": "last"}}})
    for each in range(number):
        tenant.wait_bound(_stuck(each))


ATTACKS: Final = (
    Attack(
        name="webhook-on-secrets",
        expected="RejectedByCluster with its sentence, one key each; another tenant binds as usual",
        run=refuse_secrets,
        once=True,
        quick=True,
    ),
    Attack(
        name="webhook-on-status",
        expected="an Event says RejectedByCluster; another tenant binds as usual",
        run=refuse_status,
        once=True,
        quick=True,
    ),
    *(
        Attack(
            name=f"quota-on-{plural}",
            expected="RejectedByCluster with its sentence, one key each; another tenant binds as usual",
            run=partial(forbid_by_quota, plural=plural),
            once=True,
        )
        for plural in ("secrets", "configmaps")
    ),
    Attack(
        name="webhook-hangs",
        expected=f"beside {_MANY} claims whose webhook hangs another tenant binds; one key each",
        run=hang_a_webhook,
        once=True,
    ),
)
