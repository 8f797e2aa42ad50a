"""What is true of a working federation, as assertions: asked on a new release, after an upgrade, and of a broken one.

`CHECKS` has them under the names by which the tests depend on each other. A check waits `timeout` seconds at most for
what may not be there yet: what has worked before needs no long wait. What is then there must be exactly right.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from fixtures.core.concurrency import map_concurrently, run_concurrently
from fixtures.core.progress import observe, unreported
from fixtures.core.waiting import Condition, Look, time_limit, wait_for
from fixtures.diagnosis.links import component_links
from fixtures.diagnosis.links.socket_links import check_socket_names
from fixtures.diagnosis.links.spire_links import PUBLISHED_WITHIN, fields_looked_at, trusting_agents, unasked_powers
from fixtures.diagnosis.links.static_entry_links import static_entries_made
from fixtures.diagnosis.links.webhook_links import unset_policy, webhook_validates
from fixtures.helm.charts.folder import default_values
from fixtures.helm.release import Release
from fixtures.helm.values import merge
from fixtures.k8s import conditions, pod_ports, pods, rollouts
from fixtures.k8s.cluster import Cluster
from fixtures.k8s.failures.unrecoverable import unrecoverable
from fixtures.resilience.environment import Environment
from fixtures.spire.api_types import POD_UID, Bundle, RegistrationEntry, bundle
from fixtures.spire.federation import Federation
from fixtures.spire.installation import Spire
from fixtures.spire.layout import Workload
from fixtures.spire.logged_errors.error_log import JudgedError, denials, error_table
from fixtures.traffic.continuous import ContinuousTraffic, Interval
from fixtures.traffic.generator import CONNECTION_KINDS
from fixtures.traffic.summary import RestartWindow, Summary, TrafficPhase, table
from fixtures.upgrade.state import PreservedState, own_custom_resources
from fixtures.upgrade.upgrade import FederationUpgrade, identities_kept
from fixtures.workloads.demo import CLIENT_LINES, Demo
from fixtures.workloads.go_spiffe import rejected_audience
from fixtures.workloads.identity_conditions import (
    EndpointUnreachedError,
    agents_attested,
    authorities_published,
    endpoint_of,
    endpoint_reached,
)
from fixtures.workloads.jobs import JobOutcome
from fixtures.workloads.observed_call import ObservedCall, observe_call
from fixtures.workloads.probe import SUCCESS_LINE, Endpoint, Identity, Probe
from fixtures.workloads.web_services import oidc_provider, tornjak

RECHECK_TIMEOUT = 30.0  # seconds
# Seconds without an answer that are no restart any more: an agent's takes up to 10 with a release as it is published.
LONG_GAP = 30.0
CHANGING_PHASES = ("upgrade ", "rollback ")  # what the names of phases begin with in which a release is changed
# Seconds that a new pod's identity may take: entry, cache and synchronisation a few; a controller manager that was just
# started again waits 15 s for the lease of the one before.
IDENTITY_TIMEOUT = 20.0
PUBLISHED_TIMEOUT = PUBLISHED_WITHIN + 10.0
# SPIRE polls an endpoint at a quarter of the bundle's refresh hint: every 75 s with the chart's 5 minutes.
REFRESH_TIMEOUT = 100.0


def nodes_are_ready(clusters: Iterable[Cluster], timeout: float = RECHECK_TIMEOUT) -> None:
    """Every cluster answers and has nodes, all of them ready."""
    map_concurrently(lambda cluster: wait_for(cluster.nodes_ready, timeout), clusters)


def components_are_ready(
    spires: Iterable[Spire], timeout: float = RECHECK_TIMEOUT, warn: Callable[[str], None] = unreported
) -> None:
    """Every component of SPIRE is ready, an agent and a CSI driver on every node that is eligible for them.

    `warn` names those that keep pods of an older revision, which they may (`Spire.may_be_older`).
    """
    for spire in spires:
        cluster = spire.cluster
        wait_for(cluster.nodes_ready, timeout)

        layout, older = spire.layout, spire.may_be_older

        def ready(
            workload: Workload,
            state: Condition[int] | None = None,
            cluster: Cluster = cluster,
            older: Callable[[Any], bool] = older,
        ) -> int:
            place = (workload.namespace, workload.name)
            return wait_for(
                state or conditions.controller_ready(cluster, workload.kind, *place, older=older),
                timeout,
                fails_if=lambda: unrecoverable(cluster, place[:1], prefix=workload.name),
            )

        assert ready(layout.server) >= 1, f"{cluster.label}: {layout.server} has no replica"
        for component in (*layout.agents, layout.csi_driver):
            found = ready(component)
            nodes = wait_for(conditions.nodes_of_daemon_set(cluster, component.namespace, component.name), timeout)
            assert found == len(nodes), f"{cluster.label}: {found} of {component.name} for the nodes {', '.join(nodes)}"
        provider = layout.oidc_provider
        if provider:
            found = ready(provider, spire.ready_or_unfederated(provider))
            assert found or spire.awaits_federation(provider), f"{cluster.label}: {provider} has no replica"
        # Ready with the pod, unless it was started again since.
        manager = layout.controller_manager
        if str(manager) == str(layout.server):
            place = (manager.namespace, spire.server_pod, manager.container.name)
            wait_for(pods.containers_ready(cluster, *place), timeout)
        for workload in layout.workloads:
            found_now = conditions.find_controller(cluster, *workload.controller)
            if found_now and rollouts.older_pods(found_now) and spire.may_be_older(found_now):
                why = rollouts.held_back(cluster, found_now)
                warn(f"{cluster.label}: {workload} keeps pods of an older revision: {why}")


def fields_are_known(spires: Iterable[Spire], timeout: float = RECHECK_TIMEOUT) -> None:
    """The API server knows every field of what is installed: what it does not know it leaves out, and only warns."""
    spires = list(spires)
    looks = map_concurrently(lambda spire: wait_for(fields_looked_at(spire), timeout), spires)
    for spire, unknown in zip(spires, looks, strict=True):
        assert not unknown, f"{spire.cluster.label}: {unknown}"


def webhooks_validate(spires: Iterable[Spire], timeout: float = RECHECK_TIMEOUT) -> None:
    """The controller manager's webhook refuses objects that are not valid, and accepts those that are."""
    map_concurrently(lambda spire: wait_for(webhook_validates(spire), timeout), spires)


