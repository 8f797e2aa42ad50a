"""What a team must know before it upgrades: both releases federate, the mixed state too, and no request fails."""

from __future__ import annotations

import pytest

from fixtures.artifacts.supply import Supply
from fixtures.config.settings import Settings
from fixtures.core.concurrency import map_concurrently, run_concurrently
from fixtures.core.display import united
from fixtures.core.waiting import WaitError, wait_for
from fixtures.diagnosis.links.socket_links import socket_names
from fixtures.report.run import Report
from fixtures.spire.authorities import AUTHORITY_KINDS, Authorities
from fixtures.spire.federation import Federation
from fixtures.spire.logged_errors.error_log import ErrorLog, JudgedError, error_table, new_kinds
from fixtures.traffic.generator import CONNECTION_KINDS
from fixtures.traffic.summary import table
from fixtures.upgrade.state import PreservedState
from fixtures.upgrade.upgrade import FederationUpgrade, identities_kept, images_running
from fixtures.workloads.demo import Demo
from tests import checks

ENTRIES_TIMEOUT = 6.0  # seconds for entries that may be on their way, and need not be as they were


def federation_works(upgrade: FederationUpgrade, state: str, federation: Federation, demo: Demo) -> None:
    """Everything that the federation's own tests ask, and the call of a pod that was new in this state."""
    spires = federation.spires.values()
    checks.components_are_ready(spires)
    run_concurrently(
        lambda: checks.server_services_lead_to_it_alone(spires),
        lambda: checks.services_lead_to_pods(spires),
        lambda: checks.liveness_probes_pass(spires),
        lambda: checks.agents_have_attested(spires),
        # The bundles that are stored serve until a rotation: an endpoint that was broken would not be noticed before.
        lambda: checks.endpoints_answer_the_other_side(federation, demo),
        lambda: checks.endpoint_services_answer(spires, demo),
        lambda: checks.relationships_are_exact(federation),
        lambda: checks.foreign_bundles_agree(federation),
        lambda: checks.entries_federate(demo),
        lambda: checks.static_entries_are_made(spires),
        lambda: checks.call_succeeded(upgrade.call_outcome(state)),
    )
    # Once the endpoints answer: a server logs an error for each that does not.
    run_concurrently(
        lambda: checks.foreign_bundles_can_be_fetched(federation), lambda: checks.wrong_audience_is_refused(demo)
    )


def web_services_work(federation: Federation, demo: Demo, report: Report) -> None:
    """What the federation's own tests ask of OIDC discovery providers and of Tornjak, where they are."""
    checks.oidc_discovery_is_its_servers(federation, demo)
    for line in checks.tornjak_shows_its_server(demo):
        report.say(f"  {line}")


def identities_stay(upgrade: FederationUpgrade, name: str, report: Report, *, strict: bool) -> None:
    """What others have on this cluster: their custom resources, and entries that are made by these or by hand.

    What is not as it was where the values ask for other identities than before is a warning.
    """
    spire, before = upgrade.spires[name], upgrade.before[name]
    checks.custom_resources_stay(spire, before)
    if name not in upgrade.other_identities:
        wait_for(identities_kept(spire, before), checks.RECHECK_TIMEOUT)
        return
    try:
        # What is only late comes within this time.
        wait_for(identities_kept(spire, before), ENTRIES_TIMEOUT)
    except WaitError:
        changed = wait_for(identities_kept(spire, before, values_differ=True), checks.RECHECK_TIMEOUT)
        if changed:
            words = f"{name}: the values of identities differ: {changed}"
            report.warn(words)
            assert not strict, words


@pytest.fixture(scope="module")
def after(client_upgrade: FederationUpgrade) -> dict[str, PreservedState]:
    """The state of each cluster once both are upgraded."""
    return client_upgrade.states()


@pytest.mark.dependency(name="old release")
def test_the_old_release_federates(
    prepared_upgrade: FederationUpgrade, federation: Federation, demo: Demo, report: Report
) -> None:
    federation_works(prepared_upgrade, "before", federation, demo)
    web_services_work(federation, demo, report)


@pytest.mark.dependency(name="live traffic", depends=["old release"], scope="session")
def test_live_traffic_flows_before_the_upgrade(upgrade: FederationUpgrade) -> None:
    for summary in upgrade.summaries():
        assert summary.sent > 0, summary
        assert summary.failed_outside_windows == 0, "\n".join(table([summary]))


