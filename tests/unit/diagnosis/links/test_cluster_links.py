"""The link of a cluster itself: what its nodes report."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.diagnosis.links import cluster_links
from fixtures.k8s.cluster import Cluster
from tests.unit.api_server import READY, WITHOUT_CSI_NODE
from tests.unit.kubernetes_objects import NOW, KubernetesObjects, node


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ([{"type": "Ready", **READY}], None),
        ([{"type": "Ready", **WITHOUT_CSI_NODE}], "node node is not ready: CSINode is not yet initialized"),
        ([], "node node is not ready: its kubelet has reported nothing"),
    ],
)
def test_a_node_that_is_not_ready_is_named_in_its_kubelets_words_and_may_be_on_its_way(
    tmp_path: Path, conditions: list[dict[str, Any]], words: str | None
) -> None:
    objects = KubernetesObjects()
    objects.add("Node", "node", status={"conditions": conditions})
    (tmp_path / "kubeconfig").write_text("there is one")
    fields = {"kubeconfig_path": tmp_path / "kubeconfig", "list_nodes": objects.list_nodes, "is_external": False}
    cluster = SimpleNamespace(label="server", **fields)
    found = list(cluster_links.check_cluster(cast(Cluster, cluster)))
    assert [each.sentence for each in found] == ([words] if words else [])
    assert all(each.on_its_way and each.link == "cluster" for each in found)


def test_a_node_that_has_long_not_been_ready_is_passed_over_unless_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)
    objects = KubernetesObjects()
    node(objects, "ghost", ready="Unknown", since=NOW - 600)
    (tmp_path / "kubeconfig").write_text("there is one")
    fields = {"kubeconfig_path": tmp_path / "kubeconfig", "list_nodes": objects.list_nodes, "is_external": True}
    cluster = cast(Cluster, SimpleNamespace(label="server", **fields))
    (found,) = cluster_links.check_cluster(cluster)
    words = "no node is ready: ghost: it has not been ready since 2026-11-23 09:50:00 UTC: Unknown"
    assert (found.sentence, found.on_its_way) == (words, False)
    node(objects, "node")
    assert list(cluster_links.check_cluster(cluster)) == []
