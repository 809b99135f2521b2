"""The rules of the house: what no file may say, and what every package has."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Package

# Written so that this file doesn't break its own rules.
UNWANTED = {
    "the host of a package registry": r"python[h]osted|pypi\.(org|io)|npmjs\.(com|org)|(proxy|sum)\.golang|crates\.io",
    "a path of somebody's machine": r"(?<![\w.~-])/(root|Users|work)/\w|(?<![\w.~-])/home/[a-z]",
    "an index to install from": r"(?m)^\s*(--)?(extra-)?(index-url|find-links|trusted-host)\b",
}
RETIRED = {
    r"(?i)\bmend(s|ed)?\b": "fix, repair",
    r"(?i)\bstore's side\b|\bgone through\b": "reconciled in full",
    r"(?i)\bc(o|a)mes? again\b": "retried, requeued, idempotent",
    r"(?i)\bwhoever\b": "the caller, the administrator, ...",
    r"(?i)\bby hand\b": "manually, out of band",
    r"(?i)\b(gate|lane|town)s?\b": "circuit breaker, concurrency limit, environment",
}
"""Words that the source no longer uses, and the standard terms of docs/glossary.md that it uses for them."""
RETIRED_IN_CORE = {
    r"\b([Ss]ome|[Aa]ny|[Ee]very|[Nn]o)(body|one)\b": "another controller, tenants, no replica, ...",
    r"(?i)\btwins?\b": "copy, duplicate, control",
    r"(?i)\bstands? in for\b|\bstand-ins?\b": "fake, emulator, temporary copy",
    r"(?i)\bpromise(s|d)?\b": "guarantee, invariant",
    r"(?i)\blets? go\b": "remove the finalizer",
    r"(?i)\b(troubles?|deeds?|fate)\b": "failure, write, verdict",
    r"(?i)\b(neighbours?|strangers?)\b": "another tenant, another provisioner",
    r"(?i)\b(unasked|undone)\b": "store_never_called, cancelled",
    r"(?i)\bgiv(en|es?) back\b|\bhad back\b": "released, reclaimed",
    r"(?i)\b(cut|torn) off\b": "interrupted, removed by force",
    r"(?i)\bworlds?\b": "snapshot",
    r"(?i)\bstamp(s|ed)?\b(?! = )": "ownership tags",
    r"(?i)\ba look\b|\blooks? (again|at|first|for)\b": "drift check, requeue, reconcile",
    r"(?i)\bits time (comes|has)\b": "due",
    r"(?i)\b(arena|crew|teeth|voice|weather)s?\b": "standard terms",
    r"(?i)(?<!def )\bfences?\b(?!_)": "leadership check, fencing",
}
"""The same for the core, without its test support."""
CORE = Path("libbucket/src/libbucket")
RETIRED_IN_TESTKIT = {
    r"(?i)\b(some|any|every|no)body('s)?\b": "a tenant, an administrator, no replica, ...",
    r"(?i)\b(twins?|stand-ins?|stands? in)\b": "control, duplicate, fake, emulator",
    r"(?i)(?<!_)\bpromise(s|d)?\b": "guarantee, invariant",
    r"(?i)\b(lets?|letting) go\b": "remove the finalizer, release",
    r"(?i)\b(troubles?|deeds?|fates?)\b": "failure, write, operation, verdict",
    r"(?i)\b(neighbours?|strangers?|crowds?)\b": "another tenant, another provisioner",
    r"(?i)\b(unasked|undone|(gives?|given|had) back)\b": "store_never_called, cancelled, released",
    r"(?i)\b(cut|torn) off\b": "interrupted, disconnected",
    r"(?i)\b(a|the|no|its|owner's) stamps?\b|\bstamped\b|\bunstamped\b": "ownership tags",
    r"(?i)\b(a|one|two|own|first) looks?\b|\blook(s|ed|ing)? (again|at|first|for|into)\b": "drift check, reconcile",
    r"(?i)\bits time (comes|has)\b|\b(tried|written) again\b": "due, retried, recreated",
    r"(?i)\b(arena|crew|ground|ledger|meddler|scene|teeth|voice|weather)s?\b": "the terms of docs/glossary.md",
    r"(?i)\b(meddl(es|ing)|spoil(s|ed)?|spoilt)\b": "inject faults, corrupt",
    r"(?i)\brights\b": "permissions",
    r"(?i)\babilit(y|ies)\b(?<!Ability)": "capability, optional interface",
    r"(?i)\b(planted|mistakes?)\b": "injected fault",
}
"""The same for the test kit, the conformance suite, the resilience tests and the model checker."""
TESTKIT = ("libbucket/src/libbucket/testing", "testkit/src/testkit", "tests/model_checking", "tests/resilience")
OF_ONE_STORE = ("aws_s3", "azure", "gcs", "minio", "answers", "container_images", "release")
"""Folders of the test kit, and modules of its `stores`, that these words do not rule."""
RETIRED_IN_TEXT = {
    r"somebody|whoever": "a person, an administrator, anyone who",
    r"by hand|behind our back": "manually, out of band",
    r"mend(s|ed)?|store's side|gone through|c[oa]mes? again": "fix, full reconciliation, requeued",
    r"(gate|lane|town)s?|crew|arena|weather|ledger": "circuit breaker, concurrency limit, environment",
    r"twins?|stands? in|stand-ins?|(a|our|the|test) doubles?": "control, duplicate, fake, emulator",
    r"worlds?|neighbours?|strangers?|deeds?|fates?|teeth": "snapshot, tenant, application, operation, mutation test",
    r"let(s|ting)? go": "remove the finalizer, delete",
    r"promise[sd]?": "guarantee, invariant",
    r"(a|the|each|every|one|our|regular|second) looks?|looked at|looks? again": "drift check, reconcile, requeue",
    r"stamp(s|ed)?": "ownership tags",
    r"rights": "permissions",
    r"abilit(y|ies)": "optional interface, capability",
    r"troubles?": "failure",
    r"tried again|made (again|anew)|written again": "retried, recreated",
}
"""The same for prose: pages, news fragments, comments and messages of the chart."""
RETIRED_IN_TESTS = {
    r"worlds?|towns?|stages?|scenes?|cast|crew|arena|weather": "environment, console, helper",
    r"somebody|whoever|everybody": "another owner, the administrator, the leader, ...",
    r"by_hand|by hand|behind_our_back|behind our back": "manually, out of band",
    r"mend(s|ed)?|ours|theirs|twins?|neighbours?|strangers?": "fix, owned, foreign, control, other tenant",
    r"promise[sd]?|troubles?|deeds?|fates?|teeth|doubles?|stand-ins?|stands? in": "guarantee, failure, fake, emulator",
    r"looks?|looked|looking": "drift check, reconcile, requeue",
    r"lets?[ _]go|comes?[ _]again|giv(en|es?|ing)[ _]back": "remove the finalizer, retry, deprovision, reclaim",
    r"while_we_were_away|whenever_the_core_dies|cut[ _]off|torn[ _]off": "during downtime, interrupted",
    r"rights?": "RBAC permissions",
    r"stamp(s|ed)?": "ownership tags",
}
"""The same for tests, tools and examples: words of names and of text, with code of other packages left out."""
TESTS = (
    *("tests/integration", "tests/chart", "tests/examples", "tests/e2e", "tests/container_images", "tests/repo_rules"),
    *("tests/tools", "tools", "examples", "noxfile.py", "conftest.py"),
)
FOREIGN = r"""(?x)
    "is_stamped" | \bRIGHT\b | \brights(-namespaced)?\\?\.yaml
