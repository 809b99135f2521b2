"""The steps of the demo. Starts everything, knows no store; `testkit.stores` and `cluster` do the work."""

from __future__ import annotations

import shutil
import signal
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from demo.cluster import NAMESPACE, ClusterHelper
from demo.console import DemoConsole
from libbucket.testing.application import Application, Refused
from libbucket.testing.binaries import control_plane_binaries, kubectl_binary
from libbucket.testing.concurrently import run_concurrently
from libbucket.testing.controlplane import Cluster, control_plane, existing_cluster
from libbucket.testing.problems import SetupFailed
from libbucket.testing.provisioner_process import provisioner_process
from testkit.repository import ROOT
from testkit.stores import PROGRAMS, STORES, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testkit.stores.base import Bound

_CRDS = ROOT / "crds"
_SECRET = "admin"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asks for.

    Attributes:
        store: a key of `STORES`.
        keep: leave everything running until Ctrl-C.
        kubeconfig: of a cluster that exists; None starts one.
        context: in that file.
    """

    store: str
    keep: bool
    kubeconfig: Path | None
    context: str


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Everything that runs."""

    console: DemoConsole
    cluster: Cluster
    store: Store
    helper: ClusterHelper
    provisioner_name: str


def run(request: Request) -> None:
    """Runs all steps.

    Raises:
        SetupFailed: something could not be started, or did not happen in time.
        AssertionError: a check failed.
    """
    with ExitStack() as stack:
        demo = _start(request, DemoConsole(), stack)
        bound = _show_greenfield(demo)
        _prove_access(demo, bound, tenant=_other_claim(demo))
        shared = _show_brownfield(demo)
        _prove_access(demo, shared, tenant=bound)
        if request.keep:
            _keep(demo)
        _show_deletion(demo, bound, shared)
        demo.console.heading("That is all")
        demo.console.line("Everything that was started is being stopped; nothing is left behind.")


def _start(request: Request, console: DemoConsole, stack: ExitStack) -> Demo:
    console.heading("A real cluster, a real store, a provisioner")
    _get_programs(request)
    cluster = stack.enter_context(_cluster(request))
    console.event("running", f"Kubernetes API server at {cluster.url}")
    store = stack.enter_context(STORES[request.store]())
    console.event("running", f"{store.title} at {store.address}")
    if request.kubeconfig and _has_crds(cluster):
        console.event("kept", "the CRDs that the cluster has")
    else:
        cluster.install_crds(_CRDS)
        console.event("installed", "the CRDs of crds/: ObjectBucketClaim and ObjectBucket")
    # On an existing cluster another provisioner may serve the usual name.
    name = f"demo.{store.provisioner_name}" if request.kubeconfig else store.provisioner_name
    _run_provisioner(console, cluster, store, name, stack)
    helper = ClusterHelper(admin=cluster.admin, console=console, examples=ROOT / "examples" / request.store)
    helper.open(store.admin_secret, _SECRET)
    if request.kubeconfig:
        stack.callback(helper.close)
    console.event("created", f"namespace {NAMESPACE}, and in it Secret {_SECRET} with the administrator's credentials")
    return Demo(console=console, cluster=cluster, store=store, helper=helper, provisioner_name=name)


def _get_programs(request: Request) -> None:
    """Downloads, builds or installs what is not there yet, at the same time."""
    tasks = [PROGRAMS[request.store]] if request.store in PROGRAMS else []
    if request.kubeconfig is None:
        tasks.append(_control_plane_programs)
    run_concurrently(*tasks)


def _control_plane_programs() -> Path:
    return control_plane_binaries(needs_controller_manager=False).directory


@contextmanager
def _cluster(request: Request) -> Iterator[Cluster]:
    if request.kubeconfig is None:
        # Provisioners delete what they created themselves: without a controller manager, a download is enough.
        with control_plane(controllers=False) as own:
            yield own
    else:
        with existing_cluster(request.kubeconfig, request.context) as existing:
            yield existing


def _has_crds(cluster: Cluster) -> bool:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/objectbucketclaims.objectbucket.io"
    return cluster.admin.find(path) is not None


def _run_provisioner(console: DemoConsole, cluster: Cluster, store: Store, name: str, stack: ExitStack) -> None:
    beside = Path(sys.executable).with_name(store.program)
    program = str(beside) if beside.exists() else shutil.which(store.program)
    if program is None:
        raise SetupFailed(f"{store.program} is not installed in the environment that runs the demo")
    command = [program, "--provisioner-name", name]
    made = provisioner_process(command, kubeconfig=cluster.kubeconfig, name=store.program)
    process = stack.enter_context(made)
    console.event("running", f"{store.program} as process {process.pid}, ready at {process.url}/readyz")
    console.line(f"            its log: {process.program.log_path}")


def _show_greenfield(demo: Demo) -> Bound:
    demo.console.heading("A claim gets a new bucket")
    _apply_class(demo, "class.yaml")
    bound = demo.helper.wait_bound(demo.helper.apply_claim("claim.yaml"))
    _show_objects(demo, bound)
    return bound


