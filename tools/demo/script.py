"""What the demo shows, act by act. Starts everything, knows no store; `stores` and `scene` do the work."""

from __future__ import annotations

import shutil
import signal
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from demo.cluster import NAMESPACE, Scene
from demo.console import Stage
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
class Cast:
    """Everything that runs."""

    stage: Stage
    cluster: Cluster
    store: Store
    scene: Scene
    provisioner_name: str


def tell(request: Request) -> None:
    """Shows the whole story.

    Raises:
        SetupFailed: something could not be started, or did not happen in time.
        AssertionError: something that was to be proved is not so.
    """
    with ExitStack() as stack:
        cast = _start(request, Stage(), stack)
        bound = _show_greenfield(cast)
        _prove_access(cast, bound, neighbour=_neighbour(cast))
        shared = _show_brownfield(cast)
        _prove_access(cast, shared, neighbour=bound)
        if request.keep:
            _keep(cast)
        _show_deletion(cast, bound, shared)
        cast.stage.act("That is all")
        cast.stage.says("Everything that was started is being stopped; nothing is left behind.")


def _start(request: Request, stage: Stage, stack: ExitStack) -> Cast:
    stage.act("A real cluster, a real store, a provisioner")
    _get_programs(request)
    cluster = stack.enter_context(_cluster(request))
    stage.event("running", f"Kubernetes API server at {cluster.url}")
    store = stack.enter_context(STORES[request.store]())
    stage.event("running", f"{store.title} at {store.address}")
    if request.kubeconfig and _has_crds(cluster):
        stage.event("kept", "the CRDs that the cluster has")
    else:
        cluster.install_crds(_CRDS)
        stage.event("installed", "the CRDs of crds/: ObjectBucketClaim and ObjectBucket")
    # On somebody's cluster another provisioner may serve the usual name.
    name = f"demo.{store.provisioner_name}" if request.kubeconfig else store.provisioner_name
    _run_provisioner(stage, cluster, store, name, stack)
    scene = Scene(admin=cluster.admin, stage=stage, examples=ROOT / "examples" / request.store)
    scene.open(store.admin_secret, _SECRET)
    if request.kubeconfig:
        stack.callback(scene.close)
    stage.event("created", f"namespace {NAMESPACE}, and in it Secret {_SECRET} with the administrator's credentials")
    return Cast(stage=stage, cluster=cluster, store=store, scene=scene, provisioner_name=name)


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


def _run_provisioner(stage: Stage, cluster: Cluster, store: Store, name: str, stack: ExitStack) -> None:
    beside = Path(sys.executable).with_name(store.program)
    program = str(beside) if beside.exists() else shutil.which(store.program)
    if program is None:
        raise SetupFailed(f"{store.program} is not installed in the environment that runs the demo")
    command = [program, "--provisioner-name", name]
    made = provisioner_process(command, kubeconfig=cluster.kubeconfig, name=store.program)
    process = stack.enter_context(made)
    stage.event("running", f"{store.program} as process {process.pid}, ready at {process.url}/readyz")
    stage.says(f"            its log: {process.program.log_path}")


def _show_greenfield(cast: Cast) -> Bound:
    cast.stage.act("A claim gets a new bucket")
    _apply_class(cast, "class.yaml")
    bound = cast.scene.wait_bound(cast.scene.apply_claim("claim.yaml"))
    _show_objects(cast, bound)
    return bound


def _show_brownfield(cast: Cast) -> Bound:
    bucket = cast.store.brownfield_bucket
    cast.stage.act(f"Another claim gets access to a bucket that exists already: {bucket}")
    cast.store.make_bucket(bucket)
    cast.store.administrator().put(bucket, "2019.txt", b"written long ago")
    cast.stage.event("made", f"bucket {bucket} with object 2019.txt, past the provisioner")
    _apply_class(cast, "brownfield-class.yaml")
    bound = cast.scene.wait_bound(cast.scene.apply_claim("brownfield-claim.yaml"))
    _show_objects(cast, bound)
    assert cast.store.application(bound).get(bucket, "2019.txt") == b"written long ago"
    cast.stage.proves("2019.txt reads as it was written")
    return bound


