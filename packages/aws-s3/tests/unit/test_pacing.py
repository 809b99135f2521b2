"""The pace of requests to IAM: spaced, increased while it goes well, halved when IAM throttles."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from aws_s3_provisioner.client import Connector
from aws_s3_provisioner.pacing import LONGEST_WAIT, Pacer, Pacers
from aws_s3_provisioner.parameters import Admin, parse_parameters
from aws_s3_provisioner.sdk_clients import Limits
from libbucket import SecretStr, Throttled
from testkit.aws_s3.in_memory import Clock
from testkit.aws_s3.regional_s3 import regional_s3

ADMIN = Admin(access_key="AKIA", secret_key=SecretStr("s3cr3t"), token=SecretStr(""))


def test_requests_are_spaced_and_no_worker_waits_longer_than_the_limit() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    waits = [pacer.reserve() for _ in range(40)]
    assert waits[:13] == pytest.approx([0.0] * 11 + [0.1, 0.2])
    assert waits[-1] > LONGEST_WAIT
    assert waits[-1] == waits[-2], "who waits for too long has taken no turn"
    clock.now += waits[-1]
    assert pacer.reserve() == 0


def test_throttling_halves_the_pace_once_for_all_requests_on_their_way() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    before = pacer.rate
    for _ in range(8):
        pacer.throttled()
    assert pacer.rate == before / 2
    clock.now += 1
    pacer.throttled()
    assert pacer.rate == before / 4
    for _ in range(1000):
        clock.now += 1
        pacer.throttled()
    assert pacer.rate == 0.5
    for _ in range(1000):
        pacer.succeeded()
    assert pacer.rate == 20


def test_one_account_has_one_pace() -> None:
    pacers = Pacers()
    assert pacers.of(("aws", "1")) is pacers.of(("aws", "1"))
    assert pacers.of(("aws", "2")) is not pacers.of(("aws", "1"))


@pytest.mark.parametrize(("sts_is_away", "paces"), [(False, 1), (True, 2)])
def test_administrators_of_one_account_share_its_pace_where_sts_tells_the_account(
    monkeypatch: pytest.MonkeyPatch, *, sts_is_away: bool, paces: int
) -> None:
    connector, asked = Connector(Limits(), lambda: None), list[object]()

    def of(account: object) -> Pacer:
        asked.append(account)
        return Pacer()

    monkeypatch.setattr(connector._pacers, "of", of)
    with regional_s3() as s3:
        s3.iam.sts_is_away = sts_is_away
        for access_key in ("AKIA1", "AKIA2"):
            admin = Admin(access_key=access_key, secret_key=SecretStr("s3cr3t"), token=SecretStr(""))
            for is_greenfield in (True, False):
                with connector.connect(parse_parameters({}), admin, is_greenfield=is_greenfield):
                    pass
    assert len(set(asked)) == paces


def test_a_throttled_account_is_asked_more_slowly_and_claims_are_requeued(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, slept = Clock(), list[float]()
    connector, pacer = Connector(Limits(), lambda: None), Pacer(clock)
    monkeypatch.setattr(connector._pacers, "of", lambda _credentials: pacer)
    monkeypatch.setattr("aws_s3_provisioner.hooks.time.sleep", slept.append)
    with regional_s3(clock) as s3, connector.connect(parse_parameters({"region": "eu-west-1"}), ADMIN) as clients:
        s3.iam.per_second = 1.0
        codes = []
        for _ in range(4):
            with pytest.raises(ClientError) as refused:
                clients.iam.get_user(UserName="nobody")
            codes.append(refused.value.response["Error"]["Code"])
            clock.now += 0.5
        assert codes == ["Throttling", "Throttling", "NoSuchEntity", "Throttling"], "IAM's own bucket was empty"
        assert pacer.rate < 4
        while pacer.reserve() <= LONGEST_WAIT:
            pass
        with pytest.raises(Throttled, match="spaced") as caught:
            clients.iam.get_user(UserName="nobody")
    assert caught.value.delay
    assert caught.value.delay > LONGEST_WAIT
    assert all(seconds <= LONGEST_WAIT for seconds in slept)


def test_one_claim_that_is_throttled_now_and_then_does_not_slow_down_all_others() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    for delay in (1, 2, 4, 8, 16, 32, 64):  # the back-off of the core
        pacer.throttled()
        clock.now += delay
    assert pacer.reserve() == 0
    assert pacer.rate == 10


def test_the_pace_of_an_account_that_is_throttled_all_the_time_stays_low() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    for _ in range(100):
        clock.now += 2
        pacer.reserve()
        pacer.throttled()
    assert pacer.rate < 1
