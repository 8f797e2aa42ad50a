"""Steps 1.5 and 2 of the tutorial: bundle endpoints, federation relationships, bundles."""

from __future__ import annotations

import pytest

from fixtures.diagnosis.links.static_entry_links import declared_entries
from fixtures.report.run import Report
from fixtures.spire.federation import Federation
from fixtures.workloads.tutorial_calls import TutorialCalls
from tests import checks


@pytest.mark.dependency(name="endpoints", depends=["spire ready"], scope="session")
def test_every_bundle_endpoint_answers_the_other_side(
    federation: Federation, calls: TutorialCalls, report: Report
) -> None:
    checks.endpoints_are_their_owners(federation, calls.endpoint, report.warn)


@pytest.mark.dependency(name="endpoint services", depends=["endpoints"], scope="session")
def test_every_bundle_endpoint_answers_at_its_service(federation: Federation, calls: TutorialCalls) -> None:
    # A forward reaches what listens on loopback alone, too; another cluster's pods would not.
    checks.endpoint_services_answer(federation.spires.values(), calls.demo)


@pytest.mark.dependency(name="federation list", depends=["spire ready"], scope="session")
def test_federation_list_shows_exactly_the_peers(federation: Federation) -> None:
    checks.relationships_are_exact(federation)


@pytest.mark.dependency(name="static entries", depends=["federation list"], scope="session")
def test_every_cluster_static_entry_has_its_entry(federation: Federation, report: Report) -> None:
    spires = [each for each in federation.spires.values() if each.was_installed_by_run]
    if not any(map(declared_entries, spires)):
        pytest.skip("there is no ClusterStaticEntry, or this run has not installed SPIRE")
    checks.static_entries_are_made(spires, report.warn)


@pytest.mark.dependency(name="foreign bundles", depends=["federation list"], scope="session")
def test_every_stored_foreign_bundle_is_what_its_owner_shows(federation: Federation) -> None:
    checks.foreign_bundles_agree(federation)


@pytest.mark.dependency(name="refreshed", depends=["endpoints", "foreign bundles"], scope="session")
def test_every_foreign_bundle_was_refreshed_from_its_endpoint(federation: Federation) -> None:
    for spire in federation.spires.values():
        if not spire.was_installed_by_run and not federation.logs_refreshes(spire):
            pytest.skip(f"{spire.cluster.label}: its server's log has no line of level info, of which a refresh is one")
    checks.foreign_bundles_were_refreshed(federation)
