"""All delays and rates of Google at once, by the fake's clock: which calls a claim takes, and that no worker waits."""

from __future__ import annotations

import heapq
import json
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gcs_provisioner.client import Patience
from gcs_provisioner.hmac_keys import HmacKeys
from gcs_provisioner.key_files import KeyFiles
from libbucket import BucketExists, BucketLost, NotReady, PurgeUnfinished, StoreUnavailable, Throttled
from libbucket.testing import builders
from testkit.gcs.backend import FILE_KEY, GcsBackend, a_provisioner
from testkit.gcs.fake import objects
from testkit.gcs.fake.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket.testing.conformance.environment import Environment
    from testkit.gcs.fake import FakeGcs

EACH_KIND = pytest.mark.parametrize("kind", ["hmac", "json-key", "both", "workload-identity"])


def calls_until_done(fake: FakeGcs, verb: Callable[[], object], *, most: int = 12) -> int:
    """How many calls it takes; the clock is turned by what each asks for."""
    for number in range(1, most + 1):
        try:
            verb()
        except NotReady as waiting:
            fake.clock.turn(waiting.delay or 10**6)  # the claim says for how long
        else:
            return number
    raise AssertionError(f"not done after {most} calls")


def test_a_json_key_binds_within_five_calls_although_its_grant_takes_90_seconds(
    environment: Environment, fake: FakeGcs
) -> None:
    """https://cloud.google.com/iam/docs/access-change-propagation."""
    fake.knobs.grant_seconds = 90
    request = environment.request(parameters={"credentials": "json-key"})
    assert calls_until_done(fake, lambda: environment.provisioner.provision(request)) <= 5
    made = [each for each in fake.calls() if each.startswith("POST") and each.endswith(("/serviceAccounts", "/keys"))]
    assert len(made) == 2, "one account and one key"


@EACH_KIND
def test_a_claim_lives_and_goes_at_googles_pace(
    environment: Environment, backend: GcsBackend, fake: FakeGcs, kind: str
) -> None:
    fake.knobs.turn_on()
    fake.clock.turn(600)
    provisioner = a_provisioner(fake, backend.admin_key, patience=Patience())
    request = environment.request(parameters={"credentials": kind, "secondsPerBucket": "2"})
    began = time.monotonic()
    answers = []
    assert calls_until_done(fake, lambda: answers.append(provisioner.provision(request))) <= 8
    (answer,) = answers
    again = builders.again(request, answer)
    assert provisioner.provision(again).connection == answer.connection
    record = builders.recorded(answer, request)
    fake.clock.turn(2)
    assert calls_until_done(fake, lambda: provisioner.delete(record)) <= 4
    assert not environment.administrator.bucket_exists(answer.bucket_name)
    assert not environment.administrator.identity_exists(record)
    assert time.monotonic() - began < 20, "no call waits"


def test_no_call_of_a_waiting_claim_holds_its_worker(
    environment: Environment, backend: GcsBackend, fake: FakeGcs
) -> None:
    fake.knobs.turn_on()
    fake.clock.turn(600)
    provisioner = a_provisioner(fake, backend.admin_key, patience=Patience())
    request, pauses = environment.request(), list[float]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", pauses.append)
        calls_until_done(fake, lambda: provisioner.provision(request))
    assert pauses == []


