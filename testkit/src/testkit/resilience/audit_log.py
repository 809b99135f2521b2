"""Who held the Lease when, and who wrote when: from the API server's audit log and from what a store's proxy saw.

Pure but for reading the log. Knows the log's format; knows no trial.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

WRITES: Final = frozenset({"create", "update", "patch", "delete"})
_QUESTIONS: Final = frozenset({"selfsubjectaccessreviews", "tokenreviews"})


@dataclass(frozen=True, kw_only=True)
class Write:
    """Something that a replica did.

    Attributes:
        at: seconds since the epoch, by this machine's clock.
        who: its service account's name, or "" where that is unknown.
        what: in words.
    """

    at: float
    who: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Tenure:
    """From this time on the Lease named this holder.

    Attributes:
        at: seconds since the epoch.
        who: name of the replica; None where the Lease was released or removed, or names no replica of this set.
        how: what was done with the Lease.
    """

    at: float
    who: str | None
    how: str


@dataclass(frozen=True, kw_only=True)
class LeaseWrite:
    """A change of the Lease.

    Attributes:
        at: seconds since the epoch, when it was asked for.
        user: name of the replica; None if another program made it.
        annotations: of the Lease from then on.
    """

    at: float
    user: str | None
    annotations: Mapping[str, str]


class AuditLog:
    """Reads the audit log of one namespace's replicas.

    Args:
        log: of the API server.
        namespace: of the Lease and of the service accounts.
        names: of the replicas.
    """

    def __init__(self, log: Path, namespace: str, names: Sequence[str]) -> None:
        self._log = log
        self._lease = namespace
        self._users = {f"system:serviceaccount:{namespace}:{name}": name for name in names}
        self._asked: list[Write] = []
        self._lock = threading.Lock()

    def note_store_request(self, write: Write) -> None:
        """Remembers what a replica sent to the store."""
        with self._lock:
            self._asked.append(write)

    def tenures(self) -> list[Tenure]:
        """All changes of the holder, in order."""
        found: list[Tenure] = []
        for entry in self._lease_entries():
            tenure = self._tenure(entry)
            if not found or (tenure.who, tenure.how) != (found[-1].who, found[-1].how):
                found.append(tenure)
        return found

    def lease_writes(self) -> list[LeaseWrite]:
        """All changes of the Lease, in the order in which they took effect."""
        found = [(entry, entry.get("responseObject", {}).get("metadata", {})) for entry in self._lease_entries()]
        return [
            LeaseWrite(
                at=_seconds(entry["requestReceivedTimestamp"]),
                user=self._users.get(entry["user"]["username"]),
                annotations=metadata.get("annotations", {}),
            )
            for entry, metadata in sorted(found, key=lambda each: int(each[1].get("resourceVersion", 0)))
        ]

    def writes(self, since: float) -> list[Write]:
        """Every write to the cluster and every request to the store since a time, in order."""
        with self._lock:
            asked = [each for each in self._asked if each.at >= since]
        return sorted([*(each for each in self._writes() if each.at >= since), *asked], key=lambda each: each.at)

    def trespasses(self, since: float) -> list[str]:
        """What replicas did while another one held the Lease, or after they had released it."""
        tenures = self.tenures()
        return [said for write in self.writes(since) if (said := _judge(write, tenures))]

    def _writes(self) -> Iterator[Write]:
        for entry in self._entries():
            who, what = self._users.get(entry["user"]["username"]), entry.get("objectRef", {})
            if who and entry["verb"] in WRITES and what.get("resource") not in {"leases", *_QUESTIONS}:
                path = "/".join(what.get(key, "") for key in ("resource", "namespace", "name") if what.get(key))
                yield Write(at=_seconds(entry["requestReceivedTimestamp"]), who=who, what=f"{entry['verb']} {path}")

    def _tenure(self, entry: dict[str, Any]) -> Tenure:
        # When it was asked for: the replica that gets it may write before the log says that it was answered.
        at, user = _seconds(entry["requestReceivedTimestamp"]), self._users.get(entry["user"]["username"])
        if entry["verb"] == "delete":
            return Tenure(at=at, who=None, how="removed")
        holder = (entry.get("responseObject") or {}).get("spec", {}).get("holderIdentity")
        if not holder:
            return Tenure(at=at, who=None, how=f"released by {user}")
        return Tenure(at=at, who=user, how="held" if user else f"given to {holder}")

    def _lease_entries(self) -> Iterator[dict[str, Any]]:
        """Of the requests that changed the Lease."""
        for entry in self._entries():
            about = entry.get("objectRef", {})
            is_lease = about.get("resource") == "leases" and about.get("namespace") == self._lease
            if is_lease and entry["verb"] in WRITES and entry.get("responseStatus", {}).get("code", 500) < 300:
                yield entry

    def _entries(self) -> Iterable[dict[str, Any]]:
        for line in self._log.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # the last line may still be being written
            if entry.get("stage") == "ResponseComplete":
                yield entry


GRACE: Final = 3.5
"""Seconds in which a leader finds out that its Lease was given away: the time between two renewals, and a half more."""


def _judge(write: Write, tenures: Sequence[Tenure]) -> str:
    before = [each for each in tenures if each.at < write.at]
    if not write.who or not before:
        return ""
    last = before[-1]
    if last.who is not None:
        return "" if last.who == write.who else f"{write.who}: {write.what}, while {last.who} held the lease"
    holder = next((each.who for each in reversed(before) if each.who), None)
    if holder != write.who:
        return f"{write.who}: {write.what}, while no replica held the lease, and last {holder}"
    if last.how.startswith("released"):
        return f"{write.who}: {write.what}, after it had released the lease"
    if last.how.startswith("given") and write.at - last.at > GRACE:
        return f"{write.who}: {write.what}, {write.at - last.at:.1f} s after its lease was given away"
    return ""


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
