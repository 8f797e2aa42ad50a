"""Clusters side by side, and API servers that do not answer."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml

from fixtures import clusters
from fixtures.clusters import Cluster, ClusterError, kind_config

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
NODES = {"items": [{"metadata": {"name": "node"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}]}
KINDS = {
    "kind": "APIResourceList",
    "resources": [{"name": "configmaps", "namespaced": True, "kind": "ConfigMap", "verbs": ["get", "patch"]}],
}
MADE_OF = f"/api/v1/namespaces/kube-system/configmaps/{clusters.OWNER}"
# What an API server says of a field that it does not know.
REFUSAL = (
    '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"failed to create typed patch object '
    '(demo/x; /v1, Kind=ConfigMap): .dataa: field not declared in schema","code":500}'
)
OBJECTION = (
    '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"ConfigMap in version \\"v1\\" cannot be '
    'handled as a ConfigMap: strict decoding error: unknown field \\"dataa\\"","reason":"BadRequest","code":400}'
)
THERE_ALREADY = (
    '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"configmaps \\"a\\" already exists",'
    '"reason":"AlreadyExists","details":{"name":"a","kind":"configmaps"},"code":409}'
)
# Podman's words, as Kind hands them on.
MADE = "failed to ensure podman network: … Error: network name kind already used: network already exists"

# What kubeadm patches, and how ("Customizing components with the kubeadm API", Patches); it passes over a file of any other name.
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


def kubeconfig(port: int) -> str:
    found: dict[str, Any] = {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "a", "user": {"token": "t"}}],
    }
    return yaml.safe_dump(found)


@pytest.fixture
def api_server() -> Iterator[int]:
    """The port of an API server that says that nodes are ready, and that the suite made the cluster of the image node:1.

    It serves ConfigMaps; none is created that is there already, which all are, and none is taken of the name `refused`.
    """
    answers = {
        "/version": {"gitVersion": "v1.36.3"},
        "/apis": {"kind": "APIGroupList", "groups": []},
        "/api/v1": KINDS,
        "/api/v1/nodes": NODES,
        MADE_OF: {"data": {"image": "node:1"}},
    }

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.path.partition("?")[0]
            self.answer(200 if asked in answers else 404, answers.get(asked, {}))

        def do_PATCH(self) -> None:
            refused = self.manifest()["metadata"]["name"] == "refused"
            self.answer(500 if refused else 200, json.loads(REFUSAL) if refused else {"kind": "ConfigMap"})

        def do_POST(self) -> None:
            path, _, query = self.path.partition("?")
            assert (path, parse_qs(query)["dryRun"]) == ("/api/v1/namespaces/demo/configmaps", ["All"])
            strict = parse_qs(query).get("fieldValidation") == ["Strict"]
            refused = strict and self.manifest()["metadata"]["name"] == "refused"
            self.answer(400 if refused else 409, json.loads(OBJECTION if refused else THERE_ALREADY))

        def manifest(self) -> Any:
            return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

        def answer(self, status: int, body: object) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def created(folder: Path) -> int:
    return sum(line.startswith("create cluster --name t-server") for line in (folder / "said").read_text().splitlines())


def test_the_second_of_two_first_clusters_finds_kinds_network_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: int
) -> None:
    (tmp_path / "created").write_text(kubeconfig(api_server))
    cluster(tmp_path, monkeypatch, 1, MADE).create()
    assert created(tmp_path) == 2


@pytest.mark.parametrize(("failures", "error", "tries"), [(1, "no space left on device", 1), (9, MADE, 2)])
def test_nothing_else_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, error: str, tries: int
) -> None:
    with pytest.raises(ClusterError, match=error[-20:]):
        cluster(tmp_path, monkeypatch, failures, error).create()
    assert created(tmp_path) == tries


@pytest.mark.parametrize(("image", "made_anew"), [("node:1", False), ("node:2", True)])
@pytest.mark.parametrize("lost", [True, False])
def test_a_cluster_that_was_kept_is_taken_if_it_is_of_the_same_node_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: int, image: str, made_anew: bool, lost: bool
) -> None:
    (tmp_path / "existing").write_text("t-server\n")
    for name in ("exported", "created"):
        (tmp_path / name).write_text(kubeconfig(api_server))
    kept = cluster(tmp_path, monkeypatch, 0, "", image)
    if not lost:
        (kept.path / clusters.OWNER).touch()
        kept.kubeconfig_path.write_text(kubeconfig(api_server))
    kept.create()
    assert kept.created_here is made_anew
    said = tmp_path / "said"
    if lost or made_anew:
        assert created(tmp_path) == made_anew
        assert ("delete cluster --name t-server" in said.read_text()) is made_anew
    else:
        assert not said.exists(), "Kind need not be asked for a cluster that answers"
    # Though what was remembered of it is lost, it is deleted in the end.
    kept.delete_if_ours()
    assert said.read_text().count("delete cluster") == 1 + made_anew


def test_a_cluster_that_was_deleted_by_another_hand_is_made_anew_and_asked_where_it_then_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: int
) -> None:
    (tmp_path / "created").write_text(kubeconfig(api_server))
    gone = cluster(tmp_path, monkeypatch, 0, "")
    (gone.path / clusters.OWNER).touch()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        gone.kubeconfig_path.write_text(kubeconfig(closed.getsockname()[1]))
        gone.create()
    assert created(tmp_path) == 1
    assert [node.metadata.name for node in gone.core.list_node().items] == ["node"]


def test_a_cluster_that_was_kept_and_is_stopped_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: int
) -> None:
    (tmp_path / "existing").write_text("t-server\n")  # and no kubeconfig of it can be exported
    (tmp_path / "created").write_text(kubeconfig(api_server))
    stopped = cluster(tmp_path, monkeypatch, 0, "")
    (stopped.path / clusters.OWNER).touch()
    stopped.create()
    assert stopped.created_here
    assert (tmp_path / "said").read_text().count("delete cluster") == created(tmp_path) == 1


def test_a_cluster_of_somebody_elses_is_neither_taken_nor_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: int
) -> None:
    (tmp_path / "existing").write_text("t-server\n")
    (tmp_path / "exported").write_text(kubeconfig(api_server))
    monkeypatch.setattr(clusters, "OWNER", "made-by-another-suite")
    theirs = cluster(tmp_path, monkeypatch, 0, "")
    with pytest.raises(ClusterError, match="exists that this suite did not make"):
        theirs.create()
    theirs.delete_if_ours()
    assert "delete cluster" not in (tmp_path / "said").read_text()


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("refused", "ConfigMap", ".dataa: field not declared in schema"),
        ("a", "ConfigMapp", "No matches found for .*ConfigMapp'}"),
    ],
)
def test_what_the_api_server_does_not_take_is_told_in_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: int, name: str, kind: str, said: str
) -> None:
    made = cluster(tmp_path, monkeypatch, 0, "")
    made.kubeconfig_path.write_text(kubeconfig(api_server))
    good = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "demo"}}
    bad = {**good, "kind": kind, "metadata": {"name": name, "namespace": "demo"}}
    made.apply(good)
    with pytest.raises(ClusterError, match=f"^server: `apply {kind} {name}` was not carried out: .*{said}$"):
        made.apply(good, bad)
    log = (tmp_path / "log").read_text()
    assert log.startswith(f"$ apply ConfigMap a\n$ apply ConfigMap a\n$ apply {kind} {name}\n")


def test_what_the_api_server_has_against_fields_is_told_and_not_that_an_object_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: int
) -> None:
    made = cluster(tmp_path, monkeypatch, 0, "")
    made.kubeconfig_path.write_text(kubeconfig(api_server))
    manifest: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "demo"}}
    assert made.objection(manifest, "elsewhere") == ""
    refused = {**manifest, "metadata": {"name": "refused"}}
    assert made.objection(refused, "demo").endswith('strict decoding error: unknown field "dataa"')
    with pytest.raises(ClusterError, match="server: Secret: No matches found"):
        made.objection({**manifest, "kind": "Secret"}, "demo")


def test_a_frozen_api_server_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "ANSWER", 0.2)
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
