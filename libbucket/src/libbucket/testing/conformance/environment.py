"""The claims and buckets of one test: made fresh, called as the core would, and removed when the test ends.

Used by every guarantee; built on `Backend` only.
"""

from __future__ import annotations

import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, TypeVar

import pytest

from libbucket.errors import ProvisionerError, PurgeUnfinished, RetrySoon
from libbucket.provisioner import EmptyBucketDeleter, Inspector
from libbucket.testing import builders
from libbucket.testing.application import AccessOnly, Refused
from libbucket.testing.conformance.backend import Ability
from libbucket.testing.requests_watched import Killed, killed_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from libbucket.provisioner import Provisioner
    from libbucket.testing.application import Application
    from libbucket.testing.conformance.backend import Administrator, Backend, Check
    from libbucket.testing.requests_watched import When
    from libbucket.types import Authentication, BucketOptions, ObjectBucket

Argument = TypeVar("Argument")
Answer = TypeVar("Answer")
Kind = TypeVar("Kind", bound=Exception)

_PATIENCE = 30
_WRITERS = 8
_MOST_NOTES = 20

OBJECT = "kept/object.txt"
CONTENT = b"what was written first"


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """A claim that is bound.

    Attributes:
        request: what the provisioner was asked.
        answer: what it answered, with credentials.
        application: a client with these credentials.
        greenfield: whether the bucket was made for the claim.
    """

    request: BucketOptions
    answer: ObjectBucket
    application: Application
    greenfield: bool

    @property
    def bucket(self) -> str:
        """Name of the bucket, as the answer says it."""
        return self.answer.bucket_name

    @property
    def credentials(self) -> Authentication:
        """What the claim's Secret holds: not when it is to be renewed, which may change while it stays as it is."""
        assert self.answer.connection.authentication is not None, "a bound claim has credentials"
        return replace(self.answer.connection.authentication, renew_at=None)

    @property
    def renew_at(self) -> datetime | None:
        """When its credentials are to be renewed."""
        authentication = self.answer.connection.authentication
        return authentication.renew_at if authentication is not None else None

    @property
    def record(self) -> ObjectBucket:
        """What `delete` and `revoke` get."""
        return builders.recorded(self.answer, self.request, greenfield=self.greenfield)


