"""Parts of SPIRE, or of the network, away for a while under live traffic: what goes on, what fails, and what recovers.

SPIRE's promise: an SVID that was handed out serves until it expires, whatever is away. New identities need the server,
and every JWT-SVID needs the agent.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from fixtures.core.waiting import Condition, Look, wait_for
from fixtures.plugins.resilience import NEW_PROBES_NAMESPACE, ProbeFactory
from fixtures.resilience.disruptions import (
    close_forward,
    delay_forward,
    kill_container,
    lose_packets,
    node_addresses,
    partition_clusters,
    remove_daemon_set_pods,
    remove_server,
)
from fixtures.resilience.environment import Environment
from fixtures.resilience.recovery_times import RECOVERY_KIND, RecoveryTimes
from fixtures.spire.authorities import Authorities
from fixtures.spire.installation import Spire
from fixtures.spire.logs import agent_log_line, bundle_poll_interval, bundle_poll_timeout, bundle_update_error
from fixtures.traffic.continuous import ContinuousTraffic
from fixtures.traffic.generator import CONNECTION_KINDS
from fixtures.workloads.go_spiffe import NO_IDENTITY_ISSUED
from fixtures.workloads.identity_conditions import PROBE_AUDIENCE, probe_identity
from fixtures.workloads.observed_call import let_in, observe_call
from fixtures.workloads.probe import ProbeError
from tests.checks import RECHECK_TIMEOUT, agreement, components_are_ready, traffic_failed_at, traffic_was_unharmed

BACK_TIMEOUT = 90.0  # seconds that a part of SPIRE may take to be back
OUTAGE_DURATION = 8.0  # seconds of traffic without a part
LINK_DELAY = 0.3  # seconds by which every piece is late on a slow link
PACKET_LOSS = 0.1  # of the packets on a lossy link
# Seconds within which an outage of servers is over: 27 were measured.
SERVER_OUTAGE_LIMIT = 45.0
# A refresh under way when the network was cut waits for its connection, 30 s (net/http's dialer), before the next.
DIAL_TIMEOUT = 30.0


def sides(environment: Environment, which: str) -> list[Spire]:
    """The clusters that an outage is on: server, client or both."""
    return {
        "server": [environment.server],
        "client": [environment.client],
        "both": [environment.server, environment.client],
    }[which]


@pytest.fixture(params=["server", "client"])
def affected(request: pytest.FixtureRequest, environment: Environment) -> Spire:
    """The cluster that an outage is on: the server's, then the client's."""
    (spire,) = sides(environment, request.param)
    return spire


def traffic_renews_no_jwt_svid_soon(traffic: ContinuousTraffic) -> None:
    """Wait until no JWT-SVID of the traffic is renewed while a server is away; skips where each outage sees a renewal.

    A request that finds its JWT-SVID due waits for the server (seen: 1 of 134 for longer than its 2 s).
    """
    found = [traffic.generator.fetch(kind) for kind in CONNECTION_KINDS]
    renewed_after = min(each.jwt_renewed_after for each in found)
    if renewed_after <= SERVER_OUTAGE_LIMIT + RECHECK_TIMEOUT:
        pytest.skip(f"JWT-SVIDs are renewed after {renewed_after:.0f} s, and an outage takes up to that long")
    wait_for(traffic.generator.jwt_svids_outlast(SERVER_OUTAGE_LIMIT), SERVER_OUTAGE_LIMIT + RECHECK_TIMEOUT)


def passed(seconds: float) -> Condition[bool]:
    """So much time has passed."""
    until = time.monotonic() + seconds
    return Condition(f"{seconds:g} s", lambda: Look(time.monotonic() >= until or None, "not yet"))


@pytest.mark.usefixtures("undo")
def test_without_the_peers_endpoint_the_bundle_is_stale_and_heals_once_it_is_back(
    environment: Environment,
    traffic: ContinuousTraffic,
    probe_factory: ProbeFactory,
    recovery_times: RecoveryTimes,
    affected: Spire,
) -> None:
    peer = affected
    (spire,) = (each for each in (environment.server, environment.client) if each is not peer)
    with traffic.during(f"{affected.cluster.label}'s endpoint away") as interval:
        with ExitStack() as away:
            close_forward(away, environment.federation.forwards[peer.trust_domain])
            prepared = Authorities(peer, "jwt").prepare()
            refused = bundle_update_error(spire, "connection refused", since=interval.began)
            wait_for(refused, bundle_poll_timeout(peer))
            assert prepared not in spire.foreign_bundle(peer.trust_domain).jwt_authorities
            # New identities too: the bundle that is stored is handed out.
            wait_for(probe_identity(probe_factory(spire)), RECHECK_TIMEOUT)
        back = recovery_times.from_now(RECOVERY_KIND)
        what = f"{affected.cluster.label}'s endpoint back: its new authority known"
        polled_every = bundle_poll_interval(peer)
        back.wait(what, agreement(spire, peer), polled_every + RECHECK_TIMEOUT, bound=f"{polled_every:g} s")
    traffic_was_unharmed(traffic, interval)


@pytest.mark.usefixtures("undo")
@pytest.mark.parametrize("which", ["server", "client", "both"])
def test_without_a_spire_server_traffic_goes_on_and_new_pods_there_wait(
    environment: Environment,
    traffic: ContinuousTraffic,
    probe_factory: ProbeFactory,
    recovery_times: RecoveryTimes,
    which: str,
) -> None:
    away_here = sides(environment, which)
    # The probe's JWT-SVID is in its agent's cache then, as those of the traffic are.
    wait_for(let_in(environment.demo), RECHECK_TIMEOUT)
    traffic_renews_no_jwt_svid_soon(traffic)
    with traffic.during(f"SPIRE server of {which} away") as interval:
        with ExitStack() as away:
            for spire in away_here:
                remove_server(away, spire)
            gone = time.time()
            waiting = [probe_factory(spire) for spire in away_here]
            for spire in (environment.server, environment.client):
                if spire not in away_here:
                    wait_for(probe_identity(probe_factory(spire)), RECHECK_TIMEOUT)
            # Where the server is there, even a younger pod has its identity by now.
            for probe in waiting:
                wait_for(agent_log_line(probe.spire, "Synchronize failed", since=gone), RECHECK_TIMEOUT)
                with pytest.raises(ProbeError, match=NO_IDENTITY_ISSUED):
                    probe.fetch(PROBE_AUDIENCE)
            wait_for(let_in(environment.demo), RECHECK_TIMEOUT)
        back = recovery_times.from_now(RECOVERY_KIND)
        for probe in waiting:
            what = f"SPIRE server of {which} back: a new pod's identity ({probe.cluster.label})"
            back.wait(what, probe_identity(probe), BACK_TIMEOUT)
        components_are_ready(away_here, BACK_TIMEOUT)
    traffic_was_unharmed(traffic, interval)


@pytest.mark.usefixtures("undo")
def test_without_the_servers_agent_traffic_goes_on(
    environment: Environment, traffic: ContinuousTraffic, probe_factory: ProbeFactory, recovery_times: RecoveryTimes
) -> None:
    with traffic.during("agent of server away") as interval:
        with ExitStack() as away:
            remove_daemon_set_pods(away, environment.server, environment.server.layout.agent)
            with pytest.raises(ProbeError, match=r"no such file|connection refused"):
                probe_factory(environment.server).fetch(PROBE_AUDIENCE)
            wait_for(let_in(environment.demo), RECHECK_TIMEOUT)
        back = recovery_times.from_now(RECOVERY_KIND)
        probe = environment.demo.probes[environment.server.trust_domain]
        back.wait("agent of server back: an old pod's identity", probe_identity(probe), BACK_TIMEOUT)
    traffic_was_unharmed(traffic, interval)


@pytest.mark.usefixtures("undo")
@pytest.mark.parametrize("which", ["client", "both"])
def test_without_the_clients_agent_nothing_fails_but_the_jwt_svid(
    environment: Environment, traffic: ContinuousTraffic, recovery_times: RecoveryTimes, which: str
) -> None:
    with traffic.during(f"agent of {which} away") as interval:
        with ExitStack() as away:
            for spire in sides(environment, which):
                remove_daemon_set_pods(away, spire, spire.layout.agent)
            wait_for(passed(OUTAGE_DURATION), OUTAGE_DURATION + 1)
        recovery_times.from_now(RECOVERY_KIND).wait_seconds(
            f"agent of {which} back: traffic", traffic.recovery, BACK_TIMEOUT
        )
    for kind in ("new", "kept"):
        traffic_failed_at(traffic, interval, kind, {"svid"})


@pytest.mark.usefixtures("undo")
def test_a_replaced_csi_driver_disturbs_no_workload(
    environment: Environment,
    traffic: ContinuousTraffic,
    probe_factory: ProbeFactory,
    recovery_times: RecoveryTimes,
    affected: Spire,
) -> None:
    with traffic.during(f"CSI driver of {affected.cluster.label} replaced") as interval:
        began = recovery_times.from_now(RECOVERY_KIND)
        affected.restart(affected.layout.csi_driver)
        began.record(f"CSI driver of {affected.cluster.label} replaced")
        # Old pods over the old mount, and new ones over a new one.
        wait_for(probe_identity(environment.demo.probes[affected.trust_domain]), RECHECK_TIMEOUT)
        wait_for(probe_identity(probe_factory(affected)), RECHECK_TIMEOUT)
    traffic_was_unharmed(traffic, interval)


@pytest.mark.usefixtures("undo")
def test_a_killed_controller_manager_takes_no_entry_along(
    environment: Environment,
    traffic: ContinuousTraffic,
    probe_factory: ProbeFactory,
    recovery_times: RecoveryTimes,
    affected: Spire,
) -> None:
    # Of pods that an earlier test has deleted the entries may be on their way out.
    entries = [entry for entry in affected.entries() if f"/ns/{NEW_PROBES_NAMESPACE}/" not in entry.spiffe_id]
    relationships = affected.relationships()
    with traffic.during(f"controller manager of {affected.cluster.label} killed") as interval:
        began = recovery_times.from_now(RECOVERY_KIND)
        kill_container(environment, affected, affected.layout.controller_manager)
        began.wait(
            f"controller manager of {affected.cluster.label} killed: a new pod",
            probe_identity(probe_factory(affected)),
            BACK_TIMEOUT,
        )
        components_are_ready([affected], BACK_TIMEOUT)
        # Nothing to wait for: they have been there, and are to stay.
        assert {entry.id for entry in entries} <= {entry.id for entry in affected.entries()}
        assert affected.relationships() == relationships
    traffic_was_unharmed(traffic, interval)


@pytest.mark.usefixtures("undo")
def test_a_slow_link_slows_and_breaks_nothing(
    environment: Environment, traffic: ContinuousTraffic, recovery_times: RecoveryTimes
) -> None:
    client, peer = environment.client, environment.server
    with traffic.during("slow link") as interval, ExitStack() as slow:
        delay_forward(slow, environment.federation.forwards[peer.trust_domain], LINK_DELAY)
        delay_forward(slow, environment.demo.forward, LINK_DELAY)
        Authorities(peer, "jwt").prepare()
        began = recovery_times.from_now("over a slow link")
        client.refresh(peer.trust_domain)
        took = began.record(f"a refresh, every piece {LINK_DELAY:g} s late")
        wait_for(agreement(client, peer), RECHECK_TIMEOUT)
        assert took >= 3 * LINK_DELAY, f"the link was not slow: {took:.2f} s"
        # A single one, for its time is measured.
        began = recovery_times.from_now("over a slow link")
        call = observe_call(environment.demo)
        assert call.succeeded, call.text
        began.record(f"a call, every piece {LINK_DELAY:g} s late")
    traffic_was_unharmed(traffic, interval)


@pytest.mark.usefixtures("undo")
def test_a_lossy_link_loses_packets_and_no_bundle(
    environment: Environment, traffic: ContinuousTraffic, recovery_times: RecoveryTimes
) -> None:
    client, peer = environment.client, environment.server
    polled_every = bundle_poll_interval(peer)
    with traffic.during(f"link that loses {PACKET_LOSS:.0%}") as interval, ExitStack() as losing:
        for address in (*node_addresses(peer), environment.federation.address):
            lose_packets(losing, environment, client, address, PACKET_LOSS)
        Authorities(peer, "jwt").prepare()
        prepared = recovery_times.from_now("over a lossy link")
        prepared.wait(
            f"a bundle, {PACKET_LOSS:.0%} of packets lost",
            agreement(client, peer),
            polled_every + RECHECK_TIMEOUT,
            bound=f"{polled_every:g} s",
        )
        wait_for(passed(OUTAGE_DURATION), OUTAGE_DURATION + 1)
    recovery_times.from_now(RECOVERY_KIND).wait_seconds("lossy link healed: traffic", traffic.recovery, RECHECK_TIMEOUT)
    for summary in traffic.summaries(interval):
        # TCP sends again what was lost, within the two seconds that a request has, or else that request alone fails.
        assert summary.failed < summary.sent / 2, summary
        assert "svid" not in summary.stages, summary


@pytest.mark.usefixtures("undo")
def test_a_cut_network_heals(
    environment: Environment, traffic: ContinuousTraffic, recovery_times: RecoveryTimes
) -> None:
    client, peer = environment.client, environment.server
    with traffic.during("network cut") as interval:
        with ExitStack() as away:
            partition_clusters(away, environment)
            prepared = Authorities(peer, "jwt").prepare()
            wait_for(passed(OUTAGE_DURATION), OUTAGE_DURATION + 1)
            assert prepared not in client.foreign_bundle(peer.trust_domain).jwt_authorities
            for probe in environment.demo.probes.values():
                wait_for(probe_identity(probe), RECHECK_TIMEOUT)
        healed = recovery_times.from_now(RECOVERY_KIND)
        healed.wait_seconds("network healed: traffic", traffic.recovery, BACK_TIMEOUT)
        polled_every = bundle_poll_interval(peer)
        bound = f"{DIAL_TIMEOUT:g} s for the connection under way, then {polled_every:g} s"
        healed.wait(
            "network healed: the bundle",
            agreement(client, peer),
            DIAL_TIMEOUT + polled_every + RECHECK_TIMEOUT,
            bound,
        )
    for kind in ("new", "kept"):
        traffic_failed_at(traffic, interval, kind, {"tls", "http", "overload"})
