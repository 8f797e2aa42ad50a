"""What a team must know before it upgrades: both releases federate, the mixed state too, and no request fails."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.artifacts.supply import Supply
from fixtures.config.settings import Settings
from fixtures.core.concurrency import side_by_side, together
from fixtures.core.waiting import wait_for
from fixtures.spire.federation import Federation
from fixtures.spire.installation import Spire
from fixtures.spire.layout import CLASS_NAME
from fixtures.traffic.generator import KINDS
from fixtures.traffic.summary import table
from fixtures.upgrade.state import State
from fixtures.upgrade.upgrade import Upgrading, identities_kept, images_running, object_accepted, object_refused
from fixtures.workloads.demo import Demo
from tests import checks

pytestmark = pytest.mark.upgrade
INVALID_TEMPLATE = "spiffe://{{ .TrustDomain"


def federation_works(upgrading: Upgrading, state: str, federated: Federation, demo: Demo) -> None:
    """Everything that the federation's own tests ask, and the call of a pod that was new in this state."""
    checks.components_are_ready(federated.spires.values())
    together(
        lambda: checks.agents_have_attested(federated.spires.values()),
        lambda: checks.relationships_are_exact(federated),
        lambda: checks.foreign_bundles_agree(federated),
        lambda: checks.entries_federate(demo),
        lambda: checks.call_succeeded(upgrading.called(state)),
    )


@pytest.fixture(scope="module")
def after(upgraded_client: Upgrading) -> dict[str, State]:
    """The state of each cluster once both are upgraded."""
    return upgraded_client.states()


@pytest.mark.dependency(name="old release")
def test_the_old_release_federates(prepared: Upgrading, federated: Federation, demo: Demo) -> None:
    federation_works(prepared, "before", federated, demo)


@pytest.mark.dependency(name="live traffic", depends=["old release"], scope="session")
def test_live_traffic_flows_before_the_upgrade(upgrading: Upgrading) -> None:
    for summary in upgrading.summaries():
        assert summary.sent > 0, summary
        assert summary.failed == 0, "\n".join(table([summary]))


@pytest.mark.dependency(name="server upgraded", depends=["live traffic"], scope="session")
def test_the_servers_cluster_is_upgraded(upgraded_server: Upgrading, demo: Demo) -> None:
    checks.components_are_ready([demo.server])
    assert upgraded_server.before


@pytest.mark.dependency(name="mixed state", depends=["server upgraded"], scope="session")
def test_the_mixed_state_federates(upgraded_server: Upgrading, federated: Federation, demo: Demo) -> None:
    federation_works(upgraded_server, "mixed", federated, demo)
    upgraded_server.stretch()


@pytest.mark.dependency(name="client upgraded", depends=["mixed state"], scope="session")
def test_the_clients_cluster_is_upgraded(upgraded_client: Upgrading, demo: Demo) -> None:
    checks.components_are_ready([demo.client])
    assert upgraded_client.before


# The new pod's call is under way meanwhile, and is asked for below.
@pytest.mark.dependency(name="new images", depends=["client upgraded"], scope="session")
def test_server_and_agents_run_the_new_releases_images(upgraded_client: Upgrading, supplied: Supply) -> None:
    # Both releases may have the same ones.
    def ask(name: str) -> None:
        expected = supplied.expected_images(supplied.upgraded[name])
        wait_for(images_running(upgraded_client.spires[name], expected), checks.SOON)

    side_by_side(ask, upgraded_client.spires)


@pytest.mark.dependency(name="replaced pods", depends=["client upgraded"], scope="session")
def test_pods_are_replaced_where_the_release_changes_them_and_nowhere_else(
    upgraded_client: Upgrading, after: dict[str, State]
) -> None:
    def ask(name: str) -> None:
        checks.only_what_changed_was_replaced(upgraded_client.before[name], after[name], upgraded_client.changed(name))

    side_by_side(ask, after)


@pytest.mark.dependency(name="new fields", depends=["client upgraded"], scope="session")
def test_the_api_server_knows_every_field_of_the_new_release(upgraded_client: Upgrading) -> None:
    checks.fields_are_known(upgraded_client.spires.values())


