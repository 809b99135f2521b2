"""The command line of every provisioner: flags first, then environment variables, then defaults.

Between the process's arguments and `Settings`. Accepts the spellings of the Go provisioners, so that a manifest for one
of them also starts this one. Opens nothing, prints nothing and never exits.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NoReturn

from libbucket._run.settings import (
    Settings,
    parse_address,
    parse_count,
    parse_duration,
    parse_keys,
    parse_log_format,
    parse_namespace,
    parse_namespaces,
    parse_provisioner_name,
    parse_text,
    parse_truth,
    parse_url,
    parse_verbosity,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from libbucket.provisioner import Flag


class UsageError(Exception):
    """A flag or an environment variable is invalid: one sentence that names it."""


class Answered(Exception):
    """`--help` or `--version` was given; the text is its output."""


@dataclass(frozen=True, kw_only=True)
class _Option:
    """One setting.

    Attributes:
        target: name of the field of `Settings`.
        flags: spellings; the first is documented.
        default: as text, like the value of a flag or variable.
        parse: converts the text to the value.
        help: one line.
        metavar: placeholder of the value in `--help`; "" for a switch.
        aliases: further environment variables.
        is_list: may be repeated; parts are joined with commas.
        takes_empty: "" in the environment is a value, not its absence.
    """

    target: str
    flags: tuple[str, ...]
    default: str
    parse: Callable[[str], Any]
    help: str
    metavar: str = ""
    aliases: tuple[str, ...] = ()
    is_list: bool = False
    takes_empty: bool = False

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables, by precedence."""
        return (_variable(self.flags[0].lstrip("-")), *self.aliases)


def _variable(flag: str) -> str:
    return f"LIBBUCKET_{flag.replace('-', '_').upper()}"


OPTIONS: Final = (
    _Option(
        target="provisioner_name",
        flags=("--provisioner-name",),
        default="",
        parse=parse_provisioner_name,
        metavar="NAME",
        help="serve StorageClasses whose provisioner field is this",
    ),
    _Option(
        target="kubeconfig",
        flags=("--kubeconfig", "-kubeconfig"),
        default="",
        parse=parse_text,
        metavar="PATH",
        help="path of a kubeconfig; default: the pod's service account, then $KUBECONFIG, then ~/.kube/config",
    ),
    _Option(
        target="master",
        flags=("--master", "-master"),
        default="",
        parse=parse_url,
        metavar="URL",
        help="URL of the API server; overrides the kubeconfig",
    ),
    _Option(
        target="namespaces",
        flags=("--namespace",),
        default="",
        parse=parse_namespaces,
        metavar="NS",
        is_list=True,
        help="serve claims of this namespace only; repeatable; default: all namespaces",
    ),
    _Option(
        target="admin_secret_namespaces",
        flags=("--admin-secret-namespace",),
        default="",
        parse=parse_namespaces,
        metavar="NS",
        is_list=True,
        help="reject StorageClasses whose secretNamespace is not listed; repeatable; default: allow all",
    ),
    _Option(
        target="watch_secrets",
        flags=("--watch-secrets",),
        default="true",
        parse=parse_truth,
        help="list and watch Secrets; false: edits of a Secret are found by the drift check only",
    ),
    _Option(
        target="workers",
        flags=("--workers",),
        default="64",
        parse=parse_count,
        metavar="N",
        aliases=("LIB_BUCKET_PROVISIONER_THREADS",),
        help="maximum number of concurrent reconciles; the actual number adapts to the stores",
    ),
    _Option(
        target="leader_elect",
        flags=("--leader-elect",),
        default="false",
        parse=parse_truth,
        help="elect a leader: one replica is active, the others are standbys",
    ),
    _Option(
        target="sharding",
        flags=("--sharding",),
        default="false",
        parse=parse_truth,
        help="with --leader-elect: divide the claims among all replicas, instead of having standbys",
    ),
    _Option(
        target="leader_elect_namespace",
        flags=("--leader-elect-namespace",),
        default="",
        parse=parse_namespace,
        metavar="NS",
        help="namespace of the leader election Lease; default: the pod's own",
    ),
    _Option(
        target="bind_address",
        flags=("--bind-address",),
        default=":8080",
        parse=parse_address,
        metavar="HOST:PORT",
        takes_empty=True,
        help="address of /healthz, /readyz and /metrics; empty disables them",
    ),
    _Option(
        target="allowed_config",
        flags=("--allow-additional-config",),
        default="maxObjects,maxSize",
        parse=parse_keys,
        metavar="KEY,...",
        is_list=True,
        takes_empty=True,
        help="comma-separated additionalConfig keys that claims may set",
    ),
    _Option(
        target="resync_interval",
        flags=("--resync-interval",),
        default="30m",
        parse=parse_duration,
        metavar="DURATION",
        help="interval between drift checks of each bound claim",
    ),
    _Option(
        target="repair_interval",
        flags=("--repair-interval",),
        default="24h",
        parse=parse_duration,
        metavar="DURATION",
        help="interval between full reconciliations of each bound claim",
    ),
    _Option(
        target="log_format",
        flags=("--log-format",),
        default="text",
        parse=parse_log_format,
        metavar="text|json",
        help="format of the log on standard error",
    ),
    _Option(
        target="verbosity",
        flags=("-v", "--v"),
        default="0",
        parse=parse_verbosity,
        metavar="N",
        help="log verbosity; 4 and above log debug messages",
    ),
    _Option(
        target="list_orphans",
        flags=("--list-orphans",),
        default="false",
        parse=parse_truth,
        help="print the buckets in the stores whose claim is gone, and end; nothing is changed",
    ),
)
"""The whole command line. The default of the first is the name that each provisioner has."""

