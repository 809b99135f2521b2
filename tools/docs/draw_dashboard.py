"""Draws the chart's Grafana dashboard with data of a real run, as `docs/dashboard.svg`.

In the environment that `nox -s dev` makes: `python tools/docs/draw_dashboard.py`; about three minutes after the build
of Prometheus. `minio-provisioner` serves claims on a real API server and a real MinIO; Prometheus scrapes it, and
evaluates the expressions of the panels. Titles, units and positions are the dashboard's, drawn by matplotlib.
"""

from __future__ import annotations

import io
import json
import math
import re
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import urllib3

from libbucket.testing.binaries import go_binary
from libbucket.testing.builders import a_claim, a_class
from libbucket.testing.controlplane import control_plane
from libbucket.testing.processes import HOST, Program, free_ports, fresh_directory, http_ready, running
from libbucket.testing.provisioner_process import provisioner_process
from testkit.repository import CRDS, ROOT
from testkit.stores import STORES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

    from libbucket.testing.admin import KubeAdmin
    from testkit.stores import Store

DASHBOARD = ROOT / "charts/libbucket/files/dashboard.json"
PICTURE = ROOT / "docs/dashboard.svg"
TARGET = {"namespace": "libbucket", "job": "minio-provisioner", "instance": "minio-provisioner-0"}
NAMESPACES = ("shop", "media")
SECONDS, STEP, RATE_INTERVAL = 150, 2, "15s"
SCALES = {"bytes": (1 / 2**20, "MiB"), "percentunit": (100, "%"), "s": (1, "s"), "ops": (1, "per s"), "short": (1, "")}


def main() -> None:
    """Runs everything, and writes the picture."""
    with ExitStack() as stack:
        cluster = stack.enter_context(control_plane(controllers=False))
        store = stack.enter_context(STORES["minio"]())
        cluster.install_crds(CRDS)
        prepare(cluster.admin, store)
        command = [str(Path(sys.executable).with_name(store.program)), "--resync-interval=20s"]
        provisioner = stack.enter_context(provisioner_process(command, kubeconfig=cluster.kubeconfig))
        url = stack.enter_context(prometheus(provisioner.url))
        began = time.time()
        use(cluster.admin, until=began + SECONDS)
        draw(json.loads(DASHBOARD.read_text())["panels"], url, began)


def prepare(admin: KubeAdmin, store: Store) -> None:
    """Two namespaces; a class, and one whose store does not answer."""
    for name in NAMESPACES:
        admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
    secret = {"metadata": {"name": "admin"}, "stringData": dict(store.admin_secret)}
    admin.create(f"/api/v1/namespaces/{NAMESPACES[0]}/secrets", secret)
    for name, endpoint in (("minio", store.address), ("minio-archive", f"http://{HOST}:{free_ports(1)[0]}")):
        parameters = {"endpoint": endpoint, "secretName": "admin", "secretNamespace": NAMESPACES[0]}
        admin.apply(a_class(name=name, provisioner=store.provisioner_name, parameters=parameters))


@contextmanager
def prometheus(target: str) -> Iterator[str]:
    """URL of a Prometheus that scrapes one provisioner every second."""
    binary = go_binary(
        name="prometheus",
        module="github.com/prometheus/prometheus/cmd/prometheus",
        version="v0.316.0",
        tags="remove_all_sd",
    )
    address = f"{HOST}:{free_ports(1)[0]}"
    static = {"targets": [target.partition("://")[2]], "labels": TARGET}
    scrape = {"job_name": TARGET["job"], "scrape_interval": "1s", "static_configs": [static]}
    with fresh_directory() as directory:
        (directory / "config.json").write_text(json.dumps({"scrape_configs": [scrape]}))
        options = ["--config.file=config.json", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
        program = Program(name="prometheus", command=[binary, *options], directory=directory)
        with running(program, ready=http_ready(f"http://{address}/-/ready")):
            yield f"http://{address}"


def use(admin: KubeAdmin, *, until: float) -> None:
    """Two tenants create claims and delete half of them; three claims are of the class whose store does not answer."""
    claims = "/apis/objectbucket.io/v1alpha1/namespaces/{}/objectbucketclaims"
    number = 0
    while time.time() < until:
        number += 1
        collection = claims.format(NAMESPACES[number % 2])
        storage_class = "minio-archive" if number in {30, 40, 50} else "minio"
        admin.create(
            collection, a_claim(name=f"c-{number}", namespace=NAMESPACES[number % 2], storage_class=storage_class)
        )
        if number > 40 and number % 4 < 2:
            admin.delete(f"{collection}/c-{number - 40}")
        time.sleep(0.2 if number % 60 < 40 else 1.0)


def draw(panels: list[dict[str, Any]], url: str, began: float) -> None:
    """All panels, where the dashboard has them."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.fonttype"], mpl.rcParams["svg.hashsalt"] = "none", "dashboard"
    mpl.rcParams["font.size"], mpl.rcParams["axes.titlesize"] = 7, 9
    mpl.rcParams["font.sans-serif"] = ["DejaVu Sans"]
    from matplotlib import pyplot as plt

    width, height = 8, max(panel["gridPos"]["y"] for panel in panels) + 8
    figure, axes = plt.subplots(height // 8, 24 // width, figsize=(12, height * 0.27), layout="constrained")
    for panel in panels:
        place = panel["gridPos"]
        draw_panel(axes[place["y"] // 8][place["x"] // width], panel, url, began)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    PICTURE.write_text(shortened(drawn.getvalue()))


def shortened(svg: str) -> str:
    """The same picture in fewer bytes: coordinates of a tenth of a point, no names of groups, no indentation."""
    svg = re.sub(r' d="[^"]+"', lambda path: re.sub(r"(\.\d)\d+", r"\1", path[0]), svg)
    svg = re.sub(r'<g id="[a-z]\w+_\d+">', "<g>", svg)
    return "".join(f"{line.strip()}\n" for line in svg.splitlines())


def draw_panel(axis: Axes, panel: dict[str, Any], url: str, began: float) -> None:
    """One panel: each series of each expression, with a gap where it has no value."""
    scale, unit = SCALES[panel["fieldConfig"]["defaults"]["unit"]]
    axis.set_ymargin(0.35)
    for target in panel["targets"]:
        for series in evaluate(url, target["expr"], began):
            values = {round(float(at) - began): float(value) * scale for at, value in series["values"]}
            line = [values.get(second, math.nan) for second in range(0, SECONDS + 1, STEP)]
            legend = target["legendFormat"]
            for name, value in series["metric"].items():
                legend = legend.replace(f"{{{{{name}}}}}", value)
            axis.plot(range(0, SECONDS + 1, STEP), line, label=re.sub(r"\{\{\w+\}\}", "", legend), linewidth=1)
    axis.set_title(panel["title"] + (f" ({unit})" if unit else ""), loc="left")
    axis.set(xlim=(0, SECONDS), ylim=(0, None))
    axis.grid(alpha=0.3)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="upper left", frameon=False)


def evaluate(url: str, expression: str, began: float) -> list[dict[str, Any]]:
    """The series of an expression, over the whole run, by Prometheus."""
    replaced = expression.replace("$__rate_interval", RATE_INTERVAL)
    for name in ("namespace", "job"):
        replaced = replaced.replace(f"${name}", TARGET[name])
    query = urlencode({"query": replaced, "start": began, "end": began + SECONDS, "step": STEP})
    answer = urllib3.request("GET", f"{url}/api/v1/query_range?{query}", timeout=10.0).json()
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


if __name__ == "__main__":
    main()
