"""The README's commands that rotate an account's keys: what each does is done, and no application stops. In memory."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from libbucket import AccessDenied, InvalidAdminSecret, NotReady, SecretStr
from libbucket.testing.application import Refused
from testkit.azure.in_memory_world import World, world_in_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

README: Final = (Path(__file__).parents[2] / "README.md").read_text()
SECTION: Final = README.partition("### Rotation of the account's keys")[2].partition("\n##")[0]
BLOCK: Final = re.findall("```bash\n(.*?)```", SECTION, re.DOTALL)[0]
COMMANDS: Final = [" ".join(each.split()) for each in re.split(r"(?m)^#.*\n", BLOCK) if each.strip()]
KEYS: Final = {"primary": 0, "secondary": 1}


@pytest.fixture
def world() -> Iterator[World]:
    with world_in_memory() as made:
        yield made


class Rehearsal:
    """An administrator who works through the commands, and the applications of two claims on one container.

    Attributes:
        claims: as they are bound now.
        running: what each application has read: its claim as it was then.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        owner = world.bind(world.request("photos"))
        self.claims = {True: owner, False: world.bind(world.request("photos"), greenfield=False)}
        self.running = dict(self.claims)
        self.steps: dict[str, Callable[[re.Match[str]], None]] = {
            r"az storage account keys renew .*--key (\w+)$": self.renew,
            r"kubectl create secret .*AZURE_STORAGE_KEY=.*keys list .*'\[(\d)\]\.value'.*kubectl apply": self.edit,
            r"kubectl get events .*reason=CredentialsRotated": self.wait,
            r"kubectl rollout restart": self.restart,
        }

    def carry_out(self, command: str) -> None:
        """Does what a command does."""
        ((found, step),) = [(found, act) for each, act in self.steps.items() if (found := re.match(each, command))]
        step(found)

    def works(self) -> bool:
        """Whether all applications that run are let in."""
        try:
            for bound in self.running.values():
                self.world.application(bound).list_keys("photos")
        except Refused:
            return False
        return True

    def renew(self, found: re.Match[str]) -> None:
        keys, which = list(self.world.storage.keys), KEYS[found[1]]
        keys[which] = base64.b64encode(keys[which].encode()).decode()
        self.world.storage.keys = (keys[0], keys[1])

    def edit(self, found: re.Match[str]) -> None:
        self.world.secret["AZURE_STORAGE_KEY"] = SecretStr(self.world.storage.keys[int(found[1])])

    def wait(self, _found: re.Match[str]) -> None:
        self.world.pass_time(24 * 3600)
        for greenfield, bound in self.claims.items():
            self.claims[greenfield] = self.world.bind(bound.again(), greenfield=greenfield)
            assert self.claims[greenfield].credentials != bound.credentials

    def restart(self, _found: re.Match[str]) -> None:
        self.running.update(self.claims)


def test_no_application_stops_while_the_commands_are_carried_out(world: World) -> None:
    rehearsal = Rehearsal(world)
    before = dict(rehearsal.claims)
    assert len(COMMANDS) == 5
    for command in COMMANDS:
        rehearsal.carry_out(command)
        assert rehearsal.works(), command
        assert all(world.provisioner.is_intact(bound.again()) for bound in rehearsal.claims.values()), command
    for each in before.values():
        with pytest.raises(Refused):  # what the first key has signed
            world.application(each).list_keys("photos")


@pytest.mark.parametrize("left_out", [1, 2, 3])
def test_each_step_before_the_last_is_needed(world: World, left_out: int) -> None:
    rehearsal = Rehearsal(world)
    without_effect = {1: {1, 2}}  # where the Secret is as it was, nothing is rotated
    for number, command in enumerate(COMMANDS):
        if number not in without_effect.get(left_out, {left_out}):
            rehearsal.carry_out(command)
    assert not rehearsal.works()


@pytest.mark.parametrize(
    ("edited", "error"),
    [
        ({"AZURE_STORAGE_KEY": "YW5vdGhlciBhY2NvdW50J3M="}, AccessDenied),
        ({"AZURE_STORAGE_KEY": "no key"}, InvalidAdminSecret),
        ({"AZURE_STORAGE_KEY": ""}, InvalidAdminSecret),
        ({}, InvalidAdminSecret),
        ({"AZURE_STORAGE_CONNECTION_STRING": "AccountName=others;AccountKey=a2V5"}, InvalidAdminSecret),
    ],
    ids=["of another account", "no key", "empty", "nothing", "of another account by name"],
)
def test_an_edit_of_the_administrators_secret_between_two_calls_stops_no_application(
    world: World, edited: dict[str, str], error: type[Exception]
) -> None:
    bound = world.bind(world.request())
    right, world.secret = world.secret, {name: SecretStr(value) for name, value in edited.items()}
    before = dict(world.storage.containers["photos"].policies)
    for call in (
        lambda: world.provisioner.provision(bound.again()),
        lambda: world.provisioner.revoke(bound.record),
        lambda: world.provisioner.delete(bound.record),
    ):
        with pytest.raises(error):
            call()
    assert world.provisioner.is_intact(bound.again()), "asked with the claim's own SAS"
    assert world.application(bound).list_keys("photos") == []
    assert dict(world.storage.containers["photos"].policies) == before
    world.secret = right
    assert world.bind(bound.again()).credentials == bound.credentials
    with pytest.raises(NotReady, match="30 seconds"):
        world.provisioner.revoke(bound.record)
