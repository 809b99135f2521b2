"""What every command shares: the kubeconfig's option, the connection, errors as one sentence.

Knows the API server and click; knows no command.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from libbucket._cli.text import escaped
from libbucket._kube.client import KubeClient
from libbucket._kube.config import Access
from libbucket._kube.errors import KubeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

F = TypeVar("F", bound="Callable[..., Any]")

_SECONDS: Final = 10.0
_DAY: Final = 86_400

kubeconfig_option: Final = click.option(
    "--kubeconfig", default="", metavar="PATH", help="Default: $KUBECONFIG, then ~/.kube/config."
)


class Seconds(click.FloatRange):
    """A time limit: at most a day, and a number."""

    name = "seconds"

    def __init__(self) -> None:
        super().__init__(min=0, max=_DAY)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """A number of seconds; "nan" passes every comparison of a range.

        Raises:
            click.BadParameter: it is not such a number.
        """
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return seconds


def timeout_option(waited_for: str) -> Callable[[F], F]:
    """`--timeout`: how long a command waits for something."""
    return click.option(
        "--timeout", type=Seconds(), default=60.0, metavar="SECONDS", help=f"How long to wait for {waited_for}."
    )


class CannotRead(Exception):
    """What the command is about does not exist, or could not be read: one sentence."""


@contextmanager
def connected(kubeconfig: str) -> Iterator[KubeClient]:
    """A client with the operator's permissions; each answer has a time limit.

    Args:
        kubeconfig: path of a file; "" for the default.

    Raises:
        click.ClickException: what is done with it failed: one sentence.
    """
    try:
        client = KubeClient(Access(kubeconfig=kubeconfig).load(), pool_size=1)
        try:
            yield client.impatient(_SECONDS)
        finally:
            client.close()
    except (CannotRead, KubeError) as error:
        raise click.ClickException(str(error)) from error


def as_json(value: object) -> str:
    """Indented JSON, without control characters."""
    return escaped(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