@pytest.mark.compares_releases
@pytest.mark.dependency(name="known names", depends=["live traffic"], scope="session")
def test_what_users_and_peers_know_by_name_keeps_it(
    upgrade: FederationUpgrade, report: Report, settings: Settings
) -> None:
    # The upgrade puts the new names into what this run has made, as a person would who knows of them.
    by_values = united((name, upgrade.renamed_by_values.get(name, ())) for name in upgrade.spires)
    for each in by_values:
        report.warn(each)
    by_chart = united((name, upgrade.renamed_by_chart.get(name, ())) for name in upgrade.spires)
    broken = [*by_chart, *(by_values if settings.strict else ())]
    assert not broken, "\n".join(broken)


@pytest.mark.compares_releases
@pytest.mark.dependency(name="nothing lost", depends=["live traffic"], scope="session")
def test_the_upgrade_deletes_nothing_together_with_what_others_have_put_into_it(upgrade: FederationUpgrade) -> None:
    lost = united((name, upgrade.losses[name]) for name in upgrade.spires)
    assert not lost, "\n".join([*lost, "nothing was upgraded"])


@pytest.mark.dependency(name="server upgraded", depends=["nothing lost"], scope="session")
def test_the_servers_cluster_is_upgraded(server_upgrade: FederationUpgrade, demo: Demo, report: Report) -> None:
    checks.components_are_ready([demo.server], warn=report.say)
    assert server_upgrade.before


@pytest.mark.dependency(name="server's identities", depends=["server upgraded"], scope="session")
def test_identities_stay_on_the_servers_cluster(
    server_upgrade: FederationUpgrade, demo: Demo, report: Report, settings: Settings
) -> None:
    # As both clusters are asked below: half of the run earlier.
    identities_stay(server_upgrade, demo.server.cluster.label, report, strict=settings.strict)


@pytest.mark.dependency(name="mixed state", depends=["server upgraded"], scope="session")
def test_the_mixed_state_federates(server_upgrade: FederationUpgrade, federation: Federation, demo: Demo) -> None:
    federation_works(server_upgrade, "mixed", federation, demo)
    server_upgrade.wait_phase_recorded()


@pytest.mark.dependency(name="client upgraded", depends=["mixed state"], scope="session")
def test_the_clients_cluster_is_upgraded(client_upgrade: FederationUpgrade, demo: Demo, report: Report) -> None:
    checks.components_are_ready([demo.client], warn=report.say)
    assert client_upgrade.before


# The new pod's call is under way meanwhile, and is asked for below.
@pytest.mark.dependency(name="new images", depends=["client upgraded"], scope="session")
def test_server_and_agents_run_the_new_releases_images(client_upgrade: FederationUpgrade, supply: Supply) -> None:
    # Both releases may have the same ones.
    def ask(name: str) -> None:
        expected = supply.expected_images(supply.upgraded[name])
        wait_for(images_running(client_upgrade.spires[name], expected), checks.RECHECK_TIMEOUT)

    map_concurrently(ask, client_upgrade.spires)


@pytest.mark.dependency(name="replaced pods", depends=["client upgraded"], scope="session")
def test_pods_are_replaced_where_the_release_changes_them_and_nowhere_else(
    client_upgrade: FederationUpgrade, after: dict[str, PreservedState]
) -> None:
    def ask(name: str) -> None:
        checks.only_what_changed_was_replaced(client_upgrade.before[name], after[name], client_upgrade.changed(name))
        unread = client_upgrade.unread_configuration(name)
        assert not unread, f"{name}: {'; '.join(unread)} (its pod template has no checksum of it)"

    map_concurrently(ask, after)


@pytest.mark.dependency(name="new fields", depends=["client upgraded"], scope="session")
def test_the_api_server_knows_every_field_of_the_new_release(client_upgrade: FederationUpgrade) -> None:
    checks.fields_are_known(client_upgrade.spires.values())


@pytest.mark.dependency(name="same identities", depends=["client upgraded"], scope="session")
def test_identities_stay_and_none_is_doubled(
    client_upgrade: FederationUpgrade, report: Report, settings: Settings
) -> None:
    def ask(name: str) -> None:
        identities_stay(client_upgrade, name, report, strict=settings.strict)

    map_concurrently(ask, client_upgrade.spires)


