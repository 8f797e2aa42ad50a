"""What is true of a working federation, as assertions: asked on a new release, and again after an upgrade."""

from __future__ import annotations

from collections.abc import Iterable

from fixtures import pods, values
from fixtures.federation import Federation
from fixtures.probe import SUCCESS
from fixtures.spiffe import Bundle, Relationship
from fixtures.spire import AGENT, CSI_DRIVER, OIDC_PROVIDER, SERVER_NAMESPACE, SYSTEM_NAMESPACE, Spire
from fixtures.waiting import Condition, Look, wait_for
from fixtures.workloads import CLIENT_LINES, Demo, Outcome

SOON = 30.0  # seconds
# SPIRE polls an endpoint at a quarter of the bundle's refresh hint: every 75 s with the chart's 5 minutes.
REFRESH = 100.0


def components_are_ready(spires: Iterable[Spire]) -> None:
    """Every component of SPIRE is ready, an agent and a CSI driver on every node."""
    for spire in spires:
        cluster = spire.cluster
        nodes = len(cluster.core.list_node().items)
        assert wait_for(pods.stateful_set_ready(cluster, SERVER_NAMESPACE, "spire-server"), SOON) >= 1
        assert wait_for(pods.daemon_set_ready(cluster, SYSTEM_NAMESPACE, AGENT), SOON) == nodes
        assert wait_for(pods.daemon_set_ready(cluster, SYSTEM_NAMESPACE, CSI_DRIVER), SOON) == nodes
        if values.at(spire.values, "spiffe-oidc-discovery-provider.enabled") is not False:
            assert wait_for(pods.deployment_available(cluster, SERVER_NAMESPACE, OIDC_PROVIDER), SOON) >= 1
        containers = server_containers(spire)
        assert containers.get("spire-controller-manager") is True, f"{cluster.label}: {containers}"


def server_containers(spire: Spire) -> dict[str, bool]:
    """The containers of the server's pod, and whether they are ready."""
    pod = spire.cluster.core.read_namespaced_pod("spire-server-0", SERVER_NAMESPACE)
    return {status.name: status.ready for status in pod.status.container_statuses}


def agents_have_attested(spires: Iterable[Spire]) -> None:
    """An agent of every node has attested by its projected service account token."""
    for spire in spires:
        agents = spire.agents()
        assert {agent.attestation_type for agent in agents} == {"k8s_psat"}, f"{spire.cluster.label}: {agents}"
        assert not [agent for agent in agents if agent.banned]
        prefix = f"spiffe://{spire.trust_domain}/spire/agent/k8s_psat/"
        assert all(agent.spiffe_id.startswith(prefix) for agent in agents), agents
        assert len(agents) >= len(spire.cluster.core.list_node().items)


def relationships_are_exact(federated: Federation) -> None:
    """`federation list` shows a relationship with every peer, right in all it says, and no other."""
    for spire in federated.spires.values():
        expected = [
            Relationship(peer.trust_domain, federated.endpoint_url(peer.trust_domain), "https_spiffe", peer.server_id)
            for peer in federated.peers(spire)
        ]
        assert spire.relationships() == expected, spire.cluster.label


def foreign_bundles_agree(federated: Federation) -> None:
    """What a server stores of its peer is what the peer shows, once SPIRE has had the time to look."""
    for spire in federated.spires.values():
        for peer in federated.peers(spire):
            wait_for(_agreement(spire, peer), REFRESH)


def _agreement(spire: Spire, peer: Spire) -> Condition[Bundle]:
    def look() -> Look[Bundle]:
        stored, shown = spire.foreign_bundle(peer.trust_domain), peer.bundle()
        return Look(stored if stored.same_keys(shown) else None, f"stored: {stored}; shown by its owner: {shown}")

    return Condition(f"{spire.cluster.label}: {peer.trust_domain}'s bundle as its owner shows it", look)


def server_entry_federates(demo: Demo) -> None:
    """The entry of the demo's server has its peers' bundles.

    An entry is made once the bundles that it names are there, for pods that exist.
    """
    spire = demo.server

    def look() -> Look[tuple[str, ...]]:
        found = [entry for entry in spire.entries() if entry.spiffe_id == demo.server_id]
        seen = sorted(entry.spiffe_id for entry in spire.entries())
        return Look(found[0].federates_with if found else None, f"entries: {seen}")

    federates_with = wait_for(Condition(f"an entry for {demo.server_id}", look), SOON)
    assert federates_with == spire.federates_with


def call_succeeded(outcome: Outcome) -> None:
    """The client's Job completed, and its log tells the tutorial's story."""
    assert outcome.ended == "Complete", outcome.log
    assert outcome.lines == (*CLIENT_LINES, SUCCESS)
