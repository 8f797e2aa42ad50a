"""Kind clusters side by side: made once their nodes are ready, taken again, and left alone where they are not ours."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fixtures.core.waiting import WaitError
from fixtures.k8s.cluster import ClusterError
from fixtures.k8s.kind.cluster import (
    CREATE_TIMEOUT,
    NODE_IMAGE_TIMEOUT,
    OWNER_MARK,
    KindCluster,
    record_of,
    recorded_clusters,
    recorded_containers,
)
from fixtures.k8s.kind.configuration import NodeSettings
from fixtures.k8s.kind.images.registries import parse_mirror
from fixtures.k8s.workload_settings import WorkloadSettings
from supply.host import Engine
from tests.unit.api_server import (
    ANSWERS,
    LEASES,
    MADE_OF,
    READY,
    WITHOUT_CSI_NODE,
    WITHOUT_NETWORK,
    ApiServer,
    kubeconfig,
    lease,
    nodes,
)
from tests.unit.kubernetes_objects import stamp

KIND = """#!/bin/sh
echo "$@" >> {folder}/said
case "$1 $2" in
"version ") echo "kind $(cat {folder}/version) go1.26.8 linux/amd64" ;;
"get clusters") test ! -f {folder}/existing || cat {folder}/existing ;;
"export kubeconfig") cp {folder}/exported "$6" ;;
"create cluster")
    test "$(grep -c '^create' {folder}/said)" -gt {failures} || {{ echo 'ERROR: {error}' >&2; exit 1; }}
    cp {folder}/created "$6" ;;
