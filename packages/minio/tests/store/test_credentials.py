"""A claim's credentials at the real MinIO: kept in doubt, replaced on proof, and dead with all that came of them."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from minio import Minio, MinioAdmin
from minio.credentials.providers import AssumeRoleProvider, StaticProvider
from minio.error import S3Error

from libbucket import AccessDenied, Authentication, NotReady, SecretStr, StoreRefused, StoreUnavailable
from libbucket.testing import builders
from libbucket.testing.conformance.environment import Environment, assert_shut_out, assert_works
from libbucket.testing.misbehaving import Answer
from minio_provisioner.identity import Identity
from minio_provisioner.policy import Note, build_access
from testkit.minio.backend import (
    MinioBackend,
    Rerouted,
    _services,
    a_pool,
    a_provisioner,
    refused_by_admin_api,
    refused_with,
)
from testkit.minio.scripted_node import Asked, Node, node_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket.testing.conformance.environment import Tenant
    from testkit.minio.server import MinioServer

WEEK = 7 * 24 * 3600


@pytest.fixture
def node(server: MinioServer) -> Iterator[Node]:
    with node_before(server, lambda _: None) as running:
        yield running


@pytest.fixture
def lagging(server: MinioServer, node: Node, monkeypatch: pytest.MonkeyPatch) -> Rerouted:
    """A provisioner that reaches the server by way of the node, and waits for a moment only."""
    monkeypatch.setattr("minio_provisioner.access._WAIT_SECONDS", 0.4)
    return Rerouted(_services(server), node.url)


def own_requests(server: MinioServer, answer: Callable[[Asked], Answer | None]) -> Callable[[Asked], Answer | None]:
    """The same answers, but to requests with a claim's own keys only."""
    return lambda asked: None if asked.access_key == server.user else answer(asked)


def admin_requests(command: str, answer: Answer) -> Callable[[Asked], Answer | None]:
    """This answer to one command of the admin API."""
    return lambda asked: answer if f"/minio/admin/v3/{command}" in asked.path else None


def commands(node: Node) -> Counter[str]:
    """How often each command of the admin API was asked for."""
    paths = [asked.path.partition("?")[0] for asked in node.asked]
    return Counter(path.rpartition("/")[2] for path in paths if path.startswith("/minio/admin/"))


def session_of(server: MinioServer, tenant: Tenant) -> Minio:
    """An application with temporary credentials that it got for the claim's keys."""
    keys = tenant.credentials.access_keys
    assert keys is not None
    held = AssumeRoleProvider(
        sts_endpoint=f"{server.url}/",
        access_key=keys.access_key_id,
        secret_key=keys.secret_access_key.reveal(),
        duration_seconds=WEEK,
        http_client=a_pool(),
    ).retrieve()
    return Minio(
        endpoint=server.netloc,
        access_key=held.access_key,
        secret_key=held.secret_key,
        session_token=held.session_token,
        secure=False,
        http_client=a_pool(),
    )


def service_account_of(server: MinioServer, backend: MinioBackend, tenant: Tenant) -> Minio:
    """An application with a service account of the claim's user, which our policy lets only an administrator make."""
    keys, user, admin = tenant.credentials.access_keys, tenant.request.user_id, backend.administrator.admin
    assert keys is not None
    credentials = StaticProvider(keys.access_key_id, keys.secret_access_key.reveal())
    own = MinioAdmin(endpoint=server.netloc, credentials=credentials, secure=False, http_client=a_pool())
    admin.attach_policy(["readwrite"], user=user)
    admin.detach_policy([user], user=user)
    own.add_service_account(access_key="a-derived-account", secret_key="its-own-secret")
    admin.attach_policy([user], user=user)
    admin.detach_policy(["readwrite"], user=user)
    return Minio(
        endpoint=server.netloc,
        access_key="a-derived-account",
        secret_key="its-own-secret",
        secure=False,
        http_client=a_pool(),
    )


def assert_session_refused(session: Minio, bucket: str) -> None:
    with pytest.raises(S3Error) as refused:
        list(session.list_objects(bucket))
    assert refused.value.code in {"AccessDenied", "InvalidAccessKeyId", "InvalidTokenId"}