def webhook_policies_are_those_of_values(spires: Iterable[Spire], releases: Mapping[str, Release]) -> None:
    """The API server treats a webhook that does not answer as values say; releases are by the cluster's name."""
    # Nothing to wait for: hooks set it, and have ended.
    for spire in spires:
        label = spire.cluster.label
        unset = unset_policy(spire, merge(default_values(releases[label].spire), releases[label].values))
        assert not unset, f"{label}: {unset}"


def socket_is_found_by_every_name(spires: Iterable[Spire]) -> None:
    """Every link in the folder of the Workload API's socket leads to something."""
    # Nothing to wait for: an agent's pod makes the links before its agent starts.
    looks = map_concurrently(lambda spire: list(check_socket_names(spire)), spires)
    found = [str(each) for of_one in looks for each in of_one]
    assert not found, "\n".join(found)


def declared_ports_answer(spires: Iterable[Spire], warn: Callable[[str], None], *, strict: bool) -> None:
    """At every port that a container of SPIRE's declares something listens, for pods of others: metrics, say.

    `warn` is called for each that is silent; red where the run is `strict`.
    """

    def ask(of_one: tuple[Spire, Workload]) -> list[str]:
        spire, workload = of_one
        silent = pod_ports.silent_ports(spire.cluster, *workload.controller)
        return [f"{spire.cluster.label}: {each}" for each in silent]

    found = [each for silent in map_concurrently(ask, _installed_workloads(spires)) for each in silent]
    for each in found:
        warn(each)
    assert not (strict and found), "\n".join(found)