esac
"""
# An engine whose nodes have these mounts.
NODE = """#!/bin/sh
echo "$@" >> {folder}/asked
case "$*" in *"rm -rf"*) test ! -f {folder}/busy || {{ echo 'device or resource busy' >&2; exit 1; }} ;; esac
printf 'overlay / overlay rw 0 0\\ntmpfs /run tmpfs rw 0 0\\n/dev/vda /opt/spire ext4 rw 0 0\\n'
"""
# Podman's words, as Kind hands them on.
MADE = "failed to ensure podman network: … Error: network name kind already used: network already exists"


def cluster(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    failures: int,
    error: str,
    image: str | None = "node:1",
    given: NodeSettings | None = None,
    engine: Engine | None = None,
    objects: Sequence[Mapping[str, Any]] = (),
) -> KindCluster:
    monkeypatch.chdir(folder)
    kind = KIND.format(folder=folder, failures=failures, error=error)
    for name, text in (("kind", kind), ("kubectl", "#!/bin/sh\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    made_of = partial(KindCluster, image=image, given=given or NodeSettings(), engine=engine, objects=objects)
    return made_of("server", "t-", kind=folder / "kind", kubectl=folder / "kubectl", log=folder / "log")


def created(folder: Path) -> int:
    return sum(line.startswith("create cluster --name t-server") for line in (folder / "said").read_text().splitlines())


def created_on(api_server: ApiServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> KindCluster:
    """A cluster that Kind has just created, whose nodes are as the API server says."""
    (folder / "created").write_text(api_server.kubeconfig())
    made = cluster(folder, monkeypatch, 0, "")
    made.create()
    return made


def test_a_cluster_is_created_once_all_of_its_nodes_are_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    coming = [nodes(), nodes(WITHOUT_NETWORK), nodes(WITHOUT_CSI_NODE), nodes(READY, WITHOUT_CSI_NODE)]
    api_server.nodes = [*coming, nodes(READY, READY)]
    assert not record_of(cluster(tmp_path, monkeypatch, 0, "").kind_name).exists()
    made = created_on(api_server, tmp_path, monkeypatch)
    assert record_of(made.kind_name).resolve() == made._owner
    assert made._owner.exists()
    assert {name: path.resolve() for name, path in recorded_clusters().items()} == {
        made.kind_name: made.kubeconfig_path.resolve()
    }
    assert made.nodes_ready.look().value == 2
    assert len(api_server.nodes) == 1, "its nodes were not waited for"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (nodes(WITHOUT_CSI_NODE), "CSINode is not yet initialized"),
        (nodes(READY, WITHOUT_NETWORK), "cni plugin not initialized"),
        ({"items": [{"metadata": {"name": "node"}, "status": {}}]}, "its kubelet has reported nothing"),
        (nodes(), "there is no node"),
    ],
)
def test_a_cluster_whose_nodes_do_not_get_ready_is_refused_in_the_kubelets_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer, answer: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr("fixtures.k8s.kind.cluster.NODES_READY", 0.1)
    api_server.nodes = [answer]
    with pytest.raises(WaitError, match=f"server: every node ready did not come in .*{said}"):
        created_on(api_server, tmp_path, monkeypatch)


def test_the_second_of_two_first_clusters_finds_kinds_network_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    (tmp_path / "created").write_text(api_server.kubeconfig())
    cluster(tmp_path, monkeypatch, 1, MADE).create()
    assert created(tmp_path) == 2


@pytest.mark.parametrize(("failures", "error", "tries"), [(1, "no space left on device", 1), (9, MADE, 2)])
def test_nothing_else_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, error: str, tries: int
) -> None:
    with pytest.raises(ClusterError, match=error[-20:]):
        cluster(tmp_path, monkeypatch, failures, error).create()
    assert created(tmp_path) == tries


@pytest.mark.parametrize(("version", "recreated"), [("v0.32.0", False), ("v0.33.0", True)])
def test_a_cluster_of_kinds_default_image_is_made_again_by_another_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer, version: str, recreated: bool
) -> None:
    (tmp_path / "created").write_text(api_server.kubeconfig())
    (tmp_path / "version").write_text("v0.32.0")
    cluster(tmp_path, monkeypatch, 0, "", image=None).create()
    (tmp_path / "existing").write_text("t-server\n")
    (tmp_path / "exported").write_text(api_server.kubeconfig())
    (tmp_path / "version").write_text(version)
    later = cluster(tmp_path, monkeypatch, 0, "", image=None)
    later.create()
    assert later.created_here is recreated
    assert later.why_made_again == ("it was made with another node image" if recreated else "")


@pytest.mark.parametrize(("image", "recreated"), [("node:1", False), ("node:2", True)])
@pytest.mark.parametrize("lost", [True, False])
def test_a_cluster_that_was_kept_is_taken_if_it_is_of_the_same_node_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer, image: str, recreated: bool, lost: bool
) -> None:
    (tmp_path / "existing").write_text("t-server\n")
    for name in ("exported", "created"):
        (tmp_path / name).write_text(api_server.kubeconfig())
    kept = cluster(tmp_path, monkeypatch, 0, "", image)
    if not lost:
        (kept.path / OWNER_MARK).touch()
        kept.kubeconfig_path.write_text(api_server.kubeconfig())
    kept.create()
    assert kept.created_here is recreated
    said = tmp_path / "said"
    if lost or recreated:
        assert created(tmp_path) == recreated
        assert ("delete cluster --name t-server" in said.read_text()) is recreated
    else:
        assert not said.exists(), "Kind need not be asked for a cluster that answers"
    # Though what was recorded of it is lost, it is deleted in the end.
    kept.delete_if_owned()
    assert said.read_text().count("delete cluster") == 1 + recreated


def test_a_cluster_that_was_kept_is_made_again_where_other_settings_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    (tmp_path / "created").write_text(api_server.kubeconfig())
    (tmp_path / "exported").write_text(api_server.kubeconfig())
    first, other = (NodeSettings(mirrors=(parse_mirror("--mirror", f"http://{name}.example"),)) for name in "ab")
    made = []
    for given in (first, first, other, None):
        later = cluster(tmp_path, monkeypatch, 0, "", given=given)
        later.create()
        made.append(later.created_here)
        (tmp_path / "existing").write_text("t-server\n")
        assert (later.path / "registries" / "certs.d" / "_default" / "hosts.toml").exists() is bool(given)
    assert made == [True, False, True, True]


def test_a_cluster_that_was_kept_is_made_again_where_other_objects_or_namespace_labels_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    (tmp_path / "created").write_text(api_server.kubeconfig())
    (tmp_path / "exported").write_text(api_server.kubeconfig())
    first, other = ({"kind": "Secret", "metadata": {"name": name, "namespace": "spire-server"}} for name in "ab")
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    made = []
    for objects, given in (((first,), {}), ((first,), {}), ((first, other), {}), ((), labels), ((), labels), ((), {})):
        later = cluster(tmp_path, monkeypatch, 0, "", objects=objects)
        later.workload_settings = WorkloadSettings(namespace_labels=given)
        later.create()
        made.append(later.created_here)
        (tmp_path / "existing").write_text("t-server\n")
    assert made == [True, False, True, True, False, True]


def test_a_cluster_that_somebody_else_deleted_is_created_again_and_its_address_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    (tmp_path / "created").write_text(api_server.kubeconfig())
    gone = cluster(tmp_path, monkeypatch, 0, "")
    (gone.path / OWNER_MARK).touch()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        gone.kubeconfig_path.write_text(kubeconfig(closed.getsockname()[1]))
        with pytest.raises(ClusterError):
            gone.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "demo"}})
        gone.create()
    assert created(tmp_path) == 1
    assert [node.metadata.name for node in gone.core.list_node().items] == ["node"]


def test_a_kept_cluster_that_is_stopped_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    (tmp_path / "existing").write_text("t-server\n")  # and no kubeconfig of it can be exported
    (tmp_path / "created").write_text(api_server.kubeconfig())
    stopped = cluster(tmp_path, monkeypatch, 0, "")
    (stopped.path / OWNER_MARK).touch()
    stopped.create()
    assert stopped.created_here
    assert (tmp_path / "said").read_text().count("delete cluster") == created(tmp_path) == 1


def kept_cluster(
    folder: Path, monkeypatch: pytest.MonkeyPatch, exported: str, engine: Engine | None = None
) -> KindCluster:
    """A cluster that an earlier run kept, whose kubeconfig leads where this one does."""
    (folder / "existing").write_text("t-server\n")
    (folder / "exported").write_text(exported)
    kept = cluster(folder, monkeypatch, 0, "", engine=engine)
    (kept.path / OWNER_MARK).touch()
    kept.kubeconfig_path.write_text(exported)
    return kept


def of_server(kind: str, ready: bool, since: float) -> dict[str, Any]:
    """The list of the one pod of SPIRE's server, which runs since then, or of its StatefulSet, as they are listed."""
    metadata: dict[str, Any] = {"name": "spire-server", "namespace": "spire-server", "generation": 1}
    status: dict[str, Any]
    if kind == "statefulsets":
        status = {"observedGeneration": 1, "replicas": 1, **({"readyReplicas": 1} if ready else {})}
        replicas = {"replicas": 1, "selector": {}, "serviceName": "spire-server", "template": {}}
        return {"items": [{"metadata": metadata, "spec": replicas, "status": status}]}
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "spire-server", "uid": "1", "controller": True}
    state = {"running": {"startedAt": stamp(since)}} if ready else {"waiting": {"reason": "CrashLoopBackOff"}}
    container = {
        "name": "spire-server",
        "image": "i",
        "imageID": "i",
        "ready": ready,
        "restartCount": 1,
        "state": state,
    }
    status = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        "containerStatuses": [container],
    }
    spec = {"nodeName": "node", "containers": [{"name": "spire-server", "image": "i"}]}
    metadata |= {"name": "spire-server-0", "ownerReferences": [owner]}
    return {"items": [{"metadata": metadata, "spec": spec, "status": status}]}


