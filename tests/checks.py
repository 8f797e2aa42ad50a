"""What is true of a working federation, as assertions: asked on a new release, after an upgrade, and of a broken one.

`CHECKS` has them under the names by which the tests depend on each other. What may be on its way is waited for, `soon`
seconds at the most: what has worked before needs no long wait. What is then there must be exactly right.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial

from fixtures.core.concurrency import side_by_side, together
from fixtures.core.waiting import Condition, Look, wait_for
from fixtures.diagnosis.spire_links import fields_looked_at
from fixtures.helm import values
from fixtures.k8s import conditions, failures, pods
from fixtures.k8s.cluster import Cluster
from fixtures.resilience.environment import World
from fixtures.spire.api_types import Bundle, bundle
from fixtures.spire.federation import Federation
from fixtures.spire.installation import Spire
from fixtures.spire.layout import AGENT, CSI_DRIVER, OIDC_PROVIDER, SERVER_NAMESPACE, SERVER_POD, SYSTEM_NAMESPACE
from fixtures.traffic.continuous import Live, Stretch
from fixtures.traffic.generator import KINDS
from fixtures.traffic.summary import table
from fixtures.upgrade.state import State
from fixtures.workloads.demo import CLIENT_LINES, Demo
from fixtures.workloads.identity_conditions import agents_attested, endpoint_of
from fixtures.workloads.jobs import Outcome
from fixtures.workloads.probe import SUCCESS, Endpoint, Identity

SOON = 30.0  # seconds
# Seconds that a new pod's identity may take: entry, cache and synchronisation a few; a controller manager that was just
# started again waits 15 s for the lease of the one before.
IDENTITY = 20.0
# SPIRE polls an endpoint at a quarter of the bundle's refresh hint: every 75 s with the chart's 5 minutes.
REFRESH = 100.0


def nodes_are_ready(clusters: Iterable[Cluster], soon: float = SOON) -> None:
    """Every cluster answers and has nodes, all of them ready."""
    side_by_side(lambda cluster: wait_for(cluster.nodes_ready, soon), clusters)


def components_are_ready(spires: Iterable[Spire], soon: float = SOON) -> None:
    """Every component of SPIRE is ready, an agent and a CSI driver on every node."""
    for spire in spires:
        cluster = spire.cluster
        nodes = wait_for(cluster.nodes_ready, soon)

        def ready(condition: Condition[int], namespace: str, name: str, cluster: Cluster = cluster) -> int:
            return wait_for(
                condition, soon, fails_if=lambda: failures.unrecoverable(cluster, (namespace,), prefix=name)
            )

        server = conditions.stateful_set_ready(cluster, SERVER_NAMESPACE, "spire-server")
        count = ready(server, SERVER_NAMESPACE, "spire-server")
        assert count >= 1, f"{cluster.label}: StatefulSet spire-server has no replica"
        for name in (AGENT, CSI_DRIVER):
            found = ready(conditions.daemon_set_ready(cluster, SYSTEM_NAMESPACE, name), SYSTEM_NAMESPACE, name)
            assert found == nodes, f"{cluster.label}: {found} of {name} for {nodes} nodes"
        if values.at(spire.values, "spiffe-oidc-discovery-provider.enabled") is not False:
            provider = conditions.deployment_available(cluster, SERVER_NAMESPACE, OIDC_PROVIDER)
            count = ready(provider, SERVER_NAMESPACE, OIDC_PROVIDER)
            assert count >= 1, f"{cluster.label}: Deployment {OIDC_PROVIDER} has no replica"
        # Ready with the pod, unless it was started again since.
        wait_for(pods.containers_ready(cluster, SERVER_NAMESPACE, SERVER_POD, "spire-controller-manager"), soon)


def fields_are_known(spires: Iterable[Spire], soon: float = SOON) -> None:
    """The API server knows every field of what is installed: what it does not know it leaves out, and only warns."""
    spires = list(spires)
    looks = side_by_side(lambda spire: wait_for(fields_looked_at(spire), soon), spires)
    for spire, unknown in zip(spires, looks, strict=True):
        assert not unknown, f"{spire.cluster.label}: {unknown}"


def agents_have_attested(spires: Iterable[Spire], soon: float = SOON) -> None:
    """An agent of every node has attested by its projected service account token."""

    def check(spire: Spire) -> None:
        agents = wait_for(agents_attested(spire, wait_for(spire.cluster.nodes_ready, soon)), soon)
        # How an agent has attested, and that it is banned, stays so.
        assert {agent.attestation_type for agent in agents} == {"k8s_psat"}, f"{spire.cluster.label}: {agents}"
        banned = [agent.spiffe_id for agent in agents if agent.banned]
        assert not banned, f"{spire.cluster.label}: banned: {banned}"
        prefix = f"spiffe://{spire.trust_domain}/spire/agent/k8s_psat/"
        assert all(agent.spiffe_id.startswith(prefix) for agent in agents), f"{spire.cluster.label}: {agents}"

    side_by_side(check, spires)


def endpoint_is_its_owners(endpoint: Endpoint, owner: Spire) -> None:
    """What a bundle endpoint presented is its owner's SPIFFE ID, and its bundle has keys of both kinds."""
    # Both stay as they are, and that the keys are the owner's was waited for (`endpoint_of`).
    assert endpoint.spiffe_id == owner.server_id
    served = bundle(endpoint.document)
    assert served.x509_authorities, f"{owner.trust_domain} serves no x509-svid key: {served}"
    assert served.jwt_authorities, f"{owner.trust_domain} serves no jwt-svid key: {served}"


