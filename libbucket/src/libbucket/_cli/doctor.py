"""`libbucket doctor`: checks the cluster, and removes orphans one by one on request.

Connects `survey` to `checks`. Writes only with --remove-orphans, and only what a question was answered for.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click

from libbucket._cli.checks import NOTE, PROBLEM, Finding, examine
from libbucket._cli.orphans import find_orphans, remove
from libbucket._cli.session import CannotRead, as_json, connected, kubeconfig_option
from libbucket._cli.store_report import read_report, remaining, request_removal
from libbucket._cli.survey import survey
from libbucket._cli.table import TablePrinter, print_paragraphs
from libbucket._cli.text import one_line
from libbucket._kube.errors import Forbidden, KubeError

if TYPE_CHECKING:
    from libbucket._cli.orphans import Orphan
    from libbucket._kube.client import KubeClient
    from libbucket._run.store_orphans import StoreOrphan

_COLUMNS: Final = ("CHECK", "RESULT", "FOUND", "NEXT")


@click.command()
@kubeconfig_option
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.option(
    "--store-report", default="", metavar="FILE", help="Of a provisioner: its --list-orphans --log-format=json."
)
@click.option("--remove-orphans", is_flag=True, help="Ask for each object and bucket without a claim: delete it?")
def doctor(kubeconfig: str, *, is_json: bool, remove_orphans: bool, store_report: str) -> int:
    """Checks CRDs, provisioners, classes, permissions and Secrets, and finds objects without a claim."""
    if store_report == "-" and remove_orphans:
        raise click.UsageError("--remove-orphans asks questions: give --store-report a file, not standard input")
    report = read_report(store_report) if store_report else []
    with connected(kubeconfig) as client:
        _check_reachable(client)
        found = survey(client)
        in_stores = list(remaining(client, report))
        findings = [*examine(found), *(_finding(one, store_report) for one in in_stores)]
        _show(findings, is_json=is_json)
        if remove_orphans:
            for orphan in find_orphans(found):
                _offer(client, orphan)
            for bucket in in_stores:
                _offer_bucket(client, bucket)
    return int(any(one.result == PROBLEM for one in findings) or all(one.result == NOTE for one in findings))


def _check_reachable(client: KubeClient) -> None:
    """A cluster that does not answer is one sentence, and not a note for each thing that could not be read.

    Raises:
        KubeError: no answer, or credentials that it does not accept.
    """
    with suppress(Forbidden):
        client.get("/version")


def _finding(orphan: StoreOrphan, path: str) -> Finding:
    return Finding(
        check="stores",
        result=PROBLEM,
        message=f"bucket {orphan.bucket} of claim {orphan.claim}, which is gone, at {orphan.store}",
        next_step=f"libbucket adopt {orphan.claim} --bucket {orphan.bucket} --earlier-uid {orphan.uid}, to use it; "
        f"libbucket doctor --store-report {path} --remove-orphans, to delete it.",
    )


def _show(findings: list[Finding], *, is_json: bool) -> None:
    if is_json:
        click.echo(as_json(findings))
        return
    if sys.stdout.isatty():
        print_paragraphs([(one.result, f"{one.check}: {one.message}", one.next_step) for one in findings])
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


def _offer_bucket(client: KubeClient, orphan: StoreOrphan) -> None:
    """The same for a bucket that no ObjectBucket names. Its class may protect it: then it is kept, and says so."""
    click.echo(one_line(f"\nbucket {orphan.bucket} of claim {orphan.claim}, which is gone, at {orphan.store}"))
    if not _is_typed(orphan.bucket):
        click.echo("kept")
        return
    try:
        name = request_removal(client, orphan)
    except (CannotRead, KubeError) as error:
        click.echo(f"not removed: {one_line(str(error))}", err=True)
    else:
        click.echo(one_line(f"deletion requested: ObjectBucket {name} is gone when the bucket is"))


def _is_typed(bucket: str) -> bool:
    question = f"Deleting it deletes bucket {bucket} WITH ALL DATA. Type the bucket's name to do so"
    return str(click.prompt(one_line(question), default="", show_default=False)) == bucket


def _is_confirmed(orphan: Orphan) -> bool:
    if orphan.bucket:
        return _is_typed(orphan.bucket)
    return click.confirm("Delete it? Credentials are revoked, data is kept.", default=False)