STARTED = 20.0  # seconds since the node's container was started
RESTARTED = {  # what the API server answers after that: first as before it, and then as it is
    "lease of before the start": {LEASES: [lambda: lease(time.time() - STARTED - 2), lambda: lease(time.time())]},
    "lease of before a suspension": {LEASES: [lambda: lease(time.time() - 16), lambda: lease(time.time())]},
    "pod of before the start": {
        "/api/v1/pods": [
            lambda: of_server("pods", True, time.time() - 900),
            lambda: of_server("pods", True, time.time() - 5),
        ]
    },
    "count of before the start": {
        "/apis/apps/v1/statefulsets": [
            lambda: of_server("statefulsets", True, 0.0),
            lambda: of_server("statefulsets", False, 0.0),
        ],
        "/api/v1/pods": [lambda: of_server("pods", False, 0.0)],
    },
}
NOT_READY = {"/api/v1/nodes": [lambda: nodes(WITHOUT_NETWORK), lambda: nodes(READY)]}


@pytest.mark.parametrize(
    ("answers", "reports"),
    [
        *(pytest.param(each, True, id=name) for name, each in RESTARTED.items()),
        pytest.param(NOT_READY, True, id="node that is not ready"),
        *(pytest.param(each, False, id=f"{name} for good") for name, each in RESTARTED.items()),
    ],
)
def test_a_kept_cluster_whose_nodes_were_started_again_is_taken_once_they_report_and_made_again_where_they_do_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    api_server: ApiServer,
    answers: dict[str, list[Callable[[], dict[str, Any]]]],
    reports: bool,
) -> None:
    monkeypatch.setattr("fixtures.k8s.kind.cluster.STATUS_CURRENT_TIMEOUT", 1.0 if reports else 0.1)
    (tmp_path / "created").write_text(api_server.kubeconfig())
    # Three looks: one before Kind is asked, the second and third are waited for.
    for path, (before, *after) in answers.items():
        api_server.successive[path] = [before(), before(), *(each() for each in (after if reports else ()))]
    kept = kept_cluster(tmp_path, monkeypatch, api_server.kubeconfig(), engine_of_node(tmp_path, STARTED))
    kept.create()
    assert kept.created_here is not reports
    assert reports or re.search(r"current status of nodes and pods did not come in .* last seen: ", kept.why_made_again)
    assert ("than are: StatefulSet" in kept.why_made_again) is (not reports and len(answers) == 2)
    assert all(len(left) == 1 for left in api_server.successive.values()) or not reports


