"""What an upgrade renames, said in a phrase each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from fixtures.spire.layout import Layout, OIDCProvider, Service, known_to_others, renames
from fixtures.spire.layout.identities import ClusterFederatedTrustDomain, Requirement, Selector
from fixtures.spire.layout.release import NAMESPACE_NAME
from fixtures.spire.layout.renames import DATASTORE
from tests.unit.own_chart import CLASS_NAME, LAYOUT


def test_nothing_is_said_of_what_keeps_its_name() -> None:
    assert renames(LAYOUT, replace(LAYOUT, cluster_name="other", jwt_issuer="https://other.example")) == []


def test_what_others_know_by_its_name_is_said() -> None:
    bundle = LAYOUT.bundle
    assert bundle is not None
    new = replace(
        LAYOUT,
        controller_manager=replace(LAYOUT.controller_manager, class_name="own-class", webhook="own-webhook"),
        csi_driver=replace(LAYOUT.csi_driver, driver="other.csi.spiffe.io"),
        bundle=replace(bundle, name="other-bundle"),
    )
    assert renames(LAYOUT, new) == [
        "driver csi.spiffe.io becomes other.csi.spiffe.io",
        "webhook spire-controller-manager-webhook becomes own-webhook",
        f"class name {CLASS_NAME} becomes own-class",
        f"bundle ConfigMap {bundle.namespace}/{bundle.name}, key {bundle.key} becomes "
        f"ConfigMap {bundle.namespace}/other-bundle, key {bundle.key}",
    ]


def test_a_server_that_moves_leaves_its_volume_claims_behind() -> None:
    moved = replace(LAYOUT, server=replace(LAYOUT.server, namespace="spire"))
    assert renames(LAYOUT, moved) == [
        f"server {LAYOUT.server} becomes StatefulSet spire/{LAYOUT.server.name}",
        DATASTORE,
    ]


MANAGER, API = LAYOUT.controller_manager, cast(Service, LAYOUT.server.api)
ENDPOINT, PROVIDER = LAYOUT.bundle_endpoint, cast(OIDCProvider, LAYOUT.oidc_provider)
SERVICE = f"{ENDPOINT.service.namespace}/{ENDPOINT.service.name}"
SERVED = cast(Service, PROVIDER.service)
PARTNER = ClusterFederatedTrustDomain("partner", CLASS_NAME, "partner.example", "https://a.example", "https_web", "")
PAYMENTS = replace(LAYOUT.cluster_spiffe_ids[0], name="payments", template="spiffe://{{ .TrustDomain }}/payments")


def changed(part: str, **changes: Any) -> Layout:
    """The layout with another server, agent and so on."""
    return replace(LAYOUT, **{part: replace(getattr(LAYOUT, part), **changes)})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            LAYOUT,
            changed("controller_manager", class_name="own-class"),
            f"the controller manager's class was {CLASS_NAME} and is own-class now: custom resources that name "
            f"{CLASS_NAME} are ignored, and their entries and relationships are deleted",
        ),
        (
            LAYOUT,
            changed("bundle_endpoint", service=replace(ENDPOINT.service, port=8444)),
            f"the bundle endpoint was port 8443 of Service {SERVICE} and is port 8444 of Service {SERVICE} now: peers, "
            f"and what leads to it, go on with port 8443 of Service {SERVICE}",
        ),
        (
            changed("bundle_endpoint", service=replace(ENDPOINT.service, ways_in=("type LoadBalancer", "192.0.2.7"))),
            LAYOUT,
            "the way to the bundle endpoint from outside was 192.0.2.7 and type LoadBalancer and is gone",
        ),
        (LAYOUT, replace(LAYOUT, jwt_issuer="https://other.example"), "the JWT issuer was https://oidc-discovery."),
        (
            LAYOUT,
            changed("oidc_provider", service=replace(SERVED, name="other")),
            f"OIDC discovery was port {SERVED.port} of Service {SERVED.namespace}/{SERVED.name} and is port ",
        ),
        (
            LAYOUT,
            changed("oidc_provider", domains=PROVIDER.domains[1:]),
            f"a name that OIDC discovery answers to was {PROVIDER.domains[0]} and is gone",
        ),
        (
            replace(LAYOUT, hosts=frozenset({"bundle.example"})),
            LAYOUT,
            "a name by which it is asked from outside (Ingress, Gateway API) was bundle.example and is gone: peers",
        ),
        (
            LAYOUT,
            changed("csi_driver", driver="other.csi.spiffe.io"),
            "the CSI driver's name was csi.spiffe.io and is other.csi.spiffe.io now: pods whose volumes",
        ),
        (LAYOUT, replace(LAYOUT, bundle=None), f"the bundle's place was {LAYOUT.bundle} and is gone"),
        (
            LAYOUT,
            replace(LAYOUT, agents=(replace(LAYOUT.agent, sds_names=("default", "ALL", "ROOTCA_ALL")),)),
            "a name by which Envoy asks agents (SDS) was ROOTCA and is ROOTCA_ALL now",
        ),
        (
            replace(LAYOUT, agents=(replace(LAYOUT.agent, delegates=("spiffe://server.example/cilium-agent",)),)),
            LAYOUT,
            "a delegate of the agents' was spiffe://server.example/cilium-agent and is gone",
        ),
        (
            replace(LAYOUT, cluster_name="north"),
            replace(LAYOUT, cluster_name="south"),
            "the cluster's name was north and is south now: agents have other SPIFFE IDs, so that entries for those of",
        ),
        (
            changed("server", admin_ids=("spiffe://server.example/console",)),
            LAYOUT,
            "an administrator of the server's was spiffe://server.example/console and is gone",
        ),
        (
            changed("server", node_attestors=("k8s_psat", "join_token")),
            LAYOUT,
            "a way by which agents attest was join_token and is gone",
        ),
        (
            replace(LAYOUT, agents=(replace(LAYOUT.agent, workload_attestors=("k8s", "unix")),)),
            LAYOUT,
            "a way by which agents know workloads was unix and is gone",
        ),
        (
            LAYOUT,
            changed("server", api=replace(API, port=8081)),
            f"the server's API was port {API.port} of Service {API.namespace}/{API.name} and is port 8081 of Service",
        ),
        (
            changed("server", api=replace(API, ways_in=("port 30081 of every node",))),
            LAYOUT,
            "the way to the server's API from outside was port 30081 of every node and is gone",
        ),
        (
            LAYOUT,
            changed("server", stores=("data/datastore.sqlite3 in volume spire-data", LAYOUT.server.stores[1])),
            f"the place of what the server stores was {LAYOUT.server.stores[0]} and is data/datastore.sqlite3 in",
        ),
        (
            LAYOUT,
            replace(LAYOUT, agents=(replace(LAYOUT.agent, socket_folder="/run/spire/workload-api"),)),
            "the Workload API's socket on nodes was /run/spire/agent-sockets/spire-agent.sock and is /run/spire/work",
        ),
        (
            replace(LAYOUT, agents=(replace(LAYOUT.agent, admin_socket="/run/spire/admin/admin.sock"),)),
            LAYOUT,
            "the agents' admin socket on nodes was /run/spire/admin/admin.sock and is gone",
        ),
        (
            replace(LAYOUT, cluster_federated_trust_domains=(PARTNER,)),
            LAYOUT,
            "a trust domain that the release federates with was partner.example and is gone: the relationship with "
            "partner.example is deleted, with its bundle",
        ),
        (
            replace(LAYOUT, cluster_spiffe_ids=(*LAYOUT.cluster_spiffe_ids, PAYMENTS)),
            LAYOUT,
            "a form of workloads' SPIFFE IDs was spiffe://{{.TrustDomain}}/payments and is gone: pods with one of ",
        ),
        (
            changed("controller_manager", watch_classless=True),
            LAYOUT,
            "the controller manager ignores custom resources without a class now",
        ),
        (
            LAYOUT,
            changed("controller_manager", seen_labels={"team": "a"}),
            "the controller manager sees no ClusterSPIFFEID without team=a now",
        ),
    ],
)
def test_what_others_hold_of_a_release_is_said_with_what_becomes_of_them(old: Layout, new: Layout, said: str) -> None:
    (found,) = known_to_others(old, new)
    assert found.startswith(said)


@pytest.mark.parametrize(
    ("namespaces", "is_said"), [((*LAYOUT.namespaces, "of-another-value"), False), (("payments",), True)]
)
def test_a_form_of_spiffe_ids_that_pods_of_the_release_have_may_go_with_them(
    namespaces: tuple[str, ...], is_said: bool
) -> None:
    # As the hardened chart 0.30 has none for SPIKE, which a release has only where values ask for it.
    where = Selector((Requirement(NAMESPACE_NAME, "In", namespaces),))
    spike = replace(PAYMENTS, template="spiffe://{{ .TrustDomain }}/spike/keeper", namespace_selector=where)
    old = replace(LAYOUT, cluster_spiffe_ids=(*LAYOUT.cluster_spiffe_ids, spike))
    assert bool(known_to_others(old, LAYOUT)) is is_said


def test_what_is_added_breaks_nobody_and_nothing_is_held_of_what_was_not_there() -> None:
    assert known_to_others(LAYOUT, LAYOUT) == []
    # Of the same identities under other names, and in other words.
    others = tuple(
        replace(each, name=f"other-{each.name}", template=each.template.replace("{{ ", "{{").replace(" }}", "}}"))
        for each in LAYOUT.cluster_spiffe_ids
    )
    assert known_to_others(LAYOUT, replace(LAYOUT, cluster_spiffe_ids=others)) == []
    # Objects without a class are acted upon where the manager watches them; one that had none has none of its own.
    classless = changed("controller_manager", class_name="", watch_classless=True)
    assert known_to_others(classless, changed("controller_manager", watch_classless=True)) == []


NAMESPACES = ("apps", "default", "demo", "kube-system")


@pytest.mark.parametrize(
    ("old", "new", "left"),
    [
        ({}, {"ignore_namespaces": (*MANAGER.ignore_namespaces, "default", "openshift-.*")}, "default"),
        # Of the same namespaces in other words.
        ({"ignore_namespaces": ("kube-system",)}, {"ignore_namespaces": ("kube-.*", "ibm-.*")}, ""),
        ({}, {"watched_namespaces": ("demo",)}, "apps and default"),
        ({"watched_namespaces": ("demo", "apps")}, {"watched_namespaces": ("demo", "more")}, "apps"),
        ({"watched_namespaces": ("demo",)}, {"watched_namespaces": ("demo", "apps")}, ""),
        ({"watched_namespaces": ("demo",)}, {}, ""),
        ({"ignore_namespaces": (*MANAGER.ignore_namespaces, "default")}, {}, ""),
    ],
)
def test_namespaces_that_are_passed_over_now_are_said(old: dict[str, Any], new: dict[str, Any], left: str) -> None:
    before, after = (changed("controller_manager", **each) for each in (old, new))
    said = f"the controller manager passes over the namespaces {left} now: pods in them lose their entries"
    assert known_to_others(before, after, NAMESPACES) == ([said] if left else [])
    assert known_to_others(replace(LAYOUT, oidc_provider=None, jwt_issuer="", bundle=None), LAYOUT) == []
    assert known_to_others(LAYOUT, changed("oidc_provider", domains=(*PROVIDER.domains, "more.example"))) == []
