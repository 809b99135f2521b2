"""The answer sweep: its catalogues, the whole of it on the store in memory, samples on AWS, Google and MinIO in memory.

The whole on a store is `nox -s chaos -- answers --store STORE`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from libbucket import errors
from libbucket.testing.memory_store import Identity
from testkit.answers import catalogue, trials
from testkit.answers.catalogue import GENERIC, load
from testkit.answers.invariants import Invariant
from testkit.answers.memory import AnsweredProvisioner, MemoryAdapter
from testkit.answers.reactions import representatives
from testkit.answers.registry import ADAPTERS
from testkit.answers.trials import Case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket import BucketOptions, ObjectBucket
    from testkit.answers.invariants import Broken
    from testkit.answers.trials import Environment
    from testkit.resilience.proxy import Instead

SWEPT = ("aws-s3", "azure", "azure-delegated", "gcs", "memory", "minio")
"""The stores of which a sample runs here; the others run by the session `chaos` only."""

CATALOGUES = sorted(path.stem for path in Path(catalogue.__file__).parent.glob("*.toml"))

SAMPLE = 80
"""Trials on each store but the one in memory."""


@pytest.fixture(scope="module", params=SWEPT)
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    with ADAPTERS[request.param]() as adapter, trials.environment(adapter) as made:
        yield made


def test_no_answer_breaks_an_invariant(environment: Environment) -> None:
    store = environment.adapter.name
    found = trials.cases(environment)
    chosen = found if store == "memory" else trials.sample(found, SAMPLE)

    broken = {case.seed(store): list(map(str, trials.run(environment, case))) for case in chosen}

    assert chosen
    assert {seed: what for seed, what in broken.items() if what} == {}


@pytest.mark.parametrize("store", CATALOGUES)
def test_every_answer_names_its_source(store: str) -> None:
    found = load(store)

    assert len(found.answers) > len(GENERIC)
    assert [one.name for one in found.answers if not one.source] == []


def test_a_sample_has_every_request_of_every_flow_if_there_is_room() -> None:
    with ADAPTERS["memory"]() as adapter, trials.environment(adapter) as made:
        found = trials.cases(made)

    chosen = trials.sample(found, len(found))

    assert {(one.flow, one.request) for one in chosen} == {(one.flow, one.request) for one in found}
    assert {one.answer for one in chosen} == {one.answer for one in found}


class RepeatsBodies(AnsweredProvisioner):
    """Shows what the store wrote to users."""

    def error(self, answer: Instead) -> errors.ProvisionerError:
        return errors.StoreRefused(answer.body.decode(), request_id="1")


class FailsForGood(AnsweredProvisioner):
    """Takes a refusal that can pass for one that can't."""

    def error(self, answer: Instead) -> errors.ProvisionerError:
        return errors.InvalidClaim(f"refused: {answer.headers['code']}", request_id="1")


class HidesRequestIds(AnsweredProvisioner):
    """Drops what an operator of the store would search for."""

    def error(self, answer: Instead) -> errors.ProvisionerError:
        return type(super().error(answer))("refused")


class SpreadsOutages(AnsweredProvisioner):
    """After one refusal of one claim, no claim gets an answer."""

    is_down = False

    def error(self, answer: Instead) -> errors.ProvisionerError:
        type(self).is_down = True
        return super().error(answer)

    def provision(self, options: BucketOptions) -> ObjectBucket:
        if self.is_down:
            raise errors.StoreUnavailable("it refused another caller")
        return super().provision(options)


class ReplacesKeys(AnsweredProvisioner):
    """Issues new keys at each call."""

    def provision(self, options: BucketOptions) -> ObjectBucket:
        return super().provision(replace(options, credentials=None))


class HoardsKeys(AnsweredProvisioner):
    """Leaves a key behind at each call."""

    def provision(self, options: BucketOptions) -> ObjectBucket:
        self.store.identities.setdefault(options.user_id, Identity())
        found = super().provision(options)
        for _ in range(3):
            self.store.issue_keys(options.user_id)
        return found


class KeepsCredentials(AnsweredProvisioner):
    """Calls credentials revoked that work."""

    def revoke(self, ob: ObjectBucket) -> None:
        assert ob.user_id  # and nothing else


class LeavesBuckets(AnsweredProvisioner):
    """Calls a bucket deleted that is there."""

    def delete(self, ob: ObjectBucket) -> None:
        self.revoke(ob)


class NeverGetsOn(AnsweredProvisioner):
    """Has the core call again at once, for ever."""

    def delete(self, ob: ObjectBucket) -> None:
        self._asked("delete", lambda: ob)
        raise errors.PurgeUnfinished(0)


class WaitsInACall(AnsweredProvisioner):
    """Waits within a call for what the core would call again for."""

    def delete(self, ob: ObjectBucket) -> None:
        self.clock.sleep(300)
        super().delete(ob)


