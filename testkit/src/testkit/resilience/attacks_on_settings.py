"""What a tenant tries with `additionalConfig`: policies, parameters that belong to the class, a thousand keys."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from libbucket._reconcile.model.additional_config import KNOWN_KEYS
from testkit.resilience.tenant_environment import Attack, trap
from testkit.resilience.trials import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from testkit.resilience.tenant_environment import TenantEnvironment

POLICY: Final = "bucketPolicy"
ALLOWED: Final = ",".join(sorted({*KNOWN_KEYS, "kubernetesServiceAccount"}))
"""The most generous operator there can be."""

_AUDITOR: Final = "arn:aws:iam::000000000000:user/auditor"
_READ: Final = "s3:GetObject"

Statement = dict[str, Any]


def _allow(**what: Any) -> Statement:
    return {"Effect": "Allow", "Principal": {"AWS": _AUDITOR}, "Action": _READ, **what}


def names_another(bucket: str) -> Mapping[str, Statement]:
    """Policies that reach for a bucket, in every spelling of it."""
    other = f"arn:aws:s3:::{bucket}"
    return {
        "another bucket's objects": _allow(Resource=f"{other}/*"),
        "another bucket": _allow(Action="s3:ListBucket", Resource=other),
        "its own and another": _allow(Resource=["arn:aws:s3:::mine/*", f"{other}/*"]),
        "all buckets": _allow(Resource="arn:aws:s3:::*"),
        "everything": _allow(Resource="*"),
        "all but its own": {"Effect": "Allow", "Principal": {"AWS": _AUDITOR}, "Action": _READ, "NotResource": "x"},
    }


def grants_everyone(_bucket: str) -> Mapping[str, Statement]:
    """Policies that open the bucket, or its settings, to everyone."""
    return {
        "everyone": _allow(Principal="*"),
        "everyone, as an account": _allow(Principal={"AWS": "*"}),
        "everyone in a list": _allow(Principal={"AWS": [_AUDITOR, "*"]}),
        "a whole account": _allow(Principal={"AWS": "arn:aws:iam::000000000000:root"}),
        "an account by its number": _allow(Principal={"AWS": "000000000000"}),
        "a federation": _allow(Principal={"Federated": "*"}),
        "all but one": {"Effect": "Allow", "NotPrincipal": {"AWS": _AUDITOR}, "Action": _READ},
        "every action": _allow(Action="s3:*"),
        "the settings": _allow(Action="s3:PutBucketPolicy"),
        "all but one action": {"Effect": "Allow", "Principal": {"AWS": _AUDITOR}, "NotAction": _READ},
    }


def locks_out(_bucket: str) -> Mapping[str, Statement]:
    """Policies that deny the administrator what it needs."""
    return {
        "denies everyone everything": {"Effect": "Deny", "Principal": "*", "Action": "s3:*"},
        "denies all but one": {"Effect": "Deny", "NotPrincipal": {"AWS": _AUDITOR}, "Action": _READ},
        "denies the account": {
            "Effect": "Deny",
            "Principal": {"AWS": "arn:aws:iam::000000000000:root"},
            "Action": "s3:ListBucket",
        },
        "denies deleting the bucket": {"Effect": "Deny", "Principal": {"AWS": _AUDITOR}, "Action": "s3:DeleteBucket"},
    }


def write_a_policy(tenants: TenantEnvironment, make: Callable[[str], Mapping[str, Statement]]) -> str:
    """Refused with a sentence that names the fault; where a store has no policies, ignored with a warning."""
    thief, policies = tenants.thief, make(tenants.victim.bucket)
    if not _has_policies(tenants):
        return _is_ignored(tenants, next(iter(policies.values())))
    for number, statement in enumerate(policies.values()):
        document = {"Version": "2012-10-17", "Statement": [_allow(), statement]}
        thief.claim(f"p{number}", additionalConfig={POLICY: json.dumps(document)})
    for number, what in enumerate(policies):
        claim = thief.wait_reason(f"p{number}", "InvalidConfig")
        said = next(each for each in claim["status"]["conditions"] if each["type"] == "Ready")["message"]
        assert POLICY in said, f"{what}: {said}"
        assert thief.admin.find(thief.path("secrets", f"p{number}")) is None, what
    document = {"Version": "2012-10-17", "Statement": [_allow()]}
    control = tenants.bind_control(additionalConfig={POLICY: json.dumps(document)})
    # The same by an edit: the bound claim stays as it was.
    bad = {"Version": "2012-10-17", "Statement": [_allow(), next(iter(policies.values()))]}
    thief.patch("control", {"spec": {"additionalConfig": {POLICY: json.dumps(bad)}}})
    thief.wait_reason("control", "InvalidConfig")
    tenants.assert_own_only(control)
    return f"{len(policies)} policies, all InvalidConfig, at birth and by an edit; a harmless one is applied"


def deny_the_administrator(tenants: TenantEnvironment) -> str:
    """A policy that is allowed by its form, and names the very user that the provisioner is."""
    thief, store = tenants.thief, tenants.environment.store
    administrator = "arn:aws:iam::000000000000:user/bucket-provisioner"
    actions = ["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads", "s3:DeleteObject"]
    actions += ["s3:DeleteObjectVersion", "s3:AbortMultipartUpload"]
    statement = {"Effect": "Deny", "Principal": {"AWS": administrator}, "Action": actions}
    if not _has_policies(tenants):
        return _is_ignored(tenants, statement)
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    bound = tenants.bind_control("mine", additionalConfig={POLICY: document})
    tenants.assert_own_only(bound)
    thief.delete("mine")
    assert f"bucket {bound.bucket}" not in store.census()
    tenants.assert_shut_out(bound)
    return "taken; deleting the claim took the bucket with its data all the same"


def smuggle_parameters(tenants: TenantEnvironment) -> str:
    """What only a class may say, said by a claim in every place where a claim can say anything."""
    thief, environment = tenants.thief, tenants.environment
    with trap() as there:
        words = {
            **dict.fromkeys(("endpoint", "s3Endpoint", "iamEndpoint", "stsEndpoint", "publicEndpoint"), there.url),
            "bucketName": tenants.victim.bucket,
            "secretName": "mine",
            "secretNamespace": thief.namespace,
            "createBucketUser": "no",
            "iamPolicy": '{"Statement": []}',
            "serviceAccount": "anyone@example.com",
            "storageAccount": "elsewhere",
            "credentials": "workload-identity",
            "permissions": "racwdl",
            "region": "elsewhere",
        }
        secret = {"metadata": {"name": "mine"}, "stringData": {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}}
        thief.admin.create(thief.path("secrets"), secret)
        marks = {
            "annotations": {**words, **{f"objectbucket.io/{key}": value for key, value in words.items()}},
            "labels": {"createBucketUser": "no", "region": "elsewhere", "secretName": "mine"},
        }
        thief.claim("thief", metadata=marks, additionalConfig=words)
        bound, plain = thief.wait_bound("thief"), tenants.bind_control()
        tenants.assert_own_only(bound)
        there.assert_untouched()
    for key in ("BUCKET_HOST", "BUCKET_PORT", "BUCKET_REGION", "BUCKET_ENDPOINT"):
        assert bound.environment.get(key) == plain.environment.get(key), f"the claim chose {key}"
    assert bound.environment.keys() == plain.environment.keys()
    warned = [each for each in thief.events("thief") if each["reason"] == "UnmanagedConfig"]
    assert warned, "no Event says that the keys are ignored"
    assert environment.store.what_is_there(bound) == environment.store.what_is_there(plain)
    return f"ignored, with {len(warned)} warnings; the same as a claim that says nothing"


def write_a_thousand_keys(tenants: TenantEnvironment) -> str:
    thief = tenants.thief
    thief.claim("many", additionalConfig={f"key-{number:04}": "x" * 100 for number in range(1000)})
    tenants.assert_own_only(thief.wait_bound("many"))
    eventually(lambda: _assert_warned(tenants), seconds=10)
    events = len(thief.events("many"))
    assert events <= 20, f"{events} Events for one claim"
    return f"bound, with {events} Events"


def _assert_warned(tenants: TenantEnvironment) -> None:
    assert any("990 more" in each["message"] for each in tenants.thief.events("many"))


def _has_policies(tenants: TenantEnvironment) -> bool:
    return tenants.environment.name == "aws-s3"


def _is_ignored(tenants: TenantEnvironment, statement: Statement) -> str:
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    before = tenants.environment.store.census()
    bound = tenants.bind_control(additionalConfig={POLICY: document})
    events = [each["message"] for each in tenants.thief.events("control") if each["reason"] == "UnmanagedConfig"]
    assert any(POLICY in each for each in events), events
    new = tenants.environment.store.census() - before
    assert not any("anyone" in each or "auditor" in each for each in new)
    tenants.assert_own_only(bound)
    return "the store has no such policies: ignored, with a warning"


ATTACKS: Final = (
    *(
        Attack(
            name=name,
            expected="refused as InvalidConfig, or ignored where the store has none",
            run=partial(write_a_policy, make=make),
            quick=make is names_another,
        )
        for name, make in (
            ("policy-names-another", names_another),
            ("policy-grants-everybody", grants_everyone),
            ("policy-locks-out", locks_out),
        )
    ),
    Attack(name="policy-denies-the-administrator", expected="the claim can be deleted", run=deny_the_administrator),
    Attack(
        name="smuggle-parameters", expected="a claim decides nothing of its class", run=smuggle_parameters, quick=True
    ),
    Attack(
        name="a-thousand-keys", expected="a bounded number of Events", run=write_a_thousand_keys, once=True, quick=True
    ),
)