def test_a_healthy_kept_cluster_is_taken_at_the_first_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    api_server.successive = {
        LEASES: [lease(time.time() - 10.4), {}],
        "/api/v1/pods": [of_server("pods", True, time.time() - STARTED), {}],
        "/apis/apps/v1/statefulsets": [of_server("statefulsets", True, 0.0), {}],
    }
    kept_cluster(tmp_path, monkeypatch, api_server.kubeconfig(), engine_of_node(tmp_path, STARTED)).create()
    assert not (tmp_path / "said").exists()


def test_a_kept_cluster_of_which_something_cannot_be_read_for_a_moment_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    # As of a node that has just been added: its Lease has no holder yet.
    api_server.successive = {LEASES: [{"items": [{"metadata": {"name": "node"}}]}, lease(time.time())]}
    kept = kept_cluster(tmp_path, monkeypatch, api_server.kubeconfig(), engine_of_node(tmp_path, STARTED))
    kept.create()
    assert not kept.created_here
    assert "delete" not in (tmp_path / "said").read_text()


def engine_of_node(folder: Path, started: float) -> Engine:
    """An engine that has started the node's container so many seconds ago, in Podman's and Docker's words."""
    at = datetime.fromtimestamp(time.time() - started, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f123Z")
    asked = "inspect --type container --format {{json .State.StartedAt}} node"
    (folder / "podman").write_text(f"#!/bin/sh\ntest \"$*\" != '{asked}' || echo '\"{at}\"'\n")
    (folder / "podman").chmod(0o755)
    return Engine(str(folder / "podman"))


def test_a_kept_cluster_that_a_proxy_hides_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer, closed_port: int
) -> None:
    hidden = kubeconfig(api_server.server_port, **{"proxy-url": f"http://127.0.0.1:{closed_port}"})
    kept = kept_cluster(tmp_path, monkeypatch, hidden)
    with pytest.raises(
        ClusterError,
        match=r"^server: the API server of t-server cannot be reached from this process, and a proxy is between, ",
    ) as caught:
        kept.create()
    assert "\n" not in str(caught.value)
    kept.delete_if_owned()
    assert "delete" not in (tmp_path / "said").read_text()


@pytest.mark.parametrize("owned", [True, False])
def test_a_kept_cluster_that_another_program_reaches_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_port: int, owned: bool
) -> None:
    kept = kept_cluster(tmp_path, monkeypatch, kubeconfig(closed_port))
    if not owned:
        (kept.path / OWNER_MARK).unlink()
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    (tmp_path / "kubectl").write_text(
        '#!/bin/sh\ntest "$*$HTTPS_PROXY" != "get --raw /readyz --request-timeout=5s" || echo ok\n'
    )
    with pytest.raises(ClusterError, match=r"cannot be reached from this process, and kubectl reaches it, "):
        kept.create()
    kept.delete_if_owned()
    assert "delete" not in (tmp_path / "said").read_text()