def liveness_probes_pass(spires: Iterable[Spire], timeout: float = RECHECK_TIMEOUT) -> None:
    """No container of SPIRE's will be killed for its liveness probe, which may take minutes.

    Of what this run has installed: another's API server may not lead to pods of other nodes.
    """

    def check(of_one: tuple[Spire, Workload]) -> None:
        spire, workload = of_one
        wait_for(pod_ports.liveness_probes_pass(spire.cluster, *workload.controller), timeout)

    map_concurrently(check, _installed_workloads(spires))


def _nothing_is_wrong(spires: Iterable[Spire], wrong: Callable[[Spire], Collection[str]]) -> None:
    """What no time changes: nothing to wait for. `wrong` says what is wrong with one, a sentence each."""
    for spire in spires:
        found = wrong(spire)
        assert not found, f"{spire.cluster.label}: {'; '.join(found)}"


def _installed_workloads(spires: Iterable[Spire]) -> list[tuple[Spire, Workload]]:
    """The workloads of what this run has installed, each with its SPIRE."""
    return [(spire, workload) for spire in spires if spire.was_installed_by_run for workload in spire.layout.workloads]


def server_services_lead_to_it_alone(spires: Iterable[Spire], timeout: float = RECHECK_TIMEOUT) -> None:
    """The Services at which a server is asked lead to no pod of anything else: some connections would fail."""
    for spire in spires:
        for namespace, name in spire.layout.server_services if spire.was_installed_by_run else ():
            controller = spire.layout.server.controller
            wait_for(conditions.service_leads_to(spire.cluster, namespace, name, controller), timeout)


def services_lead_to_pods(spires: Iterable[Spire], timeout: float = RECHECK_TIMEOUT) -> None:
    """Every port at which SPIRE is asked leads to a ready pod; those of webhooks that are off and the like may not."""
    spires = list(spires)
    _nothing_is_wrong(spires, component_links.misled_ingresses)
    map_concurrently(lambda spire: wait_for(component_links.services_lead_to_pods(spire), timeout), spires)


def agents_have_attested(spires: Iterable[Spire], timeout: float = RECHECK_TIMEOUT) -> None:
    """An agent of every node that is eligible for one has attested, by the plugin that its configuration names."""

    def check(spire: Spire) -> None:
        wait_for(spire.cluster.nodes_ready, timeout)
        daemon_sets = [(each.namespace, each.name) for each in spire.layout.agents]
        nodes = [wait_for(conditions.nodes_of_daemon_set(spire.cluster, *place), timeout) for place in daemon_sets]
        agents = wait_for(agents_attested(spire, sum(map(len, nodes))), timeout)
        if not spire.was_installed_by_run:  # its server may have others' agents too, and may have banned some of them
            return
        # How an agent has attested, and that it is banned, stays so.
        attestors = {each.attestor for each in spire.layout.agents}
        assert {agent.attestation_type for agent in agents} <= attestors, f"{spire.cluster.label}: {agents}"
        banned = [agent.spiffe_id for agent in agents if agent.banned]
        assert not banned, f"{spire.cluster.label}: banned: {banned}"
        prefixes = tuple(f"spiffe://{spire.trust_domain}/spire/agent/{each}/" for each in attestors)
        assert all(agent.spiffe_id.startswith(prefixes) for agent in agents), f"{spire.cluster.label}: {agents}"

    map_concurrently(check, spires)


def new_agents_would_trust_their_server(spires: Iterable[Spire], timeout: float = PUBLISHED_TIMEOUT) -> None:
    """The bundle that agents start with is the server's of now: those that run have learnt of it from the server."""
    spires = list(spires)
    _nothing_is_wrong(spires, trusting_agents)
    map_concurrently(lambda spire: wait_for(authorities_published(spire), timeout), spires)