class TouchesOthers(AnsweredProvisioner):
    """Writes into a bucket that is no claim's."""

    def provision(self, options: BucketOptions) -> ObjectBucket:
        self.store.administrator().put("shared-of-the-sweep", "mine", b"mine")
        return super().provision(options)


@pytest.mark.parametrize(
    ("fault", "seed", "invariant"),
    [
        (RepeatsBodies, "provision/provision@1/400-StoreRefused/always", Invariant.MESSAGES),
        (HidesRequestIds, "provision/provision@1/403-AccessDenied/always", Invariant.MESSAGES),
        (FailsForGood, "provision/provision@1/403-AccessDenied/always", Invariant.TERMINAL),
        (SpreadsOutages, "provision/provision@1/403-AccessDenied/always", Invariant.NEIGHBOURS),
        (ReplacesKeys, "full-check/provision@1/503-StoreUnavailable/once", Invariant.CREDENTIALS),
        (HoardsKeys, "full-check/provision@1/503-StoreUnavailable/once", Invariant.KEYS),
        (KeepsCredentials, "revoke/revoke@1/503-StoreUnavailable/once", Invariant.REVOKED),
        (LeavesBuckets, "delete/delete@1/503-StoreUnavailable/once", Invariant.ENDS),
        (NeverGetsOn, "delete/delete@1/503-StoreUnavailable/once", Invariant.BOUNDED),
        (WaitsInACall, "delete/delete@1/503-StoreUnavailable/once", Invariant.BOUNDED),
        (TouchesOthers, "provision/provision@1/503-StoreUnavailable/once", Invariant.OTHERS),
    ],
)
def test_the_sweep_finds_a_provisioner_with_a_fault(
    fault: type[AnsweredProvisioner], seed: str, invariant: Invariant
) -> None:
    assert invariant in {one.invariant for one in _run(fault, seed)}
    assert _run(AnsweredProvisioner, seed) == []


def _run(provisioner: type[AnsweredProvisioner], seed: str) -> list[Broken]:
    adapter = MemoryAdapter(provisioner)
    adapter.backend.administrator.make_bucket("shared-of-the-sweep")
    with trials.environment(adapter) as made:
        return trials.run(made, Case.parse(f"answers/memory/{seed}"))


def test_a_seed_names_its_trial() -> None:
    case = Case(flow="provision", request="AddUser", ordinal=2, answer="403-AccessDenied", times="once")

    assert case.seed("minio") == "answers/minio/provision/AddUser@2/403-AccessDenied/once"
    assert Case.parse(case.seed("minio")) == case


@pytest.mark.parametrize(
    ("request_name", "answer"),
    [
        ("GetBucketTagging", "404-NoSuchBucket"),
        ("GetBucketTagging", "501-NotImplemented"),
        ("GetCallerIdentity", "403-AccessDenied-scp"),
        ("GetCallerIdentity", "400-unknown"),
    ],
)
def test_a_new_claim_of_aws_waits_for_its_key_whatever_it_got_over_before(request_name: str, answer: str) -> None:
    case = Case(flow="provision", request=request_name, ordinal=1, answer=answer, times=trials.REACTION)
    with ADAPTERS["aws-s3"]() as adapter, trials.environment(adapter) as made:
        assert trials.run(made, case) == []


@pytest.mark.parametrize("answer", ["404-not_found", "410-gone", "500-unknown_source"])
def test_a_bound_claim_says_nothing_of_a_machine_that_is_updated(answer: str) -> None:
    case = Case(flow="repair", request="GetMachineToken", ordinal=1, answer=answer, times=trials.REACTION)
    with ADAPTERS["azure-machine"]() as adapter, trials.environment(adapter) as made:
        assert trials.run(made, case) == []


def test_a_trial_does_not_meet_a_rate_that_an_earlier_one_has_used_up() -> None:
    """Each begins with a new process, which does not know when the last bucket was deleted."""
    with ADAPTERS["gcs-slow"]() as adapter, trials.environment(adapter) as made:
        answer, times = "403-insufficientPermissions", trials.REACTION
        case = Case(flow="provision", request="storage.buckets.get", ordinal=1, answer=answer, times=times)

        assert [list(map(str, trials.run(made, case))) for _ in range(3)] == [[], [], []]


def test_answers_with_the_same_reaction_are_tried_by_one_of_them() -> None:
    answers = ("400-MissingFields", "400-BadRequest", "500-InternalError", "drip")
    with ADAPTERS["minio"]() as adapter, trials.environment(adapter) as made:
        found = {answer: _reaction_to(made, answer) for answer in answers}

    chosen = representatives(found, Counter({"400-MissingFields": 1}))

    assert chosen == ["400-BadRequest", "500-InternalError", "drip"]


def _reaction_to(made: Environment, answer: str) -> str:
    case = Case(flow="provision", request="ListObjectsV2", ordinal=1, answer=answer, times=trials.REACTION)
    broken, found = trials.react(made, case)
    assert broken == []
    return found
