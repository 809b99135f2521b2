"""The group of commands, and the end of every one of them: an exit code, and one sentence for each failure.

Each command is in a module of its own, which this one registers.
"""

from __future__ import annotations

import sys
from typing import Final

import click

from libbucket._cli.adopt import adopt
from libbucket._cli.adopt_all import adopt_all
from libbucket._cli.doctor import doctor
from libbucket._cli.events import events
from libbucket._cli.list_claims import list_claims
from libbucket._cli.plan import plan
from libbucket._cli.rotate import rotate
from libbucket._cli.scaffold import new
from libbucket._cli.text import one_line
from libbucket._cli.why import why

_FAILED: Final = 1


def run() -> int:
    """Runs the command line of this process; returns the exit code."""
    try:
        code = main.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        sys.stderr.write(f"libbucket: {one_line(error.format_message())}\n")
        return error.exit_code
    except click.Abort as stop:
        is_interrupted = isinstance(stop.__cause__, KeyboardInterrupt)  # else at a question, whose line is not ended
        sys.stderr.write("libbucket: interrupted\n" if is_interrupted else "\nlibbucket: no answer to the question\n")
        return _FAILED
    return code if isinstance(code, int) else 0


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="libbucket", prog_name="libbucket")
def main() -> None:
    """Explains and repairs ObjectBucketClaims, with the permissions of your kubeconfig."""


for _command in (why, list_claims, events, doctor, plan, rotate, adopt, adopt_all, new):
    _command.short_help = (_command.help or "").partition("\n")[0]  # whole: click would cut it off
    main.add_command(_command)