def endpoint_is_its_owners(endpoint: Endpoint, owner: Spire) -> None:
    """What a bundle endpoint presented is its owner's SPIFFE ID, and its bundle has keys of both kinds."""
    # Both stay as they are, and that the keys are the owner's was waited for (`endpoint_of`).
    assert endpoint.spiffe_id == owner.server_id
    served = bundle(endpoint.document)
    assert served.x509_authorities, f"{owner.trust_domain} serves no x509-svid key: {served}"
    assert served.jwt_authorities, f"{owner.trust_domain} serves no jwt-svid key: {served}"


def relationships_are_exact(federation: Federation, timeout: float = RECHECK_TIMEOUT) -> None:
    """`federation list` shows a relationship with every peer, once, and right in all it says."""
    map_concurrently(lambda spire: wait_for(federation.listed(spire), timeout), federation.spires.values())


def foreign_bundles_agree(federation: Federation, timeout: float = REFRESH_TIMEOUT) -> None:
    """What a server stores of its peer is what the peer shows, once SPIRE has had the time to look."""
    map_concurrently(lambda pair: wait_for(agreement(*pair), timeout), federation.pairs)


def agreement(spire: Spire, peer: Spire) -> Condition[Bundle]:
    """The bundle that a server stores of its peer has the authorities that the peer shows."""

    def look() -> Look[Bundle]:
        stored, shown = run_concurrently(partial(spire.foreign_bundle, peer.trust_domain), peer.bundle)
        return Look(stored if stored.same_keys(shown) else None, f"stored: {stored}; shown by its owner: {shown}")

    return Condition(f"{spire.cluster.label}: {peer.trust_domain}'s bundle as its owner shows it", look)


def entries_federate(demo: Demo, timeout: float = RECHECK_TIMEOUT) -> None:
    """Every pod of the demo has an entry of its own, with the bundles of all that its trust domain federates with.

    An entry is made once the bundles that it names are there, for pods that exist. None makes its pod an administrator
    of its server, or lets it sign as one, unless values ask for identities that may.
    """

    def check(spire: Spire) -> None:
        entries = wait_for(_entries(spire, demo.namespace), timeout)
        # Of an entry that is made this stays.
        unasked = unasked_powers(spire, demo.namespace, entries)
        assert not unasked, f"{spire.cluster.label}: {'; '.join(unasked)}"

    map_concurrently(check, [probe.spire for probe in demo.probes.values()])


def _entries(spire: Spire, namespace: str) -> Condition[frozenset[RegistrationEntry]]:
    # Of third parties too, whose bundles are there: the entry would not have been made without.
    wanted = set(spire.federates_with)

    def look() -> Look[frozenset[RegistrationEntry]]:
        entries = frozenset(spire.entries())
        living = {
            f"{POD_UID}{pod.metadata.uid}": pod.metadata.name
            for pod in pods.pods(spire.cluster, namespace)
            if pods.is_running(pod)
        }
        federates = {
            living[selector]: set(entry.federates_with)
            for entry in entries
            for selector in entry.selectors
            if selector in living
        }
        wrong = {name: federates.get(name) for name in living.values() if not wanted <= (federates.get(name) or set())}
        seen = f"{len(living)} pods; those that do not federate with {wanted}: {wrong or 'none'}"
        return Look(entries if living and not wrong else None, seen)

    return Condition(f"{spire.cluster.label}: an entry that federates for every pod in {namespace}", look)


def static_entries_are_made(
    spires: Iterable[Spire], warn: Callable[[str], None] = unreported, timeout: float = RECHECK_TIMEOUT
) -> None:
    """Every ClusterStaticEntry has its entry. One that names a third party without a bundle has none: `warn` says so.

    Third parties are not part of the test, and an entry of this kind is no workload's of it.
    """

    def check(spire: Spire) -> None:
        for each in wait_for(static_entries_made(spire), timeout):
            warn(f"{spire.cluster.label}: {each}")

    map_concurrently(check, spires)


