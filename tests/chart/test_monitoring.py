"""Alerts and dashboard query metrics that provisioners export; each alert fires when it should and not otherwise."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from libbucket._metrics import PHASES, REASONS, RESULTS, VERBS
from libbucket._outcomes import MEANINGS, Actor
from libbucket.errors import Reason
from libbucket.testing.binaries import go_binary
from libbucket.testing.provisioner_process import provisioner_process
from testkit.chart.environment import CHART, ROOT, a_release, one, render
from testkit.chart.tenant import SECONDS, Tenant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.controlplane import ControlPlane
    from testkit.minio.server import MinioServer

EVERYTHING = a_release(
    metrics={"prometheusRule": {"enabled": True}, "serviceMonitor": {"enabled": True}, "dashboard": {"enabled": True}}
)
MANIFESTS = render(EVERYTHING)
RULES: list[dict[str, Any]] = [
    rule for group in one(MANIFESTS, "PrometheusRule")["spec"]["groups"] for rule in group["rules"]
]
DASHBOARD = json.loads(next(iter(one(MANIFESTS, "ConfigMap")["data"].values())))
QUERIES = {
    f"{panel['title']}-{target['refId']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}
OF_THE_TARGET = {"namespace", "job", "instance"}
PROVISIONER = "monitored.test/bucket"

SELECTOR = re.compile(r"\b((?:libbucket|process)_\w+)\{(.*?)\}")
MATCHER = re.compile(r'(\w+)(?:=|=~|!=|!~)"([^"]*)"')


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Prometheus' own checker, without the clients of the clouds that it could find targets in."""
    found = shutil.which("promtool")
    if found:
        return Path(found)
    module = "github.com/prometheus/prometheus/cmd/promtool"
    return go_binary(name="promtool", module=module, version="v0.316.0", tags="remove_all_sd")


def check(promtool: Path, *arguments: str | Path, directory: Path) -> None:
    done = subprocess.run(
        [promtool, *arguments], capture_output=True, text=True, check=False, cwd=directory, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def write_rules(directory: Path, rules: list[dict[str, Any]]) -> Path:
    path = directory / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "tested", "rules": rules}]}))
    return path


# Queried metrics exist ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told(cluster: ControlPlane, minio: MinioServer) -> Iterator[dict[str, list[dict[str, str]]]]:
    """Metrics of a provisioner that bound one claim and failed at another: the labels of each sample, by its name."""
    cluster.admin.install_crds(CHART / "files/crds")
    cluster.admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitored"}})
    tenant = Tenant(cluster.admin, "monitored", minio, provisioner_name=PROVISIONER)
    tenant.open()
    with a_replica(cluster) as process:
        tenant.claim("good")
        tenant.wait_bound("good")
        cluster.admin.delete(tenant.path("secrets", "minio-admin"))
        tenant.claim("bad")
        tenant.wait_claim("bad", lambda claim: "AdminSecretMissing" in str(claim.get("status")))
        families = text_string_to_metric_families(process.metrics())
        found: dict[str, list[dict[str, str]]] = {}
        for sample in (sample for family in families for sample in family.samples):
            found.setdefault(sample.name, []).append(sample.labels)
        tenant.open()
        for name in ("good", "bad"):
            tenant.delete(name)
    yield found
    tenant.close()
    cluster.admin.delete("/api/v1/namespaces/monitored")


def a_replica(cluster: ControlPlane, *flags: str) -> Any:
    command: list[str | Path] = [
        Path(sys.executable).with_name("minio-provisioner"),
        "--provisioner-name",
        PROVISIONER,
        *flags,
    ]
    return provisioner_process(command, kubeconfig=cluster.kubeconfig)


@pytest.mark.parametrize("asked", [*RULES, *QUERIES], ids=lambda each: each if isinstance(each, str) else each["alert"])
def test_every_queried_metric_is_exported(asked: Any, told: dict[str, list[dict[str, str]]]) -> None:
    selectors = SELECTOR.findall(QUERIES[asked] if isinstance(asked, str) else asked["expr"])

    assert selectors
    for metric, matchers in selectors:
        assert metric in told
        names = {name for name, _ in MATCHER.findall(matchers)} - OF_THE_TARGET
        assert names <= set(told[metric][0]), metric


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_values_that_exist(rule: dict[str, Any]) -> None:
    known: dict[str, set[str]] = {
        "reason": set(REASONS),
        "phase": set(PHASES),
        "verb": set(VERBS),
        "result": set(RESULTS),
        "actor": {actor.name.lower() for actor in Actor},
    }
    asked = [found for _, matchers in SELECTOR.findall(rule["expr"]) for found in MATCHER.findall(matchers)]

    for name, values in asked:
        if name not in OF_THE_TARGET:
            assert set(values.split("|")) <= known[name], name


