"""Where requests go, what applications are told, and what becomes of servers that don't do what they should."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from botocore.loaders import create_loader
from urllib3 import HTTPResponse

from aws_s3_provisioner.client import Connector
from aws_s3_provisioner.identity import Identity
from aws_s3_provisioner.parameters import Admin, parse_parameters
from aws_s3_provisioner.provisioner import AwsS3Provisioner
from aws_s3_provisioner.sdk_clients import Limits
from aws_s3_provisioner.stamps import Stamps
from aws_s3_provisioner.storage import Storage
from libbucket import (
    AdminSecretMissing,
    NotReady,
    ProvisionerError,
    Reason,
    RetrySlowly,
    SecretStr,
    Services,
    StoreUnavailable,
    Throttled,
)
from libbucket.testing import builders
from libbucket.testing.misbehaving import Answer, closed_port_url, scripted_server, silent_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from aws_s3_provisioner.client import Clients

ADMIN = Admin(access_key="AKIA", secret_key=SecretStr("s3cr3t"), token=SecretStr(""))
SECRET = {"secretName": "admin", "secretNamespace": "aws"}
HELD = {"AWS_ACCESS_KEY_ID": SecretStr("AKIA"), "AWS_SECRET_ACCESS_KEY": SecretStr("s3cr3t")}
SHORT = Limits(connect=0.5, read=0.3)
ELSEWHERE = b"<Error><Code>%b</Code><Message>m</Message><Region>eu-central-1</Region></Error>"


def no_fence() -> None:
    """Lets every request go."""


def connected(look: Callable[[Clients], Any], **parameters: str) -> Any:
    with Connector(Limits(), no_fence).connect(parse_parameters(parameters), ADMIN) as clients:
        return look(clients)


def a_provisioner(secret: Mapping[str, SecretStr] | None = None) -> AwsS3Provisioner:
    return AwsS3Provisioner(Services(read_secret=lambda _namespace, _name: secret or HELD), limits=SHORT)


def verbs(provisioner: AwsS3Provisioner, url: str, *, was_bound: bool = False) -> dict[str, Callable[[], object]]:
    """Every verb, with a request for a store at `url`."""
    parameters = {**SECRET, "s3Endpoint": url, "iamEndpoint": url}
    state = {"UserName": "obc-shop-photos", "ARN": ""} if was_bound else {}
    request = replace(
        builders.options(parameters=parameters, credentials=builders.access_keys()),
        was_bound=was_bound,
        additional_state=state,
    )
    record = builders.intent(request)
    record = replace(record, connection=replace(record.connection, additional_state=state))
    return {
        "provision": lambda: provisioner.provision(request),
        "grant": lambda: provisioner.grant(request),
        "delete": lambda: provisioner.delete(record),
        "revoke": lambda: provisioner.revoke(record),
        "is_intact": lambda: provisioner.is_intact(request),
    }


each_verb = pytest.mark.parametrize("verb", ["provision", "grant", "delete", "revoke", "is_intact"])


@pytest.mark.parametrize(
    ("region", "partition", "host"),
    [
        ("us-east-1", "aws", "s3.us-east-1.amazonaws.com"),
        ("us-west-1", "aws", "s3.us-west-1.amazonaws.com"),
        ("eu-central-1", "aws", "s3.eu-central-1.amazonaws.com"),
        ("cn-north-1", "aws-cn", "s3.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "aws-us-gov", "s3.us-gov-west-1.amazonaws.com"),
        ("us-iso-east-1", "aws-iso", "s3.us-iso-east-1.c2s.ic.gov"),
        ("us-isob-east-1", "aws-iso-b", "s3.us-isob-east-1.sc2s.sgov.gov"),
        ("eusc-de-east-1", "aws-eusc", "s3.eusc-de-east-1.amazonaws.eu"),
        ("eu-north-9", "aws", "s3.eu-north-9.amazonaws.com"),
    ],
)
def test_every_region_and_partition_has_its_host_and_its_arns(region: str, partition: str, host: str) -> None:
    def look(clients: Clients) -> tuple[str, ...]:
        return clients.partition, clients.public.url, clients.s3.meta.endpoint_url, clients.bucket_arn("b")

    found = connected(look, region=region)
    assert found == (partition, f"https://{host}", f"https://{host}", f"arn:{partition}:s3:::b")


@pytest.mark.parametrize(
    ("region", "chosen", "host", "iam"),
    [
        ("us-east-1", ("fips",), "s3-fips.us-east-1.amazonaws.com", "iam-fips.amazonaws.com"),
        ("us-east-1", ("dualstack",), "s3.dualstack.us-east-1.amazonaws.com", "iam.amazonaws.com"),
        (
            "ca-central-1",
            ("fips", "dualstack"),
            "s3-fips.dualstack.ca-central-1.amazonaws.com",
            "iam-fips.amazonaws.com",
        ),
        ("us-gov-west-1", ("fips",), "s3-fips.us-gov-west-1.amazonaws.com", "iam.us-gov.amazonaws.com"),
        ("cn-north-1", ("dualstack",), "s3.dualstack.cn-north-1.amazonaws.com.cn", "iam.cn-north-1.amazonaws.com.cn"),
        ("us-iso-east-1", ("fips",), "s3-fips.us-iso-east-1.c2s.ic.gov", "iam.us-iso-east-1.c2s.ic.gov"),
        (
            "eusc-de-east-1",
            ("dualstack",),
            "s3.dualstack.eusc-de-east-1.amazonaws.eu",
            "iam.eusc-de-east-1.amazonaws.eu",
        ),
    ],
)
def test_a_class_may_choose_fips_and_dualstack_endpoints(
    region: str, chosen: tuple[str, ...], host: str, iam: str
) -> None:
    def look(clients: Clients) -> tuple[str, ...]:
        return clients.public.host, sent_to(clients.s3, "list_buckets"), sent_to(clients.iam, "list_users")

    found = connected(look, region=region, **dict.fromkeys(chosen, "true"))
    assert found == (host, host, iam)


PARTITIONS = create_loader().load_data("endpoints")["partitions"]
"""What the SDK knew of hosts before it resolved them by rules: each of them written down."""


def sent_to(client: Any, operation: str) -> str:
    """The host that a request has when it is about to be sent."""
    hosts: list[str] = []

    def caught(request: Any, **_event: object) -> AWSResponse:
        hosts.append(urlsplit(request.url).netloc)
        return AWSResponse(request.url, 403, HTTPHeaders(), HTTPResponse(BytesIO(b"<Error/>"), preload_content=False))

    client.meta.events.register_first("before-send", caught)
    with suppress(ClientError):
        getattr(client, operation)()
    return hosts[0]


def s3_hosts() -> Iterator[tuple[str, str, str, Mapping[str, str]]]:
    """Partition, region, suffix, and the hosts that are written down: by `fips`, `dualstack`, both, or none."""
    for partition in PARTITIONS:
        known = partition["services"].get("s3", {}).get("endpoints", {})
        for region in partition["regions"]:
            entry = known.get(region, {})
            hosts = {"+".join(sorted(one["tags"])): one["hostname"] for one in entry.get("variants", ())}
            yield partition["partition"], region, partition["dnsSuffix"], hosts


def test_hosts_and_arns_are_aws_own_in_each_region_of_each_partition() -> None:
    """Against the SDK's table, which its rules for endpoints do not read."""
    checked, connector = 0, Connector(Limits(), no_fence)
    for partition, region, suffix, hosts in s3_hosts():
        expected = {"": f"s3.{region}.{suffix}", **hosts}
        for chosen, host in expected.items():
            given = {"region": region, **dict.fromkeys(filter(None, chosen.split("+")), "true")}
            with connector.connect(parse_parameters(given), ADMIN) as clients:
                found = clients.public.host, clients.public.url, sent_to(clients.s3, "list_buckets")
                assert found == (host, f"https://{host}", host), (region, chosen)
                assert clients.partition == partition
                assert clients.bucket_arn("b") == f"arn:{partition}:s3:::b"
                assert clients.s3_service == f"s3.{region}.{suffix}"
            checked += 1
    assert checked > 80