def oidc_discovery_is_its_servers(federation: Federation, demo: Demo, timeout: float = RECHECK_TIMEOUT) -> None:
    """What every peer's OIDC discovery provider serves is of its server, asked from the other side, over TLS if it can.

    Its issuer is the one in the server's JWT-SVIDs, its keys are the trust domain's, and its certificate will serve
    verifiers tomorrow too. What an installation does not have is passed over.
    """

    def check(pair: tuple[Spire, Spire]) -> None:
        spire, peer = pair
        provider = peer.layout.oidc_provider
        if provider is None or provider.service is None:
            return
        with oidc_provider.forwarded(peer, federation.connectivity, federation.folder) as place:
            # Where addresses are given, there is none of this.
            probe = demo.probes[peer.trust_domain if federation.connectivity.way == "given" else spire.trust_domain]
            found = wait_for(oidc_provider.discovery(probe, peer, place), timeout)
        fault = oidc_provider.fault(found, peer)
        assert not fault, f"{peer.cluster.label}: OIDC discovery provider: {fault}; seen: {found}"

    map_concurrently(check, federation.pairs)


def tornjak_shows_its_server(demo: Demo, timeout: float = RECHECK_TIMEOUT) -> list[str]:
    """Tornjak's backend lists the agents and entries of its server, and its frontend serves a page that leads there.

    Either may be there without the other. The value says of each which version it is, and what was not asked and why.
    """

    def check(probe: Probe) -> list[str]:
        layout, label = probe.spire.layout, probe.cluster.label
        lines, asked = [], set()
        for name, part in (("backend", layout.tornjak_backend), ("frontend", layout.tornjak_frontend)):
            if part is not None and part.service is None:
                lines.append(f"{label}: no Service leads to Tornjak's {name} {part.version}")
        backend, frontend = layout.tornjak_backend, layout.tornjak_frontend
        if backend and backend.service:
            asked.add(tornjak.url(backend.service))
        if frontend and frontend.service:
            uri = wait_for(tornjak.page_served(probe, tornjak.url(frontend.service)), timeout)
            address = tornjak.backend_of_page(probe.spire, uri)
            asked |= {address} if address else set()
            lines.append(f"{label}: Tornjak's frontend {frontend.version} asks {uri}")
        for address in sorted(asked):
            found = wait_for(tornjak.lists_as_server(probe, address), timeout)
            what = (
                f"answers only its users: {found.answer}"
                if isinstance(found, tornjak.Closed)
                else f"lists {len(found.agents)} agents and {len(found.entries)} entries as its server does"
            )
            lines.append(f"{label}: Tornjak's backend {backend.version if backend else ''} {what}")
        return lines

    return [line for lines in map_concurrently(check, demo.probes.values()) for line in lines]


def logged_errors_are_excused(errors: Iterable[JudgedError], warn: Callable[[str], None], *, strict: bool) -> None:
    """No component of SPIRE's has logged an error that no table excuses (`fixtures.spire.logged_errors.excuses`).

    `warn` is called with one of each kind. Of the suite's own clusters they are red where the run is `strict`: a slow
    machine has SPIRE log what nobody has seen yet, while all that it is for works. A right that a component lacks all
    the time is the chart's fault, and red in any case.
    """
    errors = list(errors)
    found = [each for each in errors if not each.is_excused]
    observe("errors that SPIRE's components logged", f"{len(errors)}, of which {len(found)} are not excused")
    for each in {(each.error.cluster, each.kind): each for each in found}.values():
        warn(f"logged, and no table excuses it: {each.error}")
    own = [each for each in found if not each.error.is_external]
    assert not (strict and own), "\n".join(error_table(own))
    denied = "\n".join(str(each.error) for each in denials(errors))
    assert not denied, f"lacks a right, see the chart's roles and bindings: {denied}"