def _show_brownfield(demo: Demo) -> Bound:
    bucket = demo.store.brownfield_bucket
    demo.console.heading(f"Another claim gets access to a bucket that exists already: {bucket}")
    demo.store.make_bucket(bucket)
    demo.store.administrator().put(bucket, "2019.txt", b"written long ago")
    demo.console.event("made", f"bucket {bucket} with object 2019.txt, without the provisioner")
    _apply_class(demo, "brownfield-class.yaml")
    bound = demo.helper.wait_bound(demo.helper.apply_claim("brownfield-claim.yaml"))
    _show_objects(demo, bound)
    assert demo.store.application(bound).get(bucket, "2019.txt") == b"written long ago"
    demo.console.verified("2019.txt reads as it was written")
    return bound


def _other_claim(demo: Demo) -> Bound:
    return demo.helper.wait_bound(demo.helper.apply_claim("claim.yaml", name="other-tenant"))


def _apply_class(demo: Demo, file: str) -> None:
    parameters = {**demo.store.parameters, "secretName": _SECRET, "secretNamespace": NAMESPACE}
    demo.helper.apply_class(file, demo.provisioner_name, parameters)


def _show_objects(demo: Demo, bound: Bound) -> None:
    demo.console.table(f"Secret {bound.name}", [(key, "(hidden)") for key in sorted(demo.helper.secret(bound.name))])
    demo.console.table(f"ConfigMap {bound.name}", sorted(demo.helper.config_map(bound.name).items()))


def _prove_access(demo: Demo, bound: Bound, *, tenant: Bound) -> None:
    """The same requests in the claim's bucket and in another's; the other claim's credentials work there."""
    demo.console.heading(f"What an application with the credentials of claim {bound.name} can do")
    application, other = demo.store.application(bound), demo.store.application(tenant)
    _use(application, bound.bucket)
    demo.console.verified(f"put, get, list and delete work in its bucket {bound.bucket}")
    other.put(tenant.bucket, "private.txt", b"of the other tenant")
    for verb, ask in _requests(application, tenant.bucket).items():
        refusal = _refusal_of(ask)
        assert refusal, f"{verb} in bucket {tenant.bucket} was not refused"
        demo.console.verified(f"{verb:<6} in {tenant.name}'s bucket is refused: {refusal}")
    assert other.get(tenant.bucket, "private.txt") == b"of the other tenant"
    _use(other, tenant.bucket)
    other.delete(tenant.bucket, "private.txt")
    demo.console.verified(f"the same requests work there with the credentials of claim {tenant.name}")


def _use(application: Application, bucket: str) -> None:
    application.put(bucket, "hello.txt", b"hello")
    assert application.get(bucket, "hello.txt") == b"hello"
    assert "hello.txt" in application.list_keys(bucket)
    application.delete(bucket, "hello.txt")
    assert "hello.txt" not in application.list_keys(bucket)


def _requests(application: Application, bucket: str) -> dict[str, Callable[[], object]]:
    return {
        "put": lambda: application.put(bucket, "intruder.txt", b"x"),
        "get": lambda: application.get(bucket, "private.txt"),
        "list": lambda: application.list_keys(bucket),
        "delete": lambda: application.delete(bucket, "private.txt"),
    }


def _refusal_of(ask: Callable[[], object]) -> str:
    try:
        ask()
    except Refused as refused:
        return str(refused)
    return ""


def _show_deletion(demo: Demo, bound: Bound, shared: Bound) -> None:
    demo.console.heading("The claims are deleted")
    demo.store.application(bound).put(bound.bucket, "still-here.txt", b"the bucket is not empty")
    _delete(demo, bound, stays=[])
    _delete(demo, shared, stays=["bucket"])
    assert demo.store.administrator().get(shared.bucket, "2019.txt") == b"written long ago"
    demo.console.verified(f"bucket {shared.bucket}, which was not made for the claim, still has its 2019.txt")
    demo.helper.delete_claim("other-tenant")


def _delete(demo: Demo, bound: Bound, *, stays: list[str]) -> None:
    before = demo.store.what_is_there(bound)
    assert before[:1] == ["bucket"], before
    assert before[1:], f"{demo.store.title} knows no identity of claim {bound.name}"
    demo.helper.delete_claim(bound.name)
    left = demo.helper.what_is_left(bound.name)
    assert not left, f"claim {bound.name} left {left}"
    assert demo.store.what_is_there(bound) == stays, f"in {demo.store.title}: {demo.store.what_is_there(bound)}"
    gone = [each for each in before if each not in stays]
    demo.console.verified(f"gone from the cluster: Secret, ConfigMap and ObjectBucket of {bound.name}")
    demo.console.verified(f"gone from {demo.store.title}: {', '.join(gone)}")
    refusal = _refusal_of(lambda: demo.store.application(bound).list_keys(bound.bucket))
    assert refusal, f"the credentials of {bound.name} still work"
    demo.console.verified(f"its credentials are refused: {refusal}")


def _keep(demo: Demo) -> None:
    demo.console.heading("Everything keeps running until Ctrl-C. In another terminal:")
    kubectl = "kubectl" if shutil.which("kubectl") else str(kubectl_binary())
    demo.console.line(f"export KUBECONFIG={demo.cluster.kubeconfig}")
    for arguments in ("get obc", "describe obc photos", "get ob", "delete obc photos"):
        scope = "" if arguments == "get ob" else f" -n {NAMESPACE}"
        demo.console.line(f"{kubectl} {arguments}{scope}")
    signal.pause()