@pytest.mark.dependency(name="same authorities", depends=["client upgraded"], scope="session")
def test_the_datastore_and_the_authorities_stay(
    client_upgrade: FederationUpgrade, after: dict[str, PreservedState]
) -> None:
    # Nothing to wait for: a server has read its authorities before it is ready, and makes no others for hours.
    for name, state in after.items():
        server = client_upgrade.spires[name].layout.server
        another = checks.why_datastore_is_another(client_upgrade.before[name], state, server)
        assert not another, f"{name}: {another}"


@pytest.mark.dependency(name="restricted pods", depends=["client upgraded"], scope="session")
def test_the_servers_namespace_admits_only_restricted_pods_if_it_did(client_upgrade: FederationUpgrade) -> None:
    # Nothing to wait for: it is asked, and labelled, before an upgrade has ended.
    for name, spire in client_upgrade.spires.items():
        assert not spire.violates_pod_security or not client_upgrade.before[name].is_restricted, (
            f"{name}: pods are not restricted any more: {spire.violates_pod_security}"
        )


@pytest.mark.dependency(name="old pods", depends=["client upgraded"], scope="session")
@pytest.mark.parametrize("kind", CONNECTION_KINDS)
def test_a_pod_created_before_the_upgrade_still_fetches_svids(
    client_upgrade: FederationUpgrade, after: dict[str, PreservedState], kind: str, demo: Demo
) -> None:
    # Over its CSI mount, which is older than the driver's and the agent's pods where these were replaced.
    before = client_upgrade.fetched[kind]
    assert before.spiffe_id == client_upgrade.generator.spiffe_id(kind)
    now = wait_for(client_upgrade.generator.still_holds(kind, before), checks.RECHECK_TIMEOUT)
    name = demo.client.cluster.label
    checks.svid_is_current(before, now, agents=(client_upgrade.before[name], after[name]))


@pytest.mark.dependency(name="webhook", depends=["client upgraded"], scope="session")
def test_the_webhook_accepts_valid_objects_and_rejects_invalid_ones(
    client_upgrade: FederationUpgrade, supply: Supply
) -> None:
    validating = [each for each in client_upgrade.spires.values() if each.layout.controller_manager.webhook]
    if not validating:
        pytest.skip("no release has one: see spire-server.controllerManager.validatingWebhookConfiguration.enabled")
    checks.webhooks_validate(validating)
    checks.webhook_policies_are_those_of_values(validating, supply.upgraded)


@pytest.mark.dependency(name="new release", depends=["client upgraded"], scope="session")
def test_the_new_release_federates(client_upgrade: FederationUpgrade, federation: Federation, demo: Demo) -> None:
    federation_works(client_upgrade, "after", federation, demo)
    client_upgrade.wait_phase_recorded()


@pytest.mark.dependency(name="new web services", depends=["new release"], scope="session")
def test_oidc_discovery_and_tornjak_are_of_their_servers(
    client_upgrade: FederationUpgrade,  # noqa: ARG001 - after it
    federation: Federation,
    demo: Demo,
    report: Report,
) -> None:
    web_services_work(federation, demo, report)


@pytest.mark.dependency(name="new logs", depends=["new release"], scope="session")
def test_no_error_is_logged_that_no_table_excuses(
    client_upgrade: FederationUpgrade,  # noqa: ARG001 - up to its end
    errors_before: list[JudgedError],
    error_log: ErrorLog,
    report: Report,
    settings: Settings,
) -> None:
    errors = error_log.read()
    new = new_kinds(errors_before, errors)
    report.table("errors that were not logged before the upgrade", error_table(new) if new else ["none"])
    checks.logged_errors_are_excused(errors, report.warn, strict=settings.strict)


@pytest.mark.dependency(name="new pods", depends=["new logs"], scope="session")
def test_new_pods_of_the_new_release_start_and_its_agents_attest_and_serve(
    client_upgrade: FederationUpgrade, demo: Demo, report: Report
) -> None:
    # With the SVIDs and JWT-SVIDs that agents hold of the release before, and with what servers and controller
    # managers were granted when they started, nobody would notice that the new one attests no node, signs nothing or
    # may not read what it needs, until a node is restarted.
    if any(spire.cluster.is_external for spire in client_upgrade.spires.values()):
        pytest.skip("agents are not evicted in clusters that are not the suite's own")
    with report.phase("pods made again") as phase:
        client_upgrade.renew_pods("new pods", phase.progress)
    checks.agents_have_attested(client_upgrade.spires.values())
    checks.entries_federate(demo)
    checks.call_succeeded(client_upgrade.call_outcome("new pods"))
    client_upgrade.wait_phase_recorded()


