"""Foreign bundles that are absent, stale or wrong, and federation objects that say the wrong thing.

Each is named in SPIRE's own words, and live traffic goes on for as long as SPIRE promises: what a workload has been
given once it keeps, whatever becomes of the relationship that it came by.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from fixtures.core.waiting import Condition, Look, wait_for
from fixtures.k8s.cluster import ClusterError
from fixtures.plugins.resilience import Newcomer
from fixtures.resilience.disruptions import closed
from fixtures.resilience.environment import World
from fixtures.resilience.objects import Thing
from fixtures.resilience.recovery_times import RECOVERY, Measured
from fixtures.spire.api_types import Bundle
from fixtures.spire.authorities import Authorities
from fixtures.spire.installation import Spire
from fixtures.spire.logs import HEARD, NO_LONGER_MANAGED, POLL, server_says, update_fails
from fixtures.traffic.continuous import Live
from fixtures.workloads.identity_conditions import AUDIENCE, identified, presented_by
from fixtures.workloads.observed_call import let_in
from fixtures.workloads.probe import ProbeError
from tests.checks import SOON, agreement, relationships_are_exact, traffic_failed_at, traffic_was_unharmed
from tests.faults import federation_object

# go-spiffe's words on a certificate that no authority at hand has signed.
UNKNOWN_AUTHORITY = "certificate signed by unknown authority"


def new_connections_fail(live: Live, since: float, words: str) -> Condition[str]:
    """A request with a new connection fails in TLS with these words, since a moment (Unix seconds)."""

    def look() -> Look[str]:
        failed = [each for each in live.traffic.requests("new") if each.start >= since and not each.ok]
        found = next((each.error for each in failed if each.stage == "tls" and words in each.error), None)
        return Look(found, f"{len(failed)} failed{': ' + failed[-1].error if failed else ''}")

    return Condition(f"a new connection that fails with {words!r}", look)


def _relationship_goes_and_bundle_stays(
    world: World, live: Live, newcomer: Newcomer, name: str, undo: Callable[[Thing, ExitStack], None]
) -> None:
    client, server = world.client, world.server
    relationships_are_exact(world.federation)
    with live.during(name) as stretch:
        with ExitStack() as away:
            undo(federation_object(client, server), away)
            wait_for(no_relationships(client), SOON)
            wait_for(server_says(client, NO_LONGER_MANAGED, since=stretch.began), HEARD)
            # SPIRE's policy (spire#2507): what was trusted goes on being trusted, and new pods trust it too. Nothing to
            # wait for: the bundle has been there, and is to stay.
            assert client.foreign_bundle(server.trust_domain).same_keys(server.bundle())
            caller = newcomer(client)
            wait_for(identified(caller), SOON)
            wait_for(let_in(world.demo, caller=caller), SOON)
        wait_for(world.federation.relationships(client), SOON)
    traffic_was_unharmed(live, stretch)
    relationships_are_exact(world.federation)


def _updates_fail(world: World, live: Live, name: str, profile: Mapping[str, Any], reason: str) -> None:
    client, peer = world.client, world.server.trust_domain
    # An object that is edited has the bundle stored again that it was seeded with, which must be the peer's of today.
    world.federation.seed(client, world.server)
    with live.during(name) as stretch:
        with ExitStack() as wrong:
            federation_object(client, world.server).change(wrong, {"spec": {"bundleEndpointProfile": profile}})
            wait_for(update_fails(client, reason, since=stretch.began), HEARD + SOON)
            with pytest.raises(ClusterError, match=re.escape(reason.replace('"', '\\"')) + "|" + re.escape(reason)):
                client.refresh(peer)
        # Whatever field of the object is edited, the controller manager has SPIRE store once more the bundle that it
        # was seeded with. That one has no refresh hint, so that after a failure SPIRE looks again at a fortieth of the
        # CA's lifetime only (36 minutes for a day's). Seeded again, it looks at once.
        world.federation.seed(client, world.server)
        wait_for(refreshes(client, peer), SOON)
    traffic_was_unharmed(live, stretch)


def _heals_once_seeded_anew(world: World, live: Live, measured: Measured, what: str) -> None:
    seeded = measured.from_now(RECOVERY)
    world.federation.seed(world.client, world.server)
    seeded.reckoned(what, live.whole, SOON)


def no_relationships(spire: Spire) -> Condition[bool]:
    """`federation list` is empty."""

    def look() -> Look[bool]:
        listed = spire.relationships()
        return Look(None if listed else True, f"listed: {listed}")

    return Condition(f"{spire.cluster.label}: no federation relationship", look)


def refreshes(spire: Spire, peer: str) -> Condition[bool]:
    """A server can take a peer's bundle from its endpoint; what it cannot is what was last seen."""

    def look() -> Look[bool]:
        spire.refresh(peer)
        return Look(True, "refreshed")

    return Condition(f"{spire.cluster.label}: the bundle of {peer}, refreshed", look)


