"""The commands: arguments in, text or JSON out. Each failure is one sentence on standard error.

Connects `reader` to `explain`; decides nothing about claims.
"""

from __future__ import annotations

import re
import sys
import textwrap
from typing import Final

import click
import msgspec

from libbucket._cli.explain import Explanation, explain
from libbucket._cli.reader import CannotRead, read_facts
from libbucket._cli.scaffold import new
from libbucket._kube.client import KubeClient
from libbucket._kube.config import Access
from libbucket._kube.errors import KubeError

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_FAILED: Final = 1
_WIDTH: Final = 100
_INDENT: Final = 11


def run() -> int:
    """Runs the command line of this process; returns the exit code."""
    try:
        main.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        sys.stderr.write(f"libbucket: {_one_line(error.format_message())}\n")
        return error.exit_code
    except click.Abort:
        return _FAILED
    return 0


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="libbucket", prog_name="libbucket")
def main() -> None:
    """Explains ObjectBucketClaims, with the rights of your kubeconfig."""


@main.command()
@click.argument("claim", metavar="NAMESPACE/NAME")
@click.option("--kubeconfig", default="", metavar="PATH", help="Default: $KUBECONFIG, then ~/.kube/config.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def why(claim: str, kubeconfig: str, *, as_json: bool) -> None:
    """Says what state a claim is in, since when, what it waits for, and what to do next."""
    namespace, separator, name = claim.partition("/")
    if not (namespace and separator and name) or not re.fullmatch(r"[a-z0-9.-]+/[a-z0-9.-]+", claim):
        raise click.BadParameter(f"{claim!r} is not NAMESPACE/NAME", param_hint="NAMESPACE/NAME")
    answer = _explained(kubeconfig, namespace, name)
    text = msgspec.json.format(msgspec.json.encode(answer), indent=2).decode() if as_json else as_text(answer)
    click.echo(text)


main.add_command(new)


def _explained(kubeconfig: str, namespace: str, name: str) -> Explanation:
    try:
        client = KubeClient(Access(kubeconfig=kubeconfig).load(), pool_size=1)
        try:
            return explain(read_facts(client, namespace, name))
        finally:
            client.close()
    except (CannotRead, KubeError) as error:
        raise click.ClickException(str(error)) from error


def as_text(answer: Explanation) -> str:
    """An explanation for a terminal, wrapped at 100 columns."""
    rows = {
        "Claim": f"{answer.claim} ({answer.phase or 'no phase'})",
        "State": answer.state,
        "Since": answer.since or "unknown",
        "Waits for": answer.waits_for,
        "Turn": answer.turn,
        "Next": answer.next_step,
    }
    notes = (("Note", note) for note in answer.notes)
    return "\n".join(_row(label, text) for label, text in (*rows.items(), *notes))


def _row(label: str, text: str) -> str:
    first, later = f"{label + ':':<{_INDENT}}", " " * _INDENT
    return textwrap.fill(
        _one_line(text),
        _WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _one_line(text: str) -> str:
    """Without control characters: messages may contain what tenants wrote."""
    return _CONTROL.sub(" ", text)
