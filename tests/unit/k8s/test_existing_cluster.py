"""Clusters that exist already: taken as they are, with credentials that go, and left as they were."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes.client.exceptions import ApiException

from fixtures.core.concurrency import map_concurrently
from fixtures.core.waiting import WaitError
from fixtures.k8s.cluster import Cluster, ClusterError
from fixtures.k8s.existing_cluster import ExistingCluster, MissingImagesError, same_cluster
from fixtures.k8s.kind.cluster import node_containers
from fixtures.k8s.kind.nodes import NodeImages
from fixtures.k8s.server_side_apply import LABELS
from supply.host import Engine
from tests.unit.api_server import READY, WITHOUT_CSI_NODE, ApiServer, kubeconfig, nodes

KUBECTL = """#!/bin/sh
case "$1" in
config) echo "$KUBECONFIG $@" >> {folder}/asked; cat {folder}/exported ;;
*) echo "$@" >> {folder}/asked; test ! -f {folder}/refusing || {{ echo refused >&2; exit 1; }} ;;
esac
"""


def adopted_cluster(folder: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer) -> ExistingCluster:
    """A cluster that exists already, in the context `theirs` of the second of two kubeconfigs."""
    monkeypatch.setenv("TMPDIR", str(folder / "scratch"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (folder / "scratch").mkdir(exist_ok=True)
    (folder / "exported").write_text(api_server.kubeconfig())
    (folder / "kubectl").write_text(KUBECTL.format(folder=folder))
    (folder / "kubectl").chmod(0o755)
    made = ExistingCluster("server", engine=Engine("false"), kubectl=folder / "kubectl", log=folder / "log")
    made.connect([Path("first"), Path("second")], "theirs")
    made.wait_nodes()
    return made


def test_a_cluster_that_exists_is_taken_once_its_nodes_are_ready_and_refused_at_once_where_it_does_not_answer(
    tmp_path: Path, api_server: ApiServer
) -> None:
    (tmp_path / "given").write_text(api_server.kubeconfig())
    api_server.nodes = [nodes(WITHOUT_CSI_NODE), nodes(WITHOUT_CSI_NODE), nodes(READY)]
    (tmp_path / "kubectl").write_text(f"#!/bin/sh\ncat {tmp_path}/given\n")
    (tmp_path / "kubectl").chmod(0o755)
    made = ExistingCluster("server", engine=Engine("false"), kubectl=tmp_path / "kubectl", log=tmp_path / "log")
    made.connect([tmp_path / "given"], "a")
    made.wait_nodes()
    made._forget_client()
    assert len(api_server.nodes) == 1, "its nodes were not waited for"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        (tmp_path / "given").write_text(kubeconfig(closed.getsockname()[1]))
        began = time.monotonic()
        made.connect([tmp_path / "given"], "a")
        made._forget_client()
        with pytest.raises(ClusterError, match="its API server does not answer"):
            made.wait_nodes()
        assert time.monotonic() - began < 10


# As the node controller has it of a kubelet that it does not hear of.
SILENT = {
    "status": "Unknown",
    "reason": "NodeStatusUnknown",
    "message": "Kubelet stopped posting node status.",
    "lastHeartbeatTime": "2026-01-02T03:04:05Z",
    "lastTransitionTime": "2026-01-02T03:04:50Z",
}
NOT_LOOKED_AT = (
    "server: node node is not looked at: it has not been ready since 2026-01-02 03:04:50 UTC: "
    "Kubelet stopped posting node status."
)


def test_a_node_that_has_long_not_been_ready_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    api_server.nodes = [nodes(SILENT, READY)]
    began = time.monotonic()
    made = adopted_cluster(tmp_path, monkeypatch, api_server)
    assert time.monotonic() - began < 10
    assert made.nodes_not_looked_at() == [NOT_LOOKED_AT]
    assert made.nodes_ready.look().value == 1
    api_server.nodes = [nodes(SILENT)]
    assert str(made.nodes_ready.look().seen) == "not ready: {'node': 'Kubelet stopped posting node status.'}"
    api_server.nodes = [nodes(SILENT, READY)]
    # Those of the suite's own clusters are all waited for.
    monkeypatch.setattr(ExistingCluster, "is_external", False)
    assert made.nodes_ready.look().value is None
    assert made.nodes_not_looked_at() == []


def test_nodes_are_listed_once_for_all_that_ask_within_two_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    made = adopted_cluster(tmp_path, monkeypatch, api_server)
    asked: list[dict[str, Any]] = []

    def listed(_: Cluster, **options: Any) -> list[Any]:
        asked.append(options)
        time.sleep(0.05)
        return ["node"]

    monkeypatch.setattr(Cluster, "list_nodes", listed)
    monkeypatch.setattr(made, "_nodes_listed", float("-inf"))
    assert map_concurrently(lambda _: made.list_nodes(), range(4)) == [["node"]] * 4
    assert asked == [{}]
    # Who says how it is to be asked wants an answer of now.
    made.list_nodes(_request_timeout=5.0)
    assert asked == [{}, {"_request_timeout": 5.0}]
    monkeypatch.setattr("fixtures.k8s.existing_cluster.NODES_REMEMBERED", -1.0)
    made.list_nodes()
    assert asked[2:] == [{}]


def test_a_cluster_of_which_no_node_has_been_ready_for_long_is_red_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    api_server.nodes = [nodes(SILENT)]
    began = time.monotonic()
    with pytest.raises(WaitError, match=f"no node is ready: {NOT_LOOKED_AT}"):
        adopted_cluster(tmp_path, monkeypatch, api_server)
    assert time.monotonic() - began < 10


def test_credentials_of_a_run_that_was_killed_go_with_the_next_one_and_those_of_a_running_one_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    left, used = (f"spire-federation-client-{process}-a_b1" for process in (ended.pid, os.getppid()))
    for name in (left, used, "spire-federation-locks"):
        (tmp_path / "scratch" / name).mkdir(parents=True)
    (tmp_path / "scratch" / left / "kubeconfig").touch()
    made = adopted_cluster(tmp_path, monkeypatch, api_server)
    names = {path.name for path in (tmp_path / "scratch").iterdir()}
    assert names == {used, "spire-federation-locks", made.path.name}
    made.leave(restore=False)
    assert {path.name for path in (tmp_path / "scratch").iterdir()} == {used, "spire-federation-locks"}


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
    # Tried, and not made.
    theirs.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tried"}}, dry_run=True)
    theirs.record_before(*ours)  # what is there by now is the suite's own, and not what was there before
    # It is deleted, and goes a moment later.
    going = {**ours[0], "metadata": {"name": "demo", "deletionTimestamp": "2026-11-23T10:00:00Z"}, "status": {}}
    api_server.successive["/api/v1/namespaces/demo"] = [going, {"status": 404}]
    before = len(api_server.asked)
    assert theirs.leave(restore=True) == []
    deleted = [line for line in (tmp_path / "asked").read_text().splitlines() if line.startswith("delete")]
    assert deleted == [
        "delete ConfigMap a -n theirs --ignore-not-found",
        "delete Namespace demo --ignore-not-found --wait=false",
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
    assert left.startswith("server: `kubectl delete Namespace demo --ignore-not-found --wait=false` ended with 1")
    assert list((tmp_path / "scratch").iterdir()) == []


# As Kubernetes 1.36 has a namespace where an aggregated API is not served any more.
STALE = (
    "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: "
    "custom.metrics.k8s.io/v1beta1: stale GroupVersion discovery: custom.metrics.k8s.io/v1beta1"
)
HELD = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "demo", "deletionTimestamp": "2026-11-23T10:00:00Z"},
    "spec": {"finalizers": ["kubernetes"]},
    "status": {
        "phase": "Terminating",
        "conditions": [
            {
                "type": "NamespaceDeletionDiscoveryFailure",
                "status": "True",
                "reason": "DiscoveryFailed",
                "message": STALE,
            },
            {
                "type": "NamespaceDeletionContentFailure",
                "status": "False",
                "reason": "ContentDeleted",
                "message": "All content successfully deleted, may be waiting on finalization",
            },
            {
                "type": "NamespaceContentRemaining",
                "status": "False",
                "reason": "ContentRemoved",
                "message": "All content successfully removed",
            },
        ],
    },
}


def test_a_namespace_that_cannot_go_is_named_with_the_api_that_is_away_after_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    monkeypatch.setattr("fixtures.k8s.existing_cluster.LEFT_AFTER", 0.5)
    theirs = adopted_cluster(tmp_path, monkeypatch, api_server)
    theirs.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
    api_server.successive["/api/v1/namespaces/demo"] = [HELD]
    began = time.monotonic()
    (left,) = theirs.leave(restore=True)
    assert 0.5 <= time.monotonic() - began < 60
    assert left.startswith("server: the end of namespace demo cannot come after ")
    assert left.endswith(f": no namespace of this cluster can be deleted: {STALE}")


def test_a_namespace_may_wait_for_an_api_that_comes_back_and_for_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    theirs = adopted_cluster(tmp_path, monkeypatch, api_server)
    theirs.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
    api_server.successive["/api/v1/namespaces/demo"] = [HELD, {"status": 404}]
    # What serves an aggregated API is replaced: some seconds pass between two looks.
    monkeypatch.setattr("fixtures.k8s.conditions.time", SimpleNamespace(monotonic=count(1000.0, 4.0).__next__))
    assert theirs.leave(restore=True) == []
    monkeypatch.setattr("fixtures.k8s.existing_cluster.REMOVAL", 0.1)
    message = "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    remaining = {"type": "NamespaceFinalizersRemaining", "status": "True", "reason": "SomeFinalizersRemain"}
    held = {**HELD, "status": {"phase": "Terminating", "conditions": [{**remaining, "message": message}]}}
    theirs = adopted_cluster(tmp_path, monkeypatch, api_server)
    api_server.applied.clear()
    api_server.successive.clear()
    theirs.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
    api_server.successive["/api/v1/namespaces/demo"] = [held]
    (left,) = theirs.leave(restore=True)
    assert left.endswith(f"being deleted since 2026-11-23 10:00:00+00:00: {message}")


class Images:
    """Images that were loaded into nodes, and cannot be removed."""

    def remove(self) -> list[str]:
        return ["server: images loaded into node a: busy"]


def test_images_that_were_loaded_are_removed_unless_what_was_made_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    theirs = adopted_cluster(tmp_path, monkeypatch, api_server)
    theirs._images = cast(NodeImages, Images())
    assert theirs.leave(restore=False) == []
    assert theirs.leave(restore=True) == Images().remove()


def test_what_is_to_be_kept_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    theirs = adopted_cluster(tmp_path, monkeypatch, api_server)
    theirs.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
    assert theirs.leave(restore=False) == []
    assert "delete" not in (tmp_path / "asked").read_text()


def test_a_cluster_that_is_not_kinds_has_no_containers_and_is_refused_where_it_lacks_an_image_built_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    made = adopted_cluster(tmp_path, monkeypatch, api_server)
    assert made.kind_name == ""
    # Without a name, no other's nodes are taken for this cluster's.
    assert node_containers(Engine("no-such-program"), made) == []
    made.check_images(["registry.example/demo:v0"])
    with pytest.raises(MissingImagesError, match=r"^cluster server: its nodes are no Kind nodes .* localhost/demo:v0"):
        made.check_images(["localhost/demo:v0", "registry.example/demo:v0"])
    made.load_archives(tmp_path / "kind", [tmp_path / "demo.tar"])
    assert not any(line.startswith("load") for line in (tmp_path / "asked").read_text().splitlines())


def test_what_a_run_has_left_that_was_killed_is_removed_and_not_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = ExistingCluster("server", engine=None, kubectl=tmp_path / "kubectl", log=tmp_path / "log")
    metadata = {"name": "probe", "namespace": "payments", "labels": LABELS}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "spire-mgmt", "labels": LABELS}}
    monkeypatch.setattr(theirs, "read", lambda manifest: manifest)
    theirs.record_before(deployment, namespace)
    assert theirs.was_made_by_run(deployment)
    # A namespace may have what an earlier run has installed, and is to stay.
    assert not theirs.was_made_by_run(namespace)
    assert not theirs.was_made_by_run({**deployment, "metadata": {"name": "probe"}})


@pytest.mark.parametrize(
    ("uids", "same"),
    [(("1", "1"), True), (("1", "2"), False), (("1", ""), True), (("", ""), True)],
    ids=["the same", "behind one address", "one may not be read", "none may be read"],
)
def test_contexts_that_lead_to_one_cluster_are_known_by_what_is_in_it(uids: tuple[str, str], same: bool) -> None:
    clusters = [described(uid, "https://one.example:6443") for uid in uids]
    assert same_cluster(cast(list[Cluster], clusters)) == (clusters if same else [])


def test_clusters_of_other_addresses_are_others() -> None:
    def found(*uids: str) -> bool:
        clusters = [described(uid, f"https://{number}.example/") for number, uid in enumerate(uids)]
        return bool(same_cluster(cast(list[Cluster], clusters)))

    assert not found("", "")
    assert not found("1", "")
    # Copies of one cluster have its UIDs.
    assert not found("1", "2", "1")


def described(uid: str, url: str) -> Any:
    """A cluster of this address whose kube-system has this UID; empty where that may not be read."""

    def read(name: str, **_: object) -> Any:
        assert name == "kube-system"
        if not uid:
            raise ApiException(status=403)
        return SimpleNamespace(metadata=SimpleNamespace(uid=uid))

    client = SimpleNamespace(configuration=SimpleNamespace(host=url))
    return SimpleNamespace(core=SimpleNamespace(read_namespace=read), client=client)
