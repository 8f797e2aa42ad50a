"""The layout that is read from manifests: of this project's chart, and of small releases with other names and forms."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
import yaml

from fixtures.spire.layout import (
    ConfigMapKey,
    Container,
    Layout,
    LayoutError,
    Reconcile,
    Service,
    contradictions,
    known_to_others,
    read,
)
from tests.unit.own_chart import LAYOUT
from tests.unit.spire.layout_examples import (
    AGENT,
    MANAGER,
    NAMESPACE,
    SERVER,
    Manifest,
    agent,
    changed,
    config_map,
    container,
    csi_driver,
    from_config_map,
    identity,
    manifest,
    of_node,
    release,
    server,
    service,
    workload,
)

ENDPOINT = SERVER["server"]["federation"]["bundle_endpoint"]


def layout(manifests: list[Manifest], **options: Any) -> Layout:
    return read(manifests, NAMESPACE, **options)


def with_endpoint(**fields: Any) -> Any:
    return changed(SERVER, federation={"bundle_endpoint": {**ENDPOINT, **fields}})


def with_plugins(config: Any, **plugins: Any) -> Any:
    return {**config, "plugins": plugins}


@pytest.fixture
def own_chart() -> Layout:
    """The layout of this project's chart."""
    return LAYOUT


def test_the_components_of_the_own_chart_are_found(own_chart: Layout) -> None:
    assert str(own_chart.server) == "StatefulSet spire-server/spire-server"
    assert own_chart.server.container == Container("spire-server", "localhost/spire-federation/spire-server:1.15.3")
    assert (own_chart.server.replicas, own_chart.server.pods) == (1, ("spire-server-0",))
    assert own_chart.server.binary == "/opt/spire/bin/spire-server"
    assert own_chart.server.socket_option == ()
    assert str(own_chart.agent) == "DaemonSet spire-system/spire-agent"
    assert own_chart.agents == (own_chart.agent,)
    assert own_chart.agent.container.name == "spire-agent"
    assert (own_chart.agent.socket_folder, own_chart.agent.socket_name) == (
        "/run/spire/agent-sockets",
        "spire-agent.sock",
    )
    assert own_chart.agent.attestor == "k8s_psat"
    assert own_chart.agent.tolerations == ({"operator": "Exists"},)
    assert own_chart.agent.update_strategy == "RollingUpdate"
    assert str(own_chart.csi_driver) == "DaemonSet spire-system/spire-spiffe-csi-driver"
    assert own_chart.csi_driver.container.name == "spiffe-csi-driver"
    assert (own_chart.csi_driver.driver, own_chart.csi_driver.socket_folder) == (
        "csi.spiffe.io",
        "/run/spire/agent-sockets",
    )
    assert str(own_chart.controller_manager) == str(own_chart.server)
    assert own_chart.controller_manager.container.name == "spire-controller-manager"
    assert own_chart.oidc_provider is not None
    assert str(own_chart.oidc_provider) == "Deployment spire-server/spire-spiffe-oidc-discovery-provider"
    assert own_chart.oidc_provider.service == Service("spire-server", "spire-spiffe-oidc-discovery-provider", 80)
    assert own_chart.oidc_provider.tls is False
    assert "oidc-discovery.server.example" in own_chart.oidc_provider.domains
    assert own_chart.oidc_provider.path == "/"
    assert (own_chart.tornjak_backend, own_chart.tornjak_frontend) == (None, None)


def test_the_configuration_of_the_own_chart_is_read(own_chart: Layout) -> None:
    assert (own_chart.trust_domain, own_chart.cluster_name) == ("server.example", "server")
    assert own_chart.cluster_domain == "cluster.local"
    assert own_chart.jwt_issuer == "https://oidc-discovery.server.example"
    assert own_chart.bundle == own_chart.agent.bundle == ConfigMapKey("spire-system", "spire-bundle", "bundle.crt")
    assert (own_chart.bundle_endpoint.port, own_chart.bundle_endpoint.profile) == (8443, "https_spiffe")
    assert own_chart.bundle_endpoint.refresh_hint == 60
    assert own_chart.bundle_endpoint.service == Service("spire-server", "spire-server", 8443)
    assert own_chart.bundle_endpoint.service.host == "spire-server.spire-server.svc"
    assert own_chart.server.configuration == ConfigMapKey("spire-server", "spire-server", "server.conf")
    assert own_chart.agent.configuration == ConfigMapKey("spire-system", "spire-agent", "agent.conf")
    assert own_chart.csi_driver.configuration is None
    manager = own_chart.controller_manager
    assert (manager.class_name, manager.watch_classless) == ("spire-mgmt-spire", False)
    assert manager.reconcile == Reconcile(True, True, True)
    assert manager.ignore_namespaces == ("^kube-system$", "^kube-public$", "^spire-system$")


def test_the_objects_of_the_own_chart_are_listed(own_chart: Layout) -> None:
    default, provider = own_chart.cluster_spiffe_ids
    assert (default.name, default.fallback, default.federates_with) == (
        "spire-mgmt-spire-default",
        True,
        ("client.example",),
    )
    assert (provider.name, provider.fallback, provider.federates_with) == (
        "spire-mgmt-spire-oidc-discovery-provider",
        False,
        (),
    )
    assert own_chart.namespaces == ("spire-mgmt", "spire-server", "spire-system")
    assert own_chart.hooks == ()
    assert own_chart.controller_manager.webhook == "spire-controller-manager-webhook"
    assert set(own_chart.images) == {
        "spire-server",
        "spire-controller-manager",
        "spire-agent",
        "spiffe-csi-driver",
        "node-driver-registrar",
        "oidc-discovery-provider",
    }
    assert own_chart.images["spire-agent"] == own_chart.agent.container.image


def test_workloads_of_the_own_chart_need_no_labels(own_chart: Layout) -> None:
    labels = own_chart.labels_for_workloads("demo", ["client.example"])
    assert (labels.namespace, labels.pods) == ({}, {})
    spiffe_id = own_chart.spiffe_id("demo", "default", labels.namespace, labels.pods)
    assert spiffe_id == "spiffe://server.example/ns/demo/sa/default"
    assert own_chart.spiffe_id("spire-server", "default", {}, {}) is None


def test_names_of_objects_do_not_matter() -> None:
    found = layout(release())
    assert str(found.server) == "StatefulSet identity/trust"
    assert found.server.container.name == "program"
    assert found.server.selector == {"run": "trust"}
    assert found.server.labels == {"run": "trust", "revision": "a"}
    assert found.server.pods == ("trust-0",)
    assert found.controller_manager.container.name == "manager"
    assert (found.controller_manager.class_name, found.cluster_name) == ("mine", "north")
    assert str(found.agent) == "DaemonSet nodes/nodes-agent"
    assert (found.agent.socket_folder, found.agent.socket_name) == ("/run/node/inside", "workload.sock")
    assert str(found.csi_driver) == "DaemonSet nodes/nodes-csi"
    assert (found.csi_driver.container.name, found.csi_driver.driver) == ("driver", "one.csi.example")
    assert found.bundle == found.agent.bundle == ConfigMapKey("nodes", "spire-bundle", "bundle.crt")
    assert (found.bundle_endpoint.port, found.bundle_endpoint.service) == (9443, Service("identity", "trust", 444))
    assert found.bundle_endpoint.refresh_hint == 300  # SPIRE's default
    assert found.oidc_provider is None
    assert found.namespaces == ("identity", "nodes", "release")
    assert found.made_namespaces == ()
    assert not found.controller_manager.webhook


def test_the_namespaces_that_a_release_makes_are_known() -> None:
    assert layout(release(manifest("Namespace", "nodes"))).made_namespaces == ("nodes",)


def test_objects_without_a_namespace_are_in_the_releases() -> None:
    manifests = release()
    for each in manifests:
        each["metadata"].pop("namespace", None)
    found = layout([*manifests, manifest("Job", "done", metadata={"annotations": {"helm.sh/hook": "post-install"}})])
    assert (found.server.namespace, found.agent.namespace, found.csi_driver.namespace) == ("release",) * 3
    assert found.bundle_endpoint.service.namespace == "release"
    assert found.hooks == ("release/done",)
    assert found.namespaces == ("release",)


