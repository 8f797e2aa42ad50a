"""Steps 0.5 and 1 of the tutorial: the clusters are there, and SPIRE runs on each."""

from __future__ import annotations

import pytest

from fixtures.artifacts.supply import Supply
from fixtures.config.settings import Settings
from fixtures.k8s.cluster import WEBHOOK_TIMEOUT, Cluster
from fixtures.report.run import Report
from fixtures.spire.installation import ENFORCED_LEVEL, Spire
from fixtures.workloads.tutorial_calls import TutorialCalls
from tests import checks


@pytest.mark.upgrade
@pytest.mark.resilience
@pytest.mark.selftest
@pytest.mark.dependency(name="lifetimes fit")
def test_lifetimes_fit(lifetime_findings: list[str], settings: Settings) -> None:
    # Read from the manifests before anything is installed; each is a warning of the run, strict or not.
    if settings.strict and lifetime_findings:
        pytest.fail("\n".join(lifetime_findings), pytrace=False)


@pytest.mark.upgrade
@pytest.mark.resilience
@pytest.mark.selftest
@pytest.mark.dependency(name="values read")
def test_the_charts_read_every_value(supply: Supply, settings: Settings) -> None:
    # As above: a warning of the run in any case.
    if settings.strict and supply.unread_values:
        pytest.fail("\n".join(supply.unread_values), pytrace=False)


@pytest.mark.dependency(name="nodes ready")
def test_every_node_is_ready(clusters: dict[str, Cluster]) -> None:
    checks.nodes_are_ready(clusters.values())


# The demo's server comes up from here on.
@pytest.mark.usefixtures("demo_deployment")
@pytest.mark.dependency(name="spire ready", depends=["nodes ready"], scope="session")
def test_every_spire_component_is_ready(spires: dict[str, Spire], report: Report) -> None:
    checks.components_are_ready(spires.values(), warn=report.warn)


@pytest.mark.dependency(name="server services", depends=["spire ready"], scope="session")
def test_the_servers_services_lead_to_its_pods_alone(spires: dict[str, Spire]) -> None:
    # Calls are tried again, and would not show that every other connection fails.
    checks.server_services_lead_to_it_alone(spires.values())


@pytest.mark.dependency(name="liveness probes", depends=["spire ready"], scope="session")
def test_no_component_fails_its_liveness_probe(spires: dict[str, Spire]) -> None:
    # The kubelet kills it for that only after minutes, when this run is over.
    checks.liveness_probes_pass(spires.values())


@pytest.mark.dependency(name="declared ports", depends=["liveness probes"], scope="session")
def test_something_listens_at_every_port_that_a_component_declares(
    spires: dict[str, Spire], report: Report, settings: Settings
) -> None:
    # Metrics are asked by nobody here. A warning of the run in any case.
    checks.declared_ports_answer(spires.values(), report.warn, strict=settings.strict)


@pytest.mark.dependency(name="socket names", depends=["spire ready"], scope="session")
def test_the_workload_apis_socket_is_found_by_every_name_that_it_has(spires: dict[str, Spire]) -> None:
    # The demo knows it by one of them.
    checks.socket_is_found_by_every_name(spires.values())


@pytest.mark.dependency(name="entries federate", depends=["spire ready"], scope="session")
def test_workload_entries_federate_with_the_other_trust_domains(calls: TutorialCalls) -> None:
    # The calls' pods are among them, and what follows is asked while they run.
    checks.entries_federate(calls.demo)


@pytest.mark.dependency(name="agents attested", depends=["spire ready"], scope="session")
def test_an_agent_of_every_node_has_attested(spires: dict[str, Spire]) -> None:
    checks.agents_have_attested(spires.values())


@pytest.mark.dependency(name="published bundles", depends=["spire ready"], scope="session")
def test_the_bundle_that_agents_start_with_is_their_servers(spires: dict[str, Spire]) -> None:
    checks.new_agents_would_trust_their_server(spires.values())


@pytest.mark.dependency(name="pod security", depends=["nodes ready"], scope="session")
def test_the_servers_namespace_enforces_restricted_pods(
    settings: Settings, spires: dict[str, Spire], report: Report
) -> None:
    if settings.no_install:
        pytest.skip("the tutorial sets this label, and nothing of what is installed already is changed")
    # Nothing to wait for: the label is set before an installation has ended.
    apart = [spire for spire in spires.values() if spire.server_is_apart]
    if not apart:
        pytest.skip("agents run in the server's namespace, and need what restricted pods may not have")
    for spire in apart:
        if spire.violates_pod_security:
            # Values may say so; with the label the pods would not be admitted again.
            words = f"{spire.cluster.label}: pods are not restricted, and their namespace does not enforce it"
            report.warn(f"{words}: {spire.violates_pod_security}")
            assert not settings.strict, f"{words}: {spire.violates_pod_security}"
            continue
        labels = spire.cluster.core.read_namespace(spire.layout.server.namespace).metadata.labels
        assert labels.get(ENFORCED_LEVEL) == "restricted", f"{spire.cluster.label}: {labels}"


@pytest.mark.dependency(name="fields known", depends=["spire ready"], scope="session")
def test_the_api_server_knows_every_field_of_what_is_installed(settings: Settings, spires: dict[str, Spire]) -> None:
    if settings.no_install:
        pytest.skip("the manifests that SPIRE was installed from are not known")
    checks.fields_are_known(spires.values())


@pytest.mark.dependency(name="validating webhook", depends=["spire ready"], scope="session")
def test_the_webhook_accepts_valid_objects_and_rejects_invalid_ones(spires: dict[str, Spire], supply: Supply) -> None:
    installed = [each for each in spires.values() if each.was_installed_by_run]
    validating = [each for each in installed if each.layout.controller_manager.webhook]
    if not validating:
        pytest.skip("no release has one, or this run has not installed it, and puts nothing to its API server")
    # After an upgrade, whose hooks may have turned it off for a while, it is given longer.
    checks.webhooks_validate(validating, WEBHOOK_TIMEOUT)
    checks.webhook_policies_are_those_of_values(validating, supply.releases)