def test_a_metric_that_is_not_exported_is_detected(told: dict[str, list[dict[str, str]]]) -> None:
    assert "libbucket_buckets" not in told
    assert "colour" not in told["libbucket_claims"][0]
    assert {"AdminSecretMissing"} <= {labels["reason"] for labels in told["libbucket_backend_call_errors_total"]}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_links_to_its_runbook(rule: dict[str, Any]) -> None:
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    headings = re.findall(r"(?m)^#+ (.+)$", (ROOT / page).read_text())

    assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert rule["labels"]["severity"] in {"warning", "critical"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_prints_no_text_of_a_tenant(rule: dict[str, Any]) -> None:
    # Labels of closed lists, and names of classes, which administrators choose.
    printed = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    assert printed <= {"reason", "verb", "storage_class"}


def test_the_service_monitor_finds_the_service_and_the_alerts_its_targets() -> None:
    service, monitor = one(MANIFESTS, "Service"), one(MANIFESTS, "ServiceMonitor")

    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    assert wanted <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    # A Prometheus operator calls the job as the Service.
    where = f'namespace="{service["metadata"]["namespace"]}",job="{service["metadata"]["name"]}"'
    assert all(matchers.startswith(where) for rule in RULES for _, matchers in SELECTOR.findall(rule["expr"]))


# Rules and queries are valid and correct ------------------------------------------------------------------------------


def test_prometheus_understands_every_alert(promtool: Path, tmp_path: Path) -> None:
    check(promtool, "check", "rules", "--lint-fatal", write_rules(tmp_path, RULES), directory=tmp_path)


def test_prometheus_understands_every_query_of_the_dashboard(promtool: Path, tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(QUERIES.values())
    ]

    check(promtool, "check", "rules", "--lint-fatal", write_rules(tmp_path, rules), directory=tmp_path)


def test_prometheus_would_refuse_what_it_does_not_understand(promtool: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="parse error"):
        check(
            promtool, "check", "rules", write_rules(tmp_path, [{"alert": "A", "expr": "sum by ("}]), directory=tmp_path
        )


@dataclass(frozen=True, kw_only=True)
class Case:
    """Samples of one minute after the other, and the minutes at which an alert fires, or does not.

    Attributes:
        alert: its name.
        series: metric with labels, without those of the target, to values as promtool writes them.
        fires: a minute at which it fires.
        silent: a minute at which it does not.
    """

    alert: str
    series: dict[str, str]
    fires: int | None = None
    silent: int | None = None


EVERY_FIVE_MINUTES = "0 1 1 1 1 1 2 2 2 2 2 3 3 3 3 3 4 4 4 4 4 5 5 5 5 5 6 6 6 6 6 6x60"
ERRORS = 'libbucket_backend_call_errors_total{{verb="{}",reason="{}"}}'.format
WAITING = 'libbucket_claims_waiting{{reason="{}",actor="{}",storage_class="minio"}}'.format
CASES = {
    "a claim that stays pending": Case(
        alert="LibbucketClaimsStuck",
        series={WAITING("", "nobody"): "1x60"},
        fires=31,
        silent=29,
    ),
    "a claim whose reason changes": Case(
        alert="LibbucketClaimsStuck",
        series={
            WAITING("StoreUnavailable", "administrator"): "1x10 0x10 1x10 0x30",
            WAITING("Throttled", "nobody"): "0x10 1x10 0x10 1x30",
        },
        fires=35,
    ),
    "claims that are bound after a while": Case(
        alert="LibbucketClaimsStuck",
        series={WAITING("Provisioning", "nobody"): "1x20 0x40"},
        silent=50,
    ),
    "a claim that is deleted, and its bucket is not empty": Case(
        alert="LibbucketClaimsStuck",
        series={WAITING("BucketNotEmpty", "administrator"): "1x60"},
        silent=50,
    ),
    **{
        f"a claim that waits for {reason}": Case(
            alert="LibbucketClaimsStuck",
            series={WAITING(reason, MEANINGS[reason].actor.name.lower()): "1x60"},
            fires=None if MEANINGS[reason].actor is Actor.AUTHOR else 31,
            silent=50 if MEANINGS[reason].actor is Actor.AUTHOR else 29,
        )
        for reason in (
            Reason.INVALID_CLAIM,
            Reason.INVALID_CONFIG,
            Reason.BUCKET_EXISTS,
            Reason.SECRET_CONFLICT,
            Reason.INVALID_PARAMETERS,
            Reason.ACCESS_DENIED,
            Reason.REJECTED_BY_CLUSTER,
            Reason.NOT_READY,
        )
    },
    "claims of which one waits for its author, and another one for the administrator": Case(
        alert="LibbucketClaimsStuck",
        series={WAITING("InvalidClaim", "author"): "7x60", WAITING("QuotaExceeded", "administrator"): "1x60"},
        fires=31,
    ),
    "a bucket whose claim is gone": Case(
        alert="LibbucketBucketWithoutClaim",
        series={
            'libbucket_buckets_without_claim{instance="a"}': "1x60",
            'libbucket_buckets_without_claim{instance="b"}': "1x60",
        },
        fires=16,
        silent=14,
    ),
    "a bucket that is released a little after its claim is gone": Case(
        alert="LibbucketBucketWithoutClaim",
        series={"libbucket_buckets_without_claim": "0x5 1x10 0x45"},
        silent=30,
    ),
    "a store that is down": Case(
        alert="LibbucketStoreErrors",
        series={ERRORS("provision", "StoreUnavailable"): EVERY_FIVE_MINUTES},
        fires=25,
        silent=5,
    ),
    "a store that refuses requests": Case(
        alert="LibbucketStoreErrors",
        series={ERRORS("provision", "StoreRefused"): EVERY_FIVE_MINUTES},
        fires=25,
    ),
    "a store that recovered": Case(
        alert="LibbucketStoreErrors",
        series={ERRORS("provision", "StoreUnavailable"): EVERY_FIVE_MINUTES},
        silent=60,
    ),
    "a claim whose author made a mistake": Case(
        alert="LibbucketStoreErrors",
        series={ERRORS("provision", "InvalidClaim"): EVERY_FIVE_MINUTES},
        silent=25,
    ),
    "no replica leads": Case(
        alert="LibbucketNoLeader",
        series={'libbucket_leader{instance="a"}': "1x9 0x20", 'libbucket_leader{instance="b"}': "0x29"},
        fires=14,
        silent=9,
    ),
    "no replica runs": Case(alert="LibbucketNoLeader", series={"up": "0x29"}, fires=5),
    "another replica takes over": Case(
        alert="LibbucketNoLeader",
        series={'libbucket_leader{instance="a"}': "1x9 0x20", 'libbucket_leader{instance="b"}': "0x10 1x20"},
        silent=14,
    ),
    "active replicas of which one no longer takes part": Case(
        alert="LibbucketShardsNotServed",
        series={'libbucket_shards{instance="a"}': "8x30", 'libbucket_shards{instance="b"}': "8x9 0x20"},
        fires=13,
        silent=9,
    ),
    "an active replica that can't be scraped": Case(
        alert="LibbucketShardsNotServed",
        series={'libbucket_shards{instance="a"}': "8x30", 'libbucket_shards{instance="b"}': "8x9 stale"},
        fires=13,
        silent=9,
    ),
    "shards of a lost replica that another one takes over": Case(
        alert="LibbucketShardsNotServed",
        series={'libbucket_shards{instance="a"}': "8x10 16x19", 'libbucket_shards{instance="b"}': "8x9 0x20"},
        silent=14,
    ),
    "a leader and its standby": Case(
        alert="LibbucketShardsNotServed",
        series={'libbucket_shards{instance="a"}': "16x29", 'libbucket_shards{instance="b"}': "0x29"},
        silent=20,
    ),
    "no replica serves a shard: another alert's": Case(
        alert="LibbucketShardsNotServed",
        series={'libbucket_shards{instance="a"}': "0x29"},
        silent=20,
    ),
    "credentials that no longer work": Case(
        alert="LibbucketCredentialsRefused",
        series={ERRORS("grant", "AccessDenied"): EVERY_FIVE_MINUTES},
        fires=20,
        silent=60,
    ),
    "the Secret is gone": Case(
        alert="LibbucketCredentialsRefused",
        series={ERRORS("delete", "AdminSecretMissing"): EVERY_FIVE_MINUTES},
        fires=20,
    ),
    "the store is slow": Case(
        alert="LibbucketCredentialsRefused",
        series={ERRORS("grant", "Throttled"): EVERY_FIVE_MINUTES},
        silent=20,
    ),
    "a bucket that can't be deleted": Case(
        alert="LibbucketDeletionBlocked",
        series={ERRORS("delete", "BucketNotEmpty"): EVERY_FIVE_MINUTES},
        fires=30,
        silent=10,
    ),
    "a claim whose store is unknown": Case(
        alert="LibbucketDeletionBlocked",
        series={'libbucket_reconcile_duration_seconds_count{result="DeletionBlocked"}': EVERY_FIVE_MINUTES},
        fires=30,
    ),
    "buckets that are deleted": Case(
        alert="LibbucketDeletionBlocked",
        series={
            'libbucket_reconcile_duration_seconds_count{result="released"}': "0+5x60",
            ERRORS("provision", "StoreUnavailable"): EVERY_FIVE_MINUTES,
        },
        silent=30,
    ),
    "too few workers": Case(
        alert="LibbucketQueueTooLong",
        series={
            'libbucket_leader{instance="a"}': "1x30",
            'libbucket_queue_longest_wait_seconds{instance="a"}': "0+60x30",
        },
        fires=10,
        silent=4,
    ),
    "a standby replica": Case(
        alert="LibbucketQueueTooLong",
        series={
            'libbucket_leader{instance="a"}': "1x30",
            'libbucket_queue_longest_wait_seconds{instance="a"}': "0x30",
            'libbucket_leader{instance="b"}': "0x30",
            'libbucket_queue_longest_wait_seconds{instance="b"}': "0+60x30",
        },
        silent=20,
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_an_alert_fires_when_it_should_and_not_otherwise(what: str, promtool: Path, tmp_path: Path) -> None:
    case = CASES[what]
    write_rules(tmp_path, RULES)
    fires = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}})'
    checks = [(case.fires, [{"value": 1, "labels": "{}"}]), (case.silent, [])]
    tests = [
        {"expr": fires, "eval_time": f"{minute}m", "exp_samples": wanted}
        for minute, wanted in checks
        if minute is not None
    ]
    series = [{"series": with_target(name), "values": values} for name, values in case.series.items()]
    test_case = {"interval": "1m", "input_series": series, "promql_expr_test": tests}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": [test_case]}))

    check(promtool, "test", "rules", "test.yaml", directory=tmp_path)