def test_a_deployment_has_no_pods_of_fixed_names() -> None:
    manifests = [*server(kind="Deployment"), *agent(), csi_driver()]
    manifests[0]["spec"]["replicas"] = 2
    found = layout(manifests).server
    assert (found.kind, found.replicas, found.pods) == ("Deployment", 2, ())
    manifests = release()
    manifests[0]["spec"] |= {"replicas": 2, "ordinals": {"start": 3}}
    assert layout(manifests).server.pods == ("trust-3", "trust-4")
    manifests[0]["spec"] |= {"replicas": 0}
    assert layout(manifests).server.pods == ()


def test_the_servers_binary_and_socket_may_be_others() -> None:
    manifests = [*server(config=changed(SERVER, socket_path="/other/api.sock")), *agent(), csi_driver()]
    manifests[0]["spec"]["template"]["spec"]["containers"][1]["command"] = ["/usr/bin/spire-server", "run"]
    found = layout(manifests).server
    assert found.binary == "/usr/bin/spire-server"
    assert found.socket_option == ("-socketPath", "/other/api.sock")
    manifests[0]["spec"]["template"]["spec"]["containers"][1]["command"] = ["/usr/bin/dumb-init"]
    assert layout(manifests).server.binary == "/opt/spire/bin/spire-server"


def test_a_controller_manager_may_have_a_deployment_of_its_own() -> None:
    program = container("manager", "-config", "/etc/m.yaml", mounts={"etc": "/etc"})
    own = workload(
        "Deployment", "manager", "identity", [program], etc={"projected": {"sources": [from_config_map("m")]}}
    )
    configuration = config_map("m", "identity", "m.yaml", yaml.safe_dump(MANAGER))
    found = layout([*server(manager=None), *agent(), csi_driver(), own, configuration])
    assert str(found.controller_manager) == "Deployment identity/manager"
    assert found.controller_manager.class_name == "mine"


def test_of_several_controller_managers_it_is_the_one_of_the_servers_own_cluster() -> None:
    manifests = release()
    containers = manifests[0]["spec"]["template"]["spec"]["containers"]
    for name in ("first", "last"):
        other = changed(MANAGER, clusterName=name, className=name)
        manifests.append(config_map(name, "identity", "m.yaml", yaml.safe_dump(other)))
        program = container(name, "-config", f"/{name}/m.yaml", mounts={name: f"/{name}"})
        containers.insert(0 if name == "first" else 9, program)
        manifests[0]["spec"]["template"]["spec"]["volumes"].append({"name": name, **from_config_map(name)})
    assert layout(manifests).controller_manager.class_name == "mine"


def test_what_a_controller_manager_does_not_say_is_its_default() -> None:
    manager = layout(release()).controller_manager
    assert manager.reconcile == Reconcile(True, True, True)
    assert manager.watch_classless is False
    assert manager.ignore_namespaces == ("kube-system", "kube-public", "spire-system")
    some = changed(
        MANAGER, reconcile={"clusterSPIFFEIDs": True}, watchClassless=True, ignoreNamespaces=["openshift-.*"]
    )
    manager = layout([*server(manager=some), *agent(), csi_driver()]).controller_manager
    assert manager.reconcile == Reconcile(True, False, False)
    assert [manager.acts_on(name) for name in ("mine", "", "other")] == [True, True, False]
    assert [bool(manager.why_ignored(name)) for name in ("openshift-dns", "demo")] == [True, False]


def test_a_pattern_of_namespaces_may_be_one_that_only_go_reads() -> None:
    own = changed(MANAGER, ignoreNamespaces=[r"^kube-.*\z", "(?<name>x)", "kube-(?i)x", "[[:lower:]]+", "ibm-.*"])
    manager = layout([*server(manager=own), *agent(), csi_driver()]).controller_manager
    assert manager.ignore_namespaces == ("ibm-.*",)


@pytest.mark.parametrize("watched", [{"cacheNamespaces": {"prod": None, "identity": {}}}, {"cacheNamespace": "prod"}])
def test_a_controller_manager_may_watch_some_namespaces_only(watched: dict[str, Any]) -> None:
    manager = layout([*server(manager=changed(MANAGER, **watched)), *agent(), csi_driver()]).controller_manager
    assert manager.why_ignored("prod") == ""
    assert re.search("watches only .*prod.*, and not the namespace demo: ", manager.why_ignored("demo"))
    assert "spire-server.controllerManager.cacheNamespaces" in manager.why_ignored("demo")


def test_a_daemon_set_says_which_nodes_it_runs_on() -> None:
    manifests = release()
    daemon_set = next(
        each for each in manifests if each["metadata"]["name"] == "nodes-agent" and each["kind"] == "DaemonSet"
    )
    daemon_set["spec"]["updateStrategy"] = {"type": "OnDelete"}
    daemon_set["spec"]["template"]["spec"] |= {
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "nodeSelector": {"pool": "x"},
        "affinity": {"nodeAffinity": {}},
    }
    found = layout(manifests)
    assert (found.agent.update_strategy, found.csi_driver.update_strategy) == ("OnDelete", "RollingUpdate")
    assert found.agent.tolerations == ({"key": "a", "operator": "Exists"},)
    assert (found.agent.node_selector, found.agent.affinity) == ({"pool": "x"}, {"nodeAffinity": {}})
    assert (found.csi_driver.tolerations, found.csi_driver.node_selector) == ((), {})


def test_a_chart_may_have_several_daemon_sets_of_agents() -> None:
    found = layout([*server(), *agent("one"), *agent("other"), csi_driver()])
    assert [each.name for each in found.agents] == ["one", "other"]
    assert found.agent.name == "one"


def test_agents_and_csi_drivers_of_another_server_are_left_aside() -> None:
    clusters = {"NodeAttestor": {"k8s_psat": {"plugin_data": {"cluster": "elsewhere"}}}}
    other_manager = changed(MANAGER, clusterName="elsewhere", className="other")
    program = container("other", "-config", "/etc/m.yaml", mounts={"etc": "/etc"})
    upstream = [
        workload("Deployment", "other-manager", "identity", [program], etc=from_config_map("other-manager")),
        config_map("other-manager", "identity", "m.yaml", yaml.safe_dump(other_manager)),
        *agent(
            "upstream-agent", "/run/upstream", {**changed(AGENT, server_address="root.elsewhere"), "plugins": clusters}
        ),
        csi_driver("upstream-csi", "/run/upstream/inside", "upstream.csi.example"),
    ]
    own_manager = workload("Deployment", "own-manager", "identity", [program], etc=from_config_map("own-manager"))
    configuration = config_map("own-manager", "identity", "m.yaml", yaml.safe_dump(MANAGER))
    found = layout([*upstream, *server(manager=None), own_manager, configuration, *agent(), csi_driver()])
    assert found.controller_manager.class_name == "mine"
    assert [each.name for each in found.agents] == ["nodes-agent"]
    assert found.csi_driver.driver == "one.csi.example"


def test_of_agents_that_do_not_show_their_server_it_is_those_whose_socket_is_mounted() -> None:
    outside = changed(AGENT, server_address="spire.example.com")
    found = layout(
        [*server(), *agent("a", "/run/a", outside), *agent("b", "/run/b", outside), csi_driver("c", "/run/b/inside")]
    )
    assert [each.name for each in found.agents] == ["b"]


def test_a_folder_that_is_not_the_agents_is_for_the_run_to_find() -> None:
    found = layout([*server(), *agent(), csi_driver(folder="/run/other")])
    assert (found.agent.socket_folder, found.csi_driver.socket_folder) == ("/run/node/inside", "/run/other")


