"""Agents, relationships and entries: what is broken of them, and what may be on its way."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes.client.exceptions import NotFoundException

from fixtures.diagnosis.causes import (
    WHY_LOST_FIELD,
    WHY_ORPHANED,
    WHY_SERVER_ELSEWHERE,
    WHY_UNMET,
    is_of_configuration,
)
from fixtures.diagnosis.links import component_links, spire_links
from fixtures.diagnosis.links.spire_links import NEW_POD, asks_for, may_lack_entry
from fixtures.k8s.server_side_apply import LABELS
from fixtures.spire import api_types
from fixtures.spire.federation import Federation
from fixtures.workloads.demo import Demo
from tests.unit import own_chart
from tests.unit.diagnosis.links.spire_objects import (
    AGENT_ID,
    AGENT_POD,
    REFUSAL,
    REFUSED,
    RUNS,
    Objects,
    Read,
    sentences,
)
from tests.unit.kubernetes_objects import (
    NOW,
    container,
    exited,
    pod,
    running,
    stamp,
)
from tests.unit.own_chart import AGENT, CLASS_NAME, SERVER


def test_where_all_is_ready_nothing_is_found(objects: Objects) -> None:
    spire = objects.with_spire()
    assert list(component_links.check_components(spire)) == []
    assert list(spire_links.check_agents(spire)) == []


def test_a_banned_agent_is_named_for_its_ban_and_not_as_unready(objects: Objects) -> None:
    objects.agents = [replace(objects.attested, banned=True)]
    spire = objects.with_spire(agents=0)
    assert list(component_links.check_components(spire)) == []
    (found,) = spire_links.check_agents(spire)
    assert (found.link, "banned: spiffe://" in found.sentence, found.on_its_way) == ("agent attested", True, False)


@pytest.mark.parametrize("banned", [(), (False,), (True, False), None], ids=str)
def test_an_agent_that_is_not_ready_for_another_reason_is_named_as_unready(
    objects: Objects, banned: tuple[bool, ...] | None
) -> None:
    objects.agents = None if banned is None else [replace(objects.attested, banned=each) for each in banned]
    objects.of_agent(RUNS)
    (found,) = component_links.check_components(objects.with_spire(agents=0))
    assert found.link == "component ready"
    assert found.sentence == (
        f"DaemonSet spire-system/{AGENT} has 0 of 1 ready: container {AGENT} of pod {AGENT_POD} runs and is not ready"
    )
    assert found.on_its_way


def test_a_ban_does_not_hide_that_another_nodes_agent_is_not_ready_for_another_reason(objects: Objects) -> None:
    banned = replace(objects.attested, banned=True)
    objects.agents = [banned, objects.attested]
    objects.of_agent(RUNS)
    spire = objects.with_spire(agents=0, nodes=2, drivers=2)
    (found,) = component_links.check_components(spire)
    assert found.sentence.startswith(f"DaemonSet spire-system/{AGENT} has 0 of 2 ready: ")
    objects.agents = [banned, banned]
    assert list(component_links.check_components(spire)) == []


def test_an_agent_that_its_server_refuses_is_named_for_that_with_both_sides_words(objects: Objects) -> None:
    objects.agents = []
    objects.of_server()
    objects.of_agent(RUNS)
    for seconds in (12, 8, 2):
        objects.log(f"{AGENT_POD}/{AGENT}", REFUSED, at=NOW - seconds)
    objects.server_log = (
        'time="2026-11-23T09:59:55Z" level=info msg="Node attestation request received"\n'
        'time="2026-11-23T09:59:55Z" level=error msg="Nodeattestor(k8s_psat): not configured for cluster '
        '\\"other\\"" method=AttestAgent\n'
        'time="2026-11-23T09:59:56Z" level=error msg="Failed to sign" error=another\n'
    )
    spire = objects.with_spire(agents=0)
    assert list(component_links.check_components(spire)) == []
    (found,) = spire_links.check_agents(spire)
    assert found.link == "agent attested"
    assert found.sentence == f"0 of 1 agents are attested; an agent is refused: {REFUSAL}"
    assert "global.spire.clusterName" in found.cause
    assert found.evidence.splitlines() == ["agent list: none", objects.server_log.splitlines()[1]]
    assert not found.on_its_way


def test_an_agent_that_is_refused_is_named_though_it_was_attested_before(objects: Objects) -> None:
    objects.of_server()
    objects.of_agent(RUNS)
    for seconds in (12, 8, 2):
        objects.log(f"{AGENT_POD}/{AGENT}", REFUSED, at=NOW - seconds)
    (found,) = spire_links.check_agents(objects.with_spire(agents=0))
    assert found.sentence == f"1 of 1 agents are attested; an agent is refused: {REFUSAL}"


def test_an_agent_that_is_refused_by_what_the_servers_service_leads_to_is_named_with_the_service(
    objects: Objects,
) -> None:
    objects.agents = []
    objects.of_server()
    objects.of_agent(RUNS)
    for seconds in (12, 8, 2):
        objects.log(f"{AGENT_POD}/{AGENT}", REFUSED, at=NOW - seconds)
    spire = objects.with_spire(agents=0)
    elsewhere = "no port of Service spire-server/spire-server leads there (443 to grpc by UDP)"
    spire.layout = replace(spire.layout, server=replace(spire.layout.server, leads_elsewhere=elsewhere))
    (found,) = spire_links.check_agents(spire)
    assert found.sentence.endswith(f"; the server listens on port {spire.layout.server.port}, and {elsewhere}")
    assert found.cause == WHY_SERVER_ELSEWHERE


FORBIDDEN = (
    'time="2026-11-23T09:59:56Z" level=error msg="Failed to publish bundle" error="configmaps \\"spire-bundle\\" is '
    'forbidden: User cannot patch resource"'
)


@pytest.mark.parametrize(
    ("log", "since", "is_right", "on_its_way"),
    [
        ("", 600, False, False),
        ("", 20, False, True),
        (FORBIDDEN, 20, True, False),
    ],
    ids=["long ready", "just ready", "says why"],
)
def test_a_published_bundle_that_lags_behind_the_servers_is_named(
    objects: Objects, recorded: Read, log: str, since: float, is_right: bool, on_its_way: bool
) -> None:
    place = own_chart.LAYOUT.agent.bundle
    assert place
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": stamp(NOW - since)}
    pod(objects, container(SERVER, running=running(NOW - since)), conditions=(ready,))
    objects.server_log = log
    published = api_types.bundle(recorded("bundle-show.json"))
    objects.add("ConfigMap", place.name, place.namespace, data={place.key: recorded("bundle-show.json")})
    objects.bundle = published
    assert list(spire_links.check_published_bundle(objects.with_spire())) == []
    objects.bundle = replace(published, x509_authorities=published.x509_authorities | {"c0ffee"})
    (found,) = spire_links.check_published_bundle(objects.spire)
    assert (found.link, found.on_its_way) == ("agent attested", on_its_way)
    assert found.sentence.startswith(
        "ConfigMap spire-system/spire-bundle, key bundle.crt, with which agents start, lacks the server's X.509 "
        "authority c0ffee"
    )
    assert ("lacks a right" in found.cause) is is_right
    assert ("is forbidden" in found.sentence) is is_right
    objects.remove("ConfigMap")
    (found,) = spire_links.check_published_bundle(objects.spire)
    assert "key bundle.crt, with which agents start, has no X.509 authority of the server's" in found.sentence
    assert ("global.spire.bundleConfigMap" in found.cause) is not is_right


@pytest.mark.parametrize(("trusts", "is_ours"), [(True, True), (True, False), (False, True)])
def test_an_agent_that_trusts_whoever_answers_is_named(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, *, trusts: bool, is_ours: bool
) -> None:
    objects.installed_by_run = is_ours
    spire = objects.with_spire()
    trusting = replace(own_chart.LAYOUT.agent, bundle=None, trusts_any_server=trusts)
    vars(spire)["layout"] = replace(spire.layout, agents=(trusting,))
    monkeypatch.setattr(spire_links, "authorities_not_published", lambda _: {})
    words = f"{trusting} starts without a trust bundle: it trusts whoever answers for its server"
    found = [each.sentence for each in spire_links.check_published_bundle(spire)]
    assert found == ([words] if trusts and is_ours else [])
    vars(spire)["values"] = {"spire-agent": {"insecureBootstrap": True}}
    assert list(spire_links.check_published_bundle(spire)) == []


# As SPIRE's agent (1.15) logs it.
ATTESTED_LINE = (
    'time="2026-11-23T09:59:59Z" level=info msg="Node attestation was successful" reattestable=true '
    'spiffe_id="spiffe://server.example/spire/agent/k8s_psat/server/x"'
)


@pytest.mark.parametrize(
    ("server_since", "attested", "counts"),
    [(NOW - 60, False, True), (NOW - 1, False, False), (None, False, False), (NOW - 60, True, False)],
    ids=["refused", "by the server before", "the server is away", "attested since"],
)
def test_a_refusal_counts_until_the_server_is_another_one_or_has_attested_the_agent_after_all(
    objects: Objects, server_since: float | None, attested: bool, counts: bool
) -> None:
    if server_since is not None:
        objects.of_server(server_since)
    objects.of_agent(RUNS)
    for seconds in (12, 8, 2):
        objects.log(f"{AGENT_POD}/{AGENT}", REFUSED, at=NOW - seconds)
    if attested:
        objects.log(f"{AGENT_POD}/{AGENT}", ATTESTED_LINE, at=NOW - 1)
    found = objects.with_spire(agents=0).refusals(0.0)
    assert bool(found) is counts


def test_an_agent_that_is_refused_again_after_it_attested_is_refused(objects: Objects) -> None:
    objects.of_server()
    objects.of_agent(RUNS)
    objects.log(f"{AGENT_POD}/{AGENT}", ATTESTED_LINE, at=NOW - 20)
    objects.log(f"{AGENT_POD}/{AGENT}", REFUSED, at=NOW - 10)
    (found,) = objects.with_spire(agents=0).refusals(0.0)
    assert found.at == pytest.approx(NOW - 10, abs=0.01)


def test_an_agent_that_does_not_reach_its_server_is_not_refused(objects: Objects) -> None:
    objects.agents = []
    objects.of_agent(RUNS)
    for seconds in (12, 8, 2):
        line = REFUSED.replace("not configured for", "dial tcp 10.96.0.1:443: connect: connection refused:")
        objects.log(f"{AGENT_POD}/{AGENT}", line, at=NOW - seconds)
    spire = objects.with_spire(agents=0)
    (component,) = component_links.check_components(spire)
    assert "connection refused" in component.sentence
    (found,) = spire_links.check_agents(spire)
    assert (found.sentence, found.on_its_way) == ("0 of 1 agents are attested", True)


def test_a_ready_agent_that_is_not_attested_is_broken(objects: Objects) -> None:
    objects.agents = [replace(objects.attested, expires=int(NOW) - 1)]
    objects.of_agent(container(AGENT, running=running()))
    (found,) = spire_links.check_agents(objects.with_spire())
    assert (found.sentence, found.on_its_way) == ("0 of 1 agents are attested", False)


def federation(*, is_made: bool = True, rejection: str = "") -> Federation:
    """A federation with client.example, whose object this run has made or not, or which the API server did not take."""
    peer = SimpleNamespace(trust_domain="client.example")
    found = SimpleNamespace(peers=lambda _: [peer], has_been_made=lambda *_: is_made, rejection=lambda *_: rejection)
    return cast(Federation, found)


@pytest.mark.parametrize(
    ("values", "is_ours", "is_named"),
    [
        ({}, True, True),
        ({"identities": {"default": {"admin": False}, "others": [{"admin": "false"}]}}, True, True),
        # Somebody wants it so: of one identity of several, or of another's release.
        ({"identities": {"default": {"admin": False}, "operators": {"admin": True}}}, True, False),
        ({"identities": [{"name": "operators", "admin": "true"}]}, True, False),
        ({}, False, False),
    ],
)
def test_a_workload_that_may_administer_its_server_unasked_is_named(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], *, is_ours: bool, is_named: bool
) -> None:
    objects.values, objects.installed_by_run = values, is_ours
    made = pod(objects, container(running=running()), name="server-1-x", namespace="demo")
    pod(objects, container(running=running()), name="other-1-x", namespace="kube-system")
    spire, selector = objects.spire, f"{api_types.POD_UID}{made.metadata.uid}"
    entry = api_types.RegistrationEntry("1", "spiffe://server.example/a", AGENT_ID, (selector,), ("client.example",))
    admin = frozenset({"admin"})
    elsewhere = replace(entry, selectors=("k8s:pod-uid:Pod/kube-system/other-1-x",), powers=admin)
    demo = cast(Demo, SimpleNamespace(namespace="demo"))
    monkeypatch.setattr(spire, "entries", lambda: [entry, elsewhere], raising=False)
    assert list(spire_links.check_entries(spire, demo, federation())) == []
    monkeypatch.setattr(spire, "entries", lambda: [replace(entry, powers=admin)], raising=False)
    found = list(spire_links.check_entries(spire, demo, federation()))
    words = "spiffe://server.example/a may call the server's own APIs, and no value asks for that (admin: true)"
    assert [each.sentence for each in found] == ([words] if is_named else [])


@pytest.mark.parametrize(("values", "is_named"), [({}, True), ({"root-spire-server": {"adminIDs": ["x"]}}, False)])
def test_administrators_that_no_value_asks_for_are_named(
    objects: Objects, values: dict[str, Any], *, is_named: bool
) -> None:
    objects.values = values
    spire, demo = objects.spire, cast(Demo, SimpleNamespace(namespace="demo"))
    admins = ("spiffe://server.example/ns/spire-server/sa/oidc",)
    vars(spire)["layout"] = replace(spire.layout, server=replace(spire.layout.server, admin_ids=admins))
    found = spire_links.unasked_powers(spire, demo.namespace, [])
    words = f"{admins[0]} may call the server's own APIs, and no value asks for that (adminIDs)"
    assert found == ([words] if is_named else [])


def test_of_spires_own_pods_administrators_are_named_and_nested_servers_are_not(objects: Objects) -> None:
    provider = own_chart.LAYOUT.oidc_provider
    assert provider is not None
    made = pod(
        objects,
        container(running=running()),
        name="o-1-x",
        namespace=provider.namespace,
        labels=dict(provider.selector),
    )
    # Somebody else's may be in the namespace too.
    other = pod(objects, container(running=running()), name="p-1-x", namespace=provider.namespace)
    for of, power, count in ((made, "admin", 1), (made, "downstream", 0), (other, "admin", 0)):
        selector = f"{api_types.POD_UID}{of.metadata.uid}"
        entry = api_types.RegistrationEntry("1", "spiffe://server.example/oidc", AGENT_ID, (selector,), ())
        spire = objects.spire
        vars(spire)["layout"] = own_chart.LAYOUT
        found = spire_links.unasked_powers(spire, "demo", [replace(entry, powers=frozenset({power}))])
        assert len(found) == count


def test_a_key_of_values_asks_for_something_with_true_or_a_list() -> None:
    assert asks_for("admin", {"a": [{"admin": "true"}]})
    assert asks_for("adminIDs", {"root-spire-server": {"adminIDs": ["x"]}})
    empty: list[Any] = [
        {"admin": "postgres"},
        {"admin": {"port": 1}},
        {"admin": "false"},
        {"admin": []},
        {"a": [{"admin": False}]},
        {},
    ]
    for values in empty:
        assert not asks_for("admin", values)


def test_a_new_pod_may_lack_its_entry_for_as_long_as_its_release_takes() -> None:
    layout = own_chart.LAYOUT
    assert may_lack_entry(replace(layout, entry_delay=1.5)) == NEW_POD == 25.0
    assert may_lack_entry(replace(layout, entry_delay=50.0)) == 55.0


@pytest.mark.parametrize(("age", "on_its_way"), [(NEW_POD - 1, True), (NEW_POD + 1, False)])
def test_a_new_pods_entry_may_be_on_its_way(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, age: float, on_its_way: bool
) -> None:
    spire = objects.spire
    monkeypatch.setattr(spire, "entries", list, raising=False)
    made = pod(objects, container(running=running()), name="server-1-x", namespace="demo")
    assert made.status.start_time.timestamp() == NOW - 120
    objects.objects[-1][1]["status"]["startTime"] = stamp(NOW - age)
    objects.add("ClusterSPIFFEID", "default", spec={"className": CLASS_NAME, "federatesWith": ["client.example"]})
    (found,) = spire_links.check_entries(spire, cast(Demo, SimpleNamespace(namespace="demo")), federation())
    assert (found.sentence, found.on_its_way) == ("pod demo/server-1-x has no entry", on_its_way)
    assert not found.follows
    # Without a bundle of each that it names there is no entry: the federation that was not made is the reason.
    unmade = federation(is_made=False)
    (found,) = spire_links.check_entries(spire, cast(Demo, SimpleNamespace(namespace="demo")), unmade)
    assert found.follows


def test_a_new_pods_entry_is_not_on_its_way_where_what_makes_it_is_of_another_class(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    spire = objects.spire
    monkeypatch.setattr(spire, "entries", list, raising=False)
    pod(objects, container(running=running()), name="server-1-x", namespace="demo")
    objects.objects[-1][1]["status"]["startTime"] = stamp(NOW - 1)
    objects.add("ClusterSPIFFEID", "default", spec={"className": "other", "federatesWith": ["client.example"]})
    (found,) = spire_links.check_entries(spire, cast(Demo, SimpleNamespace(namespace="demo")), federation())
    assert (found.on_its_way, "default (class other)" in found.cause) == (False, True)


NODE_ALIAS = "spiffe://server.example/nodes"


@pytest.mark.parametrize(
    ("selectors", "unmet"),
    [
        (["k8s:ns:demo", "k8s:container-name:main", "k8s:pod-label:app:demo"], []),
        (["k8s:pod-image-count:1"], []),  # not to be known from the pod alone
        (["k8s:container-name:app"], ["k8s:container-name:app"]),
        (["k8s:ns:demo", "k8s:pod-label:app:other"], ["k8s:pod-label:app:other"]),
        (["unix:uid:1000"], ["unix:uid:1000"]),  # of an attestor that agents do not have
    ],
)
def test_an_entry_that_asks_for_what_no_container_of_its_pod_has_is_named_with_it(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, selectors: list[str], unmet: list[str]
) -> None:
    spire = objects.spire
    made = pod(objects, container(running=running()), name="server-1-x", namespace="demo")
    objects.objects[-1][1]["metadata"]["labels"] = {"app": "demo"}
    own = f"k8s:pod-uid:{made.metadata.uid}"
    entry = api_types.RegistrationEntry("1", "spiffe://server.example/x", AGENT_ID, (own, *selectors), ())
    monkeypatch.setattr(spire, "entries", lambda: [entry], raising=False)
    monkeypatch.setattr(spire, "agents", lambda: [replace(objects.attested, spiffe_id=AGENT_ID)])
    found, why = spire_links.useless_entry(spire, "demo")
    assert (bool(found), why == WHY_UNMET) == (bool(unmet), bool(unmet))
    if unmet:
        assert found.endswith(f" asks for {unmet[0]}, which no container of pod demo/server-1-x has")
        assert is_of_configuration(found, "")
    # Of several entries one is enough.
    monkeypatch.setattr(spire, "entries", lambda: [entry, replace(entry, selectors=(own,))], raising=False)
    assert spire_links.useless_entry(spire, "demo") == ("", "")


@pytest.mark.parametrize(
    ("parent", "is_given"),
    [
        (AGENT_ID, True),
        (NODE_ALIAS, True),
        ("spiffe://server.example/spire/agent/k8s_psat/elsewhere/uid", False),
    ],
)
def test_an_entry_whose_parent_is_no_agent_is_given_to_nobody(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, parent: str, is_given: bool
) -> None:
    spire = objects.spire
    made = pod(objects, container(running=running()), name="server-1-x", namespace="demo")
    entries = [
        api_types.RegistrationEntry(
            "1", NODE_ALIAS, "spiffe://server.example/spire/server", ("k8s_psat:cluster:server",), ()
        ),
        api_types.RegistrationEntry(
            "2", "spiffe://server.example/of/another", "spiffe://server.example/gone", ("k8s:pod-uid:another",), ()
        ),
        api_types.RegistrationEntry(
            "3", "spiffe://server.example/x", parent, (f"k8s:pod-uid:{made.metadata.uid}",), ()
        ),
    ]
    monkeypatch.setattr(spire, "entries", lambda: entries, raising=False)
    monkeypatch.setattr(spire, "agents", lambda: [replace(objects.attested, spiffe_id=AGENT_ID)])
    found, why = spire_links.useless_entry(spire, "demo")
    assert (bool(found), why == WHY_ORPHANED) == (not is_given, not is_given)
    if found:
        assert found == (
            f"the entry spiffe://server.example/x has the parent {parent}, which is the ID of no agent ({AGENT_ID})"
        )
        assert is_of_configuration(found, "")
    monkeypatch.setattr(spire, "agents", list)
    assert spire_links.useless_entry(spire, "demo") == ("", "")


def test_an_entry_of_a_pod_is_useless_where_agents_do_not_know_of_pods(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    spire = objects.spire
    made = pod(objects, container(running=running()), name="server-1-x", namespace="demo")
    entries = [
        api_types.RegistrationEntry(
            "1", "spiffe://server.example/x", AGENT_ID, (f"k8s:pod-uid:{made.metadata.uid}",), ()
        )
    ]
    monkeypatch.setattr(spire, "entries", lambda: entries, raising=False)
    monkeypatch.setattr(spire, "agents", lambda: [replace(objects.attested, spiffe_id=AGENT_ID)])
    assert spire_links.useless_entry(spire, "demo") == ("", "")
    agents = tuple(replace(each, workload_attestors=("unix",)) for each in spire.layout.agents)
    spire.layout = replace(spire.layout, agents=agents)
    found, why = spire_links.useless_entry(spire, "demo")
    assert found.endswith("is for a pod, and the agents have no workload attestor k8s (unix)")
    assert is_of_configuration(found, why)


@pytest.mark.parametrize(("federates_with", "is_lost"), [(["client.example"], False), ([], True), (None, True)])
def test_a_federation_that_the_cluster_has_lost_of_a_manifest_is_named(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, federates_with: list[str] | None, is_lost: bool
) -> None:
    spire = objects.spire
    monkeypatch.setattr(spire, "entries", list, raising=False)
    pod(objects, container(running=running()), name="server-1-x", namespace="demo")
    (name,) = (each.name for each in spire.layout.cluster_spiffe_ids if "client.example" in each.federates_with)
    spec = {"className": CLASS_NAME, **({} if federates_with is None else {"federatesWith": federates_with})}
    objects.add("ClusterSPIFFEID", name, spec=spec)
    (found,) = spire_links.check_entries(spire, cast(Demo, SimpleNamespace(namespace="demo")), federation())
    lost = f": ClusterSPIFFEID {name} lacks the federatesWith that its manifest has"
    assert found.sentence == "pod demo/server-1-x has no entry" + (lost if is_lost else "")
    assert (found.cause == WHY_LOST_FIELD) is is_lost


@pytest.mark.parametrize("stored", [True, False])
def test_a_third_party_without_a_bundle_is_named_where_it_keeps_an_entry_from_being_made(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    spire = objects.spire
    monkeypatch.setattr(spire, "entries", list, raising=False)
    monkeypatch.setattr(spire, "stores_bundle", lambda name: stored or name != "third.example", raising=False)
    pod(objects, container(running=running()), name="server-1-x", namespace="demo")
    named = ["client.example", "third.example"]
    objects.add("ClusterSPIFFEID", "default", spec={"className": CLASS_NAME, "federatesWith": named})
    (found,) = spire_links.check_entries(spire, cast(Demo, SimpleNamespace(namespace="demo")), federation())
    words = ": a ClusterSPIFFEID names third.example, whose bundle the server does not store"
    assert found.sentence == "pod demo/server-1-x has no entry" + ("" if stored else words)


def test_a_crd_that_is_not_there_is_named(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    spire = objects.spire
    monkeypatch.setattr(spire, "relationships", list, raising=False)

    def missing(*_: object) -> None:
        raise NotFoundException(status=404, reason="Not Found")

    monkeypatch.setattr(spire, "custom_resources", missing)
    (found,) = spire_links.check_relationships(spire, federation())
    assert (found.link, found.sentence, found.on_its_way) == (
        "federation relationship",
        "there is no CRD clusterfederatedtrustdomains.spire.spiffe.io",
        False,
    )


def test_a_pod_that_is_being_deleted_or_has_ended_needs_no_entry(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    spire = objects.spire
    monkeypatch.setattr(spire, "entries", list, raising=False)
    pod(objects, container(running=running()), namespace="demo", deletionTimestamp=stamp(NOW))
    pod(objects, container(terminated=exited(0)), namespace="demo", name="client-x")
    objects.objects[-1][1]["status"]["phase"] = "Succeeded"
    assert list(spire_links.check_entries(spire, cast(Demo, SimpleNamespace(namespace="demo")), federation())) == []


@pytest.mark.parametrize("is_made", [True, False])
def test_a_relationship_that_is_still_to_be_made_is_not_missed(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, is_made: bool
) -> None:
    spire = objects.spire
    monkeypatch.setattr(spire, "relationships", list, raising=False)
    monkeypatch.setattr(spire, "foreign_bundle", lambda _: None, raising=False)
    found = spire_links.check_relationships(spire, federation(is_made=is_made))
    expected = "there is none with client.example, and no ClusterFederatedTrustDomain for it"
    assert sentences(found) == ([expected] if is_made else [])


@pytest.mark.parametrize(("reconciles", "installed_by_run"), [(False, True), (True, True), (True, False)])
def test_a_relationship_that_outlives_its_object_is_named_where_the_run_made_it(
    objects: Objects, recorded: Read, reconciles: bool, installed_by_run: bool
) -> None:
    objects.installed_by_run = installed_by_run
    spire: Any = objects.spire
    (listed,) = api_types.relationships(recorded("federation-list.json"))
    spire.relationships = lambda: [replace(listed, trust_domain="client.example")]
    spire.foreign_bundle = lambda _: None
    manager = spire.layout.controller_manager
    reconcile = replace(manager.reconcile, cluster_federated_trust_domains=reconciles)
    spire.layout = replace(spire.layout, controller_manager=replace(manager, reconcile=reconcile))
    found = list(spire_links.check_relationships(spire, federation()))
    if not installed_by_run:
        assert found == [], "a relationship that somebody made by hand has no object"
        return
    (left,) = found
    assert left.sentence.startswith("there is one with client.example still, though its ClusterFederatedTrustDomain")
    assert ("configured not to reconcile" in left.sentence) is not reconciles
    assert is_of_configuration(left.sentence, left.cause) is not reconciles
    assert left.on_its_way is reconciles
    objects.add("ClusterFederatedTrustDomain", "client-example", spec={"trustDomain": "client.example"})
    assert list(spire_links.check_relationships(spire, federation())) == []


def test_a_missing_relationship_has_the_controller_managers_words(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, recorded: Read
) -> None:
    spire = objects.spire
    monkeypatch.setattr(spire, "relationships", list, raising=False)
    monkeypatch.setattr(spire, "foreign_bundle", lambda _: None, raising=False)
    pod(objects, container("spire-controller-manager", running=running()))
    (line,) = (each for each in recorded("log-lines.log").splitlines() if "\tERROR\t" in each)
    objects.log("spire-server-0/spire-controller-manager", line)
    spec = {"className": CLASS_NAME, "trustDomain": "client.example"}
    objects.add("ClusterFederatedTrustDomain", "client-example", spec=spec)
    (found,) = spire_links.check_relationships(spire, federation())
    assert found.evidence.startswith("the controller manager logs: ")
    assert "Failed to create federation relationship" in found.evidence
    assert json.dumps("client.example") in found.evidence


def test_an_object_that_the_api_server_does_not_take_is_named_in_its_words(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    spire = objects.spire
    monkeypatch.setattr(spire, "relationships", list, raising=False)
    rejection = 'failed calling webhook "vclusterfederatedtrustdomain.kb.io": service "spire-webhook" not found'
    (found,) = spire_links.check_relationships(spire, federation(is_made=False, rejection=rejection))
    assert found.link == "federation relationship"
    assert found.sentence == f"the ClusterFederatedTrustDomain for client.example is not taken: {rejection}"


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        (
            {"client-example": 10, "old-peer": 600},
            "there are several ClusterFederatedTrustDomains for client.example: old-peer, client-example; the "
            "controller manager acts on the oldest and ignores the others",
        ),
        ({"client-example": 600, "new-peer": 10}, ""),
        ({"client-example": 10}, ""),
    ],
    ids=["the other is older", "the run's is older", "one"],
)
def test_of_several_objects_for_a_trust_domain_an_older_one_than_the_runs_is_named(
    objects: Objects, recorded: Read, ages: dict[str, float], expected: str
) -> None:
    spire: Any = objects.spire
    (listed,) = api_types.relationships(recorded("federation-list.json"))
    spire.relationships = lambda: [replace(listed, trust_domain="client.example")]
    spire.foreign_bundle = lambda _: None
    for name, age in ages.items():
        metadata = {"creationTimestamp": stamp(NOW - age), "labels": LABELS if name == "client-example" else {}}
        spec = {"trustDomain": "client.example", "className": CLASS_NAME}
        objects.add("ClusterFederatedTrustDomain", name, metadata=metadata, spec=spec)
    found = list(spire_links.check_relationships(spire, federation()))
    assert sentences(found) == ([expected] if expected else [])
    assert all(is_of_configuration(each.sentence, each.cause) for each in found)