def call_succeeded(outcome: JobOutcome) -> None:
    """The client's Job completed, and its log tells the tutorial's story."""
    # Of a Job that has ended neither changes.
    assert outcome.ended == "Complete", outcome.log
    assert outcome.lines == (*CLIENT_LINES, SUCCESS_LINE)


def why_datastore_is_another(before: PreservedState, after: PreservedState, server: Workload) -> str:
    """What the server has no more of its claims, its way to them and its authorities; empty where it has all.

    There may be claims that were not: for plugins, of another replica, or of others in its namespace.
    """
    claims = f"the claims {sorted(before.volumes)} became {sorted(after.volumes)}"
    if not before.volumes.items() <= after.volumes.items():
        return f"the datastore is another one: {claims}"
    place = (server.namespace, server.name)
    old, new = before.workloads.get(place), after.workloads[place]
    if old and old.owns_its_volumes and not new.owns_its_volumes:
        return f"pods of {server} cannot write to a volume of root's any more: they have no fsGroup"
    if lost := " and ".join(sorted(before.claims_outlive - after.claims_outlive)):
        return f"the datastore's claims are deleted now: their retention policy has {lost}: Delete"
    if after.bundle.same_keys(before.bundle):
        return ""
    return f"{before.bundle} became {after.bundle}" + (f"; {claims}" if after.volumes != before.volumes else "")


def custom_resources_stay(spire: Spire, before: PreservedState) -> None:
    """SPIRE's custom resources that are not of its release are there that were there before."""
    # Nothing to wait for: hooks have ended, and nobody makes users' objects again.
    gone = ", ".join(sorted(before.custom_resources - own_custom_resources(spire)))
    assert not gone, f"{spire.cluster.label}: custom resources that are not of the release were deleted: {gone}"


def users_have_what_they_had(
    upgrade: FederationUpgrade, name: str, after: PreservedState, timeout: float = RECHECK_TIMEOUT
) -> None:
    """After a rollback, a cluster has the claims, custom resources and identities of before the upgrade (`after`)."""
    spire, before = upgrade.spires[name], upgrade.before[name]
    claims = f"{sorted(before.volumes)} became {sorted(after.volumes)}"
    assert before.volumes.items() <= after.volumes.items(), f"{name}: the claims {claims}"
    custom_resources_stay(spire, before)
    wait_for(identities_kept(spire, before), timeout)
    if name in upgrade.given:
        wait_for(upgrade.own[name].still_given(upgrade.given[name]), timeout)


def only_what_changed_was_replaced(
    before: PreservedState, after: PreservedState, changed: Collection[tuple[str, str]]
) -> None:
    """The pods of the workloads whose template is another one after an upgrade are others, and those of the others not.

    By the API server's templates: what differs in the release's manifests may be what it fills in by itself, and a hook
    of the chart, or a controller that looks after configurations, may start pods again by a change of its own.
    `changed` are the namespaces and names of those whose template is another one in the manifests.
    """
    # Nothing to wait for: an upgrade ends once all pods are of the newest template.
    for place, old in before.workloads.items():
        name, new = "/".join(place), after.workloads.get(place)
        if new is None:
            assert place in changed, f"{name}: it is not there any more, and the release has it"
        elif new.template != old.template:
            stay = new.pods & old.pods and not new.waits_for_deletion
            assert not stay, f"{name}: its pod template changed, and these pods are the old ones"
        else:
            # There may be more replicas or nodes than before, or fewer.
            replaced = old.pods - new.pods and new.pods - old.pods
            assert not replaced, f"{name}: its pod template did not change, and its pods did"


def svid_is_current(before: Identity, now: Identity, agents: tuple[PreservedState, PreservedState]) -> None:
    """A workload's X.509-SVID has not expired, and is a new one where the agents were replaced: they keep it in memory.

    `agents` are the states of its cluster before and now. Of the same agents it may be the old one or a renewed one.
    """
    assert datetime.fromisoformat(now.x509_not_after) > datetime.now(UTC)
    old, new = (state.agent_pods for state in agents)
    if not old & new:
        assert now.x509_serial != before.x509_serial, "the agent is a new one, and the X.509-SVID is the old one"