def test_a_cluster_of_somebody_else_is_neither_used_nor_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    (tmp_path / "existing").write_text("t-server\n")
    (tmp_path / "exported").write_text(api_server.kubeconfig())
    monkeypatch.setattr("fixtures.k8s.kind.cluster.OWNER_MARK", "made-by-another-suite")
    theirs = cluster(tmp_path, monkeypatch, 0, "")
    with pytest.raises(ClusterError, match="exists that this suite did not make"):
        theirs.create()
    theirs.delete_if_owned()
    assert "delete cluster" not in (tmp_path / "said").read_text()


def test_a_cluster_that_has_the_name_of_one_that_was_deleted_by_hand_is_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    (tmp_path / "created").write_text(api_server.kubeconfig())
    podman = tmp_path / "podman"
    podman.write_text(f"#!/bin/sh\ntest $1 != ps || cat {tmp_path}/containers\n")
    podman.chmod(0o755)
    (tmp_path / "containers").write_text("0123abcd\n")
    engine = Engine(str(podman))
    made = cluster(tmp_path, monkeypatch, 0, "", engine=engine)
    made.create()
    assert recorded_containers(made.kind_name) == {"0123abcd"}
    (tmp_path / "existing").write_text("t-server\n")
    (tmp_path / "exported").write_text(api_server.kubeconfig())
    # It is stopped, and known by its containers alone; so it is made again.
    made.kubeconfig_path.write_text(kubeconfig(1))
    (tmp_path / "exported").write_text(kubeconfig(1))
    again = cluster(tmp_path, monkeypatch, 0, "", engine=engine)
    again.create()
    assert again.created_here
    (tmp_path / "said").unlink()
    (tmp_path / "containers").write_text("4567cdef\n")
    again.kubeconfig_path.write_text(kubeconfig(1))
    theirs = cluster(tmp_path, monkeypatch, 0, "", engine=engine)
    with pytest.raises(ClusterError, match="exists that this suite did not make"):
        theirs.create()
    theirs.delete_if_owned()
    assert not theirs.may_be_kept
    assert "delete cluster" not in (tmp_path / "said").read_text()


def test_a_run_that_is_refused_before_it_looks_at_the_cluster_deletes_none_that_is_somebodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    podman = tmp_path / "podman"
    podman.write_text("#!/bin/sh\ntest $1 != ps || echo 4567cdef\n")
    podman.chmod(0o755)
    kept = kept_cluster(tmp_path, monkeypatch, kubeconfig(1))
    for recorded, deleted in (("", False), ("0123abcd", False), ("4567cdef", True)):
        kept._owner.write_text(f"whose it is\n{recorded}\n")
        cluster(tmp_path, monkeypatch, 0, "", engine=Engine(str(podman))).delete_if_owned()
        said = (tmp_path / "said").read_text() if (tmp_path / "said").exists() else ""
        assert ("delete cluster" in said) is deleted


def test_a_cluster_that_another_working_folder_made_again_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    podman = tmp_path / "podman"
    podman.write_text("#!/bin/sh\ntest $1 != ps || echo 4567cdef\n")
    podman.chmod(0o755)
    kept = kept_cluster(tmp_path, monkeypatch, kubeconfig(1))
    kept._owner.write_text("whose it is\n0123abcd\n")
    (tmp_path / "exported").write_text(api_server.kubeconfig())
    again = cluster(tmp_path, monkeypatch, 0, "", engine=Engine(str(podman)))
    again.create()
    assert not again.created_here
    assert recorded_containers(again.kind_name) == {"4567cdef"}


