"""The command line: spellings, precedence of flags and environment, and error messages."""

from __future__ import annotations

import pytest

from libbucket import Flag
from libbucket._run.cli import Answered, UsageError, parse_command_line
from libbucket._run.settings import Address, Settings


def a_url(text: str) -> None:
    if not text.startswith("https://"):
        raise ValueError("must be a URL")


def parse(*argv: str, **environ: str) -> Settings:
    return parse_command_line(
        argv, environ, program="a-provisioner", provisioner_name="example.com/bucket", version="1.2.3"
    )


def problem(*argv: str, **environ: str) -> str:
    with pytest.raises(UsageError) as raised:
        parse(*argv, **environ)
    return str(raised.value)


def help_text() -> str:
    with pytest.raises(Answered) as answered:
        parse("--help")
    return " ".join(str(answered.value).split())


def test_without_arguments_the_defaults_count() -> None:
    assert parse() == Settings(
        provisioner_name="example.com/bucket",
        kubeconfig="",
        master="",
        namespaces=(),
        admin_secret_namespaces=(),
        watch_secrets=True,
        workers=64,
        leader_elect=False,
        sharding=False,
        leader_elect_namespace="",
        bind_address=Address(host="", port=8080),
        allowed_config=frozenset({"maxObjects", "maxSize"}),
        resync_interval=1800.0,
        repair_interval=86400.0,
        log_format="text",
        verbosity=0,
    )


@pytest.mark.parametrize("spelling", ["--master", "-master"])
def test_the_master_can_be_spelled_as_in_go(spelling: str) -> None:
    assert parse(spelling, "https://a:6443").master == "https://a:6443"
    assert parse(f"{spelling}=https://a:6443").master == "https://a:6443"


@pytest.mark.parametrize("spelling", ["--kubeconfig", "-kubeconfig"])
def test_the_kubeconfig_can_be_spelled_as_in_go(spelling: str) -> None:
    assert parse(spelling, "/a/file").kubeconfig == "/a/file"
    assert parse(f"{spelling}=/a/file").kubeconfig == "/a/file"


@pytest.mark.parametrize("argv", [["-v", "2"], ["-v=2"], ["--v=2"], ["--v", "2"], ["-v2"]])
def test_verbosity_can_be_spelled_as_in_go(argv: list[str]) -> None:
    assert parse(*argv).verbosity == 2


def test_a_manifest_for_a_go_provisioner_is_accepted() -> None:
    settings = parse("-master=https://a", "-kubeconfig=", "-alsologtostderr", "-logtostderr=true", "-v=2")
    assert (settings.master, settings.verbosity) == ("https://a", 2)


def test_a_flag_counts_before_its_variable_and_the_variable_before_the_default() -> None:
    assert parse("--workers", "3", LIBBUCKET_WORKERS="5").workers == 3
    assert parse(LIBBUCKET_WORKERS="5").workers == 5


def test_our_variable_takes_precedence_over_that_of_the_go_library() -> None:
    assert parse(LIB_BUCKET_PROVISIONER_THREADS="7").workers == 7
    assert parse(LIB_BUCKET_PROVISIONER_THREADS="7", LIBBUCKET_WORKERS="5").workers == 5


def test_namespaces_are_repeated_as_flags_and_separated_by_commas_in_the_variable() -> None:
    assert parse("--namespace", "b", "--namespace=a", "--namespace", "b").namespaces == ("b", "a")
    assert parse(LIBBUCKET_NAMESPACE="b, a").namespaces == ("b", "a")


def test_namespaces_of_administrators_secrets_are_repeated_as_flags_and_separated_by_commas_in_the_variable() -> None:
    assert parse("--admin-secret-namespace=b", "--admin-secret-namespace", "a").admin_secret_namespaces == ("b", "a")
    assert parse(LIBBUCKET_ADMIN_SECRET_NAMESPACE="b, a").admin_secret_namespaces == ("b", "a")


def test_the_watch_on_secrets_can_be_turned_off() -> None:
    assert not parse("--watch-secrets=false").watch_secrets
    assert not parse(LIBBUCKET_WATCH_SECRETS="false").watch_secrets
    assert parse("--watch-secrets", LIBBUCKET_WATCH_SECRETS="false").watch_secrets


def test_sharding_needs_the_lease_of_the_leader_election() -> None:
    assert parse("--leader-elect", "--sharding").sharding
    assert not parse("--leader-elect").sharding
    assert problem("--sharding") == "--sharding: needs --leader-elect, by which replicas agree"
    assert problem("--sharding", LIBBUCKET_LEADER_ELECT="false").startswith("--sharding: needs --leader-elect")


def test_leader_election_is_a_switch_that_can_also_be_turned_off() -> None:
    assert parse("--leader-elect").leader_elect
    assert parse("--leader-elect", "-v=2").leader_elect
    assert not parse("--leader-elect=false", LIBBUCKET_LEADER_ELECT="true").leader_elect
    assert parse(LIBBUCKET_LEADER_ELECT="true").leader_elect


