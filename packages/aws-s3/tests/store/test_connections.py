"""Who the provisioner is to AWS, and where it finds it: Secrets, IRSA, EKS Pod Identity, tokens that end."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.endpoint import Endpoint

from aws_s3_provisioner.provisioner import AwsS3Provisioner
from aws_s3_provisioner.sdk_clients import Limits
from libbucket import AccessDenied, RetrySlowly, Services, StoreUnavailable
from libbucket.testing.conformance.environment import Environment, assert_works
from libbucket.testing.misbehaving import Answer, closed_port_url, scripted_server, silent_server
from testkit.aws_s3.backend import README_POLICY, AwsBackend, a_provisioner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from libbucket import SecretStr

ROLE = "provisioner"
SERVICE_ACCOUNT = "system:serviceaccount:buckets:aws-s3-provisioner"


def a_token(subject: str) -> str:
    """A token of a service account. The server checks its issuer and audience, not its signature."""
    claims = {"iss": "https://oidc.example.com", "sub": subject, "aud": ["sts.amazonaws.com"]}
    parts = ({"alg": "RS256", "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


def no_secret(namespace: str, name: str) -> Mapping[str, SecretStr]:
    pytest.fail(f"no Secret is named, and {namespace}/{name} was asked for")


@pytest.fixture
def role(backend: AwsBackend) -> Iterator[str]:
    """ARN of a role that may do what the README says."""
    iam = backend.administrator.iam
    trust = {
        "Effect": "Allow",
        "Principal": {"Federated": "arn:aws:iam::000000000000:oidc-provider/oidc.example.com"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {"oidc.example.com:sub": SERVICE_ACCOUNT}},
    }
    own = {"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust, own]})
    arn: str = iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    iam.put_role_policy(RoleName=ROLE, PolicyName="its-own", PolicyDocument=README_POLICY)
    yield arn
    iam.delete_role_policy(RoleName=ROLE, PolicyName="its-own")
    iam.delete_role(RoleName=ROLE)


@pytest.fixture
def irsa(role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What EKS puts into a pod whose service account names a role; the file is the token."""
    token = tmp_path / "token"
    token.write_text(a_token(SERVICE_ACCOUNT))
    monkeypatch.setenv("AWS_ROLE_ARN", role)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    return token


@pytest.fixture
def provisioner() -> AwsS3Provisioner:
    """One that is given no Secret."""
    return AwsS3Provisioner(Services(read_secret=no_secret), limits=Limits(connect=0.5, read=5.0))


def parameters_of(backend: AwsBackend, **more: str) -> dict[str, str]:
    """Of a class that names no Secret: these replace the backend's."""
    return {"secretName": "", "secretNamespace": "", "stsEndpoint": backend.server.url, **more}


def calls_to_sts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []
    send = Endpoint.make_request

    def counting(self: Any, operation_model: Any, request_dict: Any) -> Any:
        if "Assume" in operation_model.name:
            seen.append(operation_model.name)
        return send(self, operation_model, request_dict)

    monkeypatch.setattr(Endpoint, "make_request", counting)
    return seen


