"""`libbucket doctor`: checks the cluster, and removes orphans one by one on request.

Connects `survey` to `checks`. Writes only with --remove-orphans, and only what a question was answered for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from libbucket._cli.checks import PROBLEM, examine
from libbucket._cli.orphans import find_orphans, remove
from libbucket._cli.session import CannotRead, as_json, connected, kubeconfig_option
from libbucket._cli.survey import survey
from libbucket._cli.table import TablePrinter
from libbucket._cli.text import one_line
from libbucket._kube.errors import KubeError

if TYPE_CHECKING:
    from libbucket._cli.checks import Finding
    from libbucket._cli.orphans import Orphan
    from libbucket._kube.client import KubeClient

_COLUMNS: Final = ("CHECK", "RESULT", "FOUND", "NEXT")


@click.command()
@kubeconfig_option
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.option("--remove-orphans", is_flag=True, help="Ask for each object without a claim whether to delete it.")
def doctor(kubeconfig: str, *, is_json: bool, remove_orphans: bool) -> int:
    """Checks CRDs, provisioners, classes, permissions and Secrets, and finds objects without a claim."""
    with connected(kubeconfig) as client:
        found = survey(client)
        findings = examine(found)
        _show(findings, is_json=is_json)
        if remove_orphans:
            for orphan in find_orphans(found):
                _offer(client, orphan)
    return int(any(one.result == PROBLEM for one in findings))


def _show(findings: list[Finding], *, is_json: bool) -> None:
    if is_json:
        click.echo(as_json(findings))
        return
    TablePrinter(_COLUMNS).print(
        [{"CHECK": one.check, "RESULT": one.result, "FOUND": one.message, "NEXT": one.next_step} for one in findings]
    )


def _offer(client: KubeClient, orphan: Orphan) -> None:
    """Asks about one orphan, and removes it if the answer is clear."""
    where = f"{orphan.meta.namespace}/{orphan.meta.name}" if orphan.meta.namespace else orphan.meta.name
    click.echo(one_line(f"\n{orphan.kind} {where} of claim {orphan.claim}: {orphan.state}"))
    if not _is_confirmed(orphan):
        click.echo("kept")
        return
    try:
        remove(client, orphan)
    except (CannotRead, KubeError) as error:
        click.echo(f"not removed: {one_line(str(error))}", err=True)
    else:
        click.echo("deletion requested")


def _is_confirmed(orphan: Orphan) -> bool:
    if orphan.bucket:
        question = f"Deleting it deletes bucket {orphan.bucket} WITH ALL DATA. Type the bucket's name to do so"
        return str(click.prompt(one_line(question), default="", show_default=False)) == orphan.bucket
    return click.confirm("Delete it? Credentials are revoked, data is kept.", default=False)