def status_of(backend: MinioBackend, tenant: Tenant) -> str:
    """What the identity system says of the claim's user."""
    return str(json.loads(backend.administrator.admin.user_info(tenant.answer.additional_state["UserName"]))["status"])


@pytest.mark.parametrize("greenfield", [True, False], ids=["greenfield", "brownfield"])
@pytest.mark.parametrize("with_credentials", [True, False], ids=["intact", "secret-deleted"])
def test_a_user_that_an_administrator_disabled_stays_disabled_and_the_claim_says_so(
    environment: Environment, server: MinioServer, backend: MinioBackend, greenfield: bool, with_credentials: bool
) -> None:
    tenant = environment.tenant(greenfield=greenfield)
    session = session_of(server, tenant)
    assert list(session.list_objects(tenant.bucket))
    backend.administrator.admin.user_disable(tenant.request.user_id)
    assert not environment.looks_intact(tenant)
    with pytest.raises(AccessDenied, match="disabled by an administrator"):
        environment.again(tenant, with_credentials=with_credentials)
    assert status_of(backend, tenant) == "disabled"
    assert backend.administrator.users(tenant.record) == [tenant.request.user_id], "no other user was made"
    assert_shut_out(tenant)
    assert_session_refused(session, tenant.bucket)

    backend.administrator.admin.user_enable(tenant.request.user_id)
    assert environment.again(tenant).credentials == tenant.credentials
    assert_works(tenant)


def test_a_claim_that_was_locked_out_can_be_deleted(environment: Environment, backend: MinioBackend) -> None:
    tenant = environment.tenant(greenfield=True)
    backend.administrator.admin.user_disable(tenant.request.user_id)
    environment.delete(tenant.record)
    assert not backend.administrator.identity_exists(tenant.record)
    assert not backend.administrator.bucket_exists(tenant.bucket)


def test_rotating_ends_temporary_credentials_and_service_accounts_of_the_old_keys(
    environment: Environment, server: MinioServer, backend: MinioBackend
) -> None:
    tenant = environment.tenant(greenfield=True)
    session = session_of(server, tenant)
    derived = service_account_of(server, backend, tenant)
    assert list(session.list_objects(tenant.bucket))
    assert list(derived.list_objects(tenant.bucket))

    rotated = environment.again(tenant, with_credentials=False)
    assert_works(rotated)
    assert_shut_out(tenant)
    assert_session_refused(session, tenant.bucket)
    assert_session_refused(derived, tenant.bucket)
    assert backend.administrator.users(tenant.record) == [rotated.answer.additional_state["UserName"]]
    again = session_of(server, rotated)
    assert list(again.list_objects(tenant.bucket)), "sessions as such are nothing that MinIO's policies can forbid"


def test_temporary_credentials_stay_refused_when_a_removed_user_is_created_again(
    environment: Environment, server: MinioServer, backend: MinioBackend
) -> None:
    tenant = environment.tenant(greenfield=True)
    session = session_of(server, tenant)
    assert list(session.list_objects(tenant.bucket))
    backend.administrator.admin.user_remove(tenant.request.user_id)
    repaired = environment.again(tenant)
    assert repaired.answer.repairs == ("user",)
    assert_works(repaired)
    assert_session_refused(session, tenant.bucket)


def test_every_rotation_gives_another_user_and_nothing_is_left_of_them(
    environment: Environment, backend: MinioBackend
) -> None:
    first = environment.tenant(greenfield=True)
    second = environment.again(first, with_credentials=False)
    third = environment.again(second, with_credentials=False)
    users = [one.answer.additional_state["UserName"] for one in (first, second, third)]
    assert users == [first.request.user_id, f"{first.request.user_id}-2", f"{first.request.user_id}-3"]
    assert backend.administrator.users(first.record) == [users[-1]]
    assert environment.looks_intact(third)
    assert third.answer.repairs == environment.again(third).answer.repairs == ()
    environment.delete(third.record)
    assert not backend.administrator.identity_exists(third.record)