def test_a_peer_whose_bundle_is_absent_cannot_be_verified(
    world: World, mend: ExitStack, live: Live, newcomer: Newcomer, measured: Measured
) -> None:
    client, name = world.client, world.server.trust_domain
    mend.callback(world.federation.seed, client, world.server)
    with live.during("foreign bundle absent") as stretch:
        client.server("bundle", "delete", "-mode", "dissociate", "-id", f"spiffe://{name}")
        wait_for(new_connections_fail(live, stretch.began, f'no X.509 bundle for trust domain "{name}"'), SOON)
        wait_for(update_fails(client, "local copy of bundle not found", since=stretch.began), 60.0 + HEARD)
        # An entry that names a bundle which is not there is not made at all (spire#4445): not even once a pod of the
        # same age, on the side that has all bundles, has got its identity.
        caller, control = newcomer(client), newcomer(world.server)
        wait_for(identified(control), SOON)
        with pytest.raises(ProbeError, match=r"(?i)no identity issued"):
            caller.fetch(AUDIENCE)
    traffic_failed_at(live, stretch, "new", {"tls"})
    traffic_was_unharmed(live, stretch, "kept")
    _heals_once_seeded_anew(world, live, measured, "an absent bundle, seeded anew")


@pytest.mark.usefixtures("mend")
def test_a_stale_bundle_heals_by_itself_while_its_endpoint_can_be_authenticated(
    world: World, live: Live, measured: Measured
) -> None:
    client, server = world.client, world.server
    with live.during("bundle stale, endpoint of the same authority") as stretch:
        with ExitStack() as away:
            closed(away, world.federation.forwards[server.trust_domain])
            prepared = Authorities(server, "jwt").prepare()
            assert prepared not in client.foreign_bundle(server.trust_domain).jwt_authorities
            wait_for(update_fails(client, "connection refused", since=stretch.began), HEARD)
        back = measured.from_now(RECOVERY)
        back.wait("a stale bundle, its endpoint back", agreement(client, server), POLL + 10.0, bound="15 s")
    traffic_was_unharmed(live, stretch)


def test_a_stale_bundle_is_for_ever_once_its_peer_has_rotated_without_it(
    world: World, mend: ExitStack, live: Live, measured: Measured
) -> None:
    client, server = world.client, world.server
    forward = world.federation.forwards[server.trust_domain]
    mend.callback(world.federation.seed, client, server)
    with live.during("bundle stale, endpoint of another authority") as stretch:
        with ExitStack() as away:
            closed(away, forward)
            new = Authorities(server, "x509").rotate()
            # The demo's server shows the new authority's SVID then, which the client has no bundle for.
            wait_for(new_connections_fail(live, stretch.began, UNKNOWN_AUTHORITY), SOON)
        back = time.time()
        wait_for(presented_by("the bundle endpoint", forward.address, forward.port, new), SOON)
        wait_for(update_fails(client, UNKNOWN_AUTHORITY, since=back), HEARD)
        with pytest.raises(ClusterError, match=UNKNOWN_AUTHORITY):
            client.refresh(server.trust_domain)
    traffic_failed_at(live, stretch, "new", {"tls"})
    traffic_was_unharmed(live, stretch, "kept")
    _heals_once_seeded_anew(world, live, measured, "a bundle stale for ever, seeded anew")