class Environment:
    """Makes claims and buckets, and remembers them.

    Attributes:
        survived: whether the last verb that was to die had no request left to die at.
        crashes: how often a verb died.
        tried: the first calls of verbs, for the report: each one's name, and the error that it ended with.
        last: a bound claim, for guarantees that check it later.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.provisioner: Provisioner = backend.provisioner()
        self.survived = False
        self.crashes = 0
        self.tried: list[str] = []
        self.last: Tenant | None = None
        self._requests: list[BucketOptions] = []
        self._buckets: set[str] = set()

    @property
    def administrator(self) -> Administrator:
        """The administrator's view of the store."""
        return self.backend.administrator

    def needs(self, *capabilities: Ability | None) -> None:
        """Skips the test where the store lacks one of these, with the declared reason."""
        for ability in capabilities:
            if ability is not None and ability in self.backend.capabilities.cannot:
                pytest.skip(f"this store can't {ability}: {self.backend.capabilities.cannot[ability]}")

    @property
    def last_request(self) -> BucketOptions:
        """The request that was made last."""
        return self._requests[-1]

    def can(self, ability: Ability) -> bool:
        """Whether the store has this capability."""
        return ability not in self.backend.capabilities.cannot

    def assert_refused(self, what: str, request: Callable[[], object], check: Check | None = None) -> None:
        """Fails, saying `what` was let through, unless the store refuses `request`.

        Where the server at hand is declared not to make this `check`, the test ends here as expected to fail, and fails
        if the server does make it: make it the last step of a test.
        """
        reason = self.backend.capabilities.unchecked.get(check) if check is not None else None
        if reason is None:
            assert_refused(what, request)
            return
        try:
            request()
        except Refused:
            pytest.fail(f"{what} is refused, so this server checks it: take it out of Capabilities.unchecked")
        pytest.xfail(f"this server lets it through: {reason}")

    def new_name(self, *, beginning: str = "conformance") -> str:
        """A bucket name that is unused; its bucket is removed at the end."""
        name = f"{beginning}-{uuid.uuid4().hex[:20]}"
        self._buckets.add(name)
        return name

    def request(
        self,
        *,
        bucket: str | None = None,
        config: Mapping[str, str] | None = None,
        credentials: Authentication | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> BucketOptions:
        """The core's request for a new claim."""
        request = builders.options(
            name=f"claim-{len(self._requests)}",
            namespace="conformance",
            bucket_name=bucket or self.new_name(),
            parameters={**self.backend.parameters, **(parameters or {})},
            config=config,
            credentials=credentials,
        )
        request = replace(request, user_id=self.provisioner.generate_user_id(request.claim, None))
        self._requests.append(request)
        return request

    def greenfield(self, request: BucketOptions | None = None) -> Tenant:
        """A claim bound to a new bucket."""
        return self.bind(request or self.request(), greenfield=True)

    def brownfield(self, bucket: str) -> Tenant:
        """A claim bound to the existing bucket that its class names."""
        return self.bind(self.request(bucket=bucket, parameters={"bucketName": bucket}), greenfield=False)

    def tenant(self, *, greenfield: bool) -> Tenant:
        """A bound claim of either kind, its bucket holding one object."""
        tenant = self.greenfield() if greenfield else self.brownfield(self.foreign_bucket())
        self.put(tenant.bucket)
        return tenant

    def put(self, bucket: str) -> None:
        """Has the administrator write the object of `read`, if the store has objects."""
        if self.can(Ability.OBJECTS):
            self.administrator.application().put(bucket, OBJECT, CONTENT)

    def read(self, application: Application, bucket: str) -> bytes:
        """What an application reads from the object of `put`; where a store has none, whether it reaches the bucket."""
        if self.can(Ability.OBJECTS):
            return application.get(bucket, OBJECT)
        application.reach(bucket)
        return CONTENT

    def bind(self, request: BucketOptions, *, greenfield: bool, by: Provisioner | None = None) -> Tenant:
        """Calls `provision` or `grant` until it has an answer, as the core does."""
        provisioner = by or self.provisioner
        verb = provisioner.provision if greenfield else provisioner.grant
        answer = self.patiently(verb, request)
        credentials = answer.connection.authentication
        assert credentials is not None, "provision and grant answer with credentials"
        application = self.backend.application(answer.connection.endpoint, credentials)
        return Tenant(request=request, answer=answer, application=application, greenfield=greenfield)

    def again(
        self,
        tenant: Tenant,
        *,
        with_credentials: bool = True,
        config: Mapping[str, str] | None = None,
        by: Provisioner | None = None,
    ) -> Tenant:
        """Calls the verb that bound this tenant once more, with what its first answer left in the cluster.

        Args:
            tenant: who was bound before.
            with_credentials: False plays a Secret that was removed manually.
            config: an edited `additionalConfig`; as it was, by default.
            by: another replica.
        """
        request = builders.again(tenant.request, tenant.answer, with_credentials=with_credentials)
        if config is not None:
            request = replace(request, claim=replace(request.claim, additional_config=config))
        return self.bind(request, greenfield=tenant.greenfield, by=by)

    def looks_intact(self, tenant: Tenant, credentials: Authentication | None = None) -> bool:
        """The result of the provisioner's drift check of a bound claim; skips the test where it has none.

        Args:
            tenant: who was bound.
            credentials: what the Secret holds instead of what it should.
        """
        if not isinstance(self.provisioner, Inspector):
            pytest.skip("this provisioner is no Inspector")
        request = builders.again(tenant.request, tenant.answer)
        held = credentials or tenant.credentials
        return self.provisioner.is_intact(replace(request, credentials=held))

    def dies(self, number: int, when: When, verb: Callable[[], object]) -> None:
        """Calls a verb in a process that crashes at its HTTP request of this number; notes in `survived` if not."""
        try:
            with killed_at(number, when):
                self.patiently(lambda _: verb(), None)
        except Killed:
            self.crashes += 1
            self.backend.after_crash()
        else:
            self.survived = True

    def delete(self, record: ObjectBucket) -> None:
        """Calls `delete` until it returns, as the core does."""
        self.patiently(self.provisioner.delete, record)

    def revoke(self, record: ObjectBucket) -> None:
        """Calls `revoke` until it returns, as the core does."""
        self.patiently(self.provisioner.revoke, record)

    def delete_step(self, record: ObjectBucket, *, by: Provisioner) -> int:
        """Calls `delete` until it has removed some objects, and gives how many; 0 once it is done."""

        def step(record: ObjectBucket) -> int:
            try:
                by.delete(record)
            except PurgeUnfinished as error:
                return error.removed
            return 0

        return self.patiently(step, record)

    def delete_empty(self, record: ObjectBucket) -> None:
        """Calls `delete_empty` until it returns; skips the test where the provisioner has no such verb."""
        if not isinstance(self.provisioner, EmptyBucketDeleter):
            pytest.skip("this provisioner is no EmptyBucketDeleter")
        self.patiently(self.provisioner.delete_empty, record)

    def later_request(self, tenant: Tenant) -> BucketOptions:
        """The core's request for a later claim of the same name, which reclaims the bucket of the earlier one."""
        later = self.request(bucket=tenant.bucket)
        owner = replace(tenant.request.owner, uid=later.owner.uid, earlier_uids=(tenant.request.owner.uid,))
        return replace(later, owner=owner)

    def foreign_bucket(self) -> str:
        """A bucket that an administrator created, with one object in it."""
        name = self.new_name()
        self.administrator.make_bucket(name)
        self.put(name)
        return name

    def fill(self, bucket: str, count: int) -> None:
        """Writes `count` objects, some in folders, several at a time."""
        application = self.administrator.application()
        with ThreadPoolExecutor(_WRITERS) as pool:
            writes = [pool.submit(application.put, bucket, f"{n % 7}/{n:05}", b"x") for n in range(count)]
        for write in writes:
            write.result()

    def clean_up(self) -> None:
        """Removes everything, without the provisioner: it may be the one that is wrong."""
        for request in self._requests:
            self.administrator.remove_identity(builders.intent(request))
        for bucket in self._buckets:
            self.administrator.purge_bucket(bucket)

    def patiently(self, verb: Callable[[Argument], Answer], argument: Argument) -> Answer:
        """Calls a verb until it returns, or raises something else than `RetrySoon`, as the core does."""
        for _ in range(_PATIENCE):
            try:
                return self._noted(verb, argument)
            except RetrySoon as error:
                last = error
                self.backend.pause(error.delay)
        raise last

    def _noted(self, verb: Callable[[Argument], Answer], argument: Argument) -> Answer:
        name = getattr(verb, "__name__", "call")
        try:
            answer = verb(argument)
        except Exception as error:
            self._note(f"{name}: {type(error).__name__}")
            raise
        self._note(name)
        return answer

    def _note(self, call: str) -> None:
        if len(self.tried) < _MOST_NOTES:
            self.tried.append(call)


class Guarantees:
    """Base of all groups of guarantees: the fixtures."""

    @pytest.fixture
    def backend(self) -> Backend:
        """The store: to be overridden."""
        raise NotImplementedError("a subclass of Conformance overrides the fixture `backend`")

    @pytest.fixture
    def environment(self, backend: Backend, request: pytest.FixtureRequest) -> Iterator[Environment]:
        """Claims and buckets of one test."""
        environment = Environment(backend)
        yield environment
        request.node.user_properties.append(("tried", ", ".join(environment.tried)))  # for the report
        environment.clean_up()


@dataclass
class Caught(Generic[Kind]):
    """The error that a block ended with."""

    value: Kind = field(init=False)


@contextmanager
def raises(kind: type[Kind], otherwise: str, *, match: str = "") -> Iterator[Caught[Kind]]:
    """Fails with a sentence unless the block ends with an error of this kind.

    Args:
        kind: of the error.
        otherwise: what is wrong if it does not.
        match: a text that the error contains.
    """
    caught = Caught[Kind]()
    try:
        yield caught
    except kind as error:
        caught.value = error
        if match not in str(error):
            pytest.fail(f"{kind.__name__} was raised, and does not name {match}: {error}")
    except ProvisionerError as error:
        pytest.fail(f"{otherwise}: {type(error).__name__} was raised in place of {kind.__name__}: {error}")
    else:
        pytest.fail(f"{otherwise}: {kind.__name__} was not raised")


def assert_refused(what: str, request: Callable[[], object]) -> None:
    """Fails, saying `what` was let through, unless the store refuses `request`."""
    try:
        request()
    except Refused:
        return
    pytest.fail(f"not refused: {what}")


def assert_works(tenant: Tenant) -> None:
    """Fails unless the tenant can write, read, list and delete in its bucket."""
    if isinstance(tenant.application, AccessOnly):
        tenant.application.reach(tenant.bucket)
        return
    key = f"works-{uuid.uuid4().hex}"
    tenant.application.put(tenant.bucket, key, b"it works")
    assert tenant.application.get(tenant.bucket, key) == b"it works", "a claim does not read what it wrote"
    assert key in tenant.application.list_keys(tenant.bucket), "a claim does not see its object in the listing"
    tenant.application.delete(tenant.bucket, key)
    assert key not in tenant.application.list_keys(tenant.bucket), "a claim sees an object that it deleted"


def assert_shut_out(tenant: Tenant, bucket: str | None = None) -> None:
    """Fails if the tenant's credentials still do anything in its bucket, or in `bucket`."""
    name = bucket or tenant.bucket
    application = tenant.application
    if isinstance(application, AccessOnly):
        assert_refused("reaching the bucket with withdrawn credentials", lambda: application.reach(name))
        return
    assert_refused("reading with withdrawn credentials", lambda: application.get(name, OBJECT))
    assert_refused("writing with withdrawn credentials", lambda: application.put(name, "new", b"x"))
    assert_refused("listing with withdrawn credentials", lambda: application.list_keys(name))
    assert_refused("deleting with withdrawn credentials", lambda: application.delete(name, OBJECT))


def own_log(environment: Environment, caplog: pytest.LogCaptureFixture) -> str:
    """What a process of the provisioner's could log: everything of its own package, of libraries from WARNING on."""
    package = type(environment.provisioner).__module__.partition(".")[0]
    own = {package, "root"}
    return "\n".join(
        record.getMessage() + str(record.exc_text or "")
        for record in caplog.records
        if record.levelno >= logging.WARNING or record.name.partition(".")[0] in own
    )