@pytest.mark.parametrize("with_credentials", [True, False], ids=["intact", "secret-deleted"])
def test_a_record_that_was_lost_after_a_rotation_is_recreated_without_a_second_user(
    environment: Environment, backend: MinioBackend, with_credentials: bool
) -> None:
    third = environment.again(
        environment.again(environment.tenant(greenfield=True), with_credentials=False), with_credentials=False
    )
    forgotten = replace(
        builders.again(third.request, third.answer, with_credentials=with_credentials), additional_state={}
    )
    found = environment.bind(forgotten, greenfield=True)
    assert_works(found)
    assert (found.credentials == third.credentials) is with_credentials
    assert len(backend.administrator.users(third.record)) == 1
    environment.delete(builders.intent(third.request))
    assert not backend.administrator.identity_exists(third.record)


def test_one_node_that_lags_behind_changes_nothing(
    environment: Environment, server: MinioServer, node: Node, lagging: Rerouted
) -> None:
    tenant = environment.tenant(greenfield=True)
    stale: set[int] = set()

    def first_connection_is_stale(asked: Asked) -> Answer | None:
        stale.add(asked.connection) if not stale else None
        return refused_with(403, "SignatureDoesNotMatch") if asked.connection in stale else None

    node.answer = own_requests(server, first_connection_is_stale)
    again = environment.again(tenant, by=lagging)
    assert again.credentials == tenant.credentials
    assert again.answer.repairs == again.answer.warnings == ()
    assert "add-user" not in commands(node)


def test_a_node_that_does_not_find_the_user_replaces_no_keys_that_work(
    environment: Environment, node: Node, lagging: Rerouted
) -> None:
    tenant = environment.tenant(greenfield=True)
    request = builders.again(tenant.request, tenant.answer)

    node.answer = admin_requests("user-info", refused_by_admin_api(404, "XMinioAdminNoSuchUser", request_id="ID-9"))
    with pytest.raises(NotReady, match="does not find user") as refused:
        lagging.provision(request)
    node.answer = lambda _: None

    assert refused.value.delay == 30
    assert_works(tenant)
    assert environment.again(tenant, by=lagging).credentials == tenant.credentials
    assert "add-user" not in commands(node)


def test_keys_of_a_user_that_is_gone_are_replaced(
    environment: Environment, backend: MinioBackend, lagging: Rerouted
) -> None:
    tenant = environment.tenant(greenfield=True)
    backend.administrator.admin.user_remove(tenant.request.user_id)

    again = environment.again(tenant, by=lagging)

    assert again.credentials != tenant.credentials
    assert_works(again)


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"])
def test_keys_that_are_refused_all_the_time_are_kept_and_the_claim_waits(
    environment: Environment, server: MinioServer, node: Node, lagging: Rerouted, code: str
) -> None:
    tenant = environment.tenant(greenfield=True)
    node.answer = own_requests(server, lambda _: refused_with(403, code, request_id="ID-7"))
    request = builders.again(tenant.request, tenant.answer)
    assert not lagging.is_intact(request)
    with pytest.raises(NotReady, match=code) as refused:
        lagging.provision(request)
    assert "delete the claim's Secret" in refused.value.message
    assert refused.value.delay == 30
    assert refused.value.request_id == "ID-7"
    assert "add-user" not in commands(node)
    assert_works(tenant)


@pytest.mark.parametrize(("code", "is_replaced"), [("SignatureDoesNotMatch", True), ("AccessDenied", False)])
def test_an_edited_secret_is_replaced_where_it_is_wrong_and_not_where_it_is_denied(
    environment: Environment, server: MinioServer, node: Node, lagging: Rerouted, code: str, is_replaced: bool
) -> None:
    tenant = environment.tenant(greenfield=True)
    node.answer = own_requests(server, lambda _: refused_with(403, code))
    request = replace(builders.again(tenant.request, tenant.answer), credentials_unchanged=False)
    if not is_replaced:
        with pytest.raises(NotReady):
            lagging.provision(request)
        assert_works(tenant)
        return
    replaced = environment.bind(request, greenfield=True, by=lagging)
    assert replaced.credentials != tenant.credentials
    assert_works(replaced)
    assert_shut_out(tenant)


