"""Authorities rotated under live traffic, on either side: what the old one signed is good until it is revoked.

And no request fails.
"""

from __future__ import annotations

import re
from contextlib import ExitStack

import pytest

from fixtures.core.waiting import wait_for
from fixtures.resilience.disruptions import kill_container
from fixtures.resilience.environment import Environment
from fixtures.resilience.recovery_times import RecoveryTimes
from fixtures.resilience.svid_acceptance import MintedSVID, mint_svid
from fixtures.spire.authorities import AUTHORITY_KINDS, Authorities
from fixtures.spire.installation import Spire
from fixtures.spire.logs import agent_log_line, bundle_poll_interval, has_info_lines
from fixtures.traffic.continuous import ContinuousTraffic
from fixtures.workloads.identity_conditions import (
    PROBE_AUDIENCE,
    agent_svid_expiries,
    certificate_signed_by,
    renewed_agent_svids,
    svid_signed_by,
    trusted_authorities,
)
from tests.checks import RECHECK_TIMEOUT, traffic_was_unharmed

# The agent's words on JWT-SVIDs of a tainted authority.
PURGED = "JWT-SVIDs were removed from the JWT cache"
PROPAGATION = "propagation to the other side's workloads"
# What a verifier says of a revoked authority's SVID, and what the other side sees of that.
UNKNOWN_KEY = "not found in trust domain"
REFUSAL = {
    "x509": ("certificate signed by unknown authority", "(?i)bad.certificate"),
    "jwt": (UNKNOWN_KEY, UNKNOWN_KEY),
}


def everything_is_signed_by(
    environment: Environment, spire: Spire, kind: str, authority: str, expired: dict[str, int], *, since: float
) -> None:
    """Nobody of the trust domain shows what the old authority signed: workloads, agents, and the server itself.

    `since` is when the old one was tainted (Unix seconds).
    """
    probe = environment.demo.probes[spire.trust_domain]
    if kind == "jwt" and has_info_lines(spire.agent_log()):
        # Not by what is handed out alone: a JWT-SVID that is in no cache is the new authority's at once, and those in
        # the agent's cache are the old one's until the agent knows that it is tainted.
        wait_for(agent_log_line(spire, PURGED, since=since), RECHECK_TIMEOUT)
    wait_for(svid_signed_by(probe, kind, authority), RECHECK_TIMEOUT)
    if kind == "jwt":
        return
    wait_for(renewed_agent_svids(spire, expired), RECHECK_TIMEOUT)
    endpoint = environment.federation.forwards[spire.trust_domain]
    wait_for(certificate_signed_by("the bundle endpoint", endpoint.address, endpoint.port, authority), RECHECK_TIMEOUT)
    if spire is environment.server:
        server = environment.demo.forward
        wait_for(certificate_signed_by("the demo's server", server.address, server.port, authority), RECHECK_TIMEOUT)


@pytest.mark.usefixtures("undo")
@pytest.mark.parametrize("kind", AUTHORITY_KINDS)
@pytest.mark.parametrize("side", ["server", "client"])
def test_an_authority_is_rotated_and_no_request_fails(
    environment: Environment, traffic: ContinuousTraffic, recovery_times: RecoveryTimes, side: str, kind: str
) -> None:
    owner, other = (
        (environment.server, environment.client) if side == "server" else (environment.client, environment.server)
    )
    verifier = environment.demo.probes[other.trust_domain]
    polled_every = bundle_poll_interval(owner)
    timeout = polled_every + RECHECK_TIMEOUT
    bound = f"refresh hint / 4 = {polled_every:g} s, and the agent's synchronisation"
    authorities = Authorities(owner, kind)
    old = authorities.active()
    # In the agent's cache then, as the JWT-SVIDs of the traffic are.
    environment.demo.probes[owner.trust_domain].fetch(PROBE_AUDIENCE)
    with ExitStack() as credentials, traffic.during(f"rotation of {authorities}") as interval:

        def of_the_active_one() -> MintedSVID:
            return credentials.enter_context(mint_svid(kind, owner, verifier, environment.federation.address))

        before = of_the_active_one()
        assert before.present().accepted, before.present().said

        new, prepared = authorities.prepare(), recovery_times.from_now(PROPAGATION)
        known = trusted_authorities(verifier, owner, owner.bundle())
        prepared.wait(f"{authorities} prepared", known, timeout, bound=bound)
        authorities.activate(new)
        after = of_the_active_one()
        for each in (before, after):
            judgement = each.present()
            assert judgement.accepted, judgement.said

        expired, tainted = agent_svid_expiries(owner), recovery_times.from_now("renewal of all SVIDs")
        authorities.taint(old)
        everything_is_signed_by(environment, owner, kind, new, expired, since=tainted.at)
        tainted.record(f"{authorities} tainted")

        authorities.revoke(old)
        revoked = recovery_times.from_now(PROPAGATION)
        gone = trusted_authorities(verifier, owner, owner.bundle())
        revoked.wait(f"{authorities} revoked", gone, timeout, bound=bound)
        # Nothing to wait for: what the verifier trusts was waited for.
        refusal, accepted = before.present(), after.present()
        said, seen = REFUSAL[kind]
        assert not refusal.accepted, refusal.said
        assert said in refusal.said, refusal.said
        assert re.search(seen, refusal.seen), refusal.seen
        assert accepted.accepted, accepted.said
    traffic_was_unharmed(traffic, interval)
    if kind == "x509":
        # The certificate of its webhook stays the revoked authority's, which the API server does not trust any more,
        # until the controller manager starts again.
        kill_container(environment, owner, owner.layout.controller_manager)
