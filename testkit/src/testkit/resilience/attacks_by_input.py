"""Input that is made to stop a provisioner: values that take long to parse, stores that are not there, forged labels.

A claim of another namespace and another class binds as fast as ever.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import urllib3
from prometheus_client.parser import text_string_to_metric_families

from testkit.cluster.memory_environment import condition
from testkit.resilience.attacks_on_settings import POLICY
from testkit.resilience.bind_times import bind_times
from testkit.resilience.tenant_environment import Attack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from testkit.resilience.tenant_environment import Tenant, TenantEnvironment

_WRONG: Final = 20
_FORGED: Final = 200
_WRITERS: Final = 4
_DELETED_WITHIN: Final = 20.0
_INVENTED: Final = "invented"
"""Begins every word that the tenant makes up; nothing that an operator reads as a metric may hold it."""

_NUMBERS: Final[Mapping[str, str]] = {
    "a huge exponent": "1e3000000",
    "an exponent of a thousand digits": "1e" + "9" * 1000,
    "300,000 digits": "9" * 300_000,
    "300,000 blanks": " " * 300_000 + "1Gi",
    "a fraction of 60,000 digits": "0." + "1" * 60_000,
}
_DOCUMENTS: Final[Mapping[str, str]] = {
    "30,000 levels": "[" * 30_000 + "]" * 30_000,
    "30,000 levels that are not closed": '{"a":' * 10_000,
    "a number of 60,000 digits": '{"Version": ' + "9" * 60_000 + "}",
    "a string that does not end": '"' + "\\" * 60_001,
}


def poison_numbers(tenants: TenantEnvironment) -> str:
    return _poison(tenants, "maxSize", _NUMBERS, "1Gi")


def poison_documents(tenants: TenantEnvironment) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::000000000000:user/auditor"},
        "Action": "s3:GetObject",
    }
    return _poison(tenants, POLICY, _DOCUMENTS, json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def name_stores_that_are_not_there(tenants: TenantEnvironment) -> str:
    """Twenty claims of classes whose endpoint does not resolve, or does not listen; they can be deleted at once."""
    thief, environment = tenants.thief, tenants.environment
    usual = bind_times(tenants, "before")
    wrong = [environment.make_class(endpoint=url) for url in ("http://store.invalid:9000", "http://127.0.0.1:1")]
    _create_many(thief, _WRONG, lambda number: {"storage_class": wrong[number % 2]})
    said = {_say(thief, number, "StoreUnavailable") for number in range(_WRONG)}
    beside = bind_times(tenants, "beside")
    seconds = _delete_all(thief, _WRONG)
    for name in wrong:
        environment.admin.delete(f"/apis/storage.k8s.io/v1/storageclasses/{name}")
    return f"{beside.beside(usual)}; {_WRONG} claims deleted in {seconds:.1f} s; said: {'; '.join(sorted(said))}"


def forge_labels(tenants: TenantEnvironment) -> str:
    """Our labels and annotations on two hundred claims of invented classes, and on Secrets and ConfigMaps of others."""
    thief = tenants.thief
    usual = bind_times(tenants, "before")
    series = _series(tenants)
    foreign = [_forge_object(tenants, plural, number) for plural in ("secrets", "configmaps") for number in range(5)]
    marks = {"labels": _labels(tenants), "annotations": _annotations(tenants)}
    _create_many(
        thief,
        _FORGED,
        lambda number: {"storage_class": f"{_INVENTED}-class-{number}", "metadata": marks},
        name="forged",
    )
    beside = bind_times(tenants, "beside")
    new = _series(tenants) - series
    tainted = [each for each in new if _INVENTED in each or thief.namespace in each]
    assert not tainted, f"metrics hold what a tenant wrote: {tainted[:3]}"
    assert len(new) <= _FEW_SERIES, f"{len(new)} new time series: {sorted(new)[:5]}"
    for path, version in foreign:
        now = thief.admin.get(path)["metadata"]["resourceVersion"]
        assert now == version, f"{path} was written to"
    tenants.environment.assert_other_tenant_unaffected()
    said = sorted({str(condition(each).get("reason", "nothing")) for each in _items(thief, "forged")})
    seconds = _delete_all(thief, _FORGED, name="forged")
    return (
        f"{beside.beside(usual)}; {len(new)} new time series, none with words of the tenant; {len(foreign)} objects of "
        f"others untouched; {_FORGED} claims say {', '.join(said)} and were deleted in {seconds:.1f} s"
    )


_FEW_SERIES: Final = 40
"""Histograms of results and verbs that had not been seen before: their number does not depend on the tenant's."""


