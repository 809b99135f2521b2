"""What a class bounds at the real MinIO: quotas, and retention in buckets with object locking."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from minio.commonconfig import COMPLIANCE, GOVERNANCE
from minio.error import S3Error
from minio.retention import Retention

from libbucket import InvalidConfig, InvalidParameters
from libbucket.testing.conformance.environment import Environment, assert_works
from testkit.minio.backend import MinioApplication

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket.testing.conformance.environment import Tenant
    from testkit.minio.backend import MinioBackend

LOCKING = {"objectLocking": "true"}


def in_days(days: float, mode: str = GOVERNANCE) -> Retention:
    return Retention(mode, datetime.now(UTC) + timedelta(days=days))


def client_of(tenant: Tenant) -> Any:
    assert isinstance(tenant.application, MinioApplication)
    return tenant.application.client


def assert_denied(call: Callable[[], object]) -> None:
    with pytest.raises(S3Error) as refused:
        call()
    assert refused.value.code == "AccessDenied"


def test_a_class_bounds_the_days_of_a_retention_and_its_mode(environment: Environment, backend: MinioBackend) -> None:
    parameters = {**LOCKING, "maxRetentionDays": "7", "retentionMode": GOVERNANCE}
    tenant = environment.greenfield(environment.request(parameters=parameters))
    s3, bucket = client_of(tenant), tenant.bucket
    s3.put_object(bucket, "key", io.BytesIO(b"x"), 1)
    assert_denied(lambda: s3.set_object_retention(bucket, "key", in_days(8)))
    assert_denied(lambda: s3.set_object_retention(bucket, "key", in_days(1, COMPLIANCE)))
    assert_denied(lambda: s3.put_object(bucket, "key", io.BytesIO(b"x"), 1, retention=in_days(1)))
    s3.set_object_retention(bucket, "key", in_days(6.5))
    assert environment.again(tenant).answer.repairs == (), "MinIO gives the policy back as it was written"
    backend.administrator.unlock(bucket)


def test_a_class_without_bounds_lets_a_claim_lock_for_as_long_as_it_wants(
    environment: Environment, backend: MinioBackend
) -> None:
    tenant = environment.greenfield(environment.request(parameters=LOCKING))
    client_of(tenant).put_object(tenant.bucket, "key", io.BytesIO(b"x"), 1, retention=in_days(300))
    backend.administrator.unlock(tenant.bucket)


def _forged(client: Any, bucket: str) -> None:
    """A retention that is beyond the bounds, beside a header with the name of the condition's key."""
    until = (datetime.now(UTC) + timedelta(days=300)).strftime("%Y-%m-%dT%H:%M:%SZ")
    headers: Any = {
        "x-amz-object-lock-mode": GOVERNANCE,
        "x-amz-object-lock-retain-until-date": until,
        "Object-Lock-Remaining-Retention-Days": "1",
    }
    client._execute("PUT", bucket, "forged", body=b"x", headers=headers)


def test_a_client_that_forges_values_of_conditions_is_bound_by_a_class_without_retention_only(
    environment: Environment, backend: MinioBackend
) -> None:
    """A flaw of MinIO's, which README names: `getConditionValues` in `cmd/bucket-policy.go` takes headers as values."""
    bounded = environment.greenfield(environment.request(parameters={**LOCKING, "maxRetentionDays": "7"}))
    _forged(client_of(bounded), bounded.bucket)
    backend.administrator.unlock(bounded.bucket)
    none = environment.greenfield(environment.request(parameters={**LOCKING, "maxRetentionDays": "0"}))
    assert_denied(lambda: _forged(client_of(none), none.bucket))
    assert_denied(lambda: client_of(none).put_object(none.bucket, "k", io.BytesIO(b"x"), 1, retention=in_days(1)))
    assert_works(none)


def test_a_class_gives_its_buckets_a_quota_and_a_claim_one_within_bounds(
    environment: Environment, backend: MinioBackend
) -> None:
    parameters = {"quota": "1Gi", "maxQuota": "2Gi"}
    tenant = environment.greenfield(environment.request(parameters=parameters))
    quota = backend.administrator.config
    assert quota(tenant.bucket, "maxSize") == str(2**30)
    environment.again(tenant, config={"maxSize": "2Gi"})
    assert quota(tenant.bucket, "maxSize") == str(2 * 2**30)
    with pytest.raises(InvalidConfig, match="maxQuota"):
        environment.again(tenant, config={"maxSize": "3Gi"})
    assert quota(tenant.bucket, "maxSize") == str(2 * 2**30)
    backend.administrator.set_config(tenant.bucket, "maxSize", "0")
    assert environment.again(tenant).answer.repairs == ("quota",)
    assert quota(tenant.bucket, "maxSize") == str(2**30), "a key that left the claim: the default of the class again"


def test_a_class_with_impossible_bounds_makes_nothing(environment: Environment, backend: MinioBackend) -> None:
    request = environment.request(parameters={"quota": "3Gi", "maxQuota": "2Gi"})
    with pytest.raises(InvalidParameters, match="maxQuota"):
        environment.greenfield(request)
    assert not backend.administrator.bucket_exists(request.bucket_name)
    assert_works(environment.greenfield(replace(request, parameters={**request.parameters, "quota": "1Gi"})))