@pytest.mark.dependency(name="kept socket names", depends=["new pods"], scope="session")
def test_workloads_find_the_workload_apis_socket_by_every_name_that_it_had(client_upgrade: FederationUpgrade) -> None:
    # Nothing to wait for: an agent's pod makes the links before its agent starts, and those of before are gone.
    for name, spire in client_upgrade.spires.items():
        lost = client_upgrade.before[name].socket_names - socket_names(spire)
        assert not lost, f"{name}: on a new node the Workload API's socket is not found by the name {sorted(lost)}"


@pytest.mark.dependency(name="new relationships", depends=["new logs"], scope="session")
def test_the_new_release_makes_relationships_of_federation_objects(
    client_upgrade: FederationUpgrade,  # noqa: ARG001 - after it
    federation: Federation,
) -> None:
    # Those of before are in the datastore: that the new controller manager acts on no object, or may read none, would
    # not be noticed.
    map_concurrently(lambda pair: federation.seed_bundle(*pair), federation.pairs)
    checks.relationships_are_exact(federation)


@pytest.mark.dependency(name="next authorities", depends=["new logs"], scope="session")
def test_the_authorities_that_the_new_release_prepares_reach_all_who_will_need_them(
    client_upgrade: FederationUpgrade, federation: Federation, demo: Demo
) -> None:
    # A server goes on with the authorities of before for hours: that it cannot make, store or publish others would
    # cut the federation, and keep new nodes out, at the next rotation only.
    spires = client_upgrade.spires.values()
    if not all(Authorities(spire, kind).are_offered for spire in spires for kind in AUTHORITY_KINDS):
        pytest.skip("this SPIRE has no `spire-server localauthority`: it came with 1.11")
    client_upgrade.prepare_authorities()
    run_concurrently(
        lambda: checks.new_agents_would_trust_their_server(spires),
        lambda: checks.endpoints_answer_the_other_side(federation, demo),
        lambda: checks.foreign_bundles_can_be_fetched(federation),
    )
    checks.foreign_bundles_agree(federation)


# On clusters of one's own no agent is made to attest again: those that the upgrade has replaced are asked there.
@pytest.mark.dependency(name="own identities", depends=["new logs", "same identities"], scope="session")
def test_identities_beside_the_default_one_stay(
    client_upgrade: FederationUpgrade, report: Report, settings: Settings
) -> None:
    # By now every controller manager has reconciled: an entry that was made by hand, one of a ClusterStaticEntry, and a
    # pod that has an identity of its own, by its container's name.
    def ask(name: str) -> None:
        identities_stay(client_upgrade, name, report, strict=settings.strict)
        if name in client_upgrade.given:
            wait_for(client_upgrade.own[name].still_given(client_upgrade.given[name]), checks.RECHECK_TIMEOUT)

    map_concurrently(ask, client_upgrade.spires)


@pytest.mark.dependency(name="rolled back", depends=["new release"], scope="session")
def test_the_rollback_restores_the_old_release(
    client_upgrade: FederationUpgrade, federation: Federation, demo: Demo, settings: Settings, supply: Supply
) -> None:
    if not settings.rollback:
        pytest.skip("--rollback was not given")
    for name in reversed(client_upgrade.spires):
        client_upgrade.rollback(name)
    client_upgrade.enter_state("rolled back")
    federation_works(client_upgrade, "rolled back", federation, demo)
    states = client_upgrade.states()
    for name, spire in client_upgrade.spires.items():
        wait_for(images_running(spire, supply.expected_images(supply.releases[name])), checks.RECHECK_TIMEOUT)
        assert states[name].bundle.has_all_of(client_upgrade.before[name].bundle)
        checks.users_have_what_they_had(client_upgrade, name, states[name])
    client_upgrade.wait_phase_recorded()
    assert not client_upgrade.refused, f"only the second `helm rollback` went through: {client_upgrade.refused}"


@pytest.mark.dependency(name="traffic budget", depends=["new release"], scope="session")
def test_live_traffic_stayed_within_its_budget(
    client_upgrade: FederationUpgrade, report: Report, settings: Settings
) -> None:
    summaries = client_upgrade.summaries()
    failed = sum(summary.failed_outside_windows for summary in summaries)
    assert failed <= settings.max_failed, "\n".join(table(summaries))
    long = checks.outages(summaries, client_upgrade.windows(), client_upgrade.phases())
    for each in long:
        report.warn(each)
    assert not (settings.strict and long), "\n".join(long)
