"""Steps 0.5 and 1 of the tutorial: the clusters are there, and SPIRE runs on each."""

from __future__ import annotations

import pytest

from fixtures import pods
from fixtures.clusters import Cluster
from fixtures.spire import AGENT, CSI_DRIVER, OIDC_PROVIDER, SERVER_NAMESPACE, SYSTEM_NAMESPACE, TORNJAK, Spire
from fixtures.supply import Supply
from fixtures.waiting import Condition, Look, wait_for
from fixtures.workloads import Demo

pytestmark = pytest.mark.federation
SOON = 30.0  # seconds


@pytest.mark.dependency(name="nodes ready")
def test_every_node_is_ready(clusters: dict[str, Cluster]) -> None:
    for cluster in clusters.values():
        nodes = cluster.core.list_node().items
        ready = {
            node.metadata.name: [condition.status for condition in node.status.conditions if condition.type == "Ready"]
            for node in nodes
        }
        assert ready, f"{cluster.label} has no node"
        assert set(map(tuple, ready.values())) == {("True",)}, f"{cluster.label}: {ready}"


@pytest.mark.dependency(name="spire ready", depends=["nodes ready"], scope="session")
def test_every_spire_component_is_ready(spires: dict[str, Spire]) -> None:
    for spire in spires.values():
        cluster = spire.cluster
        assert wait_for(pods.stateful_set_ready(cluster, SERVER_NAMESPACE, "spire-server"), SOON) >= 1
        assert wait_for(pods.daemon_set_ready(cluster, SYSTEM_NAMESPACE, AGENT), SOON) == len(
            cluster.core.list_node().items
        )
        assert wait_for(pods.daemon_set_ready(cluster, SYSTEM_NAMESPACE, CSI_DRIVER), SOON) == len(
            cluster.core.list_node().items
        )
        assert wait_for(pods.deployment_available(cluster, SERVER_NAMESPACE, OIDC_PROVIDER), SOON) >= 1
        containers = [status.name for status in pods.pods(cluster, SERVER_NAMESPACE, "")[0].status.container_statuses]
        assert containers, f"{cluster.label}: no container in {SERVER_NAMESPACE}"


@pytest.mark.dependency(name="controller manager ready", depends=["spire ready"], scope="session")
def test_the_controller_manager_runs_beside_every_server(spires: dict[str, Spire]) -> None:
    for spire in spires.values():
        server = spire.cluster.core.read_namespaced_pod("spire-server-0", SERVER_NAMESPACE)
        ready = {status.name: status.ready for status in server.status.container_statuses}
        assert ready.get("spire-controller-manager") is True, f"{spire.cluster.label}: {ready}"


@pytest.mark.dependency(name="agents attested", depends=["spire ready"], scope="session")
def test_an_agent_of_every_node_has_attested(spires: dict[str, Spire]) -> None:
    for spire in spires.values():
        agents = spire.agents()
        assert {agent.attestation_type for agent in agents} == {"k8s_psat"}
        assert not [agent for agent in agents if agent.banned]
        assert all(
            agent.spiffe_id.startswith(f"spiffe://{spire.trust_domain}/spire/agent/k8s_psat/") for agent in agents
        ), agents
        assert len(agents) >= len(spire.cluster.core.list_node().items)


@pytest.mark.dependency(name="entries federate", depends=["controller manager ready"], scope="session")
def test_workload_entries_federate_with_the_other_trust_domains(demo: Demo) -> None:
    # Entries are made once the foreign bundle is there, for pods that exist: the demo's server is one on its cluster.
    spire = demo.server

    def look() -> Look[tuple[str, ...]]:
        found = [entry for entry in spire.entries() if entry.spiffe_id == demo.server_id]
        return Look(
            found[0].federates_with if found else None,
            f"entries: {sorted(entry.spiffe_id for entry in spire.entries())}",
        )

    federates_with = wait_for(Condition(f"an entry for {demo.server_id}", look), SOON)
    assert federates_with == spire.federates_with


@pytest.mark.dependency(name="pod security", depends=["nodes ready"], scope="session")
def test_the_servers_namespace_enforces_restricted_pods(spires: dict[str, Spire]) -> None:
    for spire in spires.values():
        labels = spire.cluster.core.read_namespace(SERVER_NAMESPACE).metadata.labels
        assert labels.get("pod-security.kubernetes.io/enforce") == "restricted", f"{spire.cluster.label}: {labels}"


@pytest.mark.dependency(name="tornjak", depends=["spire ready"], scope="session")
def test_tornjak_answers(supplied: Supply, spires: dict[str, Spire]) -> None:
    if supplied.tornjak:
        pytest.skip(f"Tornjak is not installed: {supplied.tornjak}")
    for spire in spires.values():
        ready = {
            status.name: status.ready
            for status in spire.cluster.core.read_namespaced_pod(
                "spire-server-0", SERVER_NAMESPACE
            ).status.container_statuses
        }
        assert ready.get(TORNJAK) is True, f"{spire.cluster.label}: {ready}"
