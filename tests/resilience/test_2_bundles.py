"""Foreign bundles that are absent, stale or wrong, and federation objects with a wrong field.

A bundle that is stale while its endpoint is away, and up to date again afterwards, is in `test_4_outage.py`.

Each is reported in SPIRE's own words, and live traffic goes on for as long as SPIRE promises: a workload keeps the
bundles that it has got, also when the relationship that they came from is gone.
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
from fixtures.plugins.resilience import ProbeFactory
from fixtures.resilience.disruptions import close_forward
from fixtures.resilience.environment import Environment
from fixtures.resilience.objects import KubernetesObject
from fixtures.resilience.recovery_times import RECOVERY_KIND, RecoveryTimes
from fixtures.spire.api_types import Bundle
from fixtures.spire.authorities import Authorities
from fixtures.spire.installation import Spire
from fixtures.spire.logs import (
    NO_LONGER_MANAGED,
    bundle_poll_interval,
    bundle_poll_timeout,
    bundle_update_error,
    server_log_line,
)
from fixtures.traffic.continuous import ContinuousTraffic, Interval
from fixtures.workloads.go_spiffe import NO_IDENTITY_ISSUED
from fixtures.workloads.identity_conditions import PROBE_AUDIENCE, certificate_signed_by, probe_identity
from fixtures.workloads.observed_call import let_in
from fixtures.workloads.probe import ProbeError
from tests.checks import RECHECK_TIMEOUT, agreement, relationships_are_exact, traffic_failed_at, traffic_was_unharmed
from tests.faults import federation_object

# go-spiffe's words on a certificate that no authority at hand has signed.
UNKNOWN_AUTHORITY = "certificate signed by unknown authority"


def new_connections_fail(traffic: ContinuousTraffic, since: float, words: str) -> Condition[str]:
    """A request with a new connection fails in TLS with these words, since a moment (Unix seconds)."""

    def look() -> Look[str]:
        failed = [each for each in traffic.generator.requests("new") if each.start >= since and not each.ok]
        found = next((each.error for each in failed if each.stage == "tls" and words in each.error), None)
        return Look(found, f"{len(failed)} failed{': ' + failed[-1].error if failed else ''}")

    return Condition(f"a new connection that fails with {words!r}", look)


def _relationship_goes_and_bundle_stays(
    environment: Environment,
    traffic: ContinuousTraffic,
    probe_factory: ProbeFactory,
    name: str,
    undo: Callable[[KubernetesObject, ExitStack], None],
) -> None:
    client, server = environment.client, environment.server
    relationships_are_exact(environment.federation)
    with traffic.during(name) as interval:
        with ExitStack() as away:
            undo(federation_object(client, server), away)
            wait_for(no_relationships(client), RECHECK_TIMEOUT)
            if environment.federation.logs_refreshes(client):
                wait_for(server_log_line(client, NO_LONGER_MANAGED, since=interval.began), bundle_poll_timeout(server))
            # SPIRE's policy (spire#2507): what was trusted goes on being trusted, and new pods trust it too. Nothing to
            # wait for: the bundle has been there, and is to stay.
            assert client.foreign_bundle(server.trust_domain).same_keys(server.bundle())
            caller = probe_factory(client)
            wait_for(probe_identity(caller), RECHECK_TIMEOUT)
            wait_for(let_in(environment.demo, caller=caller), RECHECK_TIMEOUT)
        wait_for(environment.federation.relationships(client), RECHECK_TIMEOUT)
    traffic_was_unharmed(traffic, interval)
    relationships_are_exact(environment.federation)


def _updates_fail(
    environment: Environment, traffic: ContinuousTraffic, name: str, profile: Mapping[str, Any], reason: str
) -> None:
    client, peer = environment.client, environment.server.trust_domain
    timeout = bundle_poll_timeout(environment.server) + RECHECK_TIMEOUT
    # An object that is edited has the bundle stored again that it was seeded with, which must be the peer's of today.
    environment.federation.seed_bundle(client, environment.server)
    with traffic.during(name) as interval:
        with ExitStack() as wrong:
            federation_object(client, environment.server).change(wrong, {"spec": {"bundleEndpointProfile": profile}})
            wait_for(bundle_update_error(client, reason, since=interval.began), timeout)
            with pytest.raises(ClusterError, match=re.escape(reason.replace('"', '\\"')) + "|" + re.escape(reason)):
                client.refresh(peer)
        # Whatever field of the object is edited, the controller manager has SPIRE store once more the bundle that it
        # was seeded with. That one has no refresh hint, so that after a failure SPIRE looks again at a fortieth of the
        # CA's lifetime only (36 minutes for a day's). Seeded again, it looks at once.
        environment.federation.seed_bundle(client, environment.server)
        wait_for(refreshes(client, peer), RECHECK_TIMEOUT)
    traffic_was_unharmed(traffic, interval)


def _new_connections_fail_until_seeded_again(
    environment: Environment, traffic: ContinuousTraffic, interval: Interval, recovery_times: RecoveryTimes
) -> None:
    """In the interval only new connections failed, in TLS; once the client's bundle is seeded again, none does."""
    traffic_failed_at(traffic, interval, "new", {"tls"})
    traffic_was_unharmed(traffic, interval, "kept")
    seeded = recovery_times.from_now(RECOVERY_KIND)
    environment.federation.seed_bundle(environment.client, environment.server)
    seeded.wait_seconds(f"{interval.name}, and seeded again", traffic.recovery, RECHECK_TIMEOUT)


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
    environment: Environment,
    undo: ExitStack,
    traffic: ContinuousTraffic,
    probe_factory: ProbeFactory,
    recovery_times: RecoveryTimes,
) -> None:
    client, name = environment.client, environment.server.trust_domain
    undo.callback(environment.federation.seed_bundle, client, environment.server)
    with traffic.during("foreign bundle absent") as interval:
        client.server("bundle", "delete", "-mode", "dissociate", "-id", f"spiffe://{name}")
        wait_for(
            new_connections_fail(traffic, interval.began, f'no X.509 bundle for trust domain "{name}"'), RECHECK_TIMEOUT
        )
        wait_for(
            bundle_update_error(client, "local copy of bundle not found", since=interval.began),
            60.0 + bundle_poll_timeout(environment.server),
        )
        # An entry that names a bundle which is not there is not made at all (spire#4445): not even once a pod of the
        # same age, on the side that has all bundles, has got its identity.
        caller, control = probe_factory(client), probe_factory(environment.server)
        wait_for(probe_identity(control), RECHECK_TIMEOUT)
        with pytest.raises(ProbeError, match=NO_IDENTITY_ISSUED):
            caller.fetch(PROBE_AUDIENCE)
    _new_connections_fail_until_seeded_again(environment, traffic, interval, recovery_times)


