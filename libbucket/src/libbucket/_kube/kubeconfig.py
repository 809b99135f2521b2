"""Reads kubeconfig files: merged as kubectl does, validated, and reduced to the current context.

Under `config`. Of several files, the first one that has a cluster, user, context or current context of a name defines
it. Runs nothing, and makes no request.
Source: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
import yaml

from libbucket._kube.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from libbucket._kube.client_config import FileReader


class _Section(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Base of the sections; unused fields are left out, and `null` counts as absent."""


class Cluster(_Section, frozen=True):
    """`cluster` of an entry of `clusters`."""

    server: str | None = None
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    insecure_skip_tls_verify: bool | None = None
    tls_server_name: str | None = None
    proxy_url: str | None = None
    extensions: list[dict[str, Any]] | None = None


class EnvVar(msgspec.Struct, frozen=True):
    """One entry of `exec.env`."""

    name: str
    value: str = ""


class Exec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`exec` of a user: a program that prints credentials."""

    command: str = ""
    args: list[str] | None = None
    env: list[EnvVar] | None = None
    api_version: str = ""
    install_hint: str | None = None
    provide_cluster_info: bool | None = None
    interactive_mode: str | None = None


class AuthProvider(msgspec.Struct, frozen=True):
    """`auth-provider` of a user."""

    name: str = ""
    config: dict[str, str] | None = None


class User(_Section, frozen=True):
    """`user` of an entry of `users`."""

    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    token: str | None = None
    token_file: str | None = msgspec.field(default=None, name="tokenFile")
    username: str | None = None
    password: str | None = None
    exec: Exec | None = None
    auth_provider: AuthProvider | None = None


class _Context(msgspec.Struct, frozen=True):
    cluster: str | None = None
    user: str | None = None


class _NamedCluster(msgspec.Struct, frozen=True):
    name: str
    cluster: Cluster | None = None


class _NamedUser(msgspec.Struct, frozen=True):
    name: str
    user: User | None = None


class _NamedContext(msgspec.Struct, frozen=True):
    name: str
    context: _Context | None = None


class _File(msgspec.Struct, frozen=True, rename="kebab"):
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None
    current_context: str | None = None


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Located(Generic[T]):
    """A section, and the folder that its relative paths refer to."""

    section: T
    folder: Path


@dataclass(frozen=True, kw_only=True)
class CurrentContext:
    """The current context.

    Attributes:
        cluster: the API server.
        user: the credentials.
        user_name: of that user, for messages; "" if the context has none.
        files: the files that were read.
    """

    cluster: Located[Cluster]
    user: Located[User]
    user_name: str
    files: FileReader = field(repr=False)

    def content(self, located: Located[Any], file: str | None, data: str | None, name: str) -> bytes:
        """The content of `<name>-data` (base64), or else of the file `<name>`; empty if both are absent.

        Raises:
            Misconfigured: it cannot be read.
        """
        if data:
            return _decode_base64(data, f"{name}-data")
        return self.read(located, file, name) if file else b""

    def read(self, located: Located[Any], file: str, name: str) -> bytes:
        """The content of a file that a section names.

        Raises:
            Misconfigured: it cannot be read.
        """
        path = located.folder / Path(file).expanduser()
        try:
            return self.files.read(path)
        except OSError as error:
            raise Misconfigured(f"{name} {path}: {error.strerror or error}") from error


def read_current_context(paths: Sequence[Path], files: FileReader) -> CurrentContext:
    """The current context of the merged files; files that do not exist are ignored.

    Raises:
        Misconfigured: none exists, one cannot be read, or there is no usable current context.
    """
    found = [(path, _parse(path, files)) for path in paths if files.exists(path)]
    if not found:
        raise Misconfigured(f"{', '.join(map(str, paths)) or 'KUBECONFIG'}: no such file")
    current = next((one.current_context for _, one in found if one.current_context), None)
    if current is None:
        raise Misconfigured("current-context is not set")
    context = next(
        (each.context for _, one in found for each in one.contexts or () if each.name == current and each.context), None
    )
    if context is None:
        raise Misconfigured(f"context {current!r}, the current one, does not exist")
    return CurrentContext(
        cluster=_cluster(found, context, current),
        user=_user(found, context, current),
        user_name=context.user or "",
        files=files,
    )


def _cluster(found: list[tuple[Path, _File]], context: _Context, current: str) -> Located[Cluster]:
    for path, one in found:
        for each in one.clusters or ():
            if each.name == context.cluster:
                return Located(section=each.cluster or Cluster(), folder=path.absolute().parent)
    raise Misconfigured(f"cluster {context.cluster or ''!r} of context {current!r} does not exist")


def _user(found: list[tuple[Path, _File]], context: _Context, current: str) -> Located[User]:
    if not context.user:
        return Located(section=User(), folder=Path())
    for path, one in found:
        for each in one.users or ():
            if each.name == context.user:
                return Located(section=each.user or User(), folder=path.absolute().parent)
    raise Misconfigured(f"user {context.user!r} of context {current!r} does not exist")


def _parse(path: Path, files: FileReader) -> _File:
    try:
        return msgspec.convert(yaml.safe_load(files.read(path)) or {}, _File)
    except OSError as error:
        raise Misconfigured(f"{path}: {error.strerror or error}") from error
    except msgspec.ValidationError as error:
        raise Misconfigured(f"{path}: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: bytes that are not text, invalid dates
        # Messages of the parser quote the file, which may contain keys.
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise Misconfigured(f"{path}: not valid YAML{where}") from error


def _decode_base64(data: str, name: str) -> bytes:
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Misconfigured(f"{name} is not base64") from error
