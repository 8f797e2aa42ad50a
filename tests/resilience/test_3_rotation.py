"""Authorities rotated under live traffic, on either side: what the old one signed is good until it is revoked.

And no request fails.
"""

from __future__ import annotations

import re
from contextlib import ExitStack

import pytest

from fixtures.core.waiting import wait_for
from fixtures.resilience.environment import World
from fixtures.resilience.recovery_times import Measured
from fixtures.resilience.svid_acceptance import Credential, credential
from fixtures.spire.authorities import KINDS, Authorities
from fixtures.spire.installation import Spire
from fixtures.spire.logs import POLL, agent_says
from fixtures.traffic.continuous import Live
from fixtures.workloads.identity_conditions import AUDIENCE, agents_renewed, expiries, presented_by, signed_by, trusted
from tests.checks import SOON, traffic_was_unharmed

# The agent's words on JWT-SVIDs of a tainted authority.
PURGED = "JWT-SVIDs were removed from the JWT cache"
PROPAGATION = "propagation to the other side's workloads"
BOUND = "refresh hint / 4 = 15 s, and the agent's synchronisation"
# What a verifier says of a revoked authority's SVID, and what the other side sees of that.
UNKNOWN_KEY = "not found in trust domain"
REFUSAL = {
    "x509": ("certificate signed by unknown authority", "(?i)bad.certificate"),
    "jwt": (UNKNOWN_KEY, UNKNOWN_KEY),
}


def everything_is_signed_by(
    world: World, spire: Spire, kind: str, authority: str, expired: dict[str, int], *, since: float
) -> None:
    """Nobody of the trust domain shows what the old authority signed: workloads, agents, and the server itself.

    `since` is when the old one was tainted (Unix seconds).
    """
    probe = world.demo.probes[spire.trust_domain]
    if kind == "jwt":
        # Not by what is handed out alone: a JWT-SVID that is in no cache is the new authority's at once, and those in
        # the agent's cache are the old one's until the agent knows that it is tainted.
        wait_for(agent_says(spire, PURGED, since=since), SOON)
    wait_for(signed_by(probe, kind, authority), SOON)
    if kind == "jwt":
        return
    wait_for(agents_renewed(spire, expired), SOON)
    endpoint = world.federation.forwards[spire.trust_domain]
    wait_for(presented_by("the bundle endpoint", endpoint.address, endpoint.port, authority), SOON)
    if spire is world.server:
        server = world.demo.forward
        wait_for(presented_by("the demo's server", server.address, server.port, authority), SOON)


@pytest.mark.usefixtures("mend")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", ["server", "client"])
def test_an_authority_is_rotated_and_nobody_notices(
    world: World, live: Live, measured: Measured, side: str, kind: str
) -> None:
    owner, other = (world.server, world.client) if side == "server" else (world.client, world.server)
    verifier = world.demo.probes[other.trust_domain]
    authorities = Authorities(owner, kind)
    old = authorities.active()
    # In the agent's cache then, as the JWT-SVIDs of the traffic are.
    world.demo.probes[owner.trust_domain].fetch(AUDIENCE)
    with ExitStack() as credentials, live.during(f"rotation of {authorities}") as stretch:

        def of_the_active_one() -> Credential:
            return credentials.enter_context(credential(kind, owner, verifier, world.federation.address))

        before = of_the_active_one()
        assert before.shown().accepted, before.shown().said

        new, prepared = authorities.prepare(), measured.from_now(PROPAGATION)
        known = trusted(verifier, owner, owner.bundle())
        prepared.wait(f"{authorities} prepared", known, POLL + SOON, bound=BOUND)
        authorities.activate(new)
        after = of_the_active_one()
        for each in (before, after):
            judgement = each.shown()
            assert judgement.accepted, judgement.said

        expired, tainted = expiries(owner), measured.from_now("renewal of all SVIDs")
        authorities.taint(old)
        everything_is_signed_by(world, owner, kind, new, expired, since=tainted.at)
        tainted.passed(f"{authorities} tainted")

        authorities.revoke(old)
        revoked = measured.from_now(PROPAGATION)
        gone = trusted(verifier, owner, owner.bundle())
        revoked.wait(f"{authorities} revoked", gone, POLL + SOON, bound=BOUND)
        # Nothing to wait for: what the verifier trusts was waited for.
        refusal, accepted = before.shown(), after.shown()
        said, seen = REFUSAL[kind]
        assert not refusal.accepted, refusal.said
        assert said in refusal.said, refusal.said
        assert re.search(seen, refusal.seen), refusal.seen
        assert accepted.accepted, accepted.said
    traffic_was_unharmed(live, stretch)
