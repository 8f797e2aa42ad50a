"""Which labels a workload needs to be given an entry, and the SPIFFE ID that it is given."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.spire.layout import Layout, LayoutError, Requirement, Selector, read
from fixtures.spire.layout.custom_resources import API_VERSION
from fixtures.spire.layout.identities import VALUES_KEY, dropped_identity_values
from tests.unit.spire.layout_examples import (
    MANAGER,
    NAMESPACE,
    agent,
    changed,
    csi_driver,
    identity,
    manifest,
    release,
    server,
)

PEERS = ["two.example"]
DEFAULT_ID = "spiffe://one.example/ns/demo/sa/app"


def layout(*identities: dict[str, Any]) -> Layout:
    return read(release(*identities), NAMESPACE)


def match(**labels: str) -> dict[str, Any]:
    return {"matchLabels": labels}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, **({"values": list(values)} if values else {})}]}


IN_1_OR_2 = {"key": "a", "operator": "In", "values": ["1", "2"]}
NOT_SPIRE = expression("kubernetes.io/metadata.name", "NotIn", "identity", "nodes")


@pytest.mark.parametrize(
    ("requirement", "labels", "expected"),
    [
        (Requirement("a", "In", ("1", "2")), {"a": "2"}, True),
        (Requirement("a", "In", ("1", "2")), {"a": "3"}, False),
        (Requirement("a", "In", ("1", "2")), {}, False),
        (Requirement("a", "NotIn", ("1",)), {"a": "2"}, True),
        (Requirement("a", "NotIn", ("1",)), {"a": "1"}, False),
        (Requirement("a", "NotIn", ("1",)), {}, True),
        (Requirement("a", "Exists"), {"a": ""}, True),
        (Requirement("a", "Exists"), {"b": "1"}, False),
        (Requirement("a", "DoesNotExist"), {"b": "1"}, True),
        (Requirement("a", "DoesNotExist"), {"a": ""}, False),
    ],
)
def test_a_requirement_is_met_as_kubernetes_says(
    requirement: Requirement, labels: dict[str, str], expected: bool
) -> None:
    assert requirement.is_met_by(labels) is expected


@pytest.mark.parametrize(
    ("selector", "labels", "added"),
    [
        (None, {}, {}),
        ({}, {"a": "1"}, {}),
        (match(a="1", b="2"), {"b": "2"}, {"a": "1"}),
        (match(a="1"), {"a": "2"}, None),
        (expression("a", "In", "1", "2"), {}, {"a": "1"}),
        (expression("a", "In", "1", "2"), {"a": "2"}, {}),
        (expression("a", "Exists"), {}, {"a": "true"}),
        (expression("a", "Exists"), {"a": "x"}, {}),
        (expression("a", "NotIn", "1"), {}, {}),
        (expression("a", "NotIn", "1"), {"a": "1"}, None),
        (expression("a", "DoesNotExist"), {}, {}),
        (expression("a", "DoesNotExist"), {"a": "1"}, None),
        (match(a="1") | expression("a", "DoesNotExist"), {}, None),
        (match(a="1") | expression("a", "NotIn", "1"), {}, None),
        (match(a="2") | expression("a", "In", "1", "2"), {}, {"a": "2"}),
        (match(a="3") | expression("a", "In", "1", "2"), {}, None),
        ({"matchExpressions": [IN_1_OR_2, {"key": "a", "operator": "NotIn", "values": ["1"]}]}, {}, {"a": "2"}),
    ],
)
def test_the_labels_that_a_selector_asks_for(
    selector: dict[str, Any] | None, labels: dict[str, str], added: dict[str, str] | None
) -> None:
    assert Selector.of(selector).labels_to_add(labels) == added


def needed(found: Layout, namespace: str = "demo", **pod_labels: str) -> tuple[dict[str, str], dict[str, str]]:
    labels = found.labels_for_workloads(namespace, PEERS, pod_labels)
    return dict(labels.namespace), dict(labels.pods)


def test_a_namespace_and_pods_take_the_labels_that_selectors_ask_for() -> None:
    found = layout(identity("own", namespaceSelector=match(managed="yes"), podSelector=match(mesh="in")))
    assert needed(found) == ({"managed": "yes"}, {"mesh": "in"})
    assert needed(found, mesh="in") == ({"managed": "yes"}, {})
    assert found.spiffe_id("demo", "app", {"managed": "yes"}, {"mesh": "in"}) == DEFAULT_ID
    assert found.spiffe_id("demo", "app", {"managed": "yes"}, {}) is None
    assert found.spiffe_id("demo", "app", {}, {"mesh": "in"}) is None


def test_the_name_of_the_namespace_is_a_label_that_nobody_adds() -> None:
    found = layout(identity("own", namespaceSelector=match(**{"kubernetes.io/metadata.name": "demo"})))
    assert needed(found) == ({}, {})
    with pytest.raises(LayoutError, match=r"namespaceSelector and podSelector in spire-server\.controllerManager"):
        needed(found, "other")
    with pytest.raises(LayoutError, match="own select pods of namespace identity"):
        needed(layout(identity("own", namespaceSelector=NOT_SPIRE)), "identity")


def test_labels_that_pods_have_anyway_may_be_in_the_way() -> None:
    found = layout(identity("own", podSelector=match(app="web")))
    with pytest.raises(LayoutError, match="no labels make own select"):
        needed(found, app="server")


@pytest.mark.parametrize(
    "filtering", [{"filterByClassName": True}, {"clusterSPIFFEIDLabelSelector": {"spire.spiffe.io/class-name": "mine"}}]
)
def test_a_controller_manager_may_see_only_what_has_labels(filtering: dict[str, Any]) -> None:
    manager = server(manager=changed(MANAGER, **filtering))
    labelled = identity("seen", podSelector=match(app="web"))
    labelled["metadata"]["labels"] = {"spire.spiffe.io/class-name": "mine"}
    found = read([*manager, *agent(), csi_driver(), identity("own"), labelled], NAMESPACE)
    assert found.controller_manager.class_labels == found.controller_manager.seen_labels
    assert needed(found) == ({}, {"app": "web"})


def test_the_namespace_may_be_ignored() -> None:
    ignoring = changed(MANAGER, ignoreNamespaces=["^de"])
    found = read([*server(manager=ignoring), *agent(), csi_driver(), identity("own")], NAMESPACE)
    with pytest.raises(LayoutError, match=r"spire-server\.controllerManager\.ignoreNamespaces"):
        needed(found)
    assert found.spiffe_id("demo", "app", {}, {}) is None
    assert needed(found, "other") == ({}, {})


@pytest.mark.parametrize(
    "unfit",
    [
        [],
        [identity("own", federates_with=())],
        [identity("own", federates_with=("three.example",))],
        [identity("own", class_name="other")],
        [identity("own", class_name="")],
    ],
)
def test_an_identity_has_to_federate_with_the_peers_and_be_of_the_class(unfit: list[dict[str, Any]]) -> None:
    with pytest.raises(LayoutError, match=r"clusterSPIFFEIDs\.default\.federatesWith"):
        needed(layout(*unfit))


def test_an_identity_without_a_class_counts_where_such_are_watched() -> None:
    watching = changed(MANAGER, watchClassless=True)
    found = read([*server(manager=watching), *agent(), csi_driver(), identity("own", class_name="")], NAMESPACE)
    assert needed(found) == ({}, {})


def test_of_two_objects_of_one_name_the_last_counts() -> None:
    labelled = identity("own", podSelector=match(mesh="in"))
    assert needed(layout(identity("own"), labelled)) == ({}, {"mesh": "in"})


def test_more_peers_than_asked_for_do_no_harm() -> None:
    assert needed(layout(identity("own", federates_with=("three.example", "two.example")))) == ({}, {})


def test_of_two_that_federate_the_one_with_fewer_labels_is_taken() -> None:
    many = identity("many", podSelector=match(a="1", b="2"), fallback=True)
    few = identity("few", podSelector=match(c="3"), fallback=True)
    assert needed(layout(many, few)) == ({}, {"c": "3"})
    assert layout(many, few).labels_for_workloads("demo", PEERS).cluster_spiffe_id.name == "few"


def test_a_fallback_does_not_count_where_another_selects_the_pods() -> None:
    default = identity("default", fallback=True)
    alone = layout(default)
    assert needed(alone) == ({}, {})
    # It gives every pod an entry that does not federate, so that labels for the third are better than none.
    everywhere = identity("everywhere", federates_with=(), namespaceSelector=expression("mesh", "DoesNotExist"))
    labelled = identity("labelled", namespaceSelector=match(mesh="in"))
    assert needed(layout(default, everywhere, labelled)) == ({"mesh": "in"}, {})


def test_where_no_labels_give_an_only_entry_some_are_given_nevertheless() -> None:
    everywhere = identity("everywhere", federates_with=())
    assert needed(layout(identity("default", fallback=True), everywhere)) == ({}, {})


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}", DEFAULT_ID),
        ("spiffe://{{.TrustDomain}}/{{.ClusterName}}/fixed", "spiffe://one.example/north/fixed"),
        ('spiffe://x.example/{{ index .PodMeta.Labels "team" }}', "spiffe://x.example/red"),
        ("spiffe://x.example/{{ index .PodMeta.Labels `team` }}", "spiffe://x.example/red"),
        ("spiffe://x.example/{{ .PodMeta.Labels.team }}", "spiffe://x.example/red"),
        ('spiffe://x.example/{{ index .PodMeta.Labels "example.com/x" }}', "spiffe://x.example/dotted"),
        ('spiffe://x.example/{{ index .PodMeta.Labels "missing" }}', None),
        ("spiffe://x.example/{{ .PodMeta.Name }}", None),
        ("spiffe://x.example/{{ .ClusterDomain }}", None),
        ('spiffe://x.example/{{ index .PodMeta.Annotations "team" }}', None),
        ("spiffe://x.example/{{ .PodMeta.Namespace | printf }}", None),
        ("spiffe://x.example/{{- .PodMeta.Namespace }}", None),
        ("spiffe://x.example/{{ if .PodMeta.Labels.team }}a{{ end }}", None),
        ("spiffe://x.example/{{ .PodMeta }}", None),
    ],
)
def test_a_template_yields_an_id_where_all_that_it_needs_is_known(template: str, expected: str | None) -> None:
    found = layout(identity("own", spiffeIDTemplate=template))
    assert found.spiffe_id("demo", "app", {}, {"team": "red", "example.com/x": "dotted"}) == expected


def test_pods_take_the_labels_that_a_template_puts_into_the_id() -> None:
    found = layout(identity("own", spiffeIDTemplate='spiffe://x.example/{{ index .PodMeta.Labels "team" }}'))
    assert needed(found) == ({}, {"team": "true"})
    assert needed(found, team="red") == ({}, {})
    for other in ('{{ index .PodMeta.Annotations "team" }}', "{{ .PodMeta.Labels }}", "{{ .NodeMeta.Labels.team }}"):
        assert needed(layout(identity("own", spiffeIDTemplate=f"spiffe://x.example/{other}"))) == ({}, {})
    selecting = identity(
        "own", spiffeIDTemplate="spiffe://x.example/{{ .PodMeta.Labels.team }}", podSelector=match(team="a")
    )
    assert needed(layout(selecting)) == ({}, {"team": "a"})


def test_the_clusters_domain_is_known_where_the_controller_manager_is_given_it() -> None:
    own = identity("own", spiffeIDTemplate="spiffe://x.example/{{ .ClusterDomain }}", hint="own")
    given = changed(MANAGER, clusterDomain="cluster.local")
    found = read([*server(manager=given), *agent(), csi_driver(), own], NAMESPACE)
    assert found.spiffe_id("demo", "app", {}, {}) == "spiffe://x.example/cluster.local"
    assert found.cluster_spiffe_ids[0].hint == "own"


def test_several_ids_are_none_and_the_same_from_two_is_one() -> None:
    other = identity("other", federates_with=(), spiffeIDTemplate="spiffe://one.example/other")
    assert layout(identity("own"), other).spiffe_id("demo", "app", {}, {}) is None
    assert layout(identity("own"), identity("twin")).spiffe_id("demo", "app", {}, {}) == DEFAULT_ID
    assert (
        layout(identity("own", fallback=True), other).spiffe_id("demo", "app", {}, {}) == "spiffe://one.example/other"
    )
    assert layout().spiffe_id("demo", "app", {}, {}) is None


BY_NAME = "spiffe://{{ .TrustDomain }}/app/{{ .PodMeta.Name }}"


def test_pods_that_would_have_several_ids_are_named_with_their_identities() -> None:
    own, companys = identity("own"), identity("companys-own", spiffeIDTemplate=BY_NAME)
    words = layout(own, companys).why_several_ids("demo", PEERS)
    assert words == (
        "pods of namespace demo would have 2 SPIFFE IDs, and the demo's are to have one: give one of these "
        f"ClusterSPIFFEIDs a selector that leaves the demo's pods out (own: {DEFAULT_ID.replace('/app', '/default')}; "
        "companys-own: spiffe://{{.TrustDomain}}/app/{{.PodMeta.Name}})"
    )
    # One that does not federate gives an ID all the same.
    assert layout(own, identity("mesh", federates_with=(), spiffeIDTemplate=BY_NAME)).why_several_ids("demo", PEERS)


@pytest.mark.parametrize(
    "others",
    [
        [],
        [identity("twin")],
        [identity("default", fallback=True, spiffeIDTemplate=BY_NAME)],
        # Of pods of others, or of none: its entries wait for a bundle.
        [identity("mesh", spiffeIDTemplate=BY_NAME, podSelector=match(mesh="in"))],
        [identity("waiting", federates_with=("never.example",), spiffeIDTemplate=BY_NAME)],
    ],
)
def test_pods_that_would_have_one_id_are_not_refused(others: list[dict[str, Any]]) -> None:
    assert layout(identity("own"), *others).why_several_ids("demo", PEERS) == ""


def test_a_template_that_only_pods_answer_is_the_same_whatever_its_spaces() -> None:
    twin = identity("twin", spiffeIDTemplate=BY_NAME.replace(" ", ""))
    assert layout(identity("own", spiffeIDTemplate=BY_NAME), twin).why_several_ids("demo", PEERS) == ""


def given(**identities: Any) -> dict[str, Any]:
    return {"spire-server": {"controllerManager": {"identities": {"clusterSPIFFEIDs": identities}}}}


DEFAULT = "ClusterSPIFFEID trust-default"


@pytest.mark.parametrize(
    ("values", "dropped"),
    [
        (given(default={"ttl": "10m", "hint": "", "admin": False, "federatesWith": []}), []),
        (given(default={"jwtTTL": "2m"}), [f"default.jwtTTL is 2m, and {DEFAULT} has no jwtTtl"]),
        (given(default={"admin": True}), [f"default.admin is True, and {DEFAULT} has no admin"]),
        # Of another, of one that is switched off, of one with a name of its own, and what is no identity.
        (given(other={"ttl": "10m"}), []),
        (given(**{"not-default": {"jwtTTL": "2m"}}), []),
        (given(off={"enabled": False, "ttl": "10m"}), []),
        (given(default={"name": "mine", "jwtTTL": "2m"}), []),
        (given(default=None), []),
        ({}, []),
    ],
)
def test_what_an_identitys_values_say_and_its_object_does_not_is_named(
    values: dict[str, Any], dropped: list[str]
) -> None:
    specs = {"not-default": {"ttl": "1h", "jwtTtl": "1h"}, "default": {"ttl": "10m"}, "other": {"ttl": ""}}
    objects = [manifest("ClusterSPIFFEID", f"trust-{name}", api=API_VERSION, spec=spec) for name, spec in specs.items()]
    found = dropped_identity_values(values, [manifest("Service", "default"), *objects])
    assert list(found) == [f"{VALUES_KEY}.{each}" for each in dropped]