def traffic_was_unharmed(traffic: ContinuousTraffic, interval: Interval, *kinds: str) -> None:
    """No request of these kinds (all, where none is named) that began in the stretch failed, and there were some.

    All of them have ended before they are counted (`ContinuousTraffic.summaries`). Those do not count that were under
    way while the machine stood still.
    """
    for summary in traffic.summaries(interval):
        if summary.kind in (kinds or CONNECTION_KINDS):
            rows = "\n".join(table([summary]))
            assert summary.sent > 0, rows
            assert summary.failed_outside_windows == 0, rows


def outages(
    summaries: Iterable[Summary], windows: Sequence[RestartWindow], phases: Iterable[TrafficPhase]
) -> list[str]:
    """How long requests had no answer while a release was changed, a sentence each, where that was for long.

    Failures within restarts are no faults, however long these last; for the workloads they are an outage. What the
    suite itself starts again is none.
    """
    found, by_name = [], {phase.name: phase for phase in phases}
    for each in summaries:
        gap = (each.longest_gap_ms or 0.0) / 1000
        if each.phase.startswith(CHANGING_PHASES) and gap > time_limit(LONG_GAP):
            # That of this phase which lasted for as long.
            phase = by_name[each.phase]
            near = (window for window in windows if window.began < phase.ended and window.ended > phase.began)
            likely = min(near, key=lambda window: abs(window.ended - window.began - gap), default=None)
            why = f" ({likely.why})" if likely else ""
            found.append(f"{each.phase}: no request over {each.kind} connections had an answer for {gap:.0f} s{why}")
    return found


def traffic_failed_at(traffic: ContinuousTraffic, interval: Interval, kind: str, stages: set[str]) -> None:
    """Requests of this kind that began in the stretch failed, and at no other stage than these."""
    summary = traffic.of(interval, kind)
    rows = "\n".join(table([summary]))
    assert summary.failed > 0, rows
    assert set(summary.stages) <= stages, rows


def endpoints_are_their_owners(
    federation: Federation, ask: Callable[[Spire, Spire], Endpoint], warn: Callable[[str], None] = unreported
) -> None:
    """What every peer's bundle endpoint shows is its owner's, asked from every other side.

    `ask(spire, peer)` waits until its endpoint serves the peer's keys (`endpoint_of`), and returns what it showed.
    SPIRE that was there before the run may reach what no pod of the demo does: `warn` says so where its server fetches
    the bundle, and has so authenticated the endpoint.
    """

    def check(pair: tuple[Spire, Spire]) -> None:
        spire, peer = pair
        try:
            endpoint = ask(spire, peer)
        except EndpointUnreachedError as error:
            if spire.was_installed_by_run:
                raise
            refused = spire.refresh_error(peer.trust_domain)
            if refused:
                raise AssertionError(f"{error}; nor does the server take it: {refused}") from error
            warn(
                f"{spire.cluster.label}: pods of the demo's namespace do not get {peer.trust_domain}'s bundle from its "
                f"endpoint, and the server does: {error}"
            )
            return
        endpoint_is_its_owners(endpoint, peer)

    map_concurrently(check, federation.pairs)


def endpoint_services_answer(spires: Iterable[Spire], demo: Demo, timeout: float = RECHECK_TIMEOUT) -> None:
    """The Service of every bundle endpoint leads a pod of its own cluster to the owner's keys."""

    def check(spire: Spire) -> None:
        # Others may have network policies that keep the demo's namespace from their server.
        if spire.was_installed_by_run:
            service = spire.layout.bundle_endpoint.service
            url = f"https://{service.host}:{service.port}"
            endpoint_is_its_owners(wait_for(endpoint_of(demo.probes[spire.trust_domain], spire, url), timeout), spire)

    map_concurrently(check, spires)