def test_a_stale_bundle_stays_stale_once_its_peer_has_rotated_without_it(
    environment: Environment, undo: ExitStack, traffic: ContinuousTraffic, recovery_times: RecoveryTimes
) -> None:
    client, server = environment.client, environment.server
    forward = environment.federation.forwards[server.trust_domain]
    undo.callback(environment.federation.seed_bundle, client, server)
    with traffic.during("bundle stale, endpoint of another authority") as interval:
        with ExitStack() as away:
            close_forward(away, forward)
            new = Authorities(server, "x509").rotate()
            # The demo's server shows the new authority's SVID then, which the client has no bundle for.
            wait_for(new_connections_fail(traffic, interval.began, UNKNOWN_AUTHORITY), RECHECK_TIMEOUT)
        back = time.time()
        wait_for(certificate_signed_by("the bundle endpoint", forward.address, forward.port, new), RECHECK_TIMEOUT)
        wait_for(bundle_update_error(client, UNKNOWN_AUTHORITY, since=back), bundle_poll_timeout(server))
        with pytest.raises(ClusterError, match=UNKNOWN_AUTHORITY):
            client.refresh(server.trust_domain)
    _new_connections_fail_until_seeded_again(environment, traffic, interval, recovery_times)


def test_a_peer_with_a_wrong_bundle_cannot_be_verified(
    environment: Environment, undo: ExitStack, traffic: ContinuousTraffic, recovery_times: RecoveryTimes
) -> None:
    client, server = environment.client, environment.server
    undo.callback(environment.federation.seed_bundle, client, server)
    with traffic.during("wrong bundle") as interval:
        client.store_bundle(server.trust_domain, client.bundle_document())
        wait_for(new_connections_fail(traffic, interval.began, UNKNOWN_AUTHORITY), RECHECK_TIMEOUT)
        foreign = bundle_update_error(client, UNKNOWN_AUTHORITY, since=interval.began)
        wait_for(foreign, bundle_poll_timeout(server))
    _new_connections_fail_until_seeded_again(environment, traffic, interval, recovery_times)