@pytest.mark.parametrize(
    "answer",
    [refused_with(403, "InvalidAccessKeyId"), refused_with(500, "InternalError"), refused_with(400, "NobodyKnowsThis")],
    ids=["refused", "unanswered", "unclear"],
)
def test_new_keys_that_can_not_be_tried_yet_are_handed_out_once_with_a_warning(
    environment: Environment, server: MinioServer, node: Node, lagging: Rerouted, answer: Answer
) -> None:
    node.answer = own_requests(server, lambda _: answer)
    tenant = environment.bind(environment.request(), greenfield=True, by=lagging)
    assert any("new keys" in warning for warning in tenant.answer.warnings)
    assert_works(tenant)
    assert environment.again(tenant).credentials == tenant.credentials
    assert commands(node)["add-user"] == 1


@pytest.mark.parametrize("code", ["XMinioAdminNoSuchPolicy", "XMinioAdminNoSuchUser"])
def test_a_node_that_has_not_heard_of_user_or_policy_is_waited_for(
    environment: Environment, node: Node, lagging: Rerouted, code: str
) -> None:
    request = environment.request()
    node.answer = admin_requests("idp/builtin/policy/attach", refused_by_admin_api(404, code, request_id="ID-8"))
    for _ in range(3):
        with pytest.raises(NotReady, match=code) as refused:
            lagging.provision(request)
    assert refused.value.request_id == "ID-8"
    assert refused.value.delay == 10
    assert commands(node)["add-user"] == 1
    node.answer = lambda _: None
    assert_works(environment.bind(request, greenfield=True, by=lagging))


@pytest.mark.parametrize("kind", ["new", "secret-deleted"])
def test_a_claim_whose_policy_can_not_be_attached_makes_one_secret_and_no_more(
    environment: Environment, node: Node, lagging: Rerouted, kind: str
) -> None:
    request = environment.request()
    if kind == "secret-deleted":
        tenant = environment.greenfield(request)
        request = builders.again(request, tenant.answer, with_credentials=False)
    node.answer = admin_requests("idp/builtin/policy/attach", refused_by_admin_api(403, "AccessDenied"))
    for _ in range(4):
        with pytest.raises(AccessDenied, match="AttachUserOrGroupPolicy"):
            lagging.provision(request)
    assert commands(node)["add-user"] == 1
    node.answer = lambda _: None
    assert_works(environment.bind(request, greenfield=True, by=lagging))
    assert commands(node)["add-user"] == 2


def test_a_node_that_still_lists_removed_users_leads_to_no_chain_of_keys(
    environment: Environment, node: Node, lagging: Rerouted
) -> None:
    tenant = environment.tenant(greenfield=True)
    request = builders.again(tenant.request, tenant.answer, with_credentials=False)
    stale = Answer(headers={"x-amz-request-id": "1"}, body=b'{"policyName": "p", "status": "enabled"}')
    removed: dict[str, int] = {}

    def answer(asked: Asked) -> Answer | None:
        name = asked.path.partition("accessKey=")[2].partition("&")[0]
        if "/remove-user" in asked.path:
            removed.setdefault(name, 2)
        if "/user-info" in asked.path and removed.get(name, 0) > 0:
            removed[name] -= 1
            return stale
        return None

    node.answer = answer
    for _ in range(8):
        with suppress(NotReady):
            found = lagging.provision(request)
            break
    assert commands(node)["add-user"] <= 2
    assert found.connection.authentication is not None