def relationships_are_exact(federated: Federation, soon: float = SOON) -> None:
    """`federation list` shows a relationship with every peer, right in all it says, and no other."""
    side_by_side(lambda spire: wait_for(federated.listed(spire), soon), federated.spires.values())


def foreign_bundles_agree(federated: Federation, soon: float = REFRESH) -> None:
    """What a server stores of its peer is what the peer shows, once SPIRE has had the time to look."""
    side_by_side(lambda pair: wait_for(agreement(*pair), soon), federated.pairs)


def agreement(spire: Spire, peer: Spire) -> Condition[Bundle]:
    """The bundle that a server stores of its peer has the authorities that the peer shows."""

    def look() -> Look[Bundle]:
        stored, shown = together(partial(spire.foreign_bundle, peer.trust_domain), peer.bundle)
        return Look(stored if stored.same_keys(shown) else None, f"stored: {stored}; shown by its owner: {shown}")

    return Condition(f"{spire.cluster.label}: {peer.trust_domain}'s bundle as its owner shows it", look)


def entries_federate(demo: Demo, soon: float = SOON) -> None:
    """Every pod of the demo has an entry of its own, with the bundles of all that its trust domain federates with.

    An entry is made once the bundles that it names are there, for pods that exist.
    """
    side_by_side(lambda probe: wait_for(_entries(probe.spire, demo.namespace), soon), demo.probes.values())


def _entries(spire: Spire, namespace: str) -> Condition[int]:
    wanted = set(spire.federates_with)

    def look() -> Look[int]:
        living = {
            f"k8s:pod-uid:{pod.metadata.uid}": pod.metadata.name
            for pod in pods.pods(spire.cluster, namespace)
            if pod.status.phase == "Running" and not pod.metadata.deletion_timestamp
        }
        federates = {
            living[selector]: set(entry.federates_with)
            for entry in spire.entries()
            for selector in entry.selectors
            if selector in living
        }
        wrong = {name: federates.get(name) for name in living.values() if federates.get(name) != wanted}
        return Look(len(living) if living and not wrong else None, f"those that do not federate with {wanted}: {wrong}")

    return Condition(f"{spire.cluster.label}: an entry that federates for every pod in {namespace}", look)


def call_succeeded(outcome: Outcome) -> None:
    """The client's Job completed, and its log tells the tutorial's story."""
    # Of a Job that has ended neither changes.
    assert outcome.ended == "Complete", outcome.log
    assert outcome.lines == (*CLIENT_LINES, SUCCESS)