def _neighbour(cast: Cast) -> Bound:
    return cast.scene.wait_bound(cast.scene.apply_claim("claim.yaml", name="neighbour"))


def _apply_class(cast: Cast, file: str) -> None:
    parameters = {**cast.store.parameters, "secretName": _SECRET, "secretNamespace": NAMESPACE}
    cast.scene.apply_class(file, cast.provisioner_name, parameters)


def _show_objects(cast: Cast, bound: Bound) -> None:
    cast.stage.table(f"Secret {bound.name}", [(key, "(hidden)") for key in sorted(cast.scene.secret(bound.name))])
    cast.stage.table(f"ConfigMap {bound.name}", sorted(cast.scene.config_map(bound.name).items()))


def _prove_access(cast: Cast, bound: Bound, *, neighbour: Bound) -> None:
    """The same requests in the claim's bucket and in a neighbour's; the neighbour's own succeed there."""
    cast.stage.act(f"What an application with the credentials of claim {bound.name} can do")
    application, other = cast.store.application(bound), cast.store.application(neighbour)
    _use(application, bound.bucket)
    cast.stage.proves(f"put, get, list and delete work in its bucket {bound.bucket}")
    other.put(neighbour.bucket, "private.txt", b"of the neighbour")
    for verb, ask in _requests(application, neighbour.bucket).items():
        refusal = _refusal_of(ask)
        assert refusal, f"{verb} in bucket {neighbour.bucket} was not refused"
        cast.stage.proves(f"{verb:<6} in {neighbour.name}'s bucket is refused: {refusal}")
    assert other.get(neighbour.bucket, "private.txt") == b"of the neighbour"
    _use(other, neighbour.bucket)
    other.delete(neighbour.bucket, "private.txt")
    cast.stage.proves(f"the same requests work there with the credentials of claim {neighbour.name}")


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


def _show_deletion(cast: Cast, bound: Bound, shared: Bound) -> None:
    cast.stage.act("The claims are deleted")
    cast.store.application(bound).put(bound.bucket, "still-here.txt", b"the bucket is not empty")
    _delete(cast, bound, stays=[])
    _delete(cast, shared, stays=["bucket"])
    assert cast.store.administrator().get(shared.bucket, "2019.txt") == b"written long ago"
    cast.stage.proves(f"bucket {shared.bucket}, which was not made for the claim, still has its 2019.txt")
    cast.scene.delete_claim("neighbour")


def _delete(cast: Cast, bound: Bound, *, stays: list[str]) -> None:
    before = cast.store.what_is_there(bound)
    assert before[:1] == ["bucket"], before
    assert before[1:], f"{cast.store.title} knows no identity of claim {bound.name}"
    cast.scene.delete_claim(bound.name)
    left = cast.scene.what_is_left(bound.name)
    assert not left, f"claim {bound.name} left {left}"
    assert cast.store.what_is_there(bound) == stays, f"in {cast.store.title}: {cast.store.what_is_there(bound)}"
    gone = [each for each in before if each not in stays]
    cast.stage.proves(f"gone from the cluster: Secret, ConfigMap and ObjectBucket of {bound.name}")
    cast.stage.proves(f"gone from {cast.store.title}: {', '.join(gone)}")
    refusal = _refusal_of(lambda: cast.store.application(bound).list_keys(bound.bucket))
    assert refusal, f"the credentials of {bound.name} still work"
    cast.stage.proves(f"its credentials are refused: {refusal}")


def _keep(cast: Cast) -> None:
    cast.stage.act("Everything keeps running until Ctrl-C. In another terminal:")
    kubectl = "kubectl" if shutil.which("kubectl") else str(kubectl_binary())
    cast.stage.says(f"export KUBECONFIG={cast.cluster.kubeconfig}")
    for arguments in ("get obc", "describe obc photos", "get ob", "delete obc photos"):
        scope = "" if arguments == "get ob" else f" -n {NAMESPACE}"
        cast.stage.says(f"{kubectl} {arguments}{scope}")
    signal.pause()