def test_a_wrong_bundle_makes_the_peer_a_stranger(
    world: World, mend: ExitStack, live: Live, measured: Measured
) -> None:
    client, server = world.client, world.server
    mend.callback(world.federation.seed, client, server)
    with live.during("wrong bundle") as stretch:
        client.store_bundle(server.trust_domain, client.bundle_document())
        wait_for(new_connections_fail(live, stretch.began, UNKNOWN_AUTHORITY), SOON)
        wait_for(update_fails(client, UNKNOWN_AUTHORITY, since=stretch.began), HEARD)
    traffic_failed_at(live, stretch, "new", {"tls"})
    traffic_was_unharmed(live, stretch, "kept")
    _heals_once_seeded_anew(world, live, measured, "a wrong bundle, seeded anew")


def test_an_edited_object_takes_back_the_bundle_that_it_was_seeded_with(
    world: World, mend: ExitStack, live: Live, measured: Measured
) -> None:
    client, server = world.client, world.server
    mend.callback(world.federation.seed, client, server)
    # Seeded with what the peer shows today, and kept up with it by SPIRE.
    world.federation.seed(client, server)
    seeded = client.foreign_bundle(server.trust_domain)
    with live.during("federation object edited after a rotation") as stretch:
        prepared = Authorities(server, "jwt").prepare()
        client.refresh(server.trust_domain)
        assert prepared in wait_for(agreement(client, server), SOON).jwt_authorities
        # The same address, written otherwise.
        url = f"{world.federation.endpoint_url(server.trust_domain)}/"
        edited = measured.from_now(RECOVERY)
        federation_object(client, server).change(mend, {"spec": {"bundleEndpointURL": url}})
        wait_for(stores(client, server.trust_domain, seeded), SOON, interval=0.05)
        edited.wait("a bundle taken back by an edit, fresh again", agreement(client, server), POLL + 10.0, bound="15 s")
    traffic_was_unharmed(live, stretch)


def stores(spire: Spire, trust_domain: str, bundle: Bundle) -> Condition[bool]:
    """A server stores just these keys for a trust domain."""

    def look() -> Look[bool]:
        stored = spire.foreign_bundle(trust_domain)
        return Look(True if stored.same_keys(bundle) else None, f"stored: {stored}")

    return Condition(f"{spire.cluster.label}: the bundle of {trust_domain} that it was seeded with", look)


@pytest.mark.usefixtures("mend")
def test_the_bundle_outlives_its_federation_object(world: World, live: Live, newcomer: Newcomer) -> None:
    _relationship_goes_and_bundle_stays(world, live, newcomer, "federation object deleted", Thing.delete)


@pytest.mark.usefixtures("mend")
def test_an_object_without_class_name_is_no_object(world: World, live: Live, newcomer: Newcomer) -> None:
    def classless(thing: Thing, mend: ExitStack) -> None:
        thing.change(mend, {"spec": {"className": None}})

    _relationship_goes_and_bundle_stays(world, live, newcomer, "federation object without class name", classless)


@pytest.mark.usefixtures("mend")
def test_https_web_does_not_authenticate_a_spiffe_endpoint(world: World, live: Live) -> None:
    profile = {"type": "https_web", "endpointSPIFFEID": None}
    _updates_fail(world, live, "https_web for https_spiffe", profile, "maybe use https_spiffe instead of https_web")


@pytest.mark.usefixtures("mend")
def test_an_endpoint_of_another_id_is_not_authenticated(world: World, live: Live) -> None:
    profile = {"endpointSPIFFEID": f"spiffe://{world.server.trust_domain}/spire/impostor"}
    _updates_fail(world, live, "wrong endpoint ID", profile, f'unexpected ID "{world.server.server_id}"')