def test_an_edited_object_restores_the_bundle_that_it_was_seeded_with(
    environment: Environment, undo: ExitStack, traffic: ContinuousTraffic, recovery_times: RecoveryTimes
) -> None:
    client, server = environment.client, environment.server
    undo.callback(environment.federation.seed_bundle, client, server)
    # Seeded with what the peer shows today, and kept up with it by SPIRE.
    environment.federation.seed_bundle(client, server)
    seeded = client.foreign_bundle(server.trust_domain)
    with traffic.during("federation object edited after a rotation") as interval:
        prepared = Authorities(server, "jwt").prepare()
        client.refresh(server.trust_domain)
        assert prepared in wait_for(agreement(client, server), RECHECK_TIMEOUT).jwt_authorities
        # The same address, written otherwise.
        url = f"{environment.federation.endpoint_url(server.trust_domain)}/"
        edited = recovery_times.from_now(RECOVERY_KIND)
        federation_object(client, server).change(undo, {"spec": {"bundleEndpointURL": url}})
        wait_for(stores(client, server.trust_domain, seeded), RECHECK_TIMEOUT, interval=0.05)
        edited.wait(
            "a bundle taken back by an edit, fresh again",
            agreement(client, server),
            bundle_poll_timeout(server),
            bound=f"{bundle_poll_interval(server):g} s",
        )
    traffic_was_unharmed(traffic, interval)


def stores(spire: Spire, trust_domain: str, bundle: Bundle) -> Condition[bool]:
    """A server stores just these keys for a trust domain."""

    def look() -> Look[bool]:
        stored = spire.foreign_bundle(trust_domain)
        return Look(True if stored.same_keys(bundle) else None, f"stored: {stored}")

    return Condition(f"{spire.cluster.label}: the bundle of {trust_domain} that it was seeded with", look)


@pytest.mark.usefixtures("undo")
def test_the_bundle_outlives_its_federation_object(
    environment: Environment, traffic: ContinuousTraffic, probe_factory: ProbeFactory
) -> None:
    _relationship_goes_and_bundle_stays(
        environment, traffic, probe_factory, "federation object deleted", KubernetesObject.delete
    )


@pytest.mark.usefixtures("undo")
def test_an_object_without_class_name_is_ignored(
    environment: Environment, traffic: ContinuousTraffic, probe_factory: ProbeFactory
) -> None:
    def classless(target: KubernetesObject, undo: ExitStack) -> None:
        target.change(undo, {"spec": {"className": None}})

    _relationship_goes_and_bundle_stays(
        environment, traffic, probe_factory, "federation object without class name", classless
    )


@pytest.mark.usefixtures("undo")
def test_https_web_does_not_authenticate_a_spiffe_endpoint(
    environment: Environment, traffic: ContinuousTraffic
) -> None:
    profile = {"type": "https_web", "endpointSPIFFEID": None}
    _updates_fail(
        environment, traffic, "https_web for https_spiffe", profile, "maybe use https_spiffe instead of https_web"
    )


@pytest.mark.usefixtures("undo")
def test_an_endpoint_of_another_id_is_not_authenticated(environment: Environment, traffic: ContinuousTraffic) -> None:
    profile = {"endpointSPIFFEID": f"spiffe://{environment.server.trust_domain}/spire/impostor"}
    _updates_fail(environment, traffic, "wrong endpoint ID", profile, f'unexpected ID "{environment.server.server_id}"')