def test_an_empty_address_turns_the_endpoint_off() -> None:
    assert parse("--bind-address", "").bind_address is None
    assert parse("--bind-address=").bind_address is None
    assert parse(LIBBUCKET_BIND_ADDRESS="").bind_address is None


def test_an_empty_variable_counts_as_absent_unless_empty_is_a_value() -> None:
    assert parse(LIBBUCKET_WORKERS="", LIBBUCKET_LOG_FORMAT="").workers == 64


def test_no_additional_config_at_all_can_be_allowed() -> None:
    assert parse("--allow-additional-config=").allowed_config == frozenset()


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--workers", "many"], "--workers: 'many'"),
        (["--workers", "0"], "--workers: '0'"),
        (["--resync-interval", "soon"], "--resync-interval: 'soon'"),
        (["--bind-address", "here"], "--bind-address: 'here'"),
        (["--namespace", "No_Namespace"], "--namespace: 'No_Namespace'"),
        (["--admin-secret-namespace", "No_Namespace"], "--admin-secret-namespace: 'No_Namespace'"),
        (["--watch-secrets=never"], "--watch-secrets: 'never'"),
        (["--log-format", "xml"], "--log-format: 'xml'"),
        (["-v", "loud"], "-v: 'loud'"),
        (["--master", "nowhere"], "--master: 'nowhere'"),
        (["--provisioner-name", ""], "--provisioner-name: ''"),
        (["--leader-elect=perhaps"], "--leader-elect: 'perhaps'"),
        (["--no-such-flag"], "--no-such-flag"),
        (["--worker", "1"], "--worker"),
        (["stray"], "stray"),
        (["--workers"], "--workers"),
    ],
)
def test_mistakes_are_reported_in_one_line_that_names_the_flag(argv: list[str], named: str) -> None:
    said = problem(*argv)
    assert named in said
    assert "\n" not in said


@pytest.mark.parametrize("variable", ["LIBBUCKET_WORKERS", "LIB_BUCKET_PROVISIONER_THREADS"])
def test_a_wrong_variable_is_named_and_not_its_flag(variable: str) -> None:
    assert problem(**{variable: "x"}) == f"{variable}: 'x' must be a whole number"


def test_the_help_lists_every_flag_with_its_variable_and_default() -> None:
    said = help_text()
    for flag in (
        *("--provisioner-name", "--kubeconfig", "--master", "--namespace", "--workers", "--leader-elect"),
        *("--admin-secret-namespace", "--watch-secrets"),
        *(
            "--leader-elect-namespace",
            "--bind-address",
            "--allow-additional-config",
            "--resync-interval",
            "--repair-interval",
        ),
        "--log-format",
    ):
        assert flag in said
        assert f"LIBBUCKET_{flag[2:].replace('-', '_').upper()}" in said
    for part in ("LIB_BUCKET_PROVISIONER_THREADS; default 64", "default :8080", "default 30m", "example.com/bucket"):
        assert part in said


def test_the_help_is_printed_even_before_a_mistake() -> None:
    with pytest.raises(Answered):
        parse("--help", "--no-such-flag")


def test_the_version_is_that_of_the_provisioner() -> None:
    with pytest.raises(Answered, match=r"^a-provisioner 1\.2\.3\n$"):
        parse("--version")


FLAGS = (
    Flag(name="depot-url", help="address of the depot", required=True, check=a_url),
    Flag(name="depot-zone", help="zone of new buckets", default="north"),
)


def parse_own(*argv: str, **environ: str) -> Settings:
    return parse_command_line(
        argv, environ, program="depot-provisioner", provisioner_name="depot.example/bucket", version="1", flags=FLAGS
    )


def test_a_flag_of_a_provisioner_alone_has_a_variable_and_a_default() -> None:
    given = {"LIBBUCKET_DEPOT_URL": "https://depot"}
    assert parse_own(**given).flags == {"depot-url": "https://depot", "depot-zone": "north"}
    assert parse_own("--depot-url=https://other", **given).flags["depot-url"] == "https://other"


def test_help_shows_the_flags_of_a_provisioner_alone() -> None:
    with pytest.raises(Answered) as answered:
        parse_own("--help")
    shown = " ".join(str(answered.value).split())
    assert "--depot-url URL address of the depot [LIBBUCKET_DEPOT_URL; default empty]" in shown
    assert "--depot-zone ZONE zone of new buckets [LIBBUCKET_DEPOT_ZONE; default north]" in shown


def test_a_required_flag_without_a_value_is_refused_by_flag_and_variable() -> None:
    with pytest.raises(UsageError, match=r"--depot-url.*required.*LIBBUCKET_DEPOT_URL"):
        parse_own()


def test_a_wrong_value_of_a_provisioners_flag_is_refused_with_its_own_sentence() -> None:
    with pytest.raises(UsageError, match="LIBBUCKET_DEPOT_URL: 'depot' must be a URL"):
        parse_own(LIBBUCKET_DEPOT_URL="depot")
