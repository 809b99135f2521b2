"""`libbucket list`: claims as a table, or for programs.

Connects lists and watches of the API server to `listing`; decides nothing about claims.
"""

from __future__ import annotations

from contextlib import suppress
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
from libbucket._kube.errors import KubeError, NotFound
from libbucket._kube.lists import list_objects, list_typed, read_object
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
            with suppress(KeyboardInterrupt):  # the usual end
                _watch(client, namespace, storage_class, printer)
            return
        claims, unreadable = list_typed(client, CLAIMS, namespace=namespace)
        chosen = [one for one in claims if storage_class in {"", one.class_name}]
        printer.show(rows(chosen, _Secrets(client, namespace).written(chosen)))
        if unreadable:
            click.echo(f"libbucket: {unreadable} claims cannot be decoded and are left out", err=True)


def _watch(client: KubeClient, namespace: str, storage_class: str, printer: _Printer) -> None:
    secrets = _Secrets(client, namespace)
    for changes in follow(client, CLAIMS.path(namespace=namespace), {}):
        for is_deleted in (False, True):
            claims = filter(None, (_claim(change.found) for change in changes if change.is_deleted is is_deleted))
            chosen = [one for one in claims if storage_class in {"", one.class_name}]
            if chosen:
                printer.show(rows(chosen, secrets.written(chosen)), is_deleted=is_deleted, is_stream=True)


def _claim(found: dict[str, Any]) -> _api.ObjectBucketClaim | None:
    try:
        return msgspec.convert(found, _api.ObjectBucketClaim, strict=False)
    except msgspec.ValidationError:
        return None


class _Secrets:
    """When the Secrets of claims were written; a refusal is told once."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._is_told = False

    def written(self, claims: Sequence[_api.ObjectBucketClaim]) -> Mapping[str, str]:
        """As `written_secrets`; of one claim by one small request, since a watch asks for each change."""
        try:
            return written_secrets(self._read(claims[0].metadata) if len(claims) == 1 else self._list())
        except NotFound:
            return {}
        except KubeError as error:
            if not self._is_told:
                click.echo(f"libbucket: the age of credentials is unknown: {one_line(str(error))}", err=True)
            self._is_told = True
            return {}

    def _list(self) -> list[dict[str, Any]]:
        path = SECRET_METADATA.path(namespace=self._namespace)
        labelled = {"labelSelector": _api.PROVISIONER_LABEL}
        return list_objects(self._client, path, labelled, accept=SECRET_METADATA.accept_list)

    def _read(self, claim: _api.Meta) -> list[dict[str, Any]]:
        path = SECRET_METADATA.path(claim.name, namespace=claim.namespace)
        return [read_object(self._client, path, accept=SECRET_METADATA.accept_event)]


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
