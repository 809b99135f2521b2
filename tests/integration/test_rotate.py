"""`libbucket rotate` on a real API server, with the core on a store in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.testing import CliRunner

from libbucket._cli.commands import main
from libbucket.types import AccessKeys, SecretStr

if TYPE_CHECKING:
    from click.testing import Result

    from testkit.cluster.memory_environment import MemoryEnvironment


def rotate(environment: MemoryEnvironment, answer: str) -> Result:
    arguments = ["rotate", f"{environment.namespace}/photos", "--kubeconfig", str(environment.cluster.kubeconfig)]
    ran = CliRunner().invoke(main, [*arguments, "--timeout", "20"], input=answer, standalone_mode=False)
    printed = ran.output + str(ran.exception or "")
    assert [value for value in environment.secret().values() if value in printed] == []
    return ran


def works(environment: MemoryEnvironment, secret: dict[str, str]) -> bool:
    key = SecretStr(secret["AWS_SECRET_ACCESS_KEY"])
    keys = AccessKeys(access_key_id=secret["AWS_ACCESS_KEY_ID"], secret_access_key=key)
    return any(environment.store.accepts(name, keys) for name in environment.store.identities)


def test_credentials_are_replaced_only_after_a_yes(environment: MemoryEnvironment) -> None:
    environment.make_lease()
    with environment.core():
        environment.claim()
        environment.wait_bound()
        before = environment.secret()
        refused = rotate(environment, "n\n")
        unanswered = rotate(environment, "")
        unchanged = environment.secret()
        rotated = rotate(environment, "y\n")
        after = environment.secret()

    assert (refused.return_value, rotated.return_value) == (1, 0)
    assert "nothing was changed" in refused.output
    assert unanswered.exception is not None
    assert unchanged == before
    assert "new credentials are in the Secret" in rotated.output
    assert not works(environment, before)
    assert works(environment, after)


def test_the_object_bucket_of_another_claim_proves_nothing(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
        environment.claim("other")
        environment.wait_bound("other")
    environment.patch_claim({"spec": {"objectBucketName": f"obc-{environment.namespace}-other"}})
    ran = rotate(environment, "y\n")

    assert "is not that of the claim; nothing was changed" in str(ran.exception)
    assert environment.admin.find(environment.path("secrets")) is not None


def test_a_claim_that_is_not_bound_is_refused(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
    environment.admin.delete(environment.path("secrets"))
    environment.admin.create(
        f"/api/v1/namespaces/{environment.namespace}/secrets", {"metadata": {"name": "photos"}, "data": {}}
    )
    ran = rotate(environment, "y\n")

    assert "nothing was changed" in str(ran.exception)
    assert environment.admin.find(environment.path("secrets")) is not None
