"""`libbucket why`: reads the facts about one claim, and prints their explanation.

Connects `reader` to `explain`; decides nothing about claims.
"""

from __future__ import annotations

import click

from libbucket._cli.explain import Explanation, explain
from libbucket._cli.reader import read_facts
from libbucket._cli.session import as_json, connected, kubeconfig_option
from libbucket._cli.text import row, terminal_width
from libbucket._reconcile.model.names import is_object_name


@click.command()
@click.argument("claim", metavar="NAMESPACE/NAME")
@kubeconfig_option
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def why(claim: str, kubeconfig: str, *, is_json: bool) -> None:
    """Says what state a claim is in, since when, what it waits for, and what to do next."""
    namespace, name = split_key(claim)
    with connected(kubeconfig) as client:
        answer = explain(read_facts(client, namespace, name))
    click.echo(as_json(answer) if is_json else as_text(answer, terminal_width()))


def split_key(claim: str) -> tuple[str, str]:
    """Namespace and name of a claim on the command line, also in the form of `list --output name`.

    Raises:
        click.BadParameter: it is not of that form.
    """
    namespace, _, name = claim.removeprefix("obc/").partition("/")
    if not (is_object_name(namespace) and is_object_name(name)):
        raise click.BadParameter(f"{claim!r} is not NAMESPACE/NAME", param_hint="NAMESPACE/NAME")
    return namespace, name


def as_text(answer: Explanation, width: int = 100) -> str:
    """An explanation for a terminal of so many columns."""
    rows = {
        "Claim": f"{answer.claim} ({answer.phase or 'no phase'})",
        "State": answer.state,
        "Since": answer.since or "unknown",
        "Waits for": answer.waits_for,
        "Turn": answer.turn,
        "Next": answer.next_step,
    }
    notes = (("Note", note) for note in answer.notes)
    return "\n".join(row(label, text, width) for label, text in (*rows.items(), *notes))
