"""Credentials that work are kept whatever a test of them says; only what the identity system says replaces them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gcs_provisioner.trials import Trials, Verdict
from libbucket import (
    AccessDenied,
    Authentication,
    NotReady,
    ObjectBucket,
    PurgeUnfinished,
    RetrySoon,
    SecretStr,
    StoreRefused,
)
from libbucket.testing import builders
from testkit.gcs.backend import FILE_KEY, QUICK, GcsBackend, a_provisioner

if TYPE_CHECKING:
    from libbucket import BucketOptions
    from libbucket.testing.conformance.environment import Environment, Tenant
    from testkit.gcs.fake import FakeGcs
    from testkit.gcs.fake.model import Account

KINDS = ["hmac", "json-key", "both"]
each_kind = pytest.mark.parametrize("kind", KINDS)


def bound(environment: Environment, kind: str, **parameters: str) -> tuple[BucketOptions, ObjectBucket]:
    """A bound claim, and what the core asks for it the next time."""
    request = environment.request(parameters={"credentials": kind, **parameters})
    answer = environment.patiently(environment.provisioner.provision, request)
    return builders.again(request, answer), answer


def held_by(answer: ObjectBucket) -> Authentication:
    assert answer.connection.authentication is not None
    return answer.connection.authentication


def account_of(fake: FakeGcs, answer: ObjectBucket) -> Account:
    return fake.store.accounts[answer.additional_state["ServiceAccount"]]


def keys_of(fake: FakeGcs, answer: ObjectBucket) -> tuple[int, int]:
    """Working HMAC keys and service-account keys of the claim."""
    email = answer.additional_state["ServiceAccount"]
    active = [each for each in fake.store.hmac_keys.values() if each.email == email and each.state == "ACTIVE"]
    return len(active), len(account_of(fake, answer).keys)


@each_kind
@pytest.mark.parametrize("verdict", [Verdict.UNKNOWN, Verdict.DENIED])
def test_unchanged_credentials_are_kept_whatever_a_test_of_them_says(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, kind: str, verdict: Verdict
) -> None:
    again, answer = bound(environment, kind)
    for name in ("try_hmac", "try_key", "try_signed"):
        monkeypatch.setattr(Trials, name, lambda *_: verdict)
    for _ in range(5):
        assert environment.provisioner.provision(again).connection == answer.connection


@each_kind
def test_edited_credentials_that_are_refused_are_replaced(environment: Environment, kind: str) -> None:
    again, answer = bound(environment, kind)
    held = held_by(answer)
    keys = replace(held.access_keys, secret_access_key=SecretStr("x" * 40)) if held.access_keys else None
    files = {**held.additional_secret_data}
    if FILE_KEY in files:
        files[FILE_KEY] = SecretStr(files[FILE_KEY].reveal().replace("MII", "IIM"))
    edited = Authentication(access_keys=keys, additional_secret_data=files)
    changed = replace(again, credentials=edited, credentials_unchanged=False)
    assert held_by(environment.provisioner.provision(changed)) != edited


def test_an_edit_that_puts_the_same_keys_back_replaces_nothing(environment: Environment) -> None:
    again, answer = bound(environment, "both")
    assert held_by(environment.provisioner.provision(replace(again, credentials_unchanged=False))) == held_by(answer)


@each_kind
@pytest.mark.parametrize("harm", ["deleted", "disabled"])
def test_a_key_that_google_says_is_gone_or_inactive_is_replaced(
    environment: Environment, fake: FakeGcs, kind: str, harm: str
) -> None:
    again, answer = bound(environment, kind)
    account = account_of(fake, answer)
    for each in fake.store.hmac_keys.values():
        each.state = "DELETED" if harm == "deleted" else "INACTIVE"
    if harm == "deleted":
        account.keys.clear()
    for key in account.keys.values():
        key.disabled = True
    uid = account.uid
    second = environment.patiently(environment.provisioner.provision, again)
    assert held_by(second) != held_by(answer)
    assert account_of(fake, answer).uid == uid, "nothing else of the claim is replaced"
    assert max(keys_of(fake, answer)) <= 1


@each_kind
def test_a_disabled_account_stays_disabled_and_no_key_is_made(
    environment: Environment, fake: FakeGcs, kind: str
) -> None:
    again, answer = bound(environment, kind)
    account, before = account_of(fake, answer), keys_of(fake, answer)
    account.disabled = True
    assert not environment.provisioner.is_intact(again)  # type: ignore[attr-defined]
    for held in (again, replace(again, credentials=None, credentials_unchanged=False)):
        with pytest.raises(StoreRefused, match=r"service account .* is disabled, and stays so"):
            environment.provisioner.provision(held)
    assert account_of(fake, answer) is account
    assert account.disabled
    assert keys_of(fake, answer) == before
    account.disabled = False
    assert environment.provisioner.provision(again).connection == answer.connection


@each_kind
def test_a_list_of_keys_that_lags_behind_replaces_nothing(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """IAM is eventually consistent: https://cloud.google.com/iam/docs/overview#consistency."""
    again, answer = bound(environment, kind)
    monkeypatch.setattr("gcs_provisioner.hmac_keys.HmacKeys.all", lambda _: [])
    monkeypatch.setattr("gcs_provisioner.key_files.KeyFiles.states", lambda *_: {})
    assert environment.provisioner.provision(again).connection == answer.connection