@pytest.mark.parametrize(("later", "ours"), [(-30, False), (20, True), (7200, False)])
def test_a_creation_that_was_interrupted_is_known_by_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer, later: float, ours: bool
) -> None:
    (tmp_path / "created").write_text(api_server.kubeconfig())
    kept = kept_cluster(tmp_path, monkeypatch, api_server.kubeconfig())
    made = datetime.fromtimestamp(kept._owner.stat().st_mtime + later, UTC)
    system = {"metadata": {"name": "kube-system", "creationTimestamp": made.isoformat(timespec="seconds")}}
    monkeypatch.setitem(ANSWERS, "/api/v1/namespaces/kube-system", system)
    monkeypatch.delitem(ANSWERS, MADE_OF)
    with nullcontext() if ours else pytest.raises(ClusterError, match="exists that this suite did not make"):
        kept.create()
    assert ("delete cluster" in (tmp_path / "said").read_text()) is ours


@pytest.fixture
def joins(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], list[Engine]]:
    """Says whether this process's container gets into Kind's network; returns the engines that were asked for it."""

    def set_up(joined: bool) -> list[Engine]:
        asked: list[Engine] = []

        def join(engine: Engine) -> bool:
            asked.append(engine)
            return joined

        monkeypatch.setattr("fixtures.k8s.kind.cluster.join_kind_network", join)
        return asked

    return set_up


def test_from_a_container_of_the_engine_the_api_server_is_reached_in_kinds_network(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    api_server: ApiServer,
    closed_port: int,
    joins: Callable[[bool], list[Engine]],
) -> None:
    asked = joins(True)
    (tmp_path / "created").write_text(kubeconfig(closed_port))
    (tmp_path / "exported").write_text(api_server.kubeconfig())  # what `--internal` gives, as far as this test goes
    made = cluster(tmp_path, monkeypatch, 0, "", engine=Engine("docker"))
    made.create()
    assert asked == [Engine("docker")]
    said = (tmp_path / "said").read_text().splitlines()
    assert said[-1] == f"export kubeconfig --name t-server --kubeconfig {made.kubeconfig_path} --internal"


def test_where_nothing_listens_on_this_machine_and_this_is_no_such_container_the_ways_out_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_port: int, joins: Callable[[bool], list[Engine]]
) -> None:
    joins(False)
    (tmp_path / "created").write_text(kubeconfig(closed_port))
    with pytest.raises(
        ClusterError, match=rf"^server: nothing listens on https?://127\.0\.0\.1:{closed_port} here"
    ) as found:
        cluster(tmp_path, monkeypatch, 0, "", engine=Engine("docker")).create()
    assert "--network=host" in str(found.value)
    assert "networking.apiServerAddress" in str(found.value)


def test_where_an_api_server_listens_nobody_is_connected_to_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer, joins: Callable[[bool], list[Engine]]
) -> None:
    asked = joins(True)
    created_on(api_server, tmp_path, monkeypatch)
    assert asked == []


@pytest.mark.parametrize(
    ("engine", "image", "pulls"),
    [
        (Engine("true"), "node:1", False),
        (Engine("false"), "node:1", True),
        (Engine("true"), None, True),
        (None, "node:1", True),
    ],
)
def test_a_node_image_that_has_to_be_pulled_has_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine | None, image: str | None, pulls: bool
) -> None:
    made = cluster(tmp_path, monkeypatch, 0, "", image=image, engine=engine)
    assert made._create_timeout == CREATE_TIMEOUT + (NODE_IMAGE_TIMEOUT if pulls else 0.0)


def test_folders_are_removed_from_each_node_but_for_what_is_mounted_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    (tmp_path / "engine").write_text(NODE.format(folder=tmp_path))
    (tmp_path / "engine").chmod(0o755)
    made = cluster(tmp_path, monkeypatch, 0, "", engine=Engine(str(tmp_path / "engine")))
    api_server.nodes = [nodes(READY)]
    made.kubeconfig_path.parent.mkdir(parents=True, exist_ok=True)
    made.kubeconfig_path.write_text(api_server.kubeconfig())
    made.remove_from_nodes([])
    assert not (tmp_path / "asked").exists()
    made.remove_from_nodes(["/run/spire/agent-sockets", "/opt/spire"])
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.partition(" rm ")[2] for line in asked if " rm " in line] == ["-rf -- /run/spire/agent-sockets"]
    (tmp_path / "busy").touch()
    with pytest.raises(ClusterError, match=r"^server: /run/spire/agent-sockets were not removed: "):
        made.remove_from_nodes(["/run/spire/agent-sockets"])