def endpoints_answer_the_other_side(federation: Federation, demo: Demo, timeout: float = RECHECK_TIMEOUT) -> None:
    """Every bundle endpoint answers a pod of every other side, and presents and serves what is its owner's."""

    def ask(spire: Spire, peer: Spire) -> Endpoint:
        url = federation.endpoint_url(peer.trust_domain)
        return endpoint_reached(demo.probes[spire.trust_domain], peer, url, timeout)

    endpoints_are_their_owners(federation, ask)


def foreign_bundles_were_refreshed(federation: Federation, timeout: float = REFRESH_TIMEOUT) -> None:
    """Every server has itself taken its peers' bundles from their endpoints since these were seeded."""

    def check(pair: tuple[Spire, Spire]) -> None:
        spire, peer = pair
        if federation.logs_refreshes(spire):
            refresh = wait_for(federation.refreshed(spire, peer), timeout)
            assert refresh.refreshed >= int(refresh.seeded)
        else:
            # With a log level of warn or error nothing says what it did by itself: that it can is what is left to see.
            spire.refresh(peer.trust_domain)

    map_concurrently(check, federation.pairs)


def foreign_bundles_can_be_fetched(federation: Federation, timeout: float = RECHECK_TIMEOUT) -> None:
    """Every server fetches its peers' bundles from their endpoints when it is asked to."""

    def check(pair: tuple[Spire, Spire]) -> None:
        spire, peer = pair

        def look() -> Look[bool]:
            spire.refresh(peer.trust_domain)
            return Look(True, "")

        wait_for(Condition(f"{spire.cluster.label}: a refresh of {peer.trust_domain}'s bundle", look), timeout)

    map_concurrently(check, federation.pairs)


def wrong_audience_is_refused(demo: Demo, timeout: float = RECHECK_TIMEOUT) -> None:
    """A JWT-SVID for another audience is refused by the demo's server, for that reason and at no earlier step."""
    audience = f"{demo.server_id}-of-another"

    def look() -> Look[ObservedCall]:
        call = observe_call(demo, audience=audience)
        # One that is let in will not be refused later.
        judged = call.succeeded or call.text.rstrip().endswith("401 Invalid token")
        return Look(call if judged else None, call.text)

    call = wait_for(Condition("an answer to a call with a wrong audience", look), timeout)
    assert not call.succeeded, f"a JWT-SVID for {audience} was let in"
    line = call.server_log_line("Invalid token")
    assert rejected_audience(line) == ([demo.server_id], [audience]), line


def _success(environment: Environment, timeout: float) -> None:
    # A pod of its own, as in the tutorial: what old pods hold would hide that new ones get nothing.
    identity = time_limit(max(timeout, IDENTITY_TIMEOUT))
    call_succeeded(
        environment.demo.call(
            "client-again", wait_for_job=False, IDENTITY_TIMEOUT=f"{identity:.0f}s", REQUEST_TIMEOUT="5s"
        )
    )


CHECKS: Mapping[str, Callable[[Environment, float], None]] = {
    "nodes ready": lambda environment, timeout: nodes_are_ready(environment.testbed.clusters, timeout),
    "spire ready": lambda environment, timeout: components_are_ready(environment.testbed.spires, timeout),
    "fields known": lambda environment, timeout: fields_are_known(environment.testbed.spires, timeout),
    "agents attested": lambda environment, timeout: agents_have_attested(environment.testbed.spires, timeout),
    "federation list": lambda environment, timeout: relationships_are_exact(environment.federation, timeout),
    "foreign bundles": lambda environment, timeout: foreign_bundles_agree(environment.federation, timeout),
    "entries federate": lambda environment, timeout: entries_federate(environment.demo, timeout),
    "endpoints": lambda environment, timeout: endpoints_answer_the_other_side(
        environment.federation, environment.demo, timeout
    ),
    "demo server": lambda environment, timeout: environment.demo.wait_server(timeout),
    "success": _success,
}