def test_a_nested_server_with_its_root_in_the_release_is_the_one_that_federates() -> None:
    authority = {"spire": [{"plugin_data": {"server_address": "root"}}]}
    child = {**SERVER, "plugins": {**SERVER["plugins"], "UpstreamAuthority": authority}}
    root = server("root", config=changed(SERVER, federation=None), manager=changed(MANAGER, className="root"))
    found = layout([*root, *server(config=child), *agent(), csi_driver()])
    assert found.server.name == "trust"
    assert found.controller_manager.class_name == "mine"


def test_a_nested_server_of_a_root_elsewhere_is_no_reason_beside_the_server_that_federates() -> None:
    authority = {"spire": [{"plugin_data": {"server_address": "root.elsewhere.example"}}]}
    nested = changed(with_plugins(SERVER, UpstreamAuthority=authority), federation=None)
    found = layout([*server("child", config=nested, manager=None), *server(), *agent(), csi_driver()])
    assert found.server.name == "trust"
    with pytest.raises(LayoutError, match=r"is nested, and its root root\.elsewhere\.example is not in the release"):
        layout([*server("child", config=nested, manager=None), *agent(), csi_driver()])


def test_of_several_servers_that_federate_none_is_chosen_and_the_user_is_told_where_one_is_tested() -> None:
    with pytest.raises(
        LayoutError, match=r"and StatefulSet .* each have a bundle endpoint.* on clusters with one such"
    ):
        layout([*server("staging", manager=None), *server(), *agent(), csi_driver()])


def publisher(**clusters: Any) -> Any:
    return with_plugins(SERVER, BundlePublisher=[{"k8s_configmap": {"plugin_data": {"clusters": [clusters]}}}])


def published(namespace: str, name: str, **fields: str) -> dict[str, str]:
    return {"namespace": namespace, "configmap_name": name, "configmap_key": "bundle.crt", **fields}


ELSEWHERE = {"kube_config_file_path": "/elsewhere"}
NOTIFIER = {"k8sbundle": {"plugin_data": {"namespace": "n", "config_map": "c", "config_map_key": "k"}}}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (with_plugins(SERVER, Notifier=NOTIFIER), ConfigMapKey("n", "c", "k")),
        (with_plugins(SERVER, Notifier={"k8sbundle": {}}), ConfigMapKey("spire", "spire-bundle", "bundle.crt")),
        # Of other clusters alone, as the plugin decides; and beside a publisher.
        (with_plugins(SERVER, Notifier={"k8sbundle": {"plugin_data": {"clusters": [ELSEWHERE]}}}), None),
        (
            with_plugins(SERVER, Notifier={"k8sbundle": {"plugin_data": {"namespace": "n", "clusters": [ELSEWHERE]}}}),
            ConfigMapKey("n", "spire-bundle", "bundle.crt"),
        ),
        (
            with_plugins(
                SERVER,
                Notifier=NOTIFIER,
                BundlePublisher={
                    "k8s_configmap": {"plugin_data": {"clusters": {"one": published("nodes", "spire-bundle")}}}
                },
            ),
            ConfigMapKey("nodes", "spire-bundle", "bundle.crt"),
        ),
        (publisher(one=published("x", "y")), ConfigMapKey("x", "y", "bundle.crt")),
        (
            publisher(one=published("x", "y"), two=published("nodes", "spire-bundle")),
            ConfigMapKey("nodes", "spire-bundle", "bundle.crt"),
        ),
        (
            publisher(one=published("x", "y", kubeconfig_path="/elsewhere"), two=published("z", "y")),
            ConfigMapKey("z", "y", "bundle.crt"),
        ),
        (with_plugins(SERVER), None),
    ],
)
def test_where_the_server_writes_its_bundle(config: Any, expected: ConfigMapKey | None) -> None:
    assert layout([*server(config=config), *agent(), csi_driver()]).bundle == expected


@pytest.mark.parametrize(
    "config", [changed(AGENT, trust_bundle_path=None), changed(AGENT, trust_bundle_path="/host/b.crt")]
)
def test_an_agent_may_have_its_bundle_from_elsewhere(config: Any) -> None:
    assert layout([*server(), *agent(config=config), csi_driver()]).agent.bundle is None


@pytest.mark.parametrize(
    ("config", "profile"),
    [
        (with_endpoint(profile={"https_spiffe": {}}), "https_spiffe"),
        (with_endpoint(profile=None), "https_spiffe"),
        (with_endpoint(profile=[{"https_web": {"acme": {}}}]), "https_web"),
        (with_endpoint(profile=None, acme={"email": "a@b.example"}), "https_web"),
    ],
)
def test_the_profile_of_the_bundle_endpoint(config: Any, profile: str) -> None:
    manifests = [*server(config=config), *agent(), csi_driver()]
    assert layout(manifests, profile=None).bundle_endpoint.profile == profile
    if profile == "https_web":
        with pytest.raises(LayoutError, match=r"spire-server\.federation\.bundleEndpoint\.profile"):
            layout(manifests)


@pytest.mark.parametrize(
    ("hint", "seconds"),
    [
        ("5m", 300),
        # What Go reads too: its own grammar is tried in core/test_durations.py.
        ("+5m", 300),
        (".5h", 1800),
        ("0", 0),
    ],
)
def test_the_refresh_hint_is_in_seconds(hint: str, seconds: float) -> None:
    manifests = [*server(config=with_endpoint(refresh_hint=hint)), *agent(), csi_driver()]
    assert layout(manifests).bundle_endpoint.refresh_hint == pytest.approx(seconds)


def test_a_service_may_lead_to_the_bundle_endpoint_by_number() -> None:
    manifests = [*release(), service("endpoint", "identity", "trust", 8443, 9443)]
    manifests = [each for each in manifests if (each["kind"], each["metadata"]["name"]) != ("Service", "trust")]
    manifests.insert(0, service("endpoint", "elsewhere", "trust", 1, 9443))
    manifests.insert(0, service("other", "identity", "other", 1, 9443))
    manifests.insert(0, manifest("Service", "external", "identity", spec={"ports": [{"port": 1, "targetPort": 9443}]}))
    manifests.insert(0, manifest("Service", "headless", "identity", spec={"selector": {"run": "trust"}}))
    assert layout(manifests).bundle_endpoint.service == Service("identity", "endpoint", 8443)


@pytest.mark.parametrize(
    ("port", "target", "expected"),
    [
        # The Service's port leads to the API, or the server listens where no port leads.
        (9443, "api", "no port of Service identity/trust leads there (443 to api, 9443 to api)"),
        (9999, "bundle", "no port of Service identity/trust leads there (443 to api, 9443 to bundle)"),
        (9443, "bundle", ""),
    ],
)
def test_a_service_whose_ports_lead_past_the_bundle_endpoint_is_still_the_servers(
    port: int, target: str, expected: str
) -> None:
    webhook = service("a-webhook", "identity", "trust", 443, "webhook")
    own = service("trust", "identity", "trust", 443, "api")
    own["spec"]["ports"].append({"port": 9443, "targetPort": target})
    programs = [*server(config=with_endpoint(port=port)), *agent(), csi_driver()]
    others = [each for each in programs if each["kind"] != "Service"]
    found = layout([webhook, own, *others]).bundle_endpoint
    assert (found.service, found.leads_elsewhere) == (Service("identity", "trust", port), expected)


def test_of_services_that_lead_past_the_bundle_endpoint_the_one_with_its_port_is_meant() -> None:
    api, own = service("a-api", "identity", "trust", 443, "api"), service("trust", "identity", "trust", 9443, "webhook")
    programs = [each for each in (*server(), *agent(), csi_driver()) if each["kind"] != "Service"]
    found = layout([api, own, *programs]).bundle_endpoint
    assert found.service == Service("identity", "trust", 9443)
    assert found.leads_elsewhere == "no port of Service identity/trust leads there (9443 to webhook)"


