"""`libbucket events`: the Events of claims, and with --follow each new one.

Reads Events only. Their messages are what the provisioner wrote.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from libbucket import _api
from libbucket._cli.ages import age
from libbucket._cli.session import connected, kubeconfig_option
from libbucket._cli.stream import follow
from libbucket._cli.table import TablePrinter
from libbucket._cli.why import split_key
from libbucket._kube.lists import list_objects

if TYPE_CHECKING:
    from collections.abc import Iterable

_COLUMNS: Final = ("AGE", "TYPE", "REASON", "CLAIM", "COUNT", "MESSAGE")


@click.command()
@click.argument("claim", metavar="[NAMESPACE/NAME]", default="")
@kubeconfig_option
@click.option("--namespace", "-n", default="", metavar="NAME", help="Default: all namespaces.")
@click.option("--follow", "-f", "is_following", is_flag=True, help="Print new Events, until interrupted.")
def events(claim: str, kubeconfig: str, namespace: str, *, is_following: bool) -> None:
    """Prints the Events of all claims, of one namespace, or of one claim."""
    place, name = split_key(claim) if claim else (namespace, "")
    if namespace not in {"", place}:
        raise click.UsageError(f"claim {claim} is not in --namespace {namespace}: leave one of them out")
    selector = f"involvedObject.kind={_api.CLAIM_KIND}" + (f",involvedObject.name={name}" if name else "")
    path = f"/api/v1/namespaces/{place}/events" if place else "/api/v1/events"
    params = {"fieldSelector": selector}
    with connected(kubeconfig) as client:
        printer = TablePrinter(_COLUMNS)
        if not is_following:
            if not _show(list_objects(client, path, params), printer):
                click.echo("no events", err=True)
            return
        with suppress(KeyboardInterrupt):  # the usual end
            for changes in follow(client, path, params):
                _show((change.found for change in changes if not change.is_deleted), printer)


def _show(found: Iterable[dict[str, Any]], printer: TablePrinter) -> bool:
    """Whether there was one."""
    cells = [cells_of(event, datetime.now(UTC)) for event in sorted(found, key=time_of)]
    if cells:
        printer.print(cells)
    return bool(cells)


def time_of(event: dict[str, Any]) -> str:
    """When it occurred last."""
    series = event.get("series") or {}
    meta = event.get("metadata") or {}
    found = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        meta.get("creationTimestamp"),
    )
    return next((str(one) for one in found if one), "")


def cells_of(event: dict[str, Any], now: datetime) -> dict[str, str]:
    """One row."""
    about = event.get("involvedObject") or {}
    return {
        "AGE": age(time_of(event), now) or "-",
        "TYPE": event.get("type") or "-",
        "REASON": event.get("reason") or "-",
        "CLAIM": f"{about.get('namespace', '')}/{about.get('name', '')}",
        "COUNT": str((event.get("series") or {}).get("count") or event.get("count") or 1),
        "MESSAGE": event.get("message") or "",
    }