def test_iam_is_asked_where_each_partition_has_it() -> None:
    connector = Connector(Limits(), no_fence)
    for partition in PARTITIONS:
        if "iam" not in partition["services"]:  # of the newest partitions, the table has none
            continue
        host = partition["services"]["iam"]["endpoints"][f"{partition['partition']}-global"]["hostname"]
        with connector.connect(parse_parameters({"region": next(iter(partition["regions"]))}), ADMIN) as clients:
            assert sent_to(clients.iam, "list_users") == host


@pytest.mark.parametrize("region", ["eu-central-1", "ap-southeast-2"])
def test_a_region_without_fips_endpoints_is_refused(region: str) -> None:
    with pytest.raises(RetrySlowly, match=f"no FIPS endpoint of S3 in {region}") as refused:
        connected(lambda clients: clients, region=region, fips="true")
    assert refused.value.reason is Reason.INVALID_PARAMETERS
    connected(lambda clients: clients, region=region, dualstack="true")  # the control


def test_users_are_looked_for_where_their_partition_has_them() -> None:
    def iam(clients: Clients) -> str:
        return clients.iam.meta.endpoint_url

    assert connected(iam, region="us-west-1") == "https://iam.amazonaws.com"
    assert connected(iam, region="cn-north-1") == "https://iam.cn-north-1.amazonaws.com.cn"
    assert connected(iam, region="us-gov-west-1") == "https://iam.us-gov.amazonaws.com"