def only_what_changed_was_replaced(before: State, after: State, changed: Collection[str]) -> None:
    """The pods of the workloads whose template an upgrade changed are other ones, and those of the others the same.

    `changed` are the names of those whose template is another one in the release's manifests. Where it differs from the
    old one only in what the API server fills in by itself, it is the same to the API server, and the pods stay.
    """
    # Nothing to wait for: an upgrade ends once all pods are of the newest template.
    for name, old in before.workloads.items():
        new = after.workloads[name]
        if name in changed and new.template != old.template:
            assert not new.pods & old.pods, f"{name}: its pod template changed, and these pods are the old ones"
        else:
            assert new.pods == old.pods, f"{name}: its pod template did not change, and its pods did"


def svid_is_current(before: Identity, now: Identity, agents: tuple[State, State]) -> None:
    """A workload's X.509-SVID has not expired, and is a new one where the agents were replaced: they keep it in memory.

    `agents` are the states of its cluster before and now. Of the same agents it may be the old one or a renewed one.
    """
    assert datetime.fromisoformat(now.x509_not_after) > datetime.now(UTC)
    old, new = (state.workloads[AGENT].pods for state in agents)
    if not old & new:
        assert now.x509_serial != before.x509_serial, "the agent is a new one, and the X.509-SVID is the old one"


def traffic_was_unharmed(live: Live, stretch: Stretch, *kinds: str) -> None:
    """No request of these kinds (all, where none is named) that began in the stretch failed, and there were some.

    All of them have ended before they are counted (`Live.summaries`).
    """
    for summary in live.summaries(stretch):
        if summary.kind in (kinds or KINDS):
            told = "\n".join(table([summary]))
            assert summary.sent > 0, told
            assert summary.failed == 0, told


def traffic_failed_at(live: Live, stretch: Stretch, kind: str, stages: set[str]) -> None:
    """Requests of this kind that began in the stretch failed, and at no other stage than these."""
    summary = live.of(stretch, kind)
    told = "\n".join(table([summary]))
    assert summary.failed > 0, told
    assert set(summary.stages) <= stages, told


def endpoints_are_their_owners(federated: Federation, ask: Callable[[Spire, Spire], Endpoint]) -> None:
    """What every peer's bundle endpoint shows is its owner's, asked from every other side.

    `ask(spire, peer)` waits until its endpoint serves the peer's keys (`endpoint_of`), and returns what it showed.
    """
    side_by_side(lambda pair: endpoint_is_its_owners(ask(*pair), pair[1]), federated.pairs)


def _endpoints(world: World, soon: float) -> None:
    def ask(spire: Spire, peer: Spire) -> Endpoint:
        url = world.federation.endpoint_url(peer.trust_domain)
        return wait_for(endpoint_of(world.demo.probes[spire.trust_domain], peer, url), soon)

    endpoints_are_their_owners(world.federation, ask)


def _success(world: World, soon: float) -> None:
    # A pod of its own, as in the tutorial: what old pods hold would hide that new ones get nothing.
    identity = max(soon, IDENTITY)
    call_succeeded(
        world.demo.call("client-again", whole=False, IDENTITY_TIMEOUT=f"{identity:.0f}s", REQUEST_TIMEOUT="5s")
    )


CHECKS: Mapping[str, Callable[[World, float], None]] = {
    "nodes ready": lambda world, soon: nodes_are_ready(world.stage.clusters, soon),
    "spire ready": lambda world, soon: components_are_ready(world.stage.spires, soon),
    "fields known": lambda world, soon: fields_are_known(world.stage.spires, soon),
    "agents attested": lambda world, soon: agents_have_attested(world.stage.spires, soon),
    "federation list": lambda world, soon: relationships_are_exact(world.federation, soon),
    "foreign bundles": lambda world, soon: foreign_bundles_agree(world.federation, soon),
    "entries federate": lambda world, soon: entries_federate(world.demo, soon),
    "endpoints": _endpoints,
    "demo server": lambda world, soon: world.demo.wait_server(soon),
    "success": _success,
}