@pytest.mark.dependency(name="same identities", depends=["client upgraded"], scope="session")
def test_identities_stay_and_none_is_doubled(upgraded_client: Upgrading) -> None:
    def ask(name: str) -> None:
        wait_for(identities_kept(upgraded_client.spires[name], upgraded_client.before[name]), checks.SOON)

    side_by_side(ask, upgraded_client.spires)


@pytest.mark.dependency(name="same authorities", depends=["client upgraded"], scope="session")
def test_the_datastore_and_the_authorities_stay(upgraded_client: Upgrading, after: dict[str, State]) -> None:
    # Nothing to wait for: a server has read its authorities before it is ready, and makes no others for hours.
    for name, state in after.items():
        before = upgraded_client.before[name]
        assert state.volumes == before.volumes, name
        assert state.bundle.same_keys(before.bundle), f"{name}: {before.bundle} became {state.bundle}"


@pytest.mark.dependency(name="old pods", depends=["client upgraded"], scope="session")
@pytest.mark.parametrize("kind", KINDS)
def test_a_pod_born_before_the_upgrade_still_fetches_svids(
    upgraded_client: Upgrading, after: dict[str, State], kind: str, demo: Demo
) -> None:
    # Over its CSI mount, which is older than the driver's and the agent's pods where these were replaced.
    before = upgraded_client.fetched[kind]
    assert before.spiffe_id == demo.client_id
    now = wait_for(upgraded_client.traffic.still_holds(kind, before), checks.SOON)
    name = demo.client.cluster.label
    checks.svid_is_current(before, now, agents=(upgraded_client.before[name], after[name]))


@pytest.mark.dependency(name="webhook", depends=["client upgraded"], scope="session")
def test_the_webhook_tells_good_objects_from_bad(upgraded_client: Upgrading) -> None:
    def cluster_spiffe_id(template: str) -> dict[str, Any]:
        return {
            "apiVersion": "spire.spiffe.io/v1alpha1",
            "kind": "ClusterSPIFFEID",
            "metadata": {"name": "webhook-check"},
            "spec": {"className": CLASS_NAME, "spiffeIDTemplate": template},
        }

    # The API server may reach the webhook's new pod, and ask it again, only some time after that is ready.
    def ask(spire: Spire) -> None:
        wait_for(object_refused(spire, cluster_spiffe_id(INVALID_TEMPLATE), "spiffeIDTemplate"), checks.SOON)
        wait_for(object_accepted(spire, cluster_spiffe_id("spiffe://{{ .TrustDomain }}/check")), checks.SOON)

    side_by_side(ask, upgraded_client.spires.values())


@pytest.mark.dependency(name="new release", depends=["client upgraded"], scope="session")
def test_the_new_release_federates(upgraded_client: Upgrading, federated: Federation, demo: Demo) -> None:
    federation_works(upgraded_client, "after", federated, demo)
    upgraded_client.stretch()


@pytest.mark.dependency(name="rolled back", depends=["new release"], scope="session")
def test_the_rollback_restores_the_old_release(
    upgraded_client: Upgrading, federated: Federation, demo: Demo, settings: Settings, supplied: Supply
) -> None:
    if not settings.rollback:
        pytest.skip("--rollback was not given")
    for name in reversed(upgraded_client.spires):
        upgraded_client.rollback(name)
    upgraded_client.reach("rolled back")
    federation_works(upgraded_client, "rolled back", federated, demo)
    states = upgraded_client.states()
    for name, spire in upgraded_client.spires.items():
        wait_for(images_running(spire, supplied.expected_images(supplied.releases[name])), checks.SOON)
        assert states[name].bundle.same_keys(upgraded_client.before[name].bundle)
    upgraded_client.stretch()
    assert not upgraded_client.refused, f"only the second `helm rollback` went through: {upgraded_client.refused}"


@pytest.mark.dependency(name="traffic budget", depends=["new release"], scope="session")
def test_live_traffic_stayed_within_its_budget(upgraded_client: Upgrading, settings: Settings) -> None:
    summaries = upgraded_client.summaries()
    failed = sum(summary.failed_outside_windows for summary in summaries)
    assert failed <= settings.max_failed, "\n".join(table(summaries))
