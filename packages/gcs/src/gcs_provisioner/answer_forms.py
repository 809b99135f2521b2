"""Whether an answer that says success has the form of Google's: a captive portal or a proxy answers with 200 as well.

Used by `errors` for every answer to the administrator. A list that is none reads as "there is nothing", and a policy
that is none as one without bindings: a bucket would count as lost, and a policy would be written over. So what a
decision hangs on must be there. Knows no error of the core.

https://cloud.google.com/storage/docs/json_api/v1 and https://cloud.google.com/iam/docs/reference/rest/v1
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

_STORAGE: Final = "/storage/v1/"
_IAM: Final = "/v1/projects/"

_FORMS: Final[tuple[tuple[str, re.Pattern[str], Mapping[str, type]], ...]] = (
    ("GET PATCH", re.compile(r"/storage/v1/b/(?P<name>[^/]+)"), {"name": str, "projectNumber": str}),
    ("POST", re.compile(r"/storage/v1/b"), {"name": str, "projectNumber": str}),
    ("GET PUT", re.compile(r"/storage/v1/b/[^/]+/iam"), {"etag": str}),
    ("POST", re.compile(r"/storage/v1/projects/[^/]+/hmacKeys"), {"secret": str, "metadata": dict}),
    (
        "GET PUT",
        re.compile(r"/storage/v1/projects/[^/]+/hmacKeys/(?P<accessId>[^/]+)"),
        {"accessId": str, "state": str},
    ),
    ("GET", re.compile(r"/v1/projects/[^/]+/serviceAccounts/(?P<email>[^/:]+)"), {"email": str}),
    ("POST", re.compile(r"/v1/projects/[^/]+/serviceAccounts"), {"email": str}),
    ("POST", re.compile(r"/v1/projects/[^/]+/serviceAccounts/[^/]+:[gs]etIamPolicy"), {"etag": str}),
    ("POST", re.compile(r"/v1/projects/[^/]+/serviceAccounts/[^/]+/keys"), {"name": str, "privateKeyData": str}),
)
"""Methods, path, and fields that are always in an answer, not empty; a field that the path names is as it says."""

_LISTS: Final = ("items", "keys", "accounts", "bindings")
_ENTRIES: Final[Mapping[str, tuple[str, ...]]] = {
    "/iam": ("role",),
    "IamPolicy": ("role",),
    "/hmacKeys": ("accessId", "state"),
    "/keys": ("name",),
    "/serviceAccounts": ("email",),
    "/managedFolders": ("name",),
    "/o": ("name", "generation"),
    "/b": ("name",),
}
"""What each entry of a list has, by the end of the path."""
_TEXTS: Final = ("nextPageToken", "description", "location", "projectNumber")
_OBJECTS: Final = ("labels", "iamConfiguration", "versioning", "metadata")


def has_form(response: requests.Response) -> bool:
    """Whether an answer without a refusal is what was asked for, as far as it can be told."""
    method, path = str(response.request.method), urlsplit(response.url).path
    if not path.startswith((_STORAGE, _IAM)) or not 200 <= response.status_code < 300:
        return True
    if method == "DELETE" and path.startswith(_STORAGE):
        return response.status_code == 204  # https://cloud.google.com/storage/docs/json_api/v1/status-codes
    if response.status_code != 200:
        return False
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        return False
    return isinstance(body, dict) and _is_sound(body, path) and _is_complete(body, method, path)


def _is_sound(body: Mapping[str, Any], path: str) -> bool:
    """Whether fields have their types, wherever there are any."""
    kinds = ((_TEXTS, str), (_OBJECTS, dict), (_LISTS, list))
    if not all(isinstance(body[each], kind) for names, kind in kinds for each in names if each in body):
        return False
    needed = next((fields for end, fields in _ENTRIES.items() if path.endswith(end)), ())
    entries = [entry for each in _LISTS for entry in body.get(each, [])]
    return all(isinstance(entry, dict) and all(entry.get(field) for field in needed) for entry in entries)


def _is_complete(body: Mapping[str, Any], method: str, path: str) -> bool:
    for methods, pattern, fields in _FORMS:
        found = pattern.fullmatch(path)
        if found is None or method not in methods.split():
            continue
        if not all(body.get(field) and isinstance(body[field], kind) for field, kind in fields.items()):
            return False
        return all(body.get(field) == unquote(value) for field, value in found.groupdict().items())
    return True
