"""What SPIRE serves beside its own APIs: the keys for verifiers of JWT-SVIDs (OIDC discovery), and Tornjak."""

from __future__ import annotations

import pytest

from fixtures.artifacts.supply import Supply
from fixtures.core.waiting import wait_for
from fixtures.k8s import pods
from fixtures.report.run import Report
from fixtures.spire.federation import Federation
from fixtures.spire.installation import Spire
from fixtures.workloads.demo import Demo
from tests import checks


@pytest.mark.dependency(name="services", depends=["federation list"], scope="session")
def test_every_port_at_which_spire_is_asked_leads_to_a_pod(spires: dict[str, Spire]) -> None:
    # What is passed over below for want of a Service may have one that leads nowhere.
    checks.services_lead_to_pods(spires.values())


@pytest.mark.dependency(name="oidc discovery", depends=["endpoints"], scope="session")
def test_oidc_discovery_serves_the_servers_issuer_and_keys(
    federation: Federation, demo: Demo, spires: dict[str, Spire]
) -> None:
    providers = [spire.layout.oidc_provider for spire in spires.values()]
    if not any(each and each.service for each in providers):
        pytest.skip("no release has an OIDC discovery provider with a Service")
    checks.oidc_discovery_is_its_servers(federation, demo)


@pytest.mark.dependency(name="tornjak", depends=["endpoints"], scope="session")
def test_tornjak_shows_what_its_server_has(
    supply: Supply, spires: dict[str, Spire], demo: Demo, report: Report
) -> None:
    layouts = [spire.layout for spire in spires.values()]
    if not any(each.tornjak_backend or each.tornjak_frontend for each in layouts):
        pytest.skip(f"Tornjak is not installed: {supply.tornjak or 'the values turn it off, or the chart has none'}")
    for spire in spires.values():
        backend = spire.layout.tornjak_backend
        if backend:
            place = (backend.namespace, spire.server_pod, backend.container.name)
            wait_for(pods.containers_ready(spire.cluster, *place), checks.RECHECK_TIMEOUT)
    for line in checks.tornjak_shows_its_server(demo):
        report.say(line)