def test_a_rotation_that_was_cut_off_is_given_up_when_the_secret_is_back(
    environment: Environment, backend: MinioBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = environment.tenant(greenfield=True)
    with monkeypatch.context() as patch:
        patch.setattr("minio_provisioner.identity.Identity.attach", _die)
        with pytest.raises(StoreUnavailable):
            environment.provisioner.provision(builders.again(tenant.request, tenant.answer, with_credentials=False))
    assert len(backend.administrator.users(tenant.record)) == 2
    assert environment.again(tenant).credentials == tenant.credentials
    assert_works(tenant)
    assert backend.administrator.users(tenant.record) == [tenant.request.user_id]


@pytest.mark.parametrize("is_noted_last", [True, False], ids=["noted-last", "noted-first"])
def test_keys_that_another_caller_has_overwritten_are_replaced_and_the_last_ones_are_kept(
    environment: Environment, server: MinioServer, monkeypatch: pytest.MonkeyPatch, is_noted_last: bool
) -> None:
    """Two replicas at once, of which one is cut off: each finds no user, and so both set a secret for it."""
    request = environment.request()
    attach = Identity.attach
    others: list[Tenant | None] = []

    def while_the_other_does_all_of_it(self: Identity) -> bool:
        if not others:
            others.append(None)
            with monkeypatch.context() as patch:
                patch.setattr(Identity, "find", lambda _: None)
                others.append(environment.bind(request, greenfield=True, by=a_provisioner(server)))
            if is_noted_last:
                self.write_policy(build_access(request.bucket_name, locks=None, note=Note(fingerprint="0" * 16)))
        return attach(self)

    monkeypatch.setattr("minio_provisioner.access._WAIT_SECONDS", 0.4)
    monkeypatch.setattr(Identity, "attach", while_the_other_does_all_of_it)
    with pytest.raises(NotReady, match="at the same time"):
        environment.provisioner.provision(request)
    last = others[-1]
    assert last is not None
    assert_works(last)
    assert environment.again(last).credentials == last.credentials
    assert_works(last)


def test_keys_that_were_overwritten_after_they_were_handed_out_are_replaced(
    environment: Environment, server: MinioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = environment.request()
    first = environment.greenfield(request)
    with monkeypatch.context() as patch:  # the other one asked whether the user is there before we made it
        patch.setattr(Identity, "find", lambda _: None)
        second = environment.bind(request, greenfield=True, by=a_provisioner(server))
    assert_works(second)
    assert_shut_out(first)
    monkeypatch.setattr("minio_provisioner.access._WAIT_SECONDS", 0.4)
    settled = environment.again(first)
    assert settled.credentials not in (first.credentials, second.credentials)
    assert_works(settled)
    assert_shut_out(second)


def test_a_secret_that_was_changed_in_minio_is_replaced_when_the_claims_secret_is_deleted(
    environment: Environment, backend: MinioBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minio_provisioner.access._WAIT_SECONDS", 0.4)
    tenant = environment.tenant(greenfield=True)
    backend.administrator.admin.user_add(tenant.request.user_id, "changed-in-minio")
    with pytest.raises(NotReady, match="delete the claim's Secret"):
        environment.provisioner.provision(builders.again(tenant.request, tenant.answer))
    assert_works(environment.again(tenant, with_credentials=False))


def test_a_secret_that_is_too_long_is_never_sent(environment: Environment, node: Node, lagging: Rerouted) -> None:
    tenant = environment.tenant(greenfield=True)
    keys = tenant.credentials.access_keys
    assert keys is not None
    held = Authentication(access_keys=replace(keys, secret_access_key=SecretStr("x" * 2**20)))
    request = replace(builders.again(tenant.request, tenant.answer), credentials=held, credentials_unchanged=False)
    assert not lagging.is_intact(request)
    assert node.asked == []
    assert_works(environment.bind(request, greenfield=True, by=lagging))


def test_ldap_is_named_and_the_claim_can_be_deleted(environment: Environment, node: Node, lagging: Rerouted) -> None:
    request = environment.request()
    node.answer = admin_requests("add-user", refused_by_admin_api(403, "XMinioIAMActionNotAllowed", request_id="ID-9"))
    with pytest.raises(StoreRefused, match="LDAP") as refused:
        lagging.provision(request)
    assert refused.value.request_id == "ID-9"
    lagging.delete(builders.intent(request))
    assert not environment.administrator.bucket_exists(request.bucket_name)
    assert not environment.administrator.identity_exists(builders.intent(request))


def test_a_policy_that_was_attached_to_others_is_named_and_deletion_goes_on_when_it_is_detached(
    environment: Environment, backend: MinioBackend
) -> None:
    tenant = environment.tenant(greenfield=True)
    admin = backend.administrator.admin
    admin.user_add("another-user", "its-own-secret")
    try:
        admin.attach_policy([tenant.request.user_id], user="another-user")
        with pytest.raises(StoreRefused, match="detach it from them"):
            environment.provisioner.delete(tenant.record)
        admin.detach_policy([tenant.request.user_id], user="another-user")
    finally:
        admin.user_remove("another-user")
    environment.delete(tenant.record)
    assert not backend.administrator.identity_exists(tenant.record)


def _die(*_: object) -> None:
    raise StoreUnavailable("the process died here")
