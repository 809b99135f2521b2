"""`libbucket list`: claims as a table, or for programs.

Connects lists and watches of the API server to `listing`; decides nothing about claims.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec
import yaml

from libbucket import _api
from libbucket._cli.ages import age
from libbucket._cli.listing import Row, rows, written_secrets
from libbucket._cli.session import as_json, connected, kubeconfig_option
from libbucket._cli.stream import follow
from libbucket._cli.table import TablePrinter
from libbucket._cli.text import one_line
from libbucket._kube.errors import KubeError
from libbucket._kube.lists import list_objects, list_typed
from libbucket._kube.resources import CLAIMS, SECRET_METADATA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from libbucket._kube.client import KubeClient

_COLUMNS: Final = ("NAMESPACE", "NAME", "CLASS", "BUCKET", "PHASE", "REASON", "AGE", "CREDENTIALS")
_WIDE: Final = ("OBJECTBUCKET", "TURN", "MESSAGE")


@click.command("list")
@kubeconfig_option
@click.option("--namespace", "-n", default="", metavar="NAME", help="Default: all namespaces.")
@click.option("--class", "storage_class", default="", metavar="NAME", help="Only claims of this StorageClass.")
@click.option("--output", "-o", type=click.Choice(["table", "wide", "json", "yaml", "name"]), default="table")
@click.option("--watch", "-w", is_flag=True, help="Print each claim again when it changes, until interrupted.")
def list_claims(kubeconfig: str, namespace: str, storage_class: str, output: str, *, watch: bool) -> None:
    """Lists claims: class, bucket, phase, reason, age, and the age of their credentials."""
    printer = _Printer(output)
    with connected(kubeconfig) as client:
        if watch:
            _watch(client, namespace, storage_class, printer)
            return
        claims, unreadable = list_typed(client, CLAIMS, namespace=namespace)
        chosen = [one for one in claims if storage_class in {"", one.class_name}]
        printer.show(rows(chosen, _secrets(client, namespace)))
        if unreadable:
            click.echo(f"libbucket: {unreadable} claims cannot be decoded and are left out", err=True)


def _watch(client: KubeClient, namespace: str, storage_class: str, printer: _Printer) -> None:
    for changes in follow(client, CLAIMS.path(namespace=namespace), {}):
        secrets = _secrets(client, namespace)
        for is_deleted in (False, True):
            claims = filter(None, (_claim(change.found) for change in changes if change.is_deleted is is_deleted))
            chosen = [one for one in claims if storage_class in {"", one.class_name}]
            if chosen:
                printer.show(rows(chosen, secrets), is_deleted=is_deleted, is_stream=True)


def _claim(found: dict[str, Any]) -> _api.ObjectBucketClaim | None:
    try:
        return msgspec.convert(found, _api.ObjectBucketClaim, strict=False)
    except msgspec.ValidationError:
        return None


def _secrets(client: KubeClient, namespace: str) -> Mapping[str, str]:
    try:
        path = SECRET_METADATA.path(namespace=namespace)
        labelled = {"labelSelector": _api.PROVISIONER_LABEL}
        return written_secrets(list_objects(client, path, labelled, accept=SECRET_METADATA.accept_list))
    except KubeError as error:
        click.echo(f"libbucket: the age of credentials is unknown: {one_line(str(error))}", err=True)
        return {}


class _Printer:
    """Prints rows in one of the output formats."""

    def __init__(self, output: str) -> None:
        self._output = output
        self._table = TablePrinter(_COLUMNS + (_WIDE if output == "wide" else ()))

    def show(self, found: Sequence[Row], *, is_deleted: bool = False, is_stream: bool = False) -> None:
        match self._output:
            case "json":
                click.echo("\n".join(map(as_json, found)) if is_stream else as_json(found))
            case "yaml":
                click.echo(yaml.safe_dump([msgspec.to_builtins(row) for row in found], sort_keys=False).rstrip())
            case "name":
                click.echo("".join(f"obc/{row.claim}\n" for row in found), nl=False)
            case _ if not found:
                click.echo("no claims", err=True)
            case _:
                self._table.print([_cells(row, is_deleted=is_deleted) for row in found])


def _cells(row: Row, *, is_deleted: bool) -> dict[str, str]:
    now = datetime.now(UTC)
    namespace, _, name = row.claim.partition("/")
    phase = row.phase + (" (deleted)" if is_deleted else " (deleting)" if row.is_being_deleted else "")
    found: dict[str, Any] = {
        "NAMESPACE": namespace,
        "NAME": name,
        "CLASS": row.storage_class,
        "BUCKET": row.bucket,
        "PHASE": phase.strip(),
        "REASON": row.reason,
        "AGE": age(row.created, now),
        "CREDENTIALS": age(row.credentials_since, now),
        "OBJECTBUCKET": row.object_bucket,
        "TURN": row.actor,
        "MESSAGE": row.message,
    }
    return {key: value or "-" for key, value in found.items()}