@pytest.mark.parametrize(
    ("port", "expected"),
    [(443, "no port of Service identity/trust leads there (it is headless: 443 to 443, 9443 to 9443)"), (8081, "")],
)
def test_a_headless_service_leads_to_the_same_port_of_its_pods(port: int, expected: str) -> None:
    own = service("trust", "identity", "trust", port, "api")
    own["spec"]["ports"].append({"port": 9443, "targetPort": "bundle"})
    own["spec"]["clusterIP"] = "None"
    others = [each for each in (*server(), *agent(), csi_driver()) if each["kind"] != "Service"]
    found = layout([own, *others])
    assert (found.server.leads_elsewhere, found.bundle_endpoint.leads_elsewhere) == (expected, "")


def test_a_port_of_another_protocol_leads_nowhere() -> None:
    own = service("trust", "identity", "trust", 443, "api")
    own["spec"]["ports"][0]["protocol"] = "UDP"
    own["spec"]["ports"].append({"port": 9443, "targetPort": "bundle", "protocol": "TCP"})
    others = [each for each in (*server(), *agent(), csi_driver()) if each["kind"] != "Service"]
    found = layout([own, *others])
    expected = "no port of Service identity/trust leads there (443 to api by UDP, 9443 to bundle)"
    assert (found.server.leads_elsewhere, found.bundle_endpoint.leads_elsewhere) == (expected, "")


@pytest.mark.parametrize(
    ("bind_port", "expected"),
    [
        (None, ""),
        (8081, ""),
        ("8089", "no port of Service identity/trust leads there (443 to api, 444 to bundle)"),
    ],
)
def test_a_service_whose_ports_lead_past_the_servers_api(bind_port: Any, expected: str) -> None:
    found = layout([*server(config=changed(SERVER, bind_port=bind_port)), *agent(), csi_driver()]).server
    assert (found.port, found.leads_elsewhere) == (int(bind_port or 8081), expected)


@pytest.mark.parametrize(
    ("pod", "resolves"),
    [
        ({}, True),
        ({"dnsPolicy": "ClusterFirst"}, True),
        ({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}, True),
        ({"dnsPolicy": "None"}, True),
        ({"dnsPolicy": "Default"}, False),
        # Kubernetes takes Default for it.
        ({"hostNetwork": True}, False),
        ({"hostNetwork": True, "dnsPolicy": "ClusterFirst"}, False),
    ],
)
def test_whether_agents_ask_the_clusters_dns(pod: dict[str, Any], resolves: bool) -> None:
    daemon_set, configuration = agent()
    daemon_set["spec"]["template"]["spec"].update(pod)
    found = layout([*server(), daemon_set, configuration, csi_driver()]).agents[0]
    assert found.resolves_services is resolves


@pytest.mark.parametrize(
    ("variables", "has_proxy"),
    [
        ({"HTTPS_PROXY": "http://proxy:3128"}, True),
        ({"https_proxy": "http://proxy:3128", "NO_PROXY": "10.96.0.0/12,example.org"}, True),
        ({"https_proxy": "http://proxy:3128", "NO_PROXY": "10.96.0.0/12, .identity"}, False),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "*"}, False),
        ({"HTTP_PROXY": "http://proxy:3128"}, False),
    ],
)
def test_whether_agents_ask_their_server_by_a_proxy(variables: dict[str, str], has_proxy: bool) -> None:
    daemon_set, configuration = agent(config=changed(AGENT, server_address="trust.identity"))
    env = [{"name": name, "value": value} for name, value in variables.items()]
    daemon_set["spec"]["template"]["spec"]["containers"][0]["env"] = env
    found = layout([*server(), daemon_set, configuration, csi_driver()]).agents[0]
    assert found.has_proxy is has_proxy


def oidc_provider(config: dict[str, Any], *beside: Manifest, ports: list[dict[str, Any]]) -> list[Manifest]:
    program = container("keys", "-config", "/etc/keys.conf", ports=ports)
    program["volumeMounts"] = [{"name": "etc", "mountPath": "/etc/keys.conf", "subPath": "keys.conf"}]
    deployment = workload("Deployment", "keys", "identity", [program, *beside], etc=from_config_map("keys"))
    return [deployment, config_map("keys", "identity", "keys.conf", {"domains": ["keys.example"], **config})]


@pytest.mark.parametrize("serving", [{"serving_cert_file": {"addr": ":8443"}}, {"acme": {"email": "a@keys.example"}}])
def test_an_oidc_provider_that_serves_https(serving: dict[str, Any]) -> None:
    config = {"workload_api": {"socket_path": "/x"}, "server_path_prefix": "/one", **serving}
    provider = oidc_provider(config, ports=[{"containerPort": 8443, "name": "https"}])
    found = layout([*release(), *provider, service("keys", "identity", "keys", 443, "https")]).oidc_provider
    assert found is not None
    assert (found.name, found.container.name, found.tls) == ("keys", "keys", True)
    assert found.service == Service("identity", "keys", 443)
    assert (found.domains, found.path) == (("keys.example",), "/one")


def test_an_oidc_provider_behind_a_web_server() -> None:
    web_server = container("web", ports=[{"containerPort": 8080, "name": "http"}])
    provider = oidc_provider({"file": {"path": "/x"}}, web_server, ports=[{"containerPort": 8008, "name": "health"}])
    found = layout([*release(), *provider, service("keys", "identity", "keys", 80, "http")]).oidc_provider
    assert found is not None
    assert (found.container.name, found.tls, found.service) == ("keys", False, Service("identity", "keys", 80))


def test_tornjak_is_a_container_of_the_server_and_a_page() -> None:
    manifests = release()
    flags = ("--spire-config", "/etc/server.conf", "--tornjak-config", "/etc/tornjak.conf")
    backend = container("api", *flags, ports=[{"containerPort": 10000, "name": "http"}])
    manifests[0]["spec"]["template"]["spec"]["containers"].append(backend)
    page = container("page", env=[{"name": "REACT_APP_API_SERVER_URI", "value": "x"}], ports=[{"containerPort": 3000}])
    manifests += [
        workload("Deployment", "page", "identity", [page]),
        service("api", "identity", "trust", 10000, "http"),
        service("page", "identity", "page", 80, 3000),
    ]
    found = layout(manifests)
    assert found.tornjak_backend is not None
    assert str(found.tornjak_backend) == str(found.server)
    assert (found.tornjak_backend.container.name, found.tornjak_backend.service) == (
        "api",
        Service("identity", "api", 10000),
    )
    assert found.tornjak_backend.version == "1"
    assert found.tornjak_frontend is not None
    assert (str(found.tornjak_frontend), found.tornjak_frontend.service) == (
        "Deployment identity/page",
        Service("identity", "page", 80),
    )
    assert found.server.container.name == "program"


def test_hooks_are_jobs_that_helm_runs_with_the_release() -> None:
    def job(name: str, when: str | None) -> Manifest:
        annotations = {"helm.sh/hook": when} if when else {}
        return manifest("Job", name, "identity", "batch/v1", metadata={"annotations": annotations})

    tests = [job(when, when) for when in ("test", "test-success", "test-failure", "test-success,test-failure")]
    jobs = [job("before", "pre-upgrade, post-install"), job("both", "test,post-upgrade"), job("plain", None)]
    assert layout([*release(), *tests, *jobs]).hooks == ("identity/before", "identity/both")
    hook_with_pods = workload("Deployment", "other", "identity", [container("other")])
    hook_with_pods["metadata"]["annotations"] = {"helm.sh/hook": "pre-install"}
    assert "other" not in layout([*release(), hook_with_pods]).images


