"""The entry point of every provisioner: command line, settings, logging, and the controller until a signal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from libbucket.provisioner import Flag, ProvisionerFactory


def run(  # noqa: PLR0913 - facts of a program, by name
    factory: ProvisionerFactory,
    *,
    program: str,
    provisioner_name: str,
    version: str,
    argv: Sequence[str] | None = None,
    flags: Sequence[Flag] = (),
) -> int:
    """Runs a provisioner until a signal stops it.

    Args:
        factory: creates the provisioner; usually its class.
        program: name of the command, for `--help`, `--version` and log lines.
        provisioner_name: default of `--provisioner-name`: StorageClasses with this provisioner are served.
        version: of the provisioner's distribution; a new version reconciles every bound claim in full once.
        argv: the arguments without the program's name; None for those of the process.
        flags: of this provisioner, besides those that all have; their values are in `Services.flags`.

    Returns:
        The exit code: 0 stopped by a signal, 1 failed at run time, 2 wrong usage.
    """
    # Imported here, so that a provisioner can be imported and tested without the Kubernetes client.
    from libbucket._run.main import Program, main

    facts = Program(factory=factory, name=program, provisioner_name=provisioner_name, version=version, flags=flags)
    return main(facts, argv)
