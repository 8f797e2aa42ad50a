"""The link of a cluster itself: what its nodes report."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.diagnosis.links import cluster_links
from fixtures.k8s.cluster import Cluster
from tests.unit.api_server import READY, WITHOUT_CSI_NODE
from tests.unit.kubernetes_objects import KubernetesObjects


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
    cluster = SimpleNamespace(label="server", kubeconfig_path=tmp_path / "kubeconfig", core=objects.core)
    found = list(cluster_links.check_cluster(cast(Cluster, cluster)))
    assert [each.sentence for each in found] == ([words] if words else [])
    assert all(each.on_its_way and each.link == "cluster" for each in found)