def test_federated_trust_domains_and_static_entries_of_the_release_are_listed() -> None:
    api = "spire.spiffe.io/v1alpha1"
    profile = {"type": "https_spiffe", "endpointSPIFFEID": "spiffe://two.example/spire/server"}
    domain = {
        "className": "mine",
        "trustDomain": "two.example",
        "bundleEndpointURL": "https://x",
        "bundleEndpointProfile": profile,
    }
    entry = {
        "className": "mine",
        "spiffeID": "spiffe://one.example/a",
        "parentID": "spiffe://one.example/b",
        "selectors": ["k8s:ns:demo"],
        "federatesWith": ["two.example"],
    }
    found = layout(
        [
            *release(),
            manifest("ClusterFederatedTrustDomain", "two", api=api, spec=domain),
            manifest("ClusterStaticEntry", "a", api=api, spec=entry),
            manifest("ClusterStaticEntry", "foreign", api="example.com/v1", spec={}),
        ]
    )
    (federated,) = found.cluster_federated_trust_domains
    assert (federated.name, federated.class_name, federated.trust_domain) == ("two", "mine", "two.example")
    assert (federated.url, federated.profile) == ("https://x", "https_spiffe")
    assert federated.endpoint_spiffe_id == "spiffe://two.example/spire/server"
    (static,) = found.cluster_static_entries
    assert (static.spiffe_id, static.parent_id) == ("spiffe://one.example/a", "spiffe://one.example/b")
    assert (static.selectors, static.federates_with) == (("k8s:ns:demo",), ("two.example",))


NESTED = {**SERVER, "plugins": {"UpstreamAuthority": {"spire": {"plugin_data": {"server_address": "root.other"}}}}}
HCL = 'server {\n  trust_domain = "one.example"\n}\n'


def test_a_service_that_lacks_the_endpoints_port_or_selects_nothing_is_for_the_run_to_find() -> None:
    found = layout([*server(config=with_endpoint(port=1)), *agent(), csi_driver()])
    assert found.bundle_endpoint.service == Service("identity", "trust", 1)
    manifests = [*server(), *agent(), csi_driver()]
    for each in manifests:
        if each["kind"] == "Service":
            each["spec"]["selector"] = {"run": "nothing"}
        if each["kind"] == "StatefulSet":
            each["spec"]["serviceName"] = "trust"
    assert layout(manifests).bundle_endpoint.service == Service("identity", "trust", 9443)


@pytest.mark.parametrize("name", ["trust", "nodes-agent", "trust-manager"])
@pytest.mark.parametrize("wrong", ["volume", "key", "folder"])
def test_a_configuration_that_a_pod_does_not_get_is_for_the_run_to_find(name: str, wrong: str) -> None:
    manifests = copy.deepcopy(release())
    for each in manifests:
        if each["kind"] in ("StatefulSet", "DaemonSet"):
            pod = each["spec"]["template"]["spec"]
            for volume in pod["volumes"]:
                source = volume.get("configMap") or {}
                if source.get("name") == name and wrong == "volume":
                    source["name"] = f"{name}-config"
                elif source.get("name") == name and wrong == "key":
                    source["items"] = [{"key": "nowhere.conf", "path": "nowhere.conf"}]
                elif source.get("name") == name:
                    for container in pod["containers"]:
                        for mount in container["volumeMounts"]:
                            if mount["name"] == volume["name"]:
                                mount["mountPath"] = "/elsewhere"
    found, right = layout(manifests), layout(release())
    assert found.trust_domain == right.trust_domain
    assert found.controller_manager.class_name == right.controller_manager.class_name
    assert [each.socket_folder for each in found.agents] == [each.socket_folder for each in right.agents]


@pytest.mark.parametrize(
    ("address", "service"),
    [
        ("trust", ("nodes", "trust")),
        ("trust.identity", ("identity", "trust")),
        ("trust.identity.svc.cluster.local", ("identity", "trust")),
        ("spire.corp.example", None),
        ("10.0.0.1", None),
        ("fd00::1", None),
        ("", None),
    ],
)
def test_the_service_at_which_agents_ask_for_their_server(address: str, service: tuple[str, str] | None) -> None:
    found = layout([*server(), *agent(config=changed(AGENT, server_address=address)), csi_driver()])
    assert found.agents[0].server_service == service


def test_a_controller_manager_may_look_for_the_servers_socket_where_it_is_not() -> None:
    def missed(path: str, *, volume: str = "private") -> str:
        manifests = [*server(manager=changed(MANAGER, spireServerSocketPath=path)), *agent(), csi_driver()]
        manager, program = manifests[0]["spec"]["template"]["spec"]["containers"]
        program["volumeMounts"].append({"name": "private", "mountPath": "/tmp/spire-server/private"})  # noqa: S108
        manager["volumeMounts"].append({"name": volume, "mountPath": "/spire-server"})
        manifests[0]["spec"]["template"]["spec"]["volumes"] += [{"name": each} for each in ("private", "other")]
        return layout(manifests).controller_manager.missed_socket

    assert missed("/spire-server/api.sock") == ""
    assert missed("") == ""
    assert missed("/spire-server/other.sock") == "/spire-server/other.sock"
    assert missed("/elsewhere/api.sock") == "/elsewhere/api.sock"
    assert missed("/spire-server/api.sock", volume="other") == "/spire-server/api.sock"


def test_a_configuration_that_is_nowhere_is_refused_with_its_place() -> None:
    manifests = [each for each in release() if each["metadata"]["name"] != "trust" or each["kind"] != "ConfigMap"]
    for each in manifests:
        if each["kind"] == "StatefulSet":
            each["spec"]["template"]["spec"]["containers"][1]["name"] = "spire-server"
    with pytest.raises(LayoutError) as error:
        layout(manifests)
    assert str(error.value) == (
        "StatefulSet identity/trust runs spire-server, and the release does not have its configuration "
        "in ConfigMap identity/trust, key server.conf"
    )


