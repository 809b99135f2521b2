"""Bad input, on a real API server and a real MinIO: one clear sentence on the claim, and nothing is lost or modified.

Every refusal is followed by the fix that its sentence names, after which the same claim binds (or, where a
name can't be edited, another one beside it).
"""

from __future__ import annotations

import base64
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from libbucket.testing.in_process import core_in_process
from libbucket.testing.processes import HOST, free_ports
from minio_provisioner.provisioner import MinioProvisioner
from testkit.cluster.memory_environment import OBC, condition
from testkit.cluster.minio_environment import MinioEnvironment, MinioServer, minio_binary, minio_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from libbucket._controller.controller import Controller
    from libbucket.testing.controlplane import Cluster
    from testkit.cluster.memory_environment import MemoryEnvironment, Wire

_EVERYTHING = frozenset({"maxObjects", "maxSize", "bucketMaxSize", "bucketVersioning"})


@pytest.fixture(scope="module")
def server() -> Iterator[MinioServer]:
    with minio_server(minio_binary()) as running:
        yield running


@pytest.fixture(scope="module")
def tls_server() -> Iterator[MinioServer]:
    with minio_server(minio_binary(), tls=True) as running:
        yield running


@pytest.fixture
def minio_environment(cluster: Cluster, namespace: str, server: MinioServer) -> Iterator[MinioEnvironment]:
    """A namespace with a provisioner for MinIO that runs in this process."""
    made = MinioEnvironment(cluster, namespace, server)
    with core_in_process(
        cluster.kubeconfig, MinioProvisioner, provisioner_name=made.provisioner_name, allowed_config=_EVERYTHING
    ):
        yield made
        for claim in made.claims():
            made.delete_claim(claim["metadata"]["name"])
    made.delete_classes()


