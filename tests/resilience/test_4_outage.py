"""Parts of SPIRE, or of the network, gone for a while under live traffic: what goes on, what does not, what comes back.

SPIRE's promise: an SVID that was handed out serves until it expires, whoever is away. New identities need the server,
and every JWT-SVID needs the agent.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from fixtures.core.waiting import Condition, Look, wait_for
from fixtures.plugins.resilience import NEWCOMERS, Newcomer
from fixtures.resilience.disruptions import closed, cut, killed, lossy, node_addresses, slowed, without, without_server
from fixtures.resilience.environment import World
from fixtures.resilience.recovery_times import RECOVERY, Measured
from fixtures.spire.authorities import Authorities
from fixtures.spire.installation import Spire
from fixtures.spire.layout import AGENT, CSI_DRIVER
from fixtures.spire.logs import HEARD, POLL, agent_says, update_fails
from fixtures.traffic.continuous import Live
from fixtures.workloads.identity_conditions import AUDIENCE, identified
from fixtures.workloads.observed_call import attempt, let_in
from fixtures.workloads.probe import ProbeError
from tests.checks import SOON, agreement, components_are_ready, traffic_failed_at, traffic_was_unharmed

BACK = 90.0  # seconds that a part of SPIRE may take to be back
OUTAGE = 8.0  # seconds of traffic without a part
DELAY = 0.3  # seconds by which every piece is late on a slow link
LOST = 0.1  # of the packets on a lossy link
# A refresh under way when the network was cut waits for its connection, 30 s (net/http's dialer), before the next.
DIALLED = 30.0
NO_IDENTITY = r"(?i)no identity issued"


def sides(world: World, which: str) -> list[Spire]:
    """The clusters that an outage is on: server, client or both."""
    return {"server": [world.server], "client": [world.client], "both": [world.server, world.client]}[which]


def passed(seconds: float) -> Condition[bool]:
    """So much time has passed."""
    until = time.monotonic() + seconds
    return Condition(f"{seconds:g} s", lambda: Look(time.monotonic() >= until or None, "not yet"))


@pytest.mark.usefixtures("mend")
@pytest.mark.parametrize("which", ["server", "client"])
def test_without_the_peers_endpoint_all_goes_on_but_the_bundle_ages(
    world: World, live: Live, newcomer: Newcomer, measured: Measured, which: str
) -> None:
    (peer,) = sides(world, which)
    (spire,) = (each for each in (world.server, world.client) if each is not peer)
    with live.during(f"{which}'s endpoint away") as stretch:
        with ExitStack() as away:
            closed(away, world.federation.forwards[peer.trust_domain])
            prepared = Authorities(peer, "jwt").prepare()
            wait_for(update_fails(spire, "connection refused", since=stretch.began), HEARD)
            assert prepared not in spire.foreign_bundle(peer.trust_domain).jwt_authorities
            # New identities too: the bundle that is stored is handed out.
            wait_for(identified(newcomer(spire)), SOON)
        back = measured.from_now(RECOVERY)
        what = f"{which}'s endpoint back: its new authority known"
        back.wait(what, agreement(spire, peer), POLL + SOON, bound="15 s")
    traffic_was_unharmed(live, stretch)


@pytest.mark.usefixtures("mend")
@pytest.mark.parametrize("which", ["server", "client", "both"])
def test_without_a_spire_server_traffic_goes_on_and_new_pods_there_wait(
    world: World, live: Live, newcomer: Newcomer, measured: Measured, which: str
) -> None:
    away_here = sides(world, which)
    # The probe's JWT-SVID is in its agent's cache then, as those of the traffic are.
    wait_for(let_in(world.demo), SOON)
    with live.during(f"SPIRE server of {which} away") as stretch:
        with ExitStack() as away:
            for spire in away_here:
                without_server(away, spire)
            gone = time.time()
            waiting = [newcomer(spire) for spire in away_here]
            for spire in (world.server, world.client):
                if spire not in away_here:
                    wait_for(identified(newcomer(spire)), SOON)
            # Where the server is there, even a younger pod has its identity by now.
            for probe in waiting:
                wait_for(agent_says(probe.spire, "Synchronize failed", since=gone), SOON)
                with pytest.raises(ProbeError, match=NO_IDENTITY):
                    probe.fetch(AUDIENCE)
            wait_for(let_in(world.demo), SOON)
        back = measured.from_now(RECOVERY)
        for probe in waiting:
            what = f"SPIRE server of {which} back: a new pod's identity ({probe.cluster.label})"
            back.wait(what, identified(probe), BACK)
        components_are_ready(away_here, BACK)
    traffic_was_unharmed(live, stretch)


@pytest.mark.usefixtures("mend")
def test_without_the_servers_agent_traffic_goes_on(
    world: World, live: Live, newcomer: Newcomer, measured: Measured
) -> None:
    with live.during("agent of server away") as stretch:
        with ExitStack() as away:
            without(away, world.server, AGENT)
            with pytest.raises(ProbeError, match=r"no such file|connection refused"):
                newcomer(world.server).fetch(AUDIENCE)
            wait_for(let_in(world.demo), SOON)
        back = measured.from_now(RECOVERY)
        probe = world.demo.probes[world.server.trust_domain]
        back.wait("agent of server back: an old pod's identity", identified(probe), BACK)
    traffic_was_unharmed(live, stretch)


@pytest.mark.usefixtures("mend")
@pytest.mark.parametrize("which", ["client", "both"])
def test_without_the_clients_agent_nothing_fails_but_the_jwt_svid(
    world: World, live: Live, measured: Measured, which: str
) -> None:
    with live.during(f"agent of {which} away") as stretch:
        with ExitStack() as away:
            for spire in sides(world, which):
                without(away, spire, AGENT)
            wait_for(passed(OUTAGE), OUTAGE + 1)
        measured.from_now(RECOVERY).reckoned(f"agent of {which} back: traffic", live.whole, BACK)
    for kind in ("new", "kept"):
        traffic_failed_at(live, stretch, kind, {"svid"})


@pytest.mark.usefixtures("mend")
@pytest.mark.parametrize("which", ["server", "client"])
def test_a_replaced_csi_driver_is_noticed_by_nobody(
    world: World, live: Live, newcomer: Newcomer, measured: Measured, which: str
) -> None:
    (spire,) = sides(world, which)
    with live.during(f"CSI driver of {which} replaced") as stretch:
        began = measured.from_now(RECOVERY)
        spire.restart(CSI_DRIVER)
        began.passed(f"CSI driver of {which} replaced")
        # Old pods over the old mount, and new ones over a new one.
        wait_for(identified(world.demo.probes[spire.trust_domain]), SOON)
        wait_for(identified(newcomer(spire)), SOON)
    traffic_was_unharmed(live, stretch)


@pytest.mark.usefixtures("mend")
@pytest.mark.parametrize("which", ["server", "client"])
def test_a_killed_controller_manager_takes_no_entry_along(
    world: World, live: Live, newcomer: Newcomer, measured: Measured, which: str
) -> None:
    (spire,) = sides(world, which)
    # Of pods that an earlier test has deleted the entries may be on their way out.
    entries = [entry for entry in spire.entries() if f"/ns/{NEWCOMERS}/" not in entry.spiffe_id]
    relationships = spire.relationships()
    with live.during(f"controller manager of {which} killed") as stretch:
        began = measured.from_now(RECOVERY)
        killed(world, spire, "spire-controller-manager")
        began.wait(f"controller manager of {which} killed: a new pod", identified(newcomer(spire)), BACK)
        components_are_ready([spire], BACK)
        # Nothing to wait for: they have been there, and are to stay.
        assert {entry.id for entry in entries} <= {entry.id for entry in spire.entries()}
        assert spire.relationships() == relationships
    traffic_was_unharmed(live, stretch)


@pytest.mark.usefixtures("mend")
def test_a_slow_link_slows_and_breaks_nothing(world: World, live: Live, measured: Measured) -> None:
    client, peer = world.client, world.server
    with live.during("slow link") as stretch, ExitStack() as slow:
        slowed(slow, world.federation.forwards[peer.trust_domain], DELAY)
        slowed(slow, world.demo.forward, DELAY)
        Authorities(peer, "jwt").prepare()
        began = measured.from_now("over a slow link")
        client.refresh(peer.trust_domain)
        took = began.passed(f"a refresh, every piece {DELAY:g} s late")
        wait_for(agreement(client, peer), SOON)
        assert took >= 3 * DELAY, f"the link was not slow: {took:.2f} s"
        # A single one, for its time is measured.
        began = measured.from_now("over a slow link")
        call = attempt(world.demo)
        assert call.succeeded, call.text
        began.passed(f"a call, every piece {DELAY:g} s late")
    traffic_was_unharmed(live, stretch)


@pytest.mark.usefixtures("mend")
def test_a_lossy_link_loses_packets_and_no_bundle(world: World, live: Live, measured: Measured) -> None:
    client, peer = world.client, world.server
    with live.during(f"link that loses {LOST:.0%}") as stretch, ExitStack() as losing:
        for address in (*node_addresses(peer), world.federation.address):
            lossy(losing, world, client, address, LOST)
        Authorities(peer, "jwt").prepare()
        prepared = measured.from_now("over a lossy link")
        prepared.wait(f"a bundle, {LOST:.0%} of packets lost", agreement(client, peer), POLL + SOON, bound="15 s")
        wait_for(passed(OUTAGE), OUTAGE + 1)
    measured.from_now(RECOVERY).reckoned("lossy link healed: traffic", live.whole, SOON)
    for summary in live.summaries(stretch):
        # TCP sends again what was lost, within the two seconds that a request has, or else that request alone fails.
        assert summary.failed < summary.sent / 2, summary
        assert "svid" not in summary.stages, summary


@pytest.mark.usefixtures("mend")
def test_a_cut_network_heals(world: World, live: Live, measured: Measured) -> None:
    client, peer = world.client, world.server
    with live.during("network cut") as stretch:
        with ExitStack() as away:
            cut(away, world)
            prepared = Authorities(peer, "jwt").prepare()
            wait_for(passed(OUTAGE), OUTAGE + 1)
            assert prepared not in client.foreign_bundle(peer.trust_domain).jwt_authorities
            for probe in world.demo.probes.values():
                wait_for(identified(probe), SOON)
        healed = measured.from_now(RECOVERY)
        healed.reckoned("network healed: traffic", live.whole, BACK)
        bound = "30 s for the connection under way, then 15 s"
        healed.wait("network healed: the bundle", agreement(client, peer), DIALLED + POLL + SOON, bound)
    for kind in ("new", "kept"):
        traffic_failed_at(live, stretch, kind, {"tls", "http", "overload"})