"""
"""Names that those folders use, and that other parts of the repository define."""
HOUSE = "test_house.py"
STORES = (
    *("minio", "boto", "google", "azure", "gcs", "s3_client", "ceph", "rook"),
    *("amazon", "azurite", "gcp", "ministack", "moto", "noobaa"),
)
MODULES = ("__main__", "client", "errors", "identity", "parameters", "policy", "provisioner", "storage")
"""The modules that every provisioner package has."""


def _uses(word: str, instead: str, texts: dict[Path, str]) -> list[str]:
    return [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}: write {instead}"
        for path, text in texts.items()
        for match in re.finditer(word, text)
    ]


@pytest.mark.parametrize("word", RETIRED)
def test_the_source_uses_standard_terms(word: str, texts: dict[Path, str]) -> None:
    source = {path: text for path, text in texts.items() if "src" in path.parts and path.parts[0] != "testkit"}

    assert _uses(word, RETIRED[word], source) == []


@pytest.mark.parametrize("word", RETIRED_IN_CORE)
def test_the_core_uses_standard_terms(word: str, texts: dict[Path, str]) -> None:
    inside = {path: text for path, text in texts.items() if path.is_relative_to(CORE)}
    core = {path: text for path, text in inside.items() if not path.is_relative_to(CORE / "testing")}

    assert len(core) > 50
    assert _uses(word, RETIRED_IN_CORE[word], core) == []


def is_of_the_testkit(path: Path) -> bool:
    """Whether a file belongs to the shared part of the tests."""
    folders = ("testkit/src/testkit", "testkit/src/testkit/stores")
    excluded = [Path(folder, name) for folder in folders for name in OF_ONE_STORE]
    return any(path.is_relative_to(each) for each in TESTKIT) and not any(
        path.is_relative_to(each) or path.with_suffix("") == each for each in excluded
    )


@pytest.mark.parametrize("word", RETIRED | RETIRED_IN_TESTKIT)
def test_the_testkit_uses_standard_terms(word: str, texts: dict[Path, str]) -> None:
    shared = {path: text for path, text in texts.items() if is_of_the_testkit(path) and path.suffix in {".py", ".go"}}
    # Seeds and names of parts stay: whole words in quotes, and the command that runs a part.
    named = re.compile(r'"[a-z-]+"|chaos -- \w+|Invariant\.\w+')
    terms = (RETIRED | RETIRED_IN_TESTKIT)[word]

    assert len(shared) > 100
    assert _uses(word, terms, {path: named.sub('""', text) for path, text in shared.items()}) == []


def is_prose(path: Path) -> bool:
    """Whether people read a file as text: a page, a news fragment, a part of the chart, a template of GitHub."""
    if path.suffix == ".md":
        return path.name not in {"CODE_OF_CONDUCT.md", "CHANGELOG.md"}
    return path.parts[0] in {".github", "charts", "crds", "examples"} and path.suffix in {
        ".yaml",
        ".yml",
        ".tpl",
        ".txt",
    }


def prose(text: str) -> str:
    """A text without what it quotes: blocks of code, code in a line, targets of links. Lines keep their numbers."""
    for quoted in (r"(?ms)^ *```.*?^ *```$", r"`[^`]*`", r"\]\([^)]*\)"):
        text = re.sub(quoted, lambda found: "\n" * found[0].count("\n"), text)
    return text


def retired(text: str) -> list[str]:
    """The retired words of a text, each with its line and the standard terms."""
    shown = prose(text)
    return [
        f"line {shown.count(chr(10), 0, match.start()) + 1}: {match[0]!r}: write {terms}"
        for words, terms in RETIRED_IN_TEXT.items()
        for match in re.finditer(rf"(?i)(?<![\w-])({words})(?![\w-])", shown)
    ]


def test_prose_uses_standard_terms(texts: dict[Path, str]) -> None:
    found = {path: retired(text) for path, text in texts.items() if is_prose(path)}

    assert {path: words for path, words in found.items() if words} == {}
    assert len(found) > 100


def test_a_retired_word_is_found_and_code_is_left_alone() -> None:
    text = "A bucket's stamp.\n\n```console\n$ by hand\n```\n`stamp()` and a timestamp.\nIts look is a look at it."

    assert [each.partition(": write")[0] for each in retired(text)] == ["line 7: 'a look'", "line 1: 'stamp'"]


def in_tests(text: str) -> list[str]:
    """The retired words of a test, tool or example, each with its line and the standard terms."""
    shown = re.sub(FOREIGN, "", text)
    return [
        f"line {shown.count(chr(10), 0, match.start()) + 1}: {match[0]!r}: write {terms}"
        for words, terms in RETIRED_IN_TESTS.items()
        for match in re.finditer(rf"(?i)(?<![a-z])({words})(?![a-z])", shown)
    ]


def test_tests_tools_and_examples_use_standard_terms(texts: dict[Path, str]) -> None:
    parts = {path: text for path, text in texts.items() if any(path.is_relative_to(each) for each in TESTS)}
    found = {path: in_tests(text) for path, text in parts.items() if path.suffix == ".py" and path.name != HOUSE}

    assert {path: words for path, words in found.items() if words} == {}
    assert len(found) > 80


def test_a_retired_word_of_a_name_is_found_and_foreign_names_are_left_alone() -> None:
    text = 'def test_what_somebody_did(world): ...\nDEPRECATED = "is_stamped"\nRIGHTS = 1'

    assert [each.partition(": write")[0] for each in in_tests(text)] == [
        "line 1: 'world'",
        "line 1: 'somebody'",
        "line 3: 'RIGHTS'",
    ]


@pytest.mark.parametrize("what", UNWANTED)
def test_no_file_names(what: str, texts: dict[Path, str]) -> None:
    pattern = re.compile(UNWANTED[what])
    found = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        for path, text in texts.items()
        for match in pattern.finditer(text)
    ]

    assert found == []


@pytest.mark.parametrize(
    ("what", "example"),
    [
        ("the host of a package registry", "see https://" + "pypi" + ".org/simple"),
        ("a path of somebody's machine", "in /{}/somebody/x".format("home")),
        ("a path of somebody's machine", "in /{}/x".format("root")),
        ("an index to install from", "--" + "index-url https://mirror"),
    ],
)
def test_the_rules_find_what_they_are_for(what: str, example: str) -> None:
    assert re.search(UNWANTED[what], example)


def test_the_core_names_no_store(texts: dict[Path, str]) -> None:
    core = {path: text for path, text in texts.items() if path.is_relative_to("libbucket/src/libbucket")}
    code = {path: text.lower() for path, text in core.items() if path.suffix == ".py"}
    found = [f"{path}: {store}" for path, text in code.items() for store in STORES if re.search(rf"\b{store}", text)]

    assert code
    assert found == []


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "CHANGELOG.md", "changes", "pyproject.toml", "tests"])
def test_every_package_has(name: str, package: Package) -> None:
    assert (package.directory / name).exists()


@pytest.mark.parametrize("name", MODULES)
def test_every_provisioner_has_the_same_modules(name: str, package: Package) -> None:
    if package.module != "libbucket":
        assert (package.source / f"{name}.py").is_file()


def test_every_package_says_that_it_is_typed(package: Package) -> None:
    assert (package.source / "py.typed").is_file()


def test_every_package_has_the_licence_of_the_whole(package: Package, root: Path) -> None:
    assert (package.directory / "LICENSE").read_text() == (root / "LICENSE").read_text()


def test_every_package_has_its_own_version(package: Package) -> None:
    project = tomllib.loads((package.directory / "pyproject.toml").read_text())["project"]

    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert project["license"] == "Apache-2.0"
    assert project["authors"] == [{"name": "The libbucket authors"}]
    assert project["requires-python"] == ">=3.11"


def test_every_dependency_has_a_lower_bound(package: Package) -> None:
    # Without one, a resolver goes back ten years to make ends meet.
    project = tomllib.loads((package.directory / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    wanted = [*project["dependencies"], *(each for extra in extras for each in extra)]

    assert [each for each in wanted if ">=" not in each and "==" not in each] == []


def test_a_provisioner_depends_on_a_range_of_the_core(package: Package) -> None:
    project = tomllib.loads((package.directory / "pyproject.toml").read_text())["project"]
    if package.module != "libbucket":
        assert any(re.fullmatch(r"libbucket>=[\d.]+,<[\d.]+", each) for each in project["dependencies"])


def test_news_fragments_are_named_as_towncrier_wants_them(package: Package) -> None:
    settings = tomllib.loads((package.directory / "pyproject.toml").read_text())["tool"]["towncrier"]
    kinds = "|".join(kind["directory"] for kind in settings["type"])
    fragments = [path.name for path in (package.directory / "changes").iterdir() if path.name != ".gitignore"]

    assert [name for name in fragments if not re.fullmatch(rf"(\d+|\+[a-z0-9-]+)\.({kinds})\.md", name)] == []


def test_news_fragments_begin_in_the_past_tense(package: Package) -> None:
    fragments = {path.name: path.read_text() for path in (package.directory / "changes").glob("*.md")}
    first = {name: text.partition(". ")[0] for name, text in fragments.items()}

    assert [name for name, sentence in first.items() if not re.search(r"\b(\w+ed|was|were|became)\b", sentence)] == []


def test_every_pin_has_a_hash(texts: dict[Path, str]) -> None:
    pins = {path: text for path, text in texts.items() if path.parts[0] == "requirements"}
    bare = [
        f"{path}: {line}"
        for path, text in pins.items()
        for line in re.sub(r"\\\n", "", text).splitlines()
        if line.strip() and not line.lstrip().startswith("#") and "--hash=sha256:" not in line
    ]

    assert pins
    assert bare == []


def test_what_is_pinned_in_two_files_is_pinned_alike(root: Path) -> None:
    versions: dict[str, set[frozenset[str]]] = {}
    apart = root / "requirements/aws-servers.txt"  # programs in an environment of their own; one pins its own boto3
    for path in sorted({*(root / "requirements").glob("*.txt")} - {apart}):
        pins = re.findall(r"(?m)^([a-z0-9._-]+)==(\S+)", path.read_text())
        for name in {name for name, _ in pins}:
            # Several in one file are for several Pythons.
            versions.setdefault(name, set()).add(frozenset(version for each, version in pins if each == name))

    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_no_lock_with_download_addresses_is_kept(texts: dict[Path, str]) -> None:
    assert [path for path in texts if path.name == "uv.lock"] == []
