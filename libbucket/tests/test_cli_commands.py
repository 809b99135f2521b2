"""The command line as a program: errors of one sentence, help, completion."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from libbucket._cli import kubectl_completion
from libbucket._cli.commands import main
from libbucket.testing.misbehaving import Answer, scripted_server

PROGRAM = Path(sys.executable).with_name("libbucket")


def libbucket(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environ},
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


@pytest.mark.parametrize("arguments", [("why", "photos"), ("why",), ("whi", "a/b"), ("why", "a/b", "--yaml")])
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