@pytest.mark.parametrize(
    ("region", "parameters", "signed_for"),
    [
        ("eu-west-1", {}, "us-east-1"),
        ("eu-west-1", {"iamEndpoint": "https://iam.amazonaws.com"}, "us-east-1"),
        ("us-gov-east-1", {"iamEndpoint": "https://iam.us-gov.amazonaws.com"}, "us-gov-west-1"),
        ("cn-northwest-1", {"iamEndpoint": "https://iam.cn-north-1.amazonaws.com.cn"}, "cn-north-1"),
        ("eusc-de-east-1", {"iamEndpoint": "https://iam.eusc-de-east-1.amazonaws.eu"}, "eusc-de-east-1"),
        ("eu-west-1", {"s3Endpoint": "https://s3.test", "iamEndpoint": "https://iam.test"}, "us-east-1"),
        ("default", {"s3Endpoint": "https://s3.test", "iamEndpoint": "https://iam.test"}, "us-east-1"),
    ],
)
def test_requests_to_iam_are_signed_for_its_own_region(
    region: str, parameters: dict[str, str], signed_for: str
) -> None:
    """A partition has one IAM: https://docs.aws.amazon.com/IAM/latest/UserGuide/introduction.html#intro-accessing."""

    def signed(clients: Clients) -> str:
        url: str = clients.iam.generate_presigned_url("get_user", Params={"UserName": "obc-photos"})
        return unquote(url).partition("X-Amz-Credential=")[2].split("/")[2]

    assert connected(signed, region=region, **parameters) == signed_for


def test_a_region_that_aws_does_not_have_is_refused_but_another_store_may_have_it() -> None:
    with pytest.raises(RetrySlowly, match="region"):
        connected(lambda clients: clients.partition, region="garage")
    own = {"s3Endpoint": "https://s3.example.com:3900", "iamEndpoint": "https://iam.example.com"}
    assert connected(lambda clients: clients.public, region="garage", **own).url == "https://s3.example.com:3900"