@pytest.mark.usefixtures("irsa")
def test_a_pod_with_a_role_of_its_service_account_needs_no_secret(
    environment: Environment, backend: AwsBackend, provisioner: AwsS3Provisioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = calls_to_sts(monkeypatch)
    tenant = environment.bind(environment.request(parameters=parameters_of(backend)), greenfield=True, by=provisioner)
    assert_works(tenant)
    keys = tenant.credentials.access_keys
    assert keys is not None
    assert keys.access_key_id.startswith("AKIA"), "a key of the claim's own, not of the role"
    guest = environment.bind(
        environment.request(bucket=tenant.bucket, parameters=parameters_of(backend)), greenfield=False, by=provisioner
    )
    provisioner.revoke(guest.record)
    provisioner.delete(tenant.record)
    assert not backend.administrator.bucket_exists(tenant.bucket)
    assert asked == ["AssumeRoleWithWebIdentity"], "one token serves all verbs until it ends"


def test_the_role_that_the_pod_has_is_the_one_that_counts(
    environment: Environment, backend: AwsBackend, irsa: Path, provisioner: AwsS3Provisioner
) -> None:
    irsa.write_text(a_token("system:serviceaccount:elsewhere:default"))
    with pytest.raises(AccessDenied, match="trust policy"):
        provisioner.provision(environment.request(parameters=parameters_of(backend)))
    irsa.write_text(a_token(SERVICE_ACCOUNT))
    iam = backend.administrator.iam
    iam.put_role_policy(RoleName=ROLE, PolicyName="its-own", PolicyDocument=_without("s3:CreateBucket"))
    with pytest.raises(AccessDenied, match="s3:CreateBucket"):
        provisioner.provision(environment.request(parameters=parameters_of(backend)))
    iam.put_role_policy(RoleName=ROLE, PolicyName="its-own", PolicyDocument=README_POLICY)
    assert_works(
        environment.bind(environment.request(parameters=parameters_of(backend)), greenfield=True, by=provisioner)
    )


@pytest.mark.usefixtures("irsa")
def test_a_role_that_does_not_trust_the_pod_is_named(
    environment: Environment, backend: AwsBackend, provisioner: AwsS3Provisioner
) -> None:
    refusal = b"<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>"
    with scripted_server(Answer(status=400, body=refusal)) as sts:
        with pytest.raises(AccessDenied, match="trust policy"):
            provisioner.provision(environment.request(parameters=parameters_of(backend, stsEndpoint=sts.url)))
        assert len(sts.requests) == 1


@pytest.mark.usefixtures("irsa")
def test_an_sts_that_never_answers_is_given_up_within_the_limit(environment: Environment, backend: AwsBackend) -> None:
    hasty = AwsS3Provisioner(Services(read_secret=no_secret), limits=Limits(connect=0.5, read=0.3))
    with silent_server() as sts, pytest.raises(StoreUnavailable, match="time limit"):
        hasty.provision(environment.request(parameters=parameters_of(backend, stsEndpoint=sts.url)))


def test_a_token_file_that_is_not_there_is_said(
    environment: Environment, backend: AwsBackend, irsa: Path, provisioner: AwsS3Provisioner
) -> None:
    irsa.unlink()
    with pytest.raises(StoreUnavailable):
        provisioner.provision(environment.request(parameters=parameters_of(backend)))
    irsa.write_text(a_token(SERVICE_ACCOUNT))
    assert_works(
        environment.bind(environment.request(parameters=parameters_of(backend)), greenfield=True, by=provisioner)
    )


def test_a_pod_with_an_eks_pod_identity_needs_no_secret(
    environment: Environment,
    backend: AwsBackend,
    role: str,
    provisioner: AwsS3Provisioner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with scripted_server(Answer(body=_from_agent(backend, role))) as agent:
        _give_pod_identity(monkeypatch, tmp_path, agent.url)
        tenant = environment.bind(
            environment.request(parameters=parameters_of(backend)), greenfield=True, by=provisioner
        )
        assert_works(tenant)
        provisioner.delete(tenant.record)
        assert agent.requests == ["GET /v1/credentials"], "asked once until the token ends"


def test_an_agent_that_is_away_for_a_moment_is_asked_again_by_the_next_call(
    environment: Environment,
    backend: AwsBackend,
    role: str,
    provisioner: AwsS3Provisioner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = environment.request(parameters=parameters_of(backend))
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    _give_pod_identity(monkeypatch, tmp_path, closed_port_url())
    with pytest.raises(StoreUnavailable, match="pod's own identity"):
        provisioner.provision(request)
    with scripted_server(Answer(body=_from_agent(backend, role))) as agent:
        _give_pod_identity(monkeypatch, tmp_path, agent.url)
        assert_works(environment.bind(request, greenfield=True, by=provisioner))


def test_a_pod_without_any_identity_is_told_what_to_do(
    environment: Environment, backend: AwsBackend, provisioner: AwsS3Provisioner
) -> None:
    with pytest.raises(RetrySlowly, match=r"secretName.*IRSA"):
        provisioner.provision(environment.request(parameters=parameters_of(backend)))


def test_the_secret_of_a_class_counts_before_the_pods_identity(
    environment: Environment, irsa: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    irsa.unlink()
    asked = calls_to_sts(monkeypatch)
    assert_works(environment.greenfield())
    assert asked == []


def test_a_secret_may_hold_credentials_that_end(environment: Environment, backend: AwsBackend, role: str) -> None:
    held = backend.administrator.sts.assume_role(RoleArn=role, RoleSessionName="pod")["Credentials"]
    secret = {
        "AWS_ACCESS_KEY_ID": held["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": held["SecretAccessKey"],
        "AWS_SESSION_TOKEN": held["SessionToken"],
    }
    assert_works(
        environment.bind(environment.request(), greenfield=True, by=a_provisioner(backend.server, secret=secret))
    )
    with pytest.raises(AccessDenied):
        a_provisioner(backend.server, secret={**secret, "AWS_SECRET_ACCESS_KEY": "x"}).provision(environment.request())


def test_wrong_credentials_of_the_administrator_are_named(environment: Environment, backend: AwsBackend) -> None:
    for broken in (*backend.broken_provisioners().values(), _nobody(backend)):
        for call in (broken.provision, broken.grant):
            with pytest.raises(AccessDenied, match="secretName") as refused:
                call(environment.request())
            assert not [secret for secret in backend.secrets if secret in refused.value.message]


def _nobody(backend: AwsBackend) -> AwsS3Provisioner:
    return a_provisioner(backend.server, secret={"AWS_ACCESS_KEY_ID": "AKIANOBODY", "AWS_SECRET_ACCESS_KEY": "x"})


def _from_agent(backend: AwsBackend, role: str) -> bytes:
    """As the agent on an EKS node answers."""
    held = backend.administrator.sts.assume_role(RoleArn=role, RoleSessionName="pod")["Credentials"]
    ends = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps(
        {
            "AccessKeyId": held["AccessKeyId"],
            "SecretAccessKey": held["SecretAccessKey"],
            "Token": held["SessionToken"],
            "Expiration": ends,
        }
    ).encode()


def _give_pod_identity(monkeypatch: pytest.MonkeyPatch, directory: Path, url: str) -> None:
    token = directory / "pod-identity-token"
    token.write_text("a-token-of-the-pod")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/v1/credentials")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token))


def _without(action: str) -> str:
    document = json.loads(README_POLICY)
    for statement in document["Statement"]:
        statement["Action"] = [each for each in statement["Action"] if each != action]
    return json.dumps(document)