@contextmanager
def a_web_server() -> Iterator[str]:
    """A server that answers every request with HTML, as a console or a login page in front of a store does."""

    class Page(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            page = b"<html><body>Sign in</body></html>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(page)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer  # noqa: N815 - names that http.server requires

        def log_message(self, *_: object) -> None:
            """Logs nothing."""

    with HTTPServer((HOST, 0), Page) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        try:
            yield f"http://{HOST}:{web.server_port}"
        finally:
            web.shutdown()
            thread.join()


def wait_reason(minio_environment: MinioEnvironment, reason: str, name: str = "photos") -> Wire:
    """The claim, once it shows this reason; checks what all waiting and failed claims have in common."""
    claim = minio_environment.wait_claim(name, lambda found: condition(found).get("reason") == reason)
    assert condition(claim)["status"] == "False"
    minio_environment.wait_event(name, "Warning", reason, condition(claim)["message"])
    assert minio_environment.admin.find(minio_environment.path("secrets", name)) is None
    assert minio_environment.admin.find(minio_environment.path("configmaps", name)) is None
    return claim


def check_waits(claim: Wire) -> str:
    """Checks that the claim is retried; returns its message."""
    assert claim["status"]["phase"] == "Pending"
    assert not condition(claim, "Stalled")
    return str(condition(claim)["message"])


def check_failed(claim: Wire) -> str:
    """Checks that the claim is not retried before an edit; returns its message."""
    assert claim["status"]["phase"] == "Failed"
    assert condition(claim, "Stalled")["status"] == "True"
    assert condition(claim, "Stalled")["reason"] == condition(claim)["reason"]
    return str(condition(claim)["message"])


def use(minio_environment: MinioEnvironment, name: str = "photos") -> None:
    """Waits for the claim, and uses its bucket."""
    minio_environment.wait_bound(name)
    minio_environment.application(name).put(minio_environment.bucket(name), "key", b"data")


def wake(minio_environment: MinioEnvironment, name: str = "photos") -> None:
    """Edits the claim, which retries it immediately."""
    minio_environment.admin.patch(
        minio_environment.claim_path(name), {"metadata": {"annotations": {"example.com/fixed": "yes"}}}
    )


# The class.


def test_an_unknown_parameter_is_a_warning_and_the_claim_binds(minio_environment: MinioEnvironment) -> None:
    minio_environment.make_admin_secret()
    minio_environment.claim("photos", minio_environment.make_class(regoin="here"))
    use(minio_environment)

    minio_environment.wait_event(
        "photos", "Warning", "ProvisionerWarning", "StorageClass parameter 'regoin' is unknown"
    )


@dataclass(frozen=True, kw_only=True)
class BadClass:
    """A class that no claim can be bound with.

    Attributes:
        parameters: laid over the good ones.
        reason: that the claim shows.
        message: parts of its sentence.
    """

    parameters: Mapping[str, str]
    reason: str = "InvalidParameters"
    message: tuple[str, ...] = field(default=())


def check_fixed_by_another_class(minio_environment: MinioEnvironment, bad: BadClass) -> None:
    """The claim reports the error, MinIO is not modified, and the claim binds once the class is recreated."""
    minio_environment.make_admin_secret()
    before = (minio_environment.buckets(), minio_environment.users(), minio_environment.policies())
    class_name = minio_environment.make_class(**bad.parameters)
    minio_environment.claim("photos", class_name)
    said = check_waits(wait_reason(minio_environment, bad.reason))
    for part in bad.message:
        assert part in said
    assert (minio_environment.buckets(), minio_environment.users(), minio_environment.policies()) == before

    minio_environment.make_class_again(class_name)
    use(minio_environment)


def test_all_mistakes_of_a_class_are_named_at_once(minio_environment: MinioEnvironment) -> None:
    bad = {"endpoint": "ftp://minio", "region": "?", "versioning": "perhaps", "caBundle": "none"}
    check_fixed_by_another_class(minio_environment, BadClass(parameters=bad, message=tuple(bad)))


def test_an_unreachable_endpoint_is_retried(minio_environment: MinioEnvironment) -> None:
    down = {"endpoint": f"http://{HOST}:{free_ports(1)[0]}"}
    bad = BadClass(parameters=down, reason="StoreUnavailable", message=(down["endpoint"], "the connection is refused"))
    check_fixed_by_another_class(minio_environment, bad)


def test_an_endpoint_that_answers_with_html_is_refused(minio_environment: MinioEnvironment) -> None:
    with a_web_server() as url:
        bad = BadClass(parameters={"endpoint": url}, message=(url, "answers with a web page"))
        check_fixed_by_another_class(minio_environment, bad)


def test_https_to_a_plain_http_server_is_reported(minio_environment: MinioEnvironment) -> None:
    url = minio_environment.server.url.replace("http:", "https:")
    bad = BadClass(parameters={"endpoint": url}, message=(url, "say http:// in parameter endpoint"))
    check_fixed_by_another_class(minio_environment, bad)


def test_plain_http_to_a_tls_server_is_reported(minio_environment: MinioEnvironment, tls_server: MinioServer) -> None:
    url = tls_server.url.replace("https:", "http:")
    bad = BadClass(parameters={"endpoint": url}, message=(url, "say https:// in parameter endpoint"))
    check_fixed_by_another_class(minio_environment, bad)


def test_a_certificate_of_an_unknown_authority_is_refused(
    minio_environment: MinioEnvironment, tls_server: MinioServer
) -> None:
    bad = BadClass(parameters={"endpoint": tls_server.url}, message=(tls_server.url, "give its PEM in parameter"))
    check_fixed_by_another_class(minio_environment, bad)


# The administrator's Secret.


def test_a_missing_admin_secret_is_retried(minio_environment: MinioEnvironment) -> None:
    minio_environment.claim("photos", minio_environment.make_class())
    said = check_waits(wait_reason(minio_environment, "AdminSecretMissing"))
    assert f"Secret {minio_environment.namespace}/minio-admin" in said

    minio_environment.make_admin_secret()
    wake(minio_environment)
    use(minio_environment)


@pytest.mark.parametrize(
    ("held", "reason", "part"),
    [
        pytest.param(
            {"MINIO_ROOT_USER": "another-user"}, "InvalidAdminSecret", "key MINIO_ROOT_PASSWORD is missing", id="no-key"
        ),
        pytest.param({"user": "another-user"}, "InvalidAdminSecret", "needs the keys MINIO_ROOT_USER", id="other-keys"),
        pytest.param(
            {"MINIO_ROOT_USER": "another-user", "MINIO_ROOT_PASSWORD": "not-the-password"},
            "AccessDenied",
            "does not accept the administrator's credentials",
            id="wrong-credentials",
        ),
    ],
)
def test_an_unusable_admin_secret_is_reported_and_can_be_fixed(
    minio_environment: MinioEnvironment, held: dict[str, str], reason: str, part: str
) -> None:
    minio_environment.make_admin_secret(**held)
    minio_environment.claim("photos", minio_environment.make_class())
    said = check_waits(wait_reason(minio_environment, reason))
    assert part in said
    assert "not-the-password" not in said

    minio_environment.admin.delete(minio_environment.path("secrets", "minio-admin"))
    minio_environment.make_admin_secret()
    wake(minio_environment)
    use(minio_environment)


@pytest.mark.parametrize(
    ("held", "parameters", "reason"),
    [
        pytest.param(None, {}, "AdminSecretMissing", id="no-secret"),
        pytest.param({"user": "another-user"}, {}, "InvalidAdminSecret", id="other-keys"),
        pytest.param({}, {"endpoint": "ftp://minio"}, "InvalidParameters", id="parameters"),
    ],
)
def test_a_claim_that_never_reached_its_store_is_deleted_without_a_fix_of_its_class(
    minio_environment: MinioEnvironment, held: dict[str, str] | None, parameters: dict[str, str], reason: str
) -> None:
    if held is not None:
        minio_environment.make_admin_secret(**held)
    minio_environment.claim("photos", minio_environment.make_class(**parameters))
    wait_reason(minio_environment, reason)
    wake(minio_environment)  # a second try changes nothing
    minio_environment.admin.delete(minio_environment.claim_path("photos"))
    minio_environment.admin.wait_gone(minio_environment.claim_path("photos"), timeout=60)
    assert not [
        one
        for one in minio_environment.admin.items(f"{OBC}/objectbuckets")
        if minio_environment.namespace in one["metadata"]["name"]
    ]


def test_deletion_of_a_claim_with_a_bucket_waits_for_the_admin_secret(
    minio_environment: MinioEnvironment,
) -> None:
    minio_environment.make_admin_secret()
    minio_environment.claim("photos", minio_environment.make_class())
    use(minio_environment)
    bucket = minio_environment.bucket("photos")
    minio_environment.admin.delete(minio_environment.path("secrets", "minio-admin"))
    minio_environment.admin.delete(minio_environment.claim_path("photos"))
    minio_environment.wait_claim("photos", lambda found: condition(found).get("reason") == "AdminSecretMissing")
    assert bucket in minio_environment.buckets()
    minio_environment.make_admin_secret()
    wake(minio_environment)
    minio_environment.admin.wait_gone(minio_environment.claim_path("photos"), timeout=60)
    assert bucket not in minio_environment.buckets()


# The claim.


@pytest.mark.parametrize(
    "name",
    ["Photos_2026", "a", "photos..2026", "127.0.0.1", "a" * 64],
    ids=lambda name: name if name[1:2] != "a" else "64",
)
def test_a_name_that_the_store_refuses_fails_and_a_name_that_it_takes_binds(
    minio_environment: MinioEnvironment, name: str
) -> None:
    minio_environment.make_admin_secret()
    before = minio_environment.buckets()
    storage_class = minio_environment.make_class()
    minio_environment.claim("photos", storage_class, bucketName=name)
    said = check_failed(wait_reason(minio_environment, "InvalidClaim"))
    assert f"spec.bucketName {name!r}" in said
    assert minio_environment.buckets() == before

    minio_environment.claim("better", storage_class, bucketName=f"better-{minio_environment.namespace}")
    use(minio_environment, "better")


def test_a_claim_that_is_itself_named_with_64_characters_binds(minio_environment: MinioEnvironment) -> None:
    name = "p" * 64
    minio_environment.make_admin_secret()
    minio_environment.claim(name, minio_environment.make_class(), generateBucketName=name)
    use(minio_environment, name)

    assert len(minio_environment.bucket(name)) <= 63


def test_unknown_or_non_string_config_keys_are_warnings(minio_environment: MinioEnvironment) -> None:
    minio_environment.make_admin_secret()
    config = {"colour": "red", "maxObjects": "10", "maxSize": 1048576, "bucketMaxSize": {"much": True}}
    minio_environment.claim(
        "photos", minio_environment.make_class(), generateBucketName="photos", additionalConfig=config
    )
    use(minio_environment)

    for part in (
        "spec.additionalConfig.colour is ignored: the key is unknown",
        "spec.additionalConfig.maxObjects is ignored: the store does not support it",
        "spec.additionalConfig.bucketMaxSize is ignored: its value is not a string",
    ):
        minio_environment.wait_event("photos", "Warning", "UnmanagedConfig", part)
    assert minio_environment.minio.settings(minio_environment.bucket("photos"))["quota"] == 1048576


def test_an_invalid_config_value_fails_until_it_is_edited(minio_environment: MinioEnvironment) -> None:
    minio_environment.make_admin_secret()
    storage_class = minio_environment.make_class()
    minio_environment.claim("photos", storage_class, generateBucketName="photos", additionalConfig={"maxSize": "big"})
    said = check_failed(wait_reason(minio_environment, "InvalidConfig"))
    assert "additionalConfig.maxSize must be a quantity" in said

    minio_environment.admin.patch(
        minio_environment.claim_path("photos"), {"spec": {"additionalConfig": {"maxSize": "1Mi"}}}
    )
    use(minio_environment)
    assert not condition(minio_environment.admin.get(minio_environment.claim_path("photos")), "Stalled")


def test_a_claim_with_neither_name_fails_until_it_gets_one(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim(spec={})
        claim = environment.wait_reason("InvalidClaim")
        assert "spec.bucketName or spec.generateBucketName" in check_failed(claim)
        assert environment.calls == {}
        assert environment.admin.find(environment.ob_path()) is None

        environment.patch_claim({"spec": {"generateBucketName": "photos"}})
        environment.wait_bound()
    environment.wait_event("Warning", "InvalidClaim")


def test_a_permanent_failure_emits_one_event_however_often_it_is_reconciled(
    environment: MemoryEnvironment,
) -> None:
    with environment.core():
        environment.claim(spec={"bucketName": "Not A Name"})
        told = environment.wait_reason("InvalidClaim")
        check_failed(told)
    for number in range(2):
        with environment.core(workers=1):
            environment.until(lambda: environment.calls == {"provision": 1})
            environment.claim(f"new-{number}")
            environment.wait_bound(f"new-{number}")  # the only worker is done with the first one
    assert environment.get_claim() == told
    assert environment.events().count(("Warning", "InvalidClaim")) == 1


# Conflicts in the cluster.


@pytest.mark.parametrize(
    ("plural", "reason", "data"),
    [
        ("secrets", "SecretConflict", {"password": base64.b64encode(b"of another owner").decode()}),
        ("configmaps", "ConfigMapConflict", {"motd": "of another owner"}),
    ],
)
def test_a_conflicting_object_is_not_modified_and_the_claim_binds_once_it_is_deleted(
    environment: MemoryEnvironment, plural: str, reason: str, data: dict[str, str]
) -> None:
    collection = environment.path(plural).rpartition("/")[0]
    foreign = environment.admin.create(collection, {"metadata": {"name": "photos"}, "data": data})
    with environment.core():
        environment.claim()
        claim = environment.wait_reason(reason)
        assert f"{environment.namespace}/photos exists that this claim does not own" in check_waits(claim)
        assert environment.admin.get(environment.path(plural)) == foreign
        environment.claim("other")
        environment.wait_bound("other")

        environment.admin.delete(environment.path(plural))
        environment.wait_bound()
    environment.wait_event("Warning", reason)
    for one in ("secrets", "configmaps"):
        assert (
            environment.admin.get(environment.path(one))["metadata"]["ownerReferences"][0]["uid"]
            == claim["metadata"]["uid"]
        )


def test_a_foreign_object_outlives_the_claim_that_waited_for_its_name(environment: MemoryEnvironment) -> None:
    collection = environment.path("secrets").rpartition("/")[0]
    foreign = environment.admin.create(collection, {"metadata": {"name": "photos"}})
    with environment.core():
        environment.claim()
        environment.wait_reason("SecretConflict")
        environment.delete_claim()

    assert environment.admin.get(environment.path("secrets")) == foreign
    assert not environment.store.buckets
    assert not environment.store.identities


def test_deleting_the_namespace_during_binding_is_reported_and_leaks_nothing(
    environment: MemoryEnvironment,
) -> None:
    """Resources created in the store before the namespace's deletion are deprovisioned, and the namespace ends."""
    path = f"/api/v1/namespaces/{environment.namespace}"
    key = f"{environment.namespace}/photos"
    seen: list[tuple[int, Wire]] = []

    def observe(verb: str, _request: object) -> None:
        if verb == "provision":
            environment.admin.delete(path)
            # Until the core knows, too, so that its next message is not about an older version of the claim.
            wait_until(lambda: is_going(controller, key))
        else:
            seen.append((len(environment.store.buckets), environment.get_claim()))

    environment.hook = observe
    with core_in_process(
        environment.cluster.kubeconfig, environment._build, provisioner_name=environment.provisioner_name
    ) as controller:
        environment.claim()
        environment.admin.wait_gone(path, timeout=60)

    buckets, claim = seen[0]
    assert buckets == 1
    assert claim["status"]["phase"] == "Pending"
    assert condition(claim)["reason"] == "NamespaceTerminating"
    assert condition(claim)["status"] == "False"
    assert not environment.store.buckets
    assert not environment.store.identities
    assert environment.admin.find(environment.ob_path()) is None


def is_going(controller: Controller, key: str) -> bool:
    """Whether the core's cache shows that a claim is being deleted."""
    claim = controller._caches.claims.get(key)
    return claim is not None and claim.metadata.is_being_deleted


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