_EPILOG: Final = (
    "A flag takes precedence over its environment variable. Exit codes: 0 stopped by a signal, 1 failed at run time, "
    "2 wrong usage. -logtostderr and -alsologtostderr are accepted and change nothing: the log goes to standard error."
)


class _Parser(argparse.ArgumentParser):
    """Raises instead of printing and exiting."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)

    def print_help(self, file: object = None) -> None:  # noqa: ARG002 - the base's signature
        raise Answered(self.format_help())


class _Version(argparse.Action):
    def __call__(self, *_: object, **__: object) -> NoReturn:
        raise Answered(f"{self.const}\n")


def parse_command_line(  # noqa: PLR0913 - facts of a program, by name
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    program: str,
    provisioner_name: str,
    version: str,
    flags: Sequence[Flag] = (),
) -> Settings:
    """The settings of this process.

    Args:
        argv: the arguments without the program's name.
        environ: the environment variables.
        program: name of the command.
        provisioner_name: the default of `--provisioner-name`.
        version: for `--version`.
        flags: of this provisioner, after those that all have.

    Raises:
        UsageError: a flag or a variable is unknown or invalid.
        Answered: `--help` or `--version` was given.
    """
    first, *rest = OPTIONS
    options = [replace(first, default=provisioner_name), *rest]
    own = {flag.name: _own_option(flag) for flag in flags}
    given = vars(_parser([*options, *own.values()], program, version).parse_args(list(argv)))
    values = {option.target: _value(option, given.get(option.target), environ) for option in options}
    if values["sharding"] and not values["leader_elect"]:
        raise UsageError("--sharding: needs --leader-elect, by which replicas agree")
    flag_values = {name: _value(option, given.get(option.target), environ) for name, option in own.items()}
    return Settings(**values, flags=flag_values)


def _own_option(flag: Flag) -> _Option:
    """The option of a provisioner's own flag; its value stays the text that was given."""

    def parse(text: str) -> str:
        if flag.required and not text:
            raise ValueError("is no value, and the flag is required; its variable is " + _variable(flag.name))
        if flag.check is not None and text:
            flag.check(text)
        return text

    target, metavar = f"flag {flag.name}", flag.name.rpartition("-")[2].upper()
    flags = (f"--{flag.name}",)
    return _Option(target=target, flags=flags, default=flag.default, parse=parse, metavar=metavar, help=flag.help)


def _parser(options: Sequence[_Option], program: str, version: str) -> _Parser:
    parser = _Parser(
        prog=program,
        description="Provisions buckets for ObjectBucketClaims in a Kubernetes cluster.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, const=f"{program} {version}", help="print the version and exit"
    )
    for option in options:
        _add(parser, option)
    for ignored in ("logtostderr", "alsologtostderr"):
        parser.add_argument(f"-{ignored}", f"--{ignored}", nargs="?", help=argparse.SUPPRESS)
    return parser


def _add(parser: _Parser, option: _Option) -> None:
    text = f"{option.help} [{', '.join(option.variables)}; default {option.default or 'empty'}]".replace("%", "%%")
    if not option.metavar:
        parser.add_argument(*option.flags, dest=option.target, nargs="?", const="true", metavar="true|false", help=text)
    elif option.is_list:
        parser.add_argument(*option.flags, dest=option.target, action="append", metavar=option.metavar, help=text)
    else:
        parser.add_argument(*option.flags, dest=option.target, metavar=option.metavar, help=text)


def _value(option: _Option, given: str | list[str] | None, environ: Mapping[str, str]) -> Any:
    where, text = _find(option, given, environ)
    try:
        return option.parse(text)
    except ValueError as problem:
        raise UsageError(f"{where}: {text!r} {problem}") from None


def _find(option: _Option, given: str | list[str] | None, environ: Mapping[str, str]) -> tuple[str, str]:
    if given is not None:
        return option.flags[0], ",".join(given) if isinstance(given, list) else given
    for variable in option.variables:
        text = environ.get(variable)
        if text or (text is not None and option.takes_empty):
            return variable, text
    return option.flags[0], option.default
