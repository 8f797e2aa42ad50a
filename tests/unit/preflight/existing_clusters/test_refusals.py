"""Why somebody's clusters would not take what a run makes there."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.k8s.workload_settings import WorkloadSettings
from fixtures.preflight.existing_clusters import refusals
from fixtures.preflight.existing_clusters.access_review import Permission
from fixtures.preflight.existing_clusters.refusals import why_not_admitted, why_not_placed, why_refused
from fixtures.spire.layout import nodes
from tests.unit.kubernetes_objects import KubernetesObjects, node
from tests.unit.own_chart import LAYOUT


@pytest.mark.parametrize("refused_on", ["", "server", "client"])
def test_a_cluster_that_would_refuse_the_suites_service_is_named(refused_on: str) -> None:
    asked: list[tuple[str, str, str, int]] = []

    def refusal(*asked_of: Any) -> str:
        asked.append(asked_of)
        return f"on {asked_of[0]} it is refused" if asked_of[0] == refused_on else ""

    reached = {"server": [("demo", "server-service", 8443), ("spire", "a", 443)], "client": [("spire", "a", 443)]}
    connectivity = cast(Any, SimpleNamespace(refusal=refusal))
    found = why_not_admitted(connectivity, cast(Any, reached))
    assert found == (f"on {refused_on} it is refused" if refused_on else "")
    assert sorted(asked) == sorted((name, *each) for name, of in reached.items() for each in of)


SPIRES = {"pool": "spire"}
IN_POOL = replace(
    LAYOUT,
    agents=tuple(replace(each, node_selector=SPIRES, tolerations=({"operator": "Exists"},)) for each in LAYOUT.agents),
)
TAINT = {"key": "pool", "value": "spire", "effect": "NoSchedule"}
BESIDE = "SPIRE's agents and CSI driver are for node b alone, and the suite's pods need both on their node"


@pytest.mark.parametrize(
    ("taints", "given", "words"),
    [
        ([], WorkloadSettings(node_selector={"pool": "shop"}), f"--node-selector=pool=shop selects node a: {BESIDE}"),
        ([TAINT], WorkloadSettings(), f"no --toleration is for pool=spire:NoSchedule, which node b has: {BESIDE}"),
        ([TAINT], WorkloadSettings(tolerations=({"key": "pool", "operator": "Exists"},)), ""),
        ([], WorkloadSettings(node_selector=SPIRES), ""),
        ([], WorkloadSettings(), ""),
        # Nodes may be added for them.
        ([], WorkloadSettings(node_selector={"pool": "new"}), ""),
    ],
)
def test_options_that_keep_the_suites_pods_off_the_nodes_of_spire_are_named(
    taints: list[dict[str, str]], given: WorkloadSettings, words: str
) -> None:
    cluster: Any = KubernetesObjects()
    node(cluster, "a", labels={"pool": "shop"})
    node(cluster, "b", *taints, labels=SPIRES)
    cluster.workload_settings = given
    driver = replace(LAYOUT.csi_driver, tolerations=({"operator": "Exists"},))
    found = why_not_placed([cluster], {"server": replace(IN_POOL, csi_driver=driver)})
    assert found == (f"cluster server: {words}" if words else "")


@pytest.mark.parametrize(("taints", "more"), [([TAINT], 1), ([TAINT], 0), ([], 0)])
def test_only_where_a_taint_keeps_the_suites_pods_off_a_toleration_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, taints: list[dict[str, str]], more: int
) -> None:
    cluster = KubernetesObjects()
    node(cluster, "a", labels={"pool": "shop"})
    for number in range(1 + more):
        node(cluster, f"b{number}", *taints, labels=SPIRES)
    driver = replace(LAYOUT.csi_driver, tolerations=({"operator": "Exists"},))
    listed = cluster.cluster.core.list_node().items
    # As where it is too small for them.
    monkeypatch.setattr(nodes, "_possible_nodes", lambda _, listed: listed[:1])
    found = nodes.why_no_node_is_left(replace(IN_POOL, csi_driver=driver), listed, WorkloadSettings())
    named = "nodes b0, b1 have" if more else "node b0 has"
    assert found.startswith(f"no --toleration is for pool=spire:NoSchedule, which {named}: ") if taints else not found


class Asked(SimpleNamespace):
    __hash__ = object.__hash__  # type: ignore[assignment]


def test_clusters_that_are_not_the_suites_own_are_asked_for_permissions_and_the_demos_namespace_and_all_for_nodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def refused(cluster: Any, _: Any, name: str, federates_with: Any) -> str:
        asked.append(f"{cluster.label}: {name} {federates_with}")
        return f"{cluster.label}: an admission policy refuses the namespace {name}"

    monkeypatch.setattr(refusals, "why_namespace_refused", refused)
    monkeypatch.setattr(refusals, "needed_then", lambda *_: [])
    denied: list[Permission] = []
    monkeypatch.setattr(refusals, "denied_permissions", lambda *_: denied)
    monkeypatch.setattr(refusals, "reached_services", lambda *_: [])
    monkeypatch.setattr(refusals, "why_not_placed", lambda asked, _: f"{len(asked)} have no node for the demo")
    clusters = [Asked(label=name, is_external=is_external) for name, is_external in (("server", True), ("kind", False))]
    federates_with = {each.label: ["x"] for each in clusters}
    layouts = {each.label: LAYOUT for each in clusters}

    def why(*objects: dict[str, Any]) -> str:
        settings: Any = SimpleNamespace(objects={"server": objects})
        connectivity: Any = SimpleNamespace(way="given")
        return why_refused(settings, cast(Any, clusters), connectivity, "demo", layouts, federates_with)

    assert why() == "server: an admission policy refuses the namespace demo"
    assert asked == ["server: demo ['x']"]
    # With --apply it is there before the suite applies it again.
    assert why({"kind": "Namespace", "metadata": {"name": "demo"}}) == "2 have no node for the demo"
    denied.append(Permission("", "nodes", "list"))
    assert why().startswith("the credentials of --context may not do what this run needs: on server list nodes")
    assert len(asked) == 1