@each_kind
def test_a_claim_that_waits_for_its_permission_keeps_its_account_and_its_key(
    environment: Environment, backend: GcsBackend, fake: FakeGcs, kind: str
) -> None:
    fake.knobs.grant_seconds = 1800
    hasty = a_provisioner(fake, backend.admin_key)
    request = environment.request(parameters={"credentials": kind})
    made = set()
    for _ in range(30):
        with pytest.raises(NotReady, match="yet") as waiting:
            hasty.provision(request)
        email = f"{request.user_id}@{fake.project}.iam.gserviceaccount.com"
        made.add((fake.store.accounts[email].uid, *fake.store.hmac_keys, *fake.store.accounts[email].keys))
        fake.clock.turn(waiting.value.delay or 10)
    (everything,) = list(made)[-1:]
    assert len(everything) <= 3, "an account, and one key of each kind"
    assert len({each[0] for each in made}) == 1
    fake.clock.turn(1800)
    answer = hasty.provision(request)
    assert keys_of(fake, answer) == (kind != "json-key", kind != "hmac")


def test_a_lost_secret_remakes_the_account_once_and_then_waits(
    environment: Environment, backend: GcsBackend, fake: FakeGcs
) -> None:
    again, answer = bound(environment, "json-key")
    fake.knobs.grant_seconds = 120
    fake.clock.turn(3000)
    hasty = a_provisioner(fake, backend.admin_key)
    lost, uids = replace(again, credentials=None, credentials_unchanged=False), set()
    for _ in range(5):
        with pytest.raises(NotReady):
            hasty.provision(lost)
        uids.add(account_of(fake, answer).uid)
        fake.clock.turn(10)
    assert len(uids) == 1
    fake.clock.turn(120)
    assert held_by(hasty.provision(lost)) != held_by(answer)


def test_a_healthy_key_is_not_replaced_for_a_stray_one(environment: Environment, fake: FakeGcs) -> None:
    from testkit.gcs.fake.iam_api import new_key

    again, answer = bound(environment, "json-key")
    account = account_of(fake, answer)
    new_key(fake.store, account)
    assert environment.provisioner.provision(again).connection == answer.connection
    assert account_of(fake, answer) is account
    assert len(account.keys) == 1, "the stray one is gone"


def test_key_files_name_googles_token_endpoint_whatever_the_administrators_says(
    environment: Environment, fake: FakeGcs
) -> None:
    """An administrator's key may be older, or name an address of Private Service Connect."""
    again, answer = bound(environment, "json-key")
    uid = account_of(fake, answer).uid
    assert "https://oauth2.googleapis.com/token" in held_by(answer).additional_secret_data[FILE_KEY].reveal()
    assert environment.provisioner.is_intact(again)  # type: ignore[attr-defined]
    assert environment.provisioner.provision(again).connection == answer.connection
    assert account_of(fake, answer).uid == uid


def test_replaced_hmac_keys_are_kept_inactive_for_as_long_as_google_wants(
    environment: Environment, fake: FakeGcs
) -> None:
    fake.knobs.hmac_stop_seconds = 180
    again, answer = bound(environment, "hmac")
    lost = replace(again, credentials=None, credentials_unchanged=False)
    second = environment.provisioner.provision(lost)
    states = sorted(each.state for each in fake.store.hmac_keys.values())
    assert states == ["ACTIVE", "INACTIVE"]
    fake.clock.turn(181)
    environment.provisioner.provision(builders.again(again, second))
    assert sorted(each.state for each in fake.store.hmac_keys.values()) == ["ACTIVE", "DELETED"]
    assert answer.bucket_name == second.bucket_name


@pytest.mark.parametrize("verb", ["revoke", "provision"])
def test_an_hmac_key_that_lists_do_not_show_yet_is_stopped(environment: Environment, fake: FakeGcs, verb: str) -> None:
    """https://cloud.google.com/iam/docs/overview#consistency; the record has the id of the claim's key."""
    fake.knobs.list_lag_seconds = 5
    again, answer = bound(environment, "hmac")
    keys = held_by(answer).access_keys
    assert keys is not None
    if verb == "revoke":
        with pytest.raises(NotReady):
            environment.provisioner.revoke(builders.recorded(answer, again))
    else:
        environment.provisioner.provision(replace(again, credentials=None, credentials_unchanged=False))
    assert fake.store.hmac_keys[keys.access_key_id].state == "INACTIVE"


@pytest.mark.parametrize("seconds", ["0", "60"])
def test_a_shorter_wait_than_googles_does_not_stop_a_revocation(
    environment: Environment, fake: FakeGcs, seconds: str
) -> None:
    fake.knobs.hmac_stop_seconds = 180
    again, answer = bound(environment, "hmac", revocationSeconds=seconds)
    record = builders.recorded(answer, again)
    environment.revoke(record)
    assert not environment.administrator.identity_exists(record)