@pytest.mark.parametrize("kind", ["hmac", "json-key", "both"])
def test_more_claims_than_are_remembered_bind_one_after_the_other(
    environment: Environment, backend: GcsBackend, fake: FakeGcs, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A claim that is forgotten while it waits makes another key. With one place for three, none would be done."""
    monkeypatch.setattr("gcs_provisioner.unfinished.MOST_ENTRIES", 1)
    fake.knobs.turn_on()
    fake.clock.turn(600)
    provisioner = a_provisioner(fake, backend.admin_key, patience=Patience())
    parameters = {"credentials": kind, "secondsPerBucket": "2"}
    requests = [environment.request(parameters=parameters) for _ in range(3)]
    start, queue, waits = fake.clock.now(), [(0.0, number) for number in range(3)], []
    while queue:
        due, number = heapq.heappop(queue)
        fake.clock.turn(max(0.0, due - (fake.clock.now() - start).total_seconds()))
        assert due < 3600
        try:
            provisioner.provision(requests[number])
        except NotReady as waiting:
            waits.append(str(waiting))
            heapq.heappush(queue, ((fake.clock.now() - start).total_seconds() + (waiting.delay or 0), number))
    made = [each for each in fake.calls() if each.startswith("POST")]
    assert sum(each.endswith("/keys") for each in made) == (3 if kind != "hmac" else 0)
    assert sum("/hmacKeys" in each for each in made) == (3 if kind != "json-key" else 0)
    assert any("has its turn when one of them is done" in each for each in waits)


def test_claims_take_turns_at_googles_rate_of_new_buckets(
    environment: Environment, backend: GcsBackend, fake: FakeGcs
) -> None:
    """https://cloud.google.com/storage/quotas#buckets: 12 claims at once, and no request is answered with 429."""
    fake.knobs.bucket_seconds = 2.0
    provisioner = a_provisioner(fake, backend.admin_key, patience=Patience(sleep=fake.clock.turn))
    start, queue = fake.clock.now(), [(0.0, number) for number in range(12)]
    requests, calls = [environment.request(parameters={"secondsPerBucket": "2"}) for _ in queue], 0
    while queue:
        due, number = heapq.heappop(queue)
        fake.clock.turn(max(0.0, due - (fake.clock.now() - start).total_seconds()))
        calls += 1
        try:
            provisioner.provision(requests[number])
        except NotReady as waiting:
            heapq.heappush(queue, ((fake.clock.now() - start).total_seconds() + (waiting.delay or 0), number))
    inserts = [each for each in fake.calls() if each.startswith("POST /storage/v1/b?")]
    assert len(inserts) == 12
    assert calls <= 4 * 12
    assert (fake.clock.now() - start).total_seconds() < 60


def test_a_claim_that_comes_late_for_its_turn_does_not_send_the_next_one_away(
    environment: Environment, backend: GcsBackend, fake: FakeGcs
) -> None:
    fake.knobs.bucket_seconds = 2.0
    provisioner = a_provisioner(fake, backend.admin_key, patience=Patience(sleep=fake.clock.turn))
    start, sent_away = fake.clock.now(), 0
    requests = [environment.request(parameters={"secondsPerBucket": "2"}) for _ in range(8)]
    queue = [(0.0, number) for number in range(8)]
    while queue:
        due, number = heapq.heappop(queue)
        late = 0.8 if number % 2 and due else 0.0
        fake.clock.turn(max(0.0, due + late - (fake.clock.now() - start).total_seconds()))
        try:
            provisioner.provision(requests[number])
        except NotReady as waiting:
            sent_away += "the turn of bucket" in str(waiting)
            heapq.heappush(queue, ((fake.clock.now() - start).total_seconds() + (waiting.delay or 0), number))
    assert sent_away == 7, "once each, but for the first"
    assert len([each for each in fake.calls() if each.startswith("POST /storage/v1/b?")]) == 8, "none was refused"


def test_a_bucket_that_is_another_projects_now_is_lost(environment: Environment, fake: FakeGcs) -> None:
    """Names are free at once: https://cloud.google.com/storage/docs/use-soft-deleted-buckets."""
    tenant = environment.tenant(greenfield=True)
    labels = fake.store.buckets[tenant.bucket].resource["labels"]
    fake.add_foreign_bucket(tenant.bucket, labels=labels)
    fake.calls()
    with pytest.raises(BucketLost, match="another one now"):
        environment.provisioner.provision(builders.again(tenant.request, tenant.answer))
    environment.delete(tenant.record)
    assert not [each for each in fake.calls() if not each.startswith("GET") and tenant.bucket in each]
    assert environment.administrator.bucket_exists(tenant.bucket), "it is another's"
    assert not environment.administrator.identity_exists(tenant.record)


def test_an_existing_bucket_that_changes_hands_is_lost(environment: Environment, fake: FakeGcs) -> None:
    tenant = environment.brownfield(environment.foreign_bucket())
    fake.add_foreign_bucket(tenant.bucket, labels={})
    with pytest.raises(BucketLost):
        environment.provisioner.grant(builders.again(tenant.request, tenant.answer))


def test_a_key_that_a_policy_ends_is_renewed_before_and_works_until_then(
    environment: Environment, fake: FakeGcs
) -> None:
    """https://cloud.google.com/resource-manager/docs/organization-policy/restricting-service-accounts#limit_key_expiry."""
    fake.knobs.key_expiry_seconds = 1000
    request = environment.request(parameters={"credentials": "json-key"})
    answer = environment.patiently(environment.provisioner.provision, request)
    held = answer.connection.authentication
    assert held is not None
    assert held.renew_at is not None
    assert (held.renew_at - fake.clock.now()).total_seconds() == pytest.approx(800, abs=20)
    account = fake.store.accounts[answer.additional_state["ServiceAccount"]]
    uid, first = account.uid, set(account.keys)
    fake.clock.turn(801)
    renewed = environment.patiently(environment.provisioner.provision, builders.again(request, answer))
    new = renewed.connection.authentication
    assert new is not None
    assert new.additional_secret_data[FILE_KEY] != held.additional_secret_data[FILE_KEY]
    assert new.renew_at is not None
    assert new.renew_at > held.renew_at
    assert fake.store.accounts[account.email].uid == uid, "the account stays"
    assert first < set(account.keys), "pods have the key: it works until it ends"
    fake.clock.turn(200)
    environment.patiently(environment.provisioner.provision, builders.again(request, renewed))
    assert not first & set(account.keys)


def test_a_purge_does_not_search_for_locked_objects_each_time(
    environment: Environment, backend: GcsBackend, fake: FakeGcs
) -> None:
    tenant = environment.greenfield(environment.request(parameters={"revocationSeconds": "0"}))
    environment.fill(tenant.bucket, 250)
    hurried = a_provisioner(fake, backend.admin_key, patience=Patience(purge=0.0))
    fake.calls()
    rounds = 0
    while environment.administrator.bucket_exists(tenant.bucket):
        rounds += 1
        try:
            hurried.delete(tenant.record)
        except PurgeUnfinished:
            continue
    lists = [each for each in fake.calls() if each.startswith("GET") and "/o?" in each]
    assert rounds == 4
    assert len(lists) == rounds + 1


def test_a_page_of_objects_of_which_google_refuses_some_is_gone_on_with(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """https://cloud.google.com/storage/docs/retry-strategy: 503 is usual among many."""
    tenant = environment.greenfield(environment.request(parameters={"revocationSeconds": "0"}))
    environment.fill(tenant.bucket, 150)
    real, count = objects.delete, 0

    def sometimes(*args: Any) -> None:
        nonlocal count
        count += 1
        if count % 10 == 0:
            raise ApiError(503, "backendError", "We encountered an internal error.")
        real(*args)

    monkeypatch.setattr(objects, "delete", sometimes)
    environment.provisioner.delete(tenant.record)
    assert not environment.administrator.bucket_exists(tenant.bucket)


def test_object_names_that_xml_can_not_carry_stop_nothing(environment: Environment) -> None:
    """https://cloud.google.com/storage/docs/xml-api/get-bucket-list."""
    tenant = environment.greenfield(environment.request(parameters={"credentials": "json-key"}))
    tenant.application.put(tenant.bucket, "a\x01b", b"x")
    assert environment.looks_intact(tenant)
    environment.delete(tenant.record)
    assert not environment.administrator.bucket_exists(tenant.bucket)


def test_keys_of_an_earlier_kind_are_stopped(environment: Environment, fake: FakeGcs) -> None:
    request = environment.request(parameters={"credentials": "both"})
    answer = environment.patiently(environment.provisioner.provision, request)
    again = builders.again(request, answer)
    parameters = {**request.parameters, "credentials": "workload-identity"}
    environment.patiently(environment.provisioner.provision, replace(again, parameters=parameters))
    assert {each.state for each in fake.store.hmac_keys.values()} <= {"INACTIVE", "DELETED"}
    assert not fake.store.accounts[answer.additional_state["ServiceAccount"]].keys


def test_another_tenant_with_the_name_of_another_claims_bucket_is_refused(environment: Environment) -> None:
    """The control: a bucket of the same project without the claim's labels is none of the claim's."""
    tenant = environment.tenant(greenfield=True)
    with pytest.raises(BucketExists):
        environment.provisioner.provision(environment.request(bucket=tenant.bucket))


def test_a_secret_that_is_lost_within_seconds_is_replaced(environment: Environment, fake: FakeGcs) -> None:
    """The account that is removed then was young, and IAM answers 403 for it: that says nothing about the next one."""
    request = environment.request(parameters={"credentials": "json-key"})
    answer = environment.patiently(environment.provisioner.provision, request)
    fake.knobs.absent_is_forbidden = True
    lost = replace(builders.again(request, answer), credentials=None, credentials_unchanged=False)
    assert calls_until_done(fake, lambda: environment.provisioner.provision(lost)) == 1


def test_the_key_of_a_secret_that_is_lost_within_seconds_is_revoked_as_soon_as_lists_show_it(
    environment: Environment, fake: FakeGcs
) -> None:
    """To delete the Secret is how a leaked key is revoked: https://cloud.google.com/iam/docs/overview#consistency."""
    fake.knobs.list_lag_seconds = 5
    request = environment.request(parameters={"credentials": "json-key"})
    answer = environment.patiently(environment.provisioner.provision, request)
    leaked = next(iter(fake.store.accounts[answer.additional_state["ServiceAccount"]].keys))
    lost = replace(builders.again(request, answer), credentials=None, credentials_unchanged=False)
    with pytest.raises(NotReady, match="lists do not show") as waiting:
        environment.provisioner.provision(lost)
    fake.clock.turn(waiting.value.delay or 0)
    environment.patiently(environment.provisioner.provision, lost)
    kept = fake.store.accounts[answer.additional_state["ServiceAccount"]].keys
    assert len(kept) == 1
    assert leaked not in kept


@EACH_KIND
def test_an_account_that_is_seconds_old_is_waited_for_after_a_restart_as_well(
    environment: Environment, backend: GcsBackend, fake: FakeGcs, kind: str
) -> None:
    """IAM answers 403 for it, and its list does not have it; who made it has forgotten that."""
    fake.knobs.turn_on()
    fake.knobs.bucket_seconds = 0
    fake.clock.turn(600)  # the administrator is older
    request = environment.request(parameters={"credentials": kind})
    with pytest.raises(NotReady):
        environment.provisioner.provision(request)
    (uid,) = {each.uid for email, each in fake.store.accounts.items() if email.startswith("obc-")}
    restarted = a_provisioner(fake, backend.admin_key)
    with pytest.raises(NotReady, match="does not know the new service account") as waiting:
        restarted.provision(request)
    assert waiting.value.request_id
    fake.clock.turn(10)
    answer = environment.patiently(restarted.provision, request)
    assert fake.store.accounts[answer.additional_state["ServiceAccount"]].uid == uid


@EACH_KIND
def test_a_claim_that_goes_after_a_restart_leaves_no_account_that_is_seconds_old(
    environment: Environment, backend: GcsBackend, fake: FakeGcs, kind: str
) -> None:
    fake.knobs.turn_on()
    fake.knobs.bucket_seconds = 0
    fake.clock.turn(600)
    request = environment.request(parameters={"credentials": kind})
    with pytest.raises(NotReady):
        environment.provisioner.provision(request)
    record = builders.intent(request)
    assert environment.administrator.identity_exists(record)
    environment.patiently(a_provisioner(fake, backend.admin_key).delete, record)
    fake.clock.turn(60)
    assert not environment.administrator.identity_exists(record)


def test_a_claim_that_was_refused_goes_at_once_also_after_a_restart(
    environment: Environment, backend: GcsBackend, fake: FakeGcs
) -> None:
    """The process that refused it has made no account for it, and neither has an earlier one."""
    fake.knobs.absent_is_forbidden = True
    neighbour = environment.request()
    environment.patiently(environment.provisioner.provision, neighbour)
    thief = environment.request(bucket=neighbour.bucket_name)
    restarted = a_provisioner(fake, backend.admin_key)
    with pytest.raises(BucketExists):
        restarted.provision(thief)
    with suppress(BucketExists):
        restarted.delete(builders.intent(thief))
    restarted.revoke(builders.intent(thief))


@pytest.mark.parametrize("kind", ["hmac", "json-key"])
def test_a_key_that_is_seconds_old_is_not_replaced_on_doubt_after_a_restart_either(
    environment: Environment, backend: GcsBackend, fake: FakeGcs, kind: str
) -> None:
    fake.knobs.list_lag_seconds = 20
    request = environment.request(parameters={"credentials": kind})
    answer = environment.patiently(environment.provisioner.provision, request)
    fake.knobs.distrusts = True
    restarted = a_provisioner(fake, backend.admin_key)
    with pytest.raises(NotReady, match="neither lists nor accepts") as waiting:
        restarted.provision(builders.again(request, answer))
    fake.clock.turn(waiting.value.delay or 0)
    assert restarted.provision(builders.again(request, answer)).connection == answer.connection


def test_a_key_that_lists_do_not_show_yet_is_stopped(environment: Environment, fake: FakeGcs) -> None:
    """Of a shared account, whose keys do not go with it: https://cloud.google.com/iam/docs/overview#consistency."""
    shared = json.loads(fake.add_admin("shared-by-all", ()))["client_email"]
    request = environment.request(parameters={"serviceAccount": shared})
    answer = environment.patiently(environment.provisioner.provision, request)
    fake.knobs.list_lag_seconds = 10**6
    environment.revoke(builders.recorded(answer, request))
    assert {each.state for each in fake.store.hmac_keys.values()} == {"DELETED"}


@pytest.mark.parametrize(("kind", "maker"), [("hmac", HmacKeys), ("json-key", KeyFiles)])
def test_a_key_whose_answer_was_lost_is_found_before_another_is_made(
    environment: Environment, fake: FakeGcs, monkeypatch: pytest.MonkeyPatch, kind: str, maker: Any
) -> None:
    """Lists lag behind: who makes another at once, and once more, has as many keys as answers were lost."""
    fake.knobs.list_lag_seconds = 20
    create, lost = maker.create, [True]

    def answer_lost(self: object, *given: object) -> object:
        made = create(self, *given)
        if lost:
            raise StoreUnavailable("the connection was cut", request_id="of-the-lost-answer")
        return made

    monkeypatch.setattr(maker, "create", answer_lost)
    request = environment.request(parameters={"credentials": kind})
    for _ in range(4):
        with pytest.raises((StoreUnavailable, NotReady)) as waiting:
            environment.provisioner.provision(request)
        assert waiting.value.request_id == "of-the-lost-answer"
        fake.clock.turn(2)
    lost.clear()
    answer = environment.patiently(environment.provisioner.provision, request)
    account = fake.store.accounts[answer.additional_state["ServiceAccount"]]
    active = [each for each in fake.store.hmac_keys.values() if each.state == "ACTIVE"]
    assert len(active) + len(account.keys) == 1
    assert len(fake.store.hmac_keys) <= 2


def test_a_key_that_google_was_too_busy_to_make_is_asked_for_without_waiting_for_lists(
    environment: Environment, fake: FakeGcs
) -> None:
    """A rate limit is exceeded before anything is made: no key can be missing in a list."""
    fake.knobs.iam_writes = 1  # for the account; nothing is left for the key
    request = environment.request(parameters={"credentials": "json-key"})
    for _ in range(3):
        with pytest.raises(Throttled) as refused:
            environment.provisioner.provision(request)
        assert refused.value.request_id
    fake.clock.turn(61)
    answer = environment.provisioner.provision(request)
    assert len(fake.store.accounts[answer.additional_state["ServiceAccount"]].keys) == 1


@pytest.mark.parametrize("kind", ["hmac", "json-key"])
def test_a_key_that_is_seconds_old_is_not_replaced_where_it_is_neither_listed_nor_accepted(
    environment: Environment, fake: FakeGcs, kind: str
) -> None:
    fake.knobs.list_lag_seconds = 20
    request = environment.request(parameters={"credentials": kind})
    answer = environment.patiently(environment.provisioner.provision, request)
    again = builders.again(request, answer)
    fake.knobs.distrusts = True
    with pytest.raises(NotReady, match="neither lists nor accepts") as waiting:
        environment.provisioner.provision(again)
    assert waiting.value.request_id
    fake.clock.turn(waiting.value.delay or 0)
    assert environment.provisioner.provision(again).connection == answer.connection