def test_a_bucket_stands_in_the_path_where_the_class_says_so() -> None:
    def signed(clients: Clients) -> str:
        return clients.s3.generate_presigned_url("get_object", Params={"Bucket": "photos", "Key": "k"})

    assert connected(signed, region="eu-west-1").startswith("https://photos.s3.")
    path = connected(signed, region="eu-west-1", pathStyle="true")
    assert path.startswith("https://s3.")
    assert "amazonaws.com/photos/k?" in path


def test_the_class_says_where_to_go_and_not_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere.invalid")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    found = connected(lambda clients: (clients.s3.meta.endpoint_url, clients.s3.meta.region_name))
    assert found == ("https://s3.us-west-1.amazonaws.com", "us-west-1")


def test_requests_have_the_limits_of_the_contract_and_the_sdk_tries_once() -> None:
    def look(clients: Clients) -> list[tuple[object, ...]]:
        configs: list[Any] = [clients.s3.meta.config, clients.iam.meta.config]
        return [(one.connect_timeout, one.read_timeout, one.retries["total_max_attempts"]) for one in configs]

    assert connected(look) == [(5.0, 30.0, 1)] * 2


@each_verb
def test_a_server_that_never_answers_is_given_up_within_the_limit(verb: str) -> None:
    with silent_server() as server:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="time limit"):
            verbs(a_provisioner(), server.url)[verb]()
        assert time.monotonic() - began < 5
        assert server.connections == 1


@each_verb
def test_no_server_listening_is_the_stores_failure(verb: str) -> None:
    with pytest.raises(StoreUnavailable, match="no connection"):
        verbs(a_provisioner(), closed_port_url())[verb]()


@each_verb
@pytest.mark.parametrize("code", [b"SlowDown", b"ServiceUnavailable", b"Throttling"])
def test_a_busy_server_is_not_asked_again_but_its_delay_handed_on(verb: str, code: bytes) -> None:
    body = b"<Error><Code>%b</Code></Error>" % code
    with scripted_server(Answer(status=503, headers={"Retry-After": "7"}, body=body)) as server:
        with pytest.raises(Throttled) as refused:
            verbs(a_provisioner(), server.url)[verb]()
        assert refused.value.delay == 7
        assert len(server.requests) == 1


@each_verb
@pytest.mark.parametrize("body", [b"", b"slow down, please"])
def test_what_stands_before_aws_may_ask_for_fewer_requests_in_its_own_words(verb: str, body: bytes) -> None:
    with scripted_server(Answer(status=429, headers={"Retry-After": "7"}, body=body)) as server:
        with pytest.raises(Throttled) as refused:
            verbs(a_provisioner(), server.url)[verb]()
        assert refused.value.delay == 7
        assert len(server.requests) == 1


@each_verb
@pytest.mark.parametrize("page", [b"<html>Welcome<br></html>", b"<!DOCTYPE html><html>Welcome</html>"])
def test_a_web_page_is_told_from_aws(verb: str, page: bytes) -> None:
    answer = Answer(headers={"Content-Type": "text/html"}, body=page)
    with scripted_server(answer) as server, pytest.raises(RetrySlowly, match="s3Endpoint"):
        verbs(a_provisioner(), server.url)[verb]()


@pytest.mark.parametrize("verb", ["provision", "grant", "delete", "is_intact"])
@pytest.mark.parametrize(
    ("status", "code", "headers"),
    [
        # As S3 answers: https://docs.aws.amazon.com/AmazonS3/latest/userguide/Redirects.html
        (301, b"PermanentRedirect", {"x-amz-bucket-region": "eu-central-1"}),
        (400, b"AuthorizationHeaderMalformed", {}),
    ],
)
def test_a_bucket_in_another_region_is_named_and_nothing_is_done(
    verb: str, status: int, code: bytes, headers: dict[str, str]
) -> None:
    with scripted_server(Answer(status=status, headers=headers, body=ELSEWHERE % code)) as server:
        with pytest.raises(RetrySlowly, match="eu-central-1") as refused:
            verbs(a_provisioner(), server.url, was_bound=True)[verb]()
        assert "region" in refused.value.message
        assert len(server.requests) == 1
        assert server.requests[0].startswith("GET ")