def _poison(tenants: TenantEnvironment, key: str, values: Mapping[str, str], harmless: str) -> str:
    thief = tenants.thief
    usual = bind_times(tenants, "before")
    for number, value in enumerate(values.values()):
        thief.claim(f"p{number}", additionalConfig={key: value})
    beside = bind_times(tenants, "beside")
    if not _reads(tenants, key):
        for number in range(len(values)):
            thief.wait_bound(f"p{number}")
        return f"{beside.beside(usual)}; the store has no {key}: ignored, and bound"
    for number, what in enumerate(values):
        claim = thief.wait_reason(f"p{number}", "InvalidConfig")
        message = condition(claim)["message"]
        assert key in message, f"{what}: {message}"
        assert len(message) <= _LONGEST, f"{what}: a message of {len(message)} characters"
        assert thief.admin.find(thief.path("secrets", f"p{number}")) is None, what
    tenants.bind_control(additionalConfig={key: harmless})
    # The same by an edit: the claim keeps working, and others still bind.
    thief.patch("control", {"spec": {"additionalConfig": {key: next(iter(values.values()))}}})
    thief.wait_reason("control", "InvalidConfig")
    return f"{beside.beside(usual)}; {len(values)} values, all InvalidConfig; a harmless one binds"


_LONGEST: Final = 1024


def _reads(tenants: TenantEnvironment, key: str) -> bool:
    return {"maxSize": tenants.environment.name == "minio", POLICY: tenants.environment.name == "aws-s3"}[key]


def _create_many(tenant: Tenant, number: int, what: Any, *, name: str = "wrong") -> None:
    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(lambda each: tenant.claim_of(f"{name}-{each}", **what(each)), range(number)))


def _say(tenant: Tenant, number: int, reason: str) -> str:
    claim = tenant.wait_reason(f"wrong-{number}", reason)
    return str(condition(claim)["message"])


def _delete_all(tenant: Tenant, number: int, *, name: str = "wrong") -> float:
    """Seconds until all claims of that name are gone.

    Raises:
        TimeoutError: that took too long.
    """
    started = time.monotonic()
    paths = [tenant.claim_path(f"{name}-{each}") for each in range(number)]
    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(tenant.admin.delete, paths))
    for path in paths:
        left = max(started + _DELETED_WITHIN - time.monotonic(), 1.0)
        tenant.admin.wait_gone(path, timeout=left)
    return time.monotonic() - started


def _items(tenant: Tenant, prefix: str) -> list[dict[str, Any]]:
    return [each for each in tenant.admin.items(tenant.claims) if each["metadata"]["name"].startswith(prefix)]


def _labels(tenants: TenantEnvironment) -> dict[str, str]:
    return {"bucket-provisioner": tenants.environment.provisioner_name.replace("/", "-"), "app": f"{_INVENTED}-app"}


def _annotations(tenants: TenantEnvironment) -> dict[str, str]:
    """What the core writes onto ObjectBuckets and Secrets, with the victim's names in it."""
    victim = tenants.victim_claim["metadata"]
    record = {"provisioner": tenants.environment.provisioner_name, "userId": f"{_INVENTED}-user", "greenfield": True}
    return {
        "objectbucket.io/record": json.dumps(record),
        **{f"objectbucket.io/claim-{part}": victim[part] for part in ("namespace", "name", "uid")},
    }


def _forge_object(tenants: TenantEnvironment, plural: str, number: int) -> tuple[str, str]:
    """Creates a Secret or ConfigMap that has the form of one of ours; gives its path and version."""
    thief = tenants.thief
    metadata = {"name": f"{_INVENTED}-{number}", "labels": _labels(tenants), "annotations": _annotations(tenants)}
    made = thief.admin.create(thief.path(plural), {"metadata": metadata})
    return thief.path(plural, made["metadata"]["name"]), made["metadata"]["resourceVersion"]


def _series(tenants: TenantEnvironment) -> set[str]:
    """Every time series of the provisioner, by its name and labels."""
    text = urllib3.request("GET", tenants.metrics_url, timeout=10.0, retries=False).data.decode()
    return {
        f"{sample.name}{sorted(sample.labels.items())}"
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


ATTACKS: Final = (
    Attack(
        name="poisoned-numbers",
        expected="InvalidConfig; another tenant binds as usual",
        run=poison_numbers,
        once=True,
        quick=True,
    ),
    Attack(
        name="poisoned-documents",
        expected="InvalidConfig, or ignored where the store has none; another tenant binds as usual",
        run=poison_documents,
    ),
    Attack(
        name="stores-that-are-not-there",
        expected="another tenant binds as usual; the claims can be deleted at once",
        run=name_stores_that_are_not_there,
        once=True,
        quick=True,
    ),
    Attack(
        name="forged-labels",
        expected="no time series with a tenant's words; nothing of others touched; another tenant binds as usual",
        run=forge_labels,
        once=True,
        quick=True,
    ),
)
