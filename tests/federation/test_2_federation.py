"""Steps 1.5 and 2 of the tutorial: bundle endpoints, federation relationships, bundles."""

from __future__ import annotations

import pytest

from fixtures.core.waiting import wait_for
from fixtures.spire.federation import Federation
from fixtures.workloads.tutorial_calls import Calls
from tests import checks


@pytest.mark.dependency(name="endpoints", depends=["spire ready"], scope="session")
def test_every_bundle_endpoint_answers_the_other_side(federated: Federation, calls: Calls) -> None:
    checks.endpoints_are_their_owners(federated, calls.endpoint)


@pytest.mark.dependency(name="federation list", depends=["spire ready"], scope="session")
def test_federation_list_shows_exactly_the_peers(federated: Federation) -> None:
    checks.relationships_are_exact(federated)


@pytest.mark.dependency(name="foreign bundles", depends=["federation list"], scope="session")
def test_every_stored_foreign_bundle_is_what_its_owner_shows(federated: Federation) -> None:
    checks.foreign_bundles_agree(federated)


@pytest.mark.dependency(name="refreshed", depends=["endpoints", "foreign bundles"], scope="session")
def test_every_foreign_bundle_was_refreshed_from_its_endpoint(federated: Federation) -> None:
    for spire, peer in federated.pairs:
        refresh = wait_for(federated.refreshed(spire, peer), checks.REFRESH)
        assert refresh.refreshed >= int(refresh.seeded)