@pytest.mark.parametrize("verb", ["provision", "grant", "delete", "is_intact"])
def test_a_temporary_redirect_is_waited_for_and_not_followed(verb: str) -> None:
    # The name is being made in another region: https://docs.aws.amazon.com/AmazonS3/latest/userguide/Redirects.html
    headers = {"Location": "https://b.s3.eu-central-1.amazonaws.com/"}
    with scripted_server(Answer(status=307, headers=headers, body=ELSEWHERE % b"TemporaryRedirect")) as server:
        with pytest.raises(NotReady, match="from one region to another"):
            verbs(a_provisioner(), server.url, was_bound=True)[verb]()
        assert len(server.requests) == 1


@pytest.mark.parametrize("verb", ["provision", "delete"])
def test_a_redirect_that_is_not_s3s_says_nothing_about_a_name(verb: str) -> None:
    # As a proxy or a login page answers, without S3's code and header of the region.
    with scripted_server(Answer(status=301, headers={"Location": "https://login.example/"})) as server:
        with pytest.raises(RetrySlowly, match="redirect that is not S3's") as refused:
            verbs(a_provisioner(), server.url)[verb]()
        assert refused.value.reason is Reason.INVALID_PARAMETERS
        assert len(server.requests) == 1


@pytest.mark.parametrize("verb", ["provision", "delete"])
def test_a_store_that_signs_for_another_region_is_no_name_that_is_taken(verb: str) -> None:
    # As MinIO answers every request: the class is wrong, and nothing is known of the name.
    with scripted_server(Answer(status=400, body=ELSEWHERE % b"AuthorizationHeaderMalformed")) as server:
        with pytest.raises(RetrySlowly, match="parameter region") as refused:
            verbs(a_provisioner(), server.url)[verb]()
        assert refused.value.reason is Reason.INVALID_PARAMETERS
        assert [each.split("?")[0] for each in server.requests][1:] == ["GET /"]


def test_a_secret_that_is_named_and_missing_is_no_reason_to_look_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAAMBIENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ambient")

    def missing(namespace: str, name: str) -> Mapping[str, SecretStr]:
        raise AdminSecretMissing(f"Secret {namespace}/{name} does not exist")

    provisioner = AwsS3Provisioner(Services(read_secret=missing), limits=SHORT)
    with silent_server() as server:
        for call in verbs(provisioner, server.url).values():
            with pytest.raises(AdminSecretMissing):
                call()
        assert server.connections == 0


def test_a_pod_without_an_identity_is_told_what_to_do() -> None:
    provisioner = AwsS3Provisioner(Services(read_secret=lambda _namespace, _name: HELD), limits=SHORT)
    with pytest.raises(RetrySlowly, match=r"secretName.*IRSA"):
        provisioner.provision(builders.options(parameters={"region": "eu-west-1"}))


def test_connections_are_closed_and_nothing_is_printed_of_a_secret() -> None:
    with silent_server() as server:
        parameters = parse_parameters({"s3Endpoint": server.url, "iamEndpoint": server.url})
        with Connector(SHORT, no_fence).connect(parameters, ADMIN) as clients:
            assert "s3cr3t" not in repr(clients)
            storage = Storage(clients=clients, stamps=Stamps(clients))
            with pytest.raises(ProvisionerError) as refused:
                storage.find_tags("bucket")
            assert "s3cr3t" not in repr(refused.value) + repr(Identity)


def test_a_check_without_credentials_sends_nothing() -> None:
    with silent_server() as server:
        parameters = {**SECRET, "s3Endpoint": server.url, "iamEndpoint": server.url}
        assert not a_provisioner().is_intact(builders.options(parameters=parameters))
        assert server.connections == 0