def with_target(series: str) -> str:
    name, _, labels = series.removesuffix("}").partition("{")
    every = {"namespace": "libbucket", "job": "buckets", "instance": "a"}
    every |= dict(MATCHER.findall(labels))
    inside = ",".join(f'{key}="{value}"' for key, value in every.items())
    return f"{name}{{{inside}}}"


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    names = {rule["alert"] for rule in RULES}

    assert {case.alert for case in CASES.values() if case.fires is not None} == names
    assert {case.alert for case in CASES.values() if case.silent is not None} == names


@pytest.mark.usefixtures("told")
def test_a_standby_knows_the_claims_and_queues_none(cluster: ControlPlane, minio: MinioServer) -> None:
    tenant = Tenant(cluster.admin, "monitored", minio, provisioner_name=PROVISIONER)
    tenant.open()
    elected = ("--leader-elect", "--leader-elect-namespace", "monitored")
    with a_replica(cluster, *elected), a_replica(cluster, *elected) as second:
        tenant.claim("first")
        tenant.wait_bound("first")
        tenant.claim("second")
        tenant.wait_bound("second")
        deadline = time.monotonic() + SECONDS
        while sum(numbers(second.metrics(), "libbucket_claims")) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        metrics = second.metrics()
        assert number(metrics, "libbucket_leader") == 0
        assert number(metrics, "libbucket_queue_longest_wait_seconds") == 0
        assert sum(numbers(metrics, "libbucket_queue_keys")) == 0
        tenant.delete("first")
        tenant.delete("second")
    tenant.close()


def number(metrics: str, name: str) -> float:
    (found,) = numbers(metrics, name)
    return found


def numbers(metrics: str, name: str) -> list[float]:
    return [float(found) for found in re.findall(rf"(?m)^{name}(?:{{[^}}]*}})? (\S+)$", metrics)]