@pytest.mark.parametrize("kind", ["json-key", "workload-identity"])
def test_revoke_returns_when_a_withdrawn_permission_no_longer_counts(
    environment: Environment, fake: FakeGcs, kind: str
) -> None:
    fake.knobs.withdraw_seconds = 170
    again, answer = bound(environment, kind)
    record = builders.recorded(answer, again)
    with pytest.raises(NotReady, match=r"permission .* is withdrawn") as waiting:
        environment.provisioner.revoke(record)
    assert waiting.value.delay == 180
    fake.clock.turn(180)
    environment.provisioner.revoke(record)
    assert not environment.administrator.identity_exists(record)


@each_kind
@pytest.mark.parametrize("hidden", [0, 3])
def test_an_account_that_is_absent_or_seconds_old_is_forbidden_and_not_missing(
    environment: Environment, fake: FakeGcs, kind: str, hidden: int
) -> None:
    fake.knobs.absent_is_forbidden = True
    fake.knobs.hidden_account_calls = hidden
    request = environment.request(parameters={"credentials": kind}, config={"kubernetesServiceAccount": "app"})
    answer = environment.patiently(environment.provisioner.provision, request)
    again = builders.again(request, answer)
    assert environment.patiently(environment.provisioner.provision, again).connection == answer.connection
    environment.delete(builders.recorded(answer, request))
    environment.delete(builders.recorded(answer, request))
    assert not environment.administrator.bucket_exists(answer.bucket_name)


@each_kind
def test_a_claim_that_goes_while_its_account_is_still_hidden_leaves_none(
    environment: Environment, fake: FakeGcs, kind: str
) -> None:
    """Neither IAM nor its list shows an account that is seconds old."""
    fake.knobs.turn_on()
    fake.knobs.bucket_seconds = 0
    fake.clock.turn(600)  # the administrator is older
    request = environment.request(parameters={"credentials": kind})
    with pytest.raises(NotReady):
        environment.provisioner.provision(request)
    record = builders.intent(request)
    environment.delete(record)
    fake.clock.turn(60)
    assert not environment.administrator.identity_exists(record)


def test_a_purge_goes_on_after_its_account_is_gone(
    environment: Environment, backend: GcsBackend, fake: FakeGcs
) -> None:
    fake.knobs.absent_is_forbidden = True
    again, answer = bound(environment, "hmac", revocationSeconds="0")
    environment.fill(answer.bucket_name, 150)
    hurried = a_provisioner(fake, backend.admin_key, patience=replace(QUICK, purge=0.0))
    record = builders.recorded(answer, again)
    with pytest.raises(PurgeUnfinished):
        hurried.delete(record)
    for _ in range(9):
        try:
            hurried.delete(record)
        except RetrySoon:
            continue
        break
    assert not environment.administrator.bucket_exists(answer.bucket_name)


def test_an_account_that_may_not_be_read_is_none_of_those(environment: Environment, fake: FakeGcs) -> None:
    again, answer = bound(environment, "hmac")
    without = set(fake.store.accounts[f"provisioner@{fake.project}.iam.gserviceaccount.com"].permissions)
    fake.allow("provisioner", without - {"iam.serviceAccounts.get"})
    for account in fake.store.accounts.values():
        account.hidden_calls = 0
    fake.clock.turn(601)
    with pytest.raises(AccessDenied, match=r"iam\.serviceAccounts\.get"):
        environment.provisioner.provision(again)
    with pytest.raises(AccessDenied, match=r"iam\.serviceAccounts\.get"):
        environment.provisioner.revoke(builders.recorded(answer, again))


def test_the_tenth_key_of_a_shared_account_is_told_as_a_limit(
    environment: Environment, fake: FakeGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two claims that take the last key at once: Google answers 403 to the second, as it does to who may not."""
    import json

    from libbucket import QuotaExceeded

    shared = json.loads(fake.add_admin("shared-by-all", ()))["client_email"]
    for _ in range(10):
        environment.patiently(
            environment.provisioner.provision, environment.request(parameters={"serviceAccount": shared})
        )
    monkeypatch.setattr("gcs_provisioner.keys.MOST_KEYS", 11)  # as many were there when the other looked
    with pytest.raises(QuotaExceeded, match="workload-identity") as refused:
        environment.provisioner.provision(environment.request(parameters={"serviceAccount": shared}))
    assert refused.value.request_id


def test_another_tenant_is_not_affected(environment: Environment, fake: FakeGcs) -> None:
    """The control of every test here: another claim of the same class."""
    other_tenant: Tenant = environment.tenant(greenfield=True)
    again, answer = bound(environment, "hmac")
    account_of(fake, answer).disabled = True
    with pytest.raises(StoreRefused):
        environment.provisioner.provision(again)
    assert other_tenant.application.list_keys(other_tenant.bucket)