@pytest.mark.parametrize(
    ("manifests", "key"),
    [
        ([], "spire-server.enabled"),
        ([*agent(), csi_driver()], "spire-server.enabled"),
        ([*server(config=HCL), *agent(), csi_driver()], "HCL"),
        ([*server(config=changed(SERVER, federation=None)), *agent(), csi_driver()], "spire-server.federation.enabled"),
        ([*server(), *server("second"), *agent(), csi_driver()], "spire-server.federation.enabled"),
        ([*server(config=NESTED), *agent(), csi_driver()], "spire-server.upstreamAuthority.spire.enabled"),
        (
            [*server(config=NESTED), *server("other", config=changed(SERVER, federation=None)), *agent(), csi_driver()],
            "spire-server.upstreamAuthority.spire.enabled",
        ),
        (
            [*server(config=with_endpoint(port="${PORT}")), *agent(), csi_driver()],
            "spire-server.federation.bundleEndpoint.port",
        ),
        (
            [*server(config=with_endpoint(refresh_hint="soon")), *agent(), csi_driver()],
            "spire-server.federation.bundleEndpoint.refreshHint",
        ),
        (
            [*server(config=with_endpoint(refresh_hint="5m and more")), *agent(), csi_driver()],
            "spire-server.federation.bundleEndpoint.refreshHint",
        ),
        ([*server(), csi_driver()], "spire-agent.enabled"),
        (
            [*server(), *agent(config=changed(AGENT, socket_path="/elsewhere/x.sock")), csi_driver()],
            "spire-agent.socketPath",
        ),
        (
            [*server(), *agent(config=changed(AGENT, socket_path="/bundle/x.sock")), csi_driver()],
            "spire-agent.socketPath",
        ),
        ([*server(), *agent()], "spiffe-csi-driver.enabled"),
        ([*server(), *agent(), csi_driver(mount="/elsewhere")], "spiffe-csi-driver.agentSocketPath"),
        ([*server(), *agent(kind="Deployment"), csi_driver()], "spire-agent.enabled"),
        ([*server(manager=None), *agent(), csi_driver()], "spire-server.controllerManager.enabled"),
        (
            [*server(manager=changed(MANAGER, staticManifestPath="/manifests")), *agent(), csi_driver()],
            "spire-server.controllerManager.staticManifestMode",
        ),
        (
            [*server(manager=changed(MANAGER, ignoreNamespaces=["("])), *agent(), csi_driver()],
            "spire-server.controllerManager.ignoreNamespaces",
        ),
        # Python's, and not Go's.
        (
            [*server(manager=changed(MANAGER, ignoreNamespaces=["^(?!demo).*"])), *agent(), csi_driver()],
            "spire-server.controllerManager.ignoreNamespaces",
        ),
        (
            [*server(manager=changed(MANAGER, ignoreNamespaces="kube-system")), *agent(), csi_driver()],
            "spire-server.controllerManager.ignoreNamespaces",
        ),
        (
            release(identity("a", podSelector={"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]})),
            "spire-server.controllerManager.identities.clusterSPIFFEIDs",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence_with_its_key(manifests: list[Manifest], key: str) -> None:
    with pytest.raises(LayoutError) as error:
        layout(manifests)
    assert key in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_may_be_of_a_volume_with_a_sub_path_in_a_working_directory() -> None:
    manifests = release()
    program = manifests[0]["spec"]["template"]["spec"]["containers"][1]
    program |= {"workingDir": "/opt", "args": ["-config", "conf/server.conf"]}
    program["volumeMounts"] = [
        {"name": "missing", "mountPath": "/opt/conf/server.conf"},
        {"name": "etc", "mountPath": "/opt/conf", "subPath": "deep"},
    ]
    volumes = manifests[0]["spec"]["template"]["spec"]["volumes"]
    volumes[0] |= from_config_map("trust", items=[{"key": "server.conf", "path": "deep/server.conf"}])
    assert layout(manifests).server.configuration == ConfigMapKey("identity", "trust", "server.conf")
    volumes[0] |= from_config_map("trust", items=[{"key": "server.conf", "path": "server.conf"}])
    assert layout(manifests).server.configuration is None


def test_the_folder_of_a_longer_mount_goes_before_that_of_a_shorter_one() -> None:
    manifests = release()
    daemon_set = next(
        each for each in manifests if each["metadata"]["name"] == "nodes-agent" and each["kind"] == "DaemonSet"
    )
    pod = daemon_set["spec"]["template"]["spec"]
    pod["containers"][0]["volumeMounts"].insert(0, {"name": "root", "mountPath": "/"})
    pod["volumes"].append({"name": "root", **of_node("/everything")})
    assert layout(manifests).agent.socket_folder == "/run/node/inside"


def test_a_configuration_in_json_may_be_indented_and_have_numbers_as_text() -> None:
    manifests = release()
    next(each for each in manifests if each["kind"] == "ConfigMap")["data"]["server.conf"] = json.dumps(
        with_endpoint(port="9443"), indent=2
    )
    assert layout(manifests).bundle_endpoint.port == 9443


def test_a_setting_that_is_not_in_the_configuration_has_the_programs_default() -> None:
    manifests = [*server(), *agent(config=changed(AGENT, socket_path=None)), csi_driver(folder="/run/node")]
    for each in manifests:
        if each["kind"] == "DaemonSet":
            program = each["spec"]["template"]["spec"]["containers"][-1]
            program["args"] = [word for word in program["args"] if word not in ("-plugin-name", "one.csi.example")]
            program["volumeMounts"] += [{"name": "sockets", "mountPath": "/tmp/spire-agent/public"}]  # noqa: S108
    found = layout(manifests)
    assert (found.agent.socket_folder, found.agent.socket_name) == ("/run/node", "api.sock")
    assert found.csi_driver.driver == "csi.spiffe.io"


@pytest.mark.parametrize(
    "words",
    [
        {"command": ["/program", "run", "--config", "/etc/server.conf"], "args": ["-expandEnv"]},
        {"command": ["/program"], "args": ["config", "-v", "-config", "/etc/server.conf"]},
        {"args": ["--config=/etc/server.conf"]},
    ],
)
def test_a_flag_may_be_written_in_several_ways(words: dict[str, list[str]]) -> None:
    manifests = release()
    program = manifests[0]["spec"]["template"]["spec"]["containers"][1]
    del program["args"]
    program |= words
    assert layout(manifests).server.configuration == ConfigMapKey("identity", "trust", "server.conf")


def test_what_manifests_leave_out_or_set_to_null_is_empty() -> None:
    empty = [
        workload("Deployment", "nothing", "identity", [container("nothing", env=None, ports=None)]),
        manifest("Deployment", "null", api="apps/v1", spec={"template": {"spec": {"containers": None}}}),
        manifest("ConfigMap", "trust", "elsewhere", data=None),
        manifest("Service", "null", "identity", spec=None),
        manifest("ClusterSPIFFEID", "null", api="spire.spiffe.io/v1alpha1", spec=None),
        manifest("ClusterFederatedTrustDomain", "null", api="spire.spiffe.io/v1alpha1", spec={"trustDomain": None}),
        manifest("ClusterStaticEntry", "null", api="spire.spiffe.io/v1alpha1"),
    ]
    empty[0]["spec"]["template"]["spec"]["containers"][0] |= {"args": None, "volumeMounts": None}
    found = layout([*empty, *release()])
    (identity_of_nothing,) = found.cluster_spiffe_ids
    assert (identity_of_nothing.template, identity_of_nothing.class_name, identity_of_nothing.hint) == ("", "", "")
    assert found.cluster_federated_trust_domains[0].trust_domain == ""
    assert found.cluster_static_entries[0].selectors == ()
    null = next(each for each in found.workloads if each.name == "null")
    assert (null.containers, null.selector, null.labels) == ((), {}, {})


HELPER = container("spiffe-helper", mounts={"certificates": "/certs"})
READER = {**HELPER, "volumeMounts": [{"name": "certificates", "mountPath": "/certs", "readOnly": True}]}


@pytest.mark.parametrize(
    ("beside", "source", "unrenewed"),
    [
        ({}, {"emptyDir": {}}, "/certs/tls.crt"),
        ({}, {}, "/certs/tls.crt"),
        ({"initContainers": [HELPER]}, {"emptyDir": {}}, "/certs/tls.crt"),
        ({"initContainers": [{**HELPER, "restartPolicy": "Always"}]}, {"emptyDir": {}}, ""),
        ({"containers": [HELPER]}, {"emptyDir": {"medium": "Memory"}}, ""),
        ({"containers": [container("reader", mounts={"other": "/certs"})]}, {"emptyDir": {}}, "/certs/tls.crt"),
        ({"containers": [READER]}, {"emptyDir": {}}, "/certs/tls.crt"),
        # cert-manager, or whoever made the Secret.
        ({}, {"secret": {"secretName": "tls"}}, ""),
        ({}, {"csi": {"driver": "csi.cert-manager.io"}}, ""),
    ],
)
def test_a_certificate_that_nothing_renews_is_known(
    beside: dict[str, Any], source: dict[str, Any], unrenewed: str
) -> None:
    files = {"cert_file_path": "/certs/tls.crt", "key_file_path": "/certs/tls.key", "addr": ":8443"}
    config = {"domains": ["oidc.example"], "workload_api": {}, "serving_cert_file": files}
    mounts = {"config": "/etc/oidc", "certificates": "/certs"}
    provider = container("provider", "-config", "/etc/oidc/oidc.conf", mounts=mounts)
    made = workload("Deployment", "oidc", "identity", [provider], config=from_config_map("oidc"), certificates=source)
    pod = made["spec"]["template"]["spec"]
    pod["containers"] = [*pod["containers"], *beside.get("containers", ())]
    pod["initContainers"] = beside.get("initContainers", [])
    found = layout(release(config_map("oidc", "identity", "oidc.conf", config), made)).oidc_provider
    assert found is not None
    assert (found.tls, found.unrenewed_certificate) == (True, unrenewed)


def test_where_the_paths_of_ingresses_lead_is_known() -> None:
    def path(to: str, **port: Any) -> dict[str, Any]:
        return {"path": "/", "backend": {"service": {"name": to, "port": port}}}

    named = service("named", "identity", "trust", 443, "grpc")
    named["spec"]["ports"][0]["name"] = "https"
    rules: list[dict[str, Any]] = [
        {"http": {"paths": [path("trust", number=444), path("named", name="https")]}},
        {"host": "without paths"},
    ]
    rules.append({"http": {"paths": [path("trust", number=445), path("named", name="http"), path("gone", number=1)]}})
    spec = {"rules": rules, "defaultBackend": {"resource": {"kind": "StorageBucket", "name": "static"}}}
    found = layout(release(named, manifest("Ingress", "web", "identity", spec=spec))).ingress_paths
    assert {each.ingress for each in found} == {"identity/web"}
    assert [(each.service, each.port, each.backend.partition(" of ")[0]) for each in found] == [
        (("identity", "trust"), 444, "port 444"),
        (("identity", "named"), 443, "port https"),
        (("identity", "trust"), 0, "port 445"),
        (("identity", "named"), 0, "port http"),
        (("identity", "gone"), 0, "port 1"),
    ]
    assert found[0].backend == "port 444 of Service identity/trust"


NGINX, OPENSHIFT = "nginx.ingress.kubernetes.io/", "route.openshift.io/termination"


@pytest.mark.parametrize(
    ("annotations", "tls", "ends"),
    [
        ({}, [], False),
        ({f"{NGINX}backend-protocol": "HTTPS"}, [{"hosts": ["a.example"]}], True),
        ({f"{NGINX}backend-protocol": "HTTPS", f"{NGINX}ssl-passthrough": "false"}, [], True),
        ({f"{NGINX}backend-protocol": "HTTPS", f"{NGINX}ssl-passthrough": "true"}, [], False),
        ({f"{NGINX}backend-protocol": "HTTPS", f"{NGINX}ssl-passthrough": True}, [], False),
        ({f"{NGINX}backend-protocol": "HTTPS", "haproxy.org/ssl-passthrough": "true"}, [], False),
        ({"haproxy.org/check": "true"}, [], False),
        # It ends there on purpose, with a certificate of the web.
        ({f"{NGINX}backend-protocol": "HTTPS"}, [None, {"secretName": "web"}], False),
        ({OPENSHIFT: "passthrough"}, [], False),
        ({OPENSHIFT: "reencrypt"}, [], False),
        ({OPENSHIFT: "edge"}, [], True),
    ],
)
def test_an_ingress_that_ends_tls_without_a_certificate_of_its_own_is_known(
    annotations: dict[str, Any], tls: list[Any], *, ends: bool
) -> None:
    spec = {"defaultBackend": {"service": {"name": "trust", "port": {"number": 444}}}, "tls": tls}
    web = manifest("Ingress", "web", "identity", spec=spec, metadata={"annotations": annotations})
    assert [each.ends_tls for each in layout(release(web)).ingress_paths] == [ends]


def test_one_administrator_may_be_given_as_a_text() -> None:
    config = changed(SERVER, admin_ids="spiffe://one.example/console")
    assert layout([*server(config=config), *agent(), csi_driver()]).server.admin_ids == (
        "spiffe://one.example/console",
    )


def test_the_names_by_which_a_release_is_asked_from_outside_are_read() -> None:
    ingress = manifest("Ingress", "web", "identity", spec={"rules": [{"host": "one.example"}, {"http": {"paths": []}}]})
    route = manifest("TLSRoute", "tls", "identity", spec={"hostnames": ["two.example", "three.example"]})
    gateway = manifest("Gateway", "all", "identity", spec={"listeners": [{"hostname": "*.example"}, {"name": "any"}]})
    found = layout(release(ingress, route, gateway)).hosts
    assert found == {"one.example", "two.example", "three.example", "*.example"}


def extended(kind: str, **fields: Any) -> list[Manifest]:
    """The release with more in the pod of its server (`StatefulSet`) or agent (`DaemonSet`): containers, volumes."""
    manifests = release()
    pod = next(each for each in manifests if each["kind"] == kind)["spec"]["template"]["spec"]
    for field, more in fields.items():
        pod[field] = [*(pod.get(field) or ()), *more]
    return manifests


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"containers": [{"image": "x"}]}, "a container of StatefulSet identity/trust has no name"),
        (
            {"containers": [container("x", env=[{"value": "1"}])]},
            "a variable of StatefulSet identity/trust has no name",
        ),
        ({"initContainers": [{"name": "x", "volumeMounts": [{"name": "v"}]}]}, "a mount of .* has no mountPath"),
        ({"volumes": [{"emptyDir": {}}]}, "a volume of StatefulSet identity/trust has no name: see the values' keys"),
    ],
)
def test_what_the_api_server_would_refuse_is_refused_in_a_sentence(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(LayoutError, match=said):
        layout(extended("StatefulSet", **fields))


@pytest.mark.parametrize("requirement", [{"key": "team"}, {"operator": "Exists"}])
def test_a_requirement_that_is_none_is_refused_in_a_sentence(requirement: dict[str, str]) -> None:
    with pytest.raises(LayoutError, match="a requirement of a label selector has no key or no operator"):
        layout(release(identity("own", podSelector={"matchExpressions": [requirement]})))


def test_a_service_with_a_port_twice_is_refused_in_a_sentence() -> None:
    manifests = release()
    (of_trust,) = (each for each in manifests if each["kind"] == "Service")
    of_trust["spec"]["ports"] += [{"port": 444, "targetPort": "api", "protocol": "UDP"}]
    layout(manifests)
    of_trust["spec"]["ports"] += [{"port": 444, "targetPort": "api"}]
    with pytest.raises(LayoutError, match=r"^Service identity/trust has port 444 twice: see "):
        layout(manifests)


def test_a_container_that_reads_a_programs_file_is_not_another_one_of_it() -> None:
    beside = container("exporter", "-config", "/etc/server.conf", mounts={"etc": "/etc"})
    named = {**beside, "name": "spire-server"}
    assert layout(extended("StatefulSet", containers=[beside])).server.container.name == "program"
    assert layout(extended("StatefulSet", containers=[beside, named])).server.container.name == "spire-server"
    beside = container("exporter", "-config", "/etc/agent.conf", mounts={"etc": "/etc"})
    assert [each.container.name for each in layout(extended("DaemonSet", containers=[beside])).agents] == ["agent"]


def test_a_controller_manager_with_a_kubeconfig_is_for_another_cluster() -> None:
    elsewhere = container("manager-north", "--config=/manager/manager.yaml", "--kubeconfig=/kubeconfigs/north")
    elsewhere["volumeMounts"] = [{"name": "manager", "mountPath": "/manager"}]
    assert layout(extended("StatefulSet", containers=[elsewhere])).controller_manager.container.name == "manager"
    manifests = extended("StatefulSet", containers=[elsewhere])
    containers = manifests[0]["spec"]["template"]["spec"]["containers"]
    containers[:] = [each for each in containers if each["name"] != "manager"]
    with pytest.raises(LayoutError, match=r"no controller manager is installed: see spire-server\.controllerManager"):
        layout(manifests)


def policy(name: str = "policy", namespace: str = "identity", **spec: Any) -> Manifest:
    """A NetworkPolicy, by default for every pod of the server's namespace."""
    return manifest("NetworkPolicy", name, namespace, "networking.k8s.io/v1", spec={"podSelector": {}, **spec})


def ingress_to(name: str) -> Manifest:
    """An Ingress that leads to a Service of the server's namespace."""
    paths = [{"backend": {"service": {"name": name, "port": {"number": 8443}}}}]
    return manifest("Ingress", "way", "identity", "networking.k8s.io/v1", spec={"rules": [{"http": {"paths": paths}}]})


def peer(url: str) -> Manifest:
    """A ClusterFederatedTrustDomain whose bundle endpoint is there."""
    spec = {"trustDomain": "a.example", "bundleEndpointURL": url, "bundleEndpointProfile": {"type": "https_web"}}
    return manifest("ClusterFederatedTrustDomain", "a", api="spire.spiffe.io/v1alpha1", spec=spec)


def route_to(name: str) -> Manifest:
    """A route of the Gateway API to a Service of the server's namespace."""
    rules = [{"backendRefs": [{"name": name, "namespace": "identity", "port": 8443}]}]
    return manifest("TLSRoute", "way", "gateways", "gateway.networking.k8s.io/v1alpha2", spec={"rules": rules})


API_CLOSED = "NetworkPolicy identity/policy lets nobody to port 8081 of StatefulSet identity/trust, its API: no agent"
ENDPOINT_FOR_PODS = "NetworkPolicy identity/policy lets nobody from outside the cluster to port 9443 of StatefulSet "
NO_PEER = "NetworkPolicy identity/policy lets StatefulSet identity/trust to nobody outside the cluster at port 444: "
ENDPOINT_CLOSED = "NetworkPolicy identity/policy lets nobody to port 9443 of StatefulSet identity/trust, the bundle end"


@pytest.mark.parametrize(
    ("policies", "closed"),
    [
        ([policy()], [API_CLOSED, ENDPOINT_CLOSED]),
        ([policy(ingress=[{}])], []),
        ([policy(ingress=[{"ports": [{"port": "api"}]}])], [ENDPOINT_CLOSED]),
        ([policy(ingress=[{"ports": [{"port": 8081}], "from": [{"podSelector": {}}]}])], [ENDPOINT_CLOSED]),
        ([policy(ingress=[{"from": [{"podSelector": {}}]}])], []),
        ([policy(ingress=[{"ports": [None]}])], []),
        ([policy(policyTypes=["Egress"], egress=[{"ports": [{"port": 53}, {"port": 443}]}])], [NO_PEER]),
        ([policy(policyTypes=["Egress"], egress=[{"ports": [{"port": "https"}]}])], [NO_PEER]),
        ([policy(policyTypes=["Egress"], egress=[{"to": [None, {"podSelector": {}}]}])], [NO_PEER]),
        ([policy(policyTypes=["Egress"], egress=[{"ports": [{"port": 443}]}]), peer("https://a.example/")], []),
        ([policy(policyTypes=["Egress"], egress=[{"ports": [{"port": 444}]}]), peer("https://a.example:444")], []),
        (
            [policy(policyTypes=["Egress"], egress=[{"ports": [{"port": 443}]}]), peer("https://a.example:444")],
            [NO_PEER],
        ),
        ([policy(policyTypes=["Egress"], egress=[{"ports": [{"port": 53}]}]), peer("https://a.example:x")], [NO_PEER]),
        ([policy(policyTypes=["Egress"], egress=[{"ports": [{"port": 444}]}])], []),
        ([policy(policyTypes=["Egress"], egress=[{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}])], []),
        # Without types it is for egress where it has rules for that, and for ingress in any case.
        ([policy(ingress=[{}], egress=[{"ports": [{"port": 53}]}])], [NO_PEER]),
        ([policy(ingress=[{"ports": [{"port": 8000, "endPort": 9443}]}])], []),
        ([policy(ingress=[{"ports": [{"protocol": "UDP", "port": 9443}, {"port": "api"}]}])], [ENDPOINT_CLOSED]),
        ([policy(ingress=[{"ports": [{"protocol": "TCP"}]}])], []),
        ([policy(ingress=[{"ports": [{"port": "metrics"}]}])], [API_CLOSED, ENDPOINT_CLOSED]),
        ([policy(ingress=[None, {}])], []),
        # Calico's, for egress alone.
        ([{**policy(types=["Egress"]), "apiVersion": "crd.projectcalico.org/v1"}], []),
        # What one of several allows is allowed.
        ([policy(), policy("other", ingress=[{"ports": [{"port": "bundle"}, {"port": "api"}]}])], []),
        ([policy(policyTypes=["Egress"])], [NO_PEER]),
        ([policy(podSelector={"matchLabels": {"run": "another"}})], []),
        ([policy(namespace="nodes")], []),
    ],
)
def test_ports_that_network_policies_keep_from_everybody_are_known(policies: list[Manifest], closed: list[str]) -> None:
    found = layout(release(*policies))
    assert len(found.closed_ports) == len(closed)
    assert all(each.startswith(words) for each, words in zip(found.closed_ports, closed, strict=True))
    assert [each for each in contradictions(found) if each.startswith("NetworkPolicy")] == [
        f"{each}, where the cluster's network enforces policies" for each in found.closed_ports
    ]
    assert known_to_others(layout(release()), found) == [*found.closed_ports]
    assert known_to_others(found, found) == []


def test_how_long_an_entry_may_take_is_read() -> None:
    assert layout(release()).entry_delay == 20.0
    slow = {"experimental": {"cache_reload_interval": "20s"}}
    manifests = [*server(config=changed(SERVER, **slow), manager=changed(MANAGER, gcInterval=30_000_000_000))]
    manifests += [*agent(config=changed(AGENT, experimental={"sync_interval": "25s"})), csi_driver()]
    assert layout(manifests).entry_delay == 75.0  # 30 s, 20 s and 25 s
    # As Helm prints large numbers; and where it is long, something else makes the controller manager try.
    for given, seconds in (("2e+10", 30.0), ("20s", 30.0), ("1h", 40.0), (["1m"], 20.0)):
        manifests = [*server(manager=changed(MANAGER, gcInterval=given)), csi_driver()]
        manifests += agent(config=changed(AGENT, experimental={"sync_interval": "soon"}))
        assert layout(manifests).entry_delay == seconds


FOR_PODS = policy(ingress=[{"from": [{"podSelector": {}}]}])
FOR_ALL = policy("all", ingress=[{"from": [None, {"ipBlock": {"cidr": "0.0.0.0/0"}}]}])


@pytest.mark.parametrize(
    ("kind", "objects", "is_closed"),
    [
        ("LoadBalancer", [FOR_PODS], True),
        ("LoadBalancer", [FOR_PODS, FOR_ALL], False),
        ("LoadBalancer", [FOR_PODS, ingress_to("trust")], False),
        ("LoadBalancer", [FOR_PODS, route_to("trust")], False),
        ("LoadBalancer", [FOR_PODS, ingress_to("other")], True),
        # Whatever leads there is in the cluster.
        ("ClusterIP", [FOR_PODS], False),
    ],
)
def test_peers_that_come_from_outside_are_no_pods(kind: str, objects: list[Manifest], *, is_closed: bool) -> None:
    manifests = release(*objects)
    (service,) = (each for each in manifests if each["kind"] == "Service" and each["metadata"]["name"] == "trust")
    service["spec"]["type"] = kind
    closed = layout(manifests).closed_ports
    assert [each.startswith(ENDPOINT_FOR_PODS) for each in closed] == [True] * is_closed


def test_what_others_hold_of_a_release_is_read() -> None:
    config = changed(AGENT, sds={"default_bundle_name": "ROOT"}, authorized_delegates=["spiffe://one.example/proxy"])
    config = changed(config, admin_socket_path="/sockets/admin/admin.sock")
    keys = {"KeyManager": [{"disk": {"plugin_data": {"keys_path": "/data/keys.json"}}}]}
    of_server = changed(
        {**SERVER, "plugins": {**SERVER["plugins"], **keys}}, admin_ids=["spiffe://one.example/console"]
    )
    manifests = [*server(config=of_server), *agent(config=config), csi_driver()]
    data = {"name": "data", "mountPath": "/data", "subPath": "spire"}
    manifests[0]["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}}]
    manifests[0]["spec"]["template"]["spec"]["containers"][1]["volumeMounts"].append(data)
    (of_trust,) = (each for each in manifests if each["kind"] == "Service")
    of_trust["spec"] |= {"type": "NodePort", "externalIPs": ["192.0.2.9"]}
    of_trust["spec"]["ports"][1]["nodePort"] = 30444
    found = layout(manifests)
    assert found.agent.sds_names == ("default", "ROOT", "ALL")
    assert found.agent.delegates == ("spiffe://one.example/proxy",)
    assert found.agent.admin_socket == "/run/node/admin/admin.sock"
    assert found.server.admin_ids == ("spiffe://one.example/console",)
    assert found.server.stores == ("spire/keys.json in volume data",)
    assert found.server.api == Service("identity", "trust", 443, ("type NodePort", "192.0.2.9"))
    assert found.bundle_endpoint.service.ways_in == ("type NodePort", "port 30444 of every node", "192.0.2.9")
