"""The command line as a program: errors of one sentence, help, completion."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from libbucket._cli import kubectl_completion
from libbucket._cli.commands import main, run
from libbucket._cli.session import as_json
from libbucket.testing.misbehaving import Answer, scripted_server

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(sys.executable).with_name("libbucket")


def libbucket(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        # The sources of this process, also where it runs in another copy of the repository than the environment's.
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": os.pathsep.join(sys.path), **environ},
    )


def test_an_unusable_kubeconfig_is_one_sentence_that_names_it_once(tmp_path: Path) -> None:
    missing = tmp_path / "none-such"
    ran = libbucket("why", "shop/photos", "--kubeconfig", str(missing))

    assert ran.returncode == 1
    assert ran.stderr == f"libbucket: no usable cluster configuration: {missing}: no such file\n"


def test_a_kubeconfig_that_is_not_yaml_is_named_once(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("a: [")
    ran = libbucket("why", "shop/photos", KUBECONFIG=str(file))

    assert ran.stderr.count(str(file)) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("why", "photos"),
        ("why",),
        ("whi", "a/b"),
        ("why", "a/b", "--yaml"),
        ("why", "shop/.."),
        ("why", "shop/a..b"),
        ("why", "-/b"),
        ("rotate", "a/b", "--timeout", "-1"),
        ("rotate", "a/b", "--timeout", "nan"),
        ("adopt-all", "--timeout", "inf"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_sentence(arguments: tuple[str, ...]) -> None:
    ran = libbucket(*arguments)

    assert ran.returncode == 2
    assert ran.stderr.startswith("libbucket: ")
    assert ran.stderr.count("\n") == 1


def a_kubeconfig(tmp_path: Path, server: str) -> Path:
    cluster = {"name": "c", "cluster": {"server": server}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {"token": "t"}}
    config = {"current-context": "c", "clusters": [cluster], "users": [user], "contexts": [context]}
    file = tmp_path / "config"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **config}))
    return file


@pytest.fixture
def unreachable(tmp_path: Path) -> Path:
    """A kubeconfig whose API server refuses connections."""
    return a_kubeconfig(tmp_path, "https://127.0.0.1:1")


@pytest.mark.parametrize(
    "arguments",
    [("why", "a/b"), ("list",), ("list", "--watch"), ("doctor",), ("doctor", "--json"), ("events",), ("rotate", "a/b")],
    ids=" ".join,
)
def test_an_api_server_that_can_not_be_reached_is_one_sentence(arguments: tuple[str, ...], unreachable: Path) -> None:
    """The doctor, too: a cluster about which nothing could be read is not a healthy one."""
    ran = CliRunner().invoke(main, [*arguments, "--kubeconfig", str(unreachable)])

    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr == "Error: https://127.0.0.1:1: cannot be reached (Connection refused)\n"


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b'{"items": [', b"[]", b'{"items": {}}', b'{"items": [7]}'])
@pytest.mark.parametrize(
    "arguments", [("list",), ("list", "--watch"), ("events",), ("adopt-all",), ("plan", "-f", "-")], ids=" ".join
)
def test_an_answer_that_is_no_list_is_one_sentence(arguments: tuple[str, ...], body: bytes, tmp_path: Path) -> None:
    """Such as the page of a proxy that asks for a password, with status 200."""
    with scripted_server(Answer(body=body)) as server:
        config = a_kubeconfig(tmp_path, server.url)
        ran = CliRunner().invoke(main, [*arguments, "--kubeconfig", str(config)], input="")

    assert (ran.exit_code, ran.stdout) == (1, "")
    assert re.fullmatch(r"Error: .*: the response is not a JSON list; is this an API server\?\n", ran.stderr), (
        ran.stderr
    )


def test_an_object_that_is_nested_too_deep_hides_no_other(tmp_path: Path) -> None:
    deep = (
        b'{"metadata": {"name": "deep", "namespace": "shop"}, "spec": ' + b'{"a": ' * 5000 + b"1" + b"}" * 5000 + b"}"
    )
    answers = [Answer(body=b'{"items": [' + deep + b', {"metadata": {"name": "photos", "namespace": "shop"}}]}')]
    with scripted_server(*answers, Answer(body=b'{"items": []}')) as server:
        config = a_kubeconfig(tmp_path, server.url)
        ran = CliRunner().invoke(main, ["list", "-o", "name", "--kubeconfig", str(config)])

    assert (ran.exit_code, ran.stdout) == (0, "obc/shop/deep\nobc/shop/photos\n")


def test_without_a_command_the_help_is_shown() -> None:
    ran = libbucket()

    assert ran.returncode == 2
    assert "\n  why " in ran.stderr


@pytest.mark.parametrize(
    ("shell", "part"), [("bash", "complete -o nosort"), ("zsh", "#compdef"), ("fish", "complete ")]
)
def test_each_shell_gets_its_completion(shell: str, part: str) -> None:
    ran = libbucket(_LIBBUCKET_COMPLETE=f"{shell}_source")

    assert ran.returncode == 0
    assert part in ran.stdout


@pytest.mark.parametrize(
    ("words", "number", "expected"),
    [("libbucket w", "1", "plain,why"), ("libbucket why a/b --", "3", "plain,--kubeconfig")],
)
def test_commands_and_options_are_completed(words: str, number: str, expected: str) -> None:
    ran = libbucket(_LIBBUCKET_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=number)

    assert expected in ran.stdout.split()


def test_the_name_that_list_prints_is_taken(unreachable: Path) -> None:
    """`libbucket list -o name | xargs -n 1 libbucket why`."""
    ran = CliRunner().invoke(main, ["why", "obc/shop/photos", "--kubeconfig", str(unreachable)])

    assert "cannot be reached" in ran.stderr


def test_the_list_of_commands_cuts_no_sentence_off() -> None:
    assert "..." not in CliRunner().invoke(main, ["--help"]).stdout.partition("Commands:")[2]


@pytest.mark.parametrize(("command", "code"), [(("list", "--watch"), 0), (("events", "--follow"), 0), (("doctor",), 1)])
def test_an_interrupt_ends_what_is_followed_and_is_told_by_the_rest(
    command: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> Iterator[object]:
        raise KeyboardInterrupt

    for module in ("list_claims", "events", "doctor"):
        monkeypatch.setattr(f"libbucket._cli.{module}.connected", lambda _: nullcontext())
    for function in ("list_claims.follow", "events.follow", "doctor._check_reachable"):
        monkeypatch.setattr(f"libbucket._cli.{function}", interrupt)
    monkeypatch.setattr(sys, "argv", ["libbucket", *command])

    assert run() == code
    assert capsys.readouterr().err.strip() == ("libbucket: interrupted" if code else "")


def test_a_question_without_an_answer_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("libbucket._cli.adopt_all.connected", lambda _: nullcontext())
    monkeypatch.setattr("libbucket._cli.adopt_all._proposals", lambda *_: click.confirm("Adopt it?"))
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    monkeypatch.setattr(sys, "argv", ["libbucket", "adopt-all"])

    assert run() == 1
    assert capsys.readouterr().err.strip() == "libbucket: no answer to the question"


def test_json_for_a_terminal_has_no_control_characters() -> None:
    name = "a\x1b[31m\x9b2J\u202eb\nc"
    printed = as_json({"name": name})

    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", printed)
    assert json.loads(printed) == {"name": name}


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_has_a_help_of_one_sentence(name: str) -> None:
    found = main.commands[name].help or ""

    assert found.partition("\n")[0].endswith(".")


@pytest.mark.parametrize(
    ("words", "expected", "directive"),
    [
        (["do"], ["doctor"], ":4"),
        (["doctor", "--rem"], ["--remove-orphans"], ":4"),
        ([], ["adopt", "adopt-all", "doctor", "events", "list", "new", "plan", "rotate", "why"], ":4"),
        (["why", "shop/ph"], [], ":4"),
    ],
)
def test_kubectl_gets_the_completion_of_its_plugin(
    words: list[str], expected: list[str], directive: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kubectl_completion.main(words) == 0
    *found, last = capsys.readouterr().out.splitlines()

    assert [line.partition("\t")[0] for line in found] == expected
    assert last == directive
