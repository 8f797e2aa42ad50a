"""Clusters side by side, and API servers that do not answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.core.redaction import keep_secret
from fixtures.core.waiting import WaitError
from fixtures.k8s.cluster import OWNER_MARK, Cluster, ClusterError, kind_config
from tests.unit.api_server import READY, WITHOUT_CSI_NODE, WITHOUT_NETWORK, ApiServer, kubeconfig, nodes

KIND = """#!/bin/sh
echo "$@" >> {folder}/said
case "$1 $2" in
"get clusters") test ! -f {folder}/existing || cat {folder}/existing ;;
"export kubeconfig") cp {folder}/exported "$6" ;;
"create cluster")
    test "$(grep -c '^create' {folder}/said)" -gt {failures} || {{ echo 'ERROR: {error}' >&2; exit 1; }}
    cp {folder}/created "$6" ;;
esac
"""
# Podman's words, as Kind hands them on.
MADE = "failed to ensure podman network: … Error: network name kind already used: network already exists"

# What kubeadm patches, and how ("Customizing components with the kubeadm API", Patches); it ignores a file of any other
# name.
PATCHED = {
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubeletconfiguration",
    "corednsdeployment",
}
KINDS_OF_PATCH = {"strategic", "merge", "json"}


def cluster(folder: Path, monkeypatch: pytest.MonkeyPatch, failures: int, error: str, image: str = "node:1") -> Cluster:
    monkeypatch.chdir(folder)
    kind = KIND.format(folder=folder, failures=failures, error=error)
    for name, text in (("kind", kind), ("kubectl", "#!/bin/sh\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return Cluster("server", "t-", image=image, kind=folder / "kind", kubectl=folder / "kubectl", log=folder / "log")


def created(folder: Path) -> int:
    return sum(line.startswith("create cluster --name t-server") for line in (folder / "said").read_text().splitlines())


def created_on(api_server: ApiServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
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
    made = created_on(api_server, tmp_path, monkeypatch)
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
    monkeypatch.setattr("fixtures.k8s.cluster.NODES_READY", 0.1)
    api_server.nodes = [answer]
    with pytest.raises(WaitError, match=f"server: every node ready did not come in .*{said}"):
        created_on(api_server, tmp_path, monkeypatch)


def test_a_cluster_that_exists_is_taken_once_its_nodes_are_ready_and_refused_at_once_where_it_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    (tmp_path / "given").write_text(api_server.kubeconfig())
    api_server.nodes = [nodes(WITHOUT_CSI_NODE), nodes(WITHOUT_CSI_NODE), nodes(READY)]
    made = cluster(tmp_path, monkeypatch, 0, "")
    made.kubectl_path.write_text(f"#!/bin/sh\ncat {tmp_path}/given\n")
    made.use_existing([tmp_path / "given"], "a")
    made._forget_client()
    assert len(api_server.nodes) == 1, "its nodes were not waited for"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        (tmp_path / "given").write_text(kubeconfig(closed.getsockname()[1]))
        began = time.monotonic()
        with pytest.raises(ClusterError, match="its API server does not answer"):
            made.use_existing([tmp_path / "given"], "a")
        assert time.monotonic() - began < 10


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


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port to which nobody can connect."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield closed.getsockname()[1]


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("adopted", [False, True])
def test_no_proxy_is_between_this_process_and_a_cluster_on_this_machine(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    api_server: ApiServer,
    closed_port: int,
    variable: str,
    adopted: bool,
) -> None:
    monkeypatch.setenv(variable, f"http://127.0.0.1:{closed_port}")
    made = cluster(tmp_path, monkeypatch, 0, "")
    made.is_external = adopted
    made.kubeconfig_path.write_text(api_server.kubeconfig())
    assert [node.metadata.name for node in made.core.list_node().items] == ["node"]
    # The WebSocket's library has rules of its own. The answer is the API server's: it knows of no such pod.
    with pytest.raises(ClusterError, match="Handshake status 404"):
        made.execute("demo", "server", "server", "ls")


@pytest.mark.parametrize(
    ("adopted", "host", "proxied"),
    [(True, "192.0.2.7", True), (True, "api.example", True), (True, "::1", False), (False, "192.0.2.7", False)],
)
def test_a_cluster_elsewhere_keeps_the_proxy_that_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adopted: bool, host: str, proxied: bool
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "elsewhere.example")
    made = cluster(tmp_path, monkeypatch, 0, "")
    made.is_external = adopted
    made.kubeconfig_path.write_text(kubeconfig(6443, f"[{host}]" if ":" in host else host))
    configuration = made.client.configuration
    assert configuration.proxy == "http://proxy.example:3128"
    assert configuration.no_proxy.split(",") == ["elsewhere.example", *([] if proxied else [host])]


def kept_cluster(folder: Path, monkeypatch: pytest.MonkeyPatch, exported: str) -> Cluster:
    """A cluster that an earlier run kept, whose kubeconfig leads where this one does."""
    (folder / "existing").write_text("t-server\n")
    (folder / "exported").write_text(exported)
    kept = cluster(folder, monkeypatch, 0, "")
    (kept.path / OWNER_MARK).touch()
    kept.kubeconfig_path.write_text(exported)
    return kept


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


def test_output_of_programs_is_kept_and_reported_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_secret("hunter2secret")
    made = cluster(tmp_path, monkeypatch, 0, "")
    (tmp_path / "kubectl").write_text("#!/bin/sh\necho refused: hunter2secret >&2; exit 1\n")
    with pytest.raises(ClusterError, match="ended with 1: refused: <redacted>"):
        made.kubectl("patch", "-p", '{"a": "hunter2secret"}')
    assert (tmp_path / "log").read_text() == '$ kubectl patch -p {"a": "<redacted>"}\nrefused: <redacted>\n'


KUBECTL = """#!/bin/sh
case "$1" in
config) echo "$KUBECONFIG $@" >> {folder}/asked; cat {folder}/exported ;;
*) echo "$@" >> {folder}/asked; test ! -f {folder}/refusing || {{ echo refused >&2; exit 1; }} ;;
esac
"""


def adopted_cluster(folder: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer) -> Cluster:
    """A cluster that exists already, in the context `theirs` of the second of two kubeconfigs."""
    monkeypatch.setenv("TMPDIR", str(folder / "scratch"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (folder / "scratch").mkdir()
    (folder / "exported").write_text(api_server.kubeconfig())
    made = cluster(folder, monkeypatch, 0, "")
    (folder / "kubectl").write_text(KUBECTL.format(folder=folder))
    made.use_existing([Path("first"), Path("second")], "theirs")
    return made


def test_the_credentials_of_a_cluster_that_is_not_ours_are_only_this_users_and_gone_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    theirs = adopted_cluster(tmp_path, monkeypatch, api_server)
    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert asked == "first:second config view --context theirs --minify --flatten --raw"
    (folder,) = (tmp_path / "scratch").iterdir()
    assert theirs.kubeconfig_path.parent == folder
    assert (folder.stat().st_mode & 0o777, theirs.kubeconfig_path.stat().st_mode & 0o777) == (0o700, 0o600)
    assert [node.metadata.name for node in theirs.core.list_node().items] == ["node"]
    assert theirs.leave(restore=True) == []
    assert list((tmp_path / "scratch").iterdir()) == []
    assert list((tmp_path / ".pytest-kind").rglob("*kubeconfig*")) == []


def config_map(name: str, namespace: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def test_what_a_run_made_in_a_cluster_that_is_not_ours_is_removed_and_what_it_changed_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    theirs = adopted_cluster(tmp_path, monkeypatch, api_server)
    ours = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}},
        config_map("a", "demo"),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "theirs"}},
        config_map("a", "theirs"),
        config_map("there", "theirs", whose="the suite's"),
    ]
    theirs.record_before(*ours)
    theirs.apply(*ours)
    theirs.record_before(*ours)  # what is there by now is the suite's own, and not what was there before
    before = len(api_server.asked)
    assert theirs.leave(restore=True) == []
    deleted = [line for line in (tmp_path / "asked").read_text().splitlines() if line.startswith("delete")]
    assert deleted == [
        "delete ConfigMap a -n theirs --ignore-not-found",
        "delete Namespace demo --ignore-not-found",
    ]
    restored = [path.removeprefix("/api/v1/namespaces/") for _, path, _ in api_server.asked[before:]]
    assert restored == ["theirs/configmaps/there", "theirs"]
    there = api_server.applied["/api/v1/namespaces/theirs/configmaps/there"]
    assert there == config_map("there", "theirs", whose="somebody's")


def test_what_cannot_be_put_back_is_said_and_the_credentials_go_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    theirs = adopted_cluster(tmp_path, monkeypatch, api_server)
    theirs.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
    (tmp_path / "refusing").touch()
    (left,) = theirs.leave(restore=True)
    assert left.startswith("server: `kubectl delete Namespace demo --ignore-not-found` ended with 1")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_is_to_be_kept_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    theirs = adopted_cluster(tmp_path, monkeypatch, api_server)
    theirs.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
    assert theirs.leave(restore=False) == []
    assert "delete" not in (tmp_path / "asked").read_text()


def test_variables_that_lead_helm_elsewhere_are_not_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = (
        "KUBECONTEXT",
        "KUBEAPISERVER",
        "KUBETOKEN",
        "KUBEASUSER",
        "KUBECAFILE",
        "NAMESPACE",
        "DRIVER",
        "DEBUG",
    )
    for name in (*elsewhere, "REPOSITORY_CONFIG", "CACHE_HOME"):
        monkeypatch.setenv(f"HELM_{name}", "x")
    monkeypatch.setenv("KUBECONFIG", "somebody's")
    made = cluster(tmp_path, monkeypatch, 0, "")
    kept = {name for name in made.environment if name.startswith("HELM_")}
    assert kept == {"HELM_REPOSITORY_CONFIG", "HELM_CACHE_HOME"}
    assert made.environment["KUBECONFIG"] == str(made.kubeconfig_path)


def test_a_cluster_of_somebody_else_is_neither_used_nor_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    (tmp_path / "existing").write_text("t-server\n")
    (tmp_path / "exported").write_text(api_server.kubeconfig())
    monkeypatch.setattr("fixtures.k8s.cluster.OWNER_MARK", "made-by-another-suite")
    theirs = cluster(tmp_path, monkeypatch, 0, "")
    with pytest.raises(ClusterError, match="exists that this suite did not make"):
        theirs.create()
    theirs.delete_if_owned()
    assert "delete cluster" not in (tmp_path / "said").read_text()


def test_an_object_that_the_api_server_rejects_is_reported_with_the_clusters_name_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    made = cluster(tmp_path, monkeypatch, 0, "")
    made.kubeconfig_path.write_text(api_server.kubeconfig())
    good, bad, hidden = (
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "demo"}}
        for name in ("a", "refused", "forbidden")
    )
    made.apply(good)
    with pytest.raises(ClusterError, match=r"^server: `apply ConfigMap refused` was not carried out: .*not declared"):
        made.apply(good, bad)
    assert (
        (tmp_path / "log")
        .read_text()
        .startswith("$ apply ConfigMap a\n$ apply ConfigMap a\n$ apply ConfigMap refused\n")
    )
    assert (made.unknown_fields(good, "demo"), "dataa" in made.unknown_fields(bad, "demo")) == ("", True)
    with pytest.raises(ClusterError, match=r"^server: ConfigMap forbidden: configmaps is forbidden"):
        made.unknown_fields(hidden, "demo")


def test_a_request_to_a_cluster_without_a_kubeconfig_fails_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = cluster(tmp_path, monkeypatch, 0, "")
    manifest: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "demo"}}
    with pytest.raises(ClusterError, match=r"^server: `apply ConfigMap a` was not carried out: "):
        made.apply(manifest)
    with pytest.raises(ClusterError, match=r"^server: ConfigMap a: "):
        made.unknown_fields(manifest, "demo")


def test_the_wait_for_a_frozen_api_server_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.k8s.cluster.API_TIMEOUT", 0.2)
    with socket.socket() as frozen:  # accepts connections, and says nothing
        frozen.bind(("127.0.0.1", 0))
        frozen.listen()
        made = cluster(tmp_path, monkeypatch, 0, "")
        made.kubeconfig_path = tmp_path / "kubeconfig"
        made.kubeconfig_path.write_text(kubeconfig(frozen.getsockname()[1]))
        began = time.monotonic()
        with pytest.raises(Exception, match="timed out"):
            made.core.list_node()
        assert time.monotonic() - began < 10


def test_kubeadm_passes_over_none_of_the_patches(tmp_path: Path) -> None:
    config: Any = kind_config(tmp_path / "patches")
    files = sorted((tmp_path / "patches").iterdir())
    assert files
    for file in files:
        target, _, kind = file.stem.partition("+")
        assert (target in PATCHED, kind in KINDS_OF_PATCH, file.suffix) == (True, True, ".yaml"), file.name
    (mount,) = config["nodes"][0]["extraMounts"]
    assert mount["hostPath"] == str(tmp_path / "patches")
    (init,) = (found for found in map(yaml.safe_load, config["kubeadmConfigPatches"]) if "patches" in found)
    assert init["patches"]["directory"] == mount["containerPath"]
