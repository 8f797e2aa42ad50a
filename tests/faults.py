"""The faults that the suite must catch: how each is injected, which check fails and why, what the diagnosis must say.

Each of them has happened to somebody: a renamed value, an object without its class, a bundle that nobody renewed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fixtures.resilience.disruptions import (
    close_forward,
    controller,
    drop_packets,
    install_variant,
    pause_nodes,
    redirect_forward,
)
from fixtures.resilience.environment import Environment
from fixtures.resilience.objects import KubernetesObject, apply_object
from fixtures.spire.authorities import Authorities
from fixtures.spire.federation import object_name
from fixtures.spire.installation import Spire
from fixtures.spire.layout import Component, NodeComponent, Workload
from fixtures.spire.layout.custom_resources import (
    API_VERSION,
    CLUSTER_SPIFFE_IDS,
    FEDERATION_RESOURCE,
    IDENTITY_RESOURCE,
)

Inject = Callable[[Environment, ExitStack], None]
# What a fault that is already met by the installation itself is caught by.
INSTALLATION = "installation"
NOWHERE = {"kubernetes.io/hostname": "nowhere"}
# What several faults have in common: the check, the reason and the link, and for some the sentence.
NOT_LISTED = ("federation list", r"client: federation list shows \[\]", "federation relationship")
NO_ENTRY = ("entries federate", "None", "entry with federatesWith", "has no entry")
NOT_FEDERATED = ("entries federate", "those that do not federate", "entry with federatesWith")
ENDPOINT_REFUSED = ("endpoints", "connection refused", "endpoint reachable")
NOT_SERVED = (
    "endpoints",
    "refused|EOF|reset",
    "endpoint reachable",
    "its endpoint .* (refuses|closes) connections|does not listen",
)


@dataclass(frozen=True)
class Fault:
    """A fault. `kind` is where it is injected: values, manifests, objects or network.

    `check` is one of `tests.checks.CHECKS` (or `INSTALLATION`), `reason` a pattern that its error must match; `link` is
    the one that the diagnosis must name, and `sentence` a pattern of what it must say.
    """

    name: str
    kind: str
    inject: Inject
    check: str
    reason: str
    link: str
    sentence: str

    def __str__(self) -> str:
        return self.name


FAULTS: list[Fault] = []


def fault(kind: str, check: str, reason: str, link: str, sentence: str) -> Callable[[Inject], Inject]:
    """Add what this decorates to the faults, under its own name."""

    def add(inject: Inject) -> Inject:
        name = inject.__name__.replace("_", "-")
        FAULTS.append(Fault(name, kind, inject, check, reason, link, sentence))
        return inject

    return add


def federation_object(spire: Spire, peer: Spire) -> KubernetesObject:
    """The ClusterFederatedTrustDomain with which a cluster federates with a peer."""
    return KubernetesObject(spire.cluster, FEDERATION_RESOURCE, object_name(peer.trust_domain))


def default_cluster_spiffe_id(spire: Spire) -> KubernetesObject:
    """The ClusterSPIFFEID from which the demo's pods have their entries."""
    found = spire.custom_resources(CLUSTER_SPIFFE_IDS)
    (name,) = (item["metadata"]["name"] for item in found if item["spec"].get("federatesWith"))
    return KubernetesObject(spire.cluster, IDENTITY_RESOURCE, name)


def demo_server(environment: Environment) -> KubernetesObject:
    """The demo server's Deployment."""
    return KubernetesObject(environment.server.cluster, "deployments.apps", "server", environment.demo.namespace)


def pod_change(**changed: Any) -> dict[str, Any]:
    """A patch of a controller's pod template; a merge patch replaces lists, so the caller gives all that is to stay."""
    return {"spec": {"template": {"spec": changed}}}


def changed_server(environment: Environment, undo: ExitStack, **changed: Any) -> None:
    """Change fields of the demo server's container."""
    target = demo_server(environment)
    before = target.read()["spec"]["template"]["spec"]["containers"][0]
    undo.callback(environment.demo.reconnect)
    target.change(undo, pod_change(containers=[before | changed]))


# Live objects: the federation


@fault("objects", *NOT_LISTED, "no ClusterFederatedTrustDomain for it")
def federation_object_deleted(environment: Environment, undo: ExitStack) -> None:
    federation_object(environment.client, environment.server).delete(undo)


@fault(
    "objects",
    "federation list",
    r"server: federation list shows \[\]",
    "federation relationship",
    r"none with .*no ClusterFederatedTrustDomain",
)
def federation_object_deleted_on_the_servers_side(environment: Environment, undo: ExitStack) -> None:
    federation_object(environment.server, environment.client).delete(undo)


@fault("objects", *NOT_LISTED, "has no class name")
def federation_object_without_class_name(environment: Environment, undo: ExitStack) -> None:
    federation_object(environment.client, environment.server).change(undo, {"spec": {"className": None}})


@fault("objects", *NOT_LISTED, "has the class name somebody-elses")
def federation_object_of_another_class(environment: Environment, undo: ExitStack) -> None:
    federation_object(environment.client, environment.server).change(undo, {"spec": {"className": "somebody-elses"}})


@fault(
    "objects",
    "federation list",
    "profile='https_web'",
    "federation relationship",
    "its profile is https_web, and not https_spiffe",
)
def https_web_where_https_spiffe_is_meant(environment: Environment, undo: ExitStack) -> None:
    profile = {"type": "https_web", "endpointSPIFFEID": None}
    federation_object(environment.client, environment.server).change(undo, {"spec": {"bundleEndpointProfile": profile}})


@fault(
    "objects",
    "federation list",
    "spire/impostor",
    "endpoint identity",
    r"presents spiffe://\S+/spire/server, and spiffe://\S+/spire/impostor is expected",
)
def wrong_endpoint_spiffe_id(environment: Environment, undo: ExitStack) -> None:
    profile = {"endpointSPIFFEID": f"spiffe://{environment.server.trust_domain}/spire/impostor"}
    federation_object(environment.client, environment.server).change(undo, {"spec": {"bundleEndpointProfile": profile}})


@fault("objects", "federation list", r":1'", "endpoint reachable", "its endpoint https://.*:1 refuses connections")
def endpoint_url_with_a_wrong_port(environment: Environment, undo: ExitStack) -> None:
    url = f"https://{environment.federation.address}:1"
    federation_object(environment.client, environment.server).change(undo, {"spec": {"bundleEndpointURL": url}})


@fault(
    "objects",
    "federation list",
    "federation list shows",
    "endpoint identity",
    r"presents spiffe://client\S+/spire/server, and spiffe://server\S+/spire/server is expected",
)
def endpoint_url_of_ones_own_endpoint(environment: Environment, undo: ExitStack) -> None:
    url = environment.federation.endpoint_url(environment.client.trust_domain)
    federation_object(environment.client, environment.server).change(undo, {"spec": {"bundleEndpointURL": url}})


@fault("objects", "foreign bundles", "stores no bundle of", "bundle present", "the server stores no bundle of")
def foreign_bundle_deleted(environment: Environment, undo: ExitStack) -> None:
    undo.callback(environment.federation.seed_bundle, environment.client, environment.server)
    environment.client.server(
        "bundle", "delete", "-mode", "dissociate", "-id", f"spiffe://{environment.server.trust_domain}"
    )


@fault(
    "objects",
    "foreign bundles",
    "bundle as its owner shows it",
    "bundle fresh",
    "is not what its owner shows: it lacks .*; it still has",
)
def wrong_bundle_stored(environment: Environment, undo: ExitStack) -> None:
    undo.callback(environment.federation.seed_bundle, environment.client, environment.server)
    wrong = environment.client.bundle_document()
    environment.client.store_bundle(environment.server.trust_domain, wrong)


@fault(
    "objects",
    "foreign bundles",
    "bundle as its owner shows it",
    "endpoint reachable",
    "bundle here is .* its endpoint .* refuses connections",
)
def keys_rotated_while_the_endpoint_was_away(environment: Environment, undo: ExitStack) -> None:
    undo.callback(environment.client.refresh, environment.server.trust_domain)
    close_forward(undo, environment.federation.forwards[environment.server.trust_domain])
    Authorities(environment.server, "jwt").prepare()


# Live objects: identities


@fault("objects", *NOT_FEDERATED, "entry of pod .* does not federate with")
def second_cluster_spiffe_id_without_federation(environment: Environment, undo: ExitStack) -> None:
    """What is marked `fallback` does not count beside it (charts from 0.24 on)."""
    template = default_cluster_spiffe_id(environment.server).read()["spec"]["spiffeIDTemplate"]
    selector = {"matchLabels": {"kubernetes.io/metadata.name": environment.demo.namespace}}
    manager = environment.server.layout.controller_manager
    spec = {"className": manager.class_name, "spiffeIDTemplate": template, "namespaceSelector": selector}
    kind = {"apiVersion": API_VERSION, "kind": "ClusterSPIFFEID"}
    metadata = {"name": "second", "labels": manager.class_labels}
    apply_object(undo, environment.server.cluster, {**kind, "metadata": metadata, "spec": spec})
    default_cluster_spiffe_id(environment.server).change(undo, {"spec": {"fallback": True}})


@fault("objects", *NOT_FEDERATED, "entry of pod .* does not federate with")
def federates_with_emptied(environment: Environment, undo: ExitStack) -> None:
    default_cluster_spiffe_id(environment.client).change(undo, {"spec": {"federatesWith": None}})


@fault("objects", *NO_ENTRY)
def cluster_spiffe_id_of_another_class(environment: Environment, undo: ExitStack) -> None:
    default_cluster_spiffe_id(environment.server).change(undo, {"spec": {"className": "somebody-elses"}})


@fault("objects", *NO_ENTRY)
def cluster_spiffe_id_deleted(environment: Environment, undo: ExitStack) -> None:
    default_cluster_spiffe_id(environment.client).delete(undo)


@fault("objects", *NO_ENTRY)
def namespace_not_selected(environment: Environment, undo: ExitStack) -> None:
    others = [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [environment.demo.namespace]}]
    selector = {"namespaceSelector": {"matchExpressions": others}}
    default_cluster_spiffe_id(environment.server).change(undo, {"spec": selector})


@fault("objects", "agents attested", "banned: ", "agent attested", "banned: spiffe://")
def agent_banned(environment: Environment, undo: ExitStack) -> None:
    (agent,) = environment.client.agents()
    undo.callback(environment.client.restart, environment.client.layout.agent)
    undo.callback(environment.client.server, "agent", "evict", "-spiffeID", agent.spiffe_id)
    environment.client.server("agent", "ban", "-spiffeID", agent.spiffe_id)


# Live objects: components


@fault(
    "objects",
    "spire ready",
    "has no replica|0 of 1 ready",
    "component ready",
    "StatefulSet spire-server/spire-server has 0 of 1 ready",
)
def server_scaled_to_nothing(environment: Environment, undo: ExitStack) -> None:
    _without_replicas(environment.server, environment.server.layout.server, undo)


@fault(
    "objects", "spire ready", "spire-agent", "component ready", "DaemonSet spire-system/spire-agent has 0 of 1 ready"
)
def agents_on_no_node(environment: Environment, undo: ExitStack) -> None:
    _on_no_node(environment.client, environment.client.layout.agent, undo)


@fault(
    "objects",
    "spire ready",
    "spire-spiffe-csi-driver",
    "component ready",
    "DaemonSet spire-system/spire-spiffe-csi-driver has 0 of 1 ready",
)
def csi_drivers_on_no_node(environment: Environment, undo: ExitStack) -> None:
    _on_no_node(environment.server, environment.server.layout.csi_driver, undo)


def _on_no_node(spire: Spire, component: NodeComponent, undo: ExitStack) -> None:
    undo.callback(spire.wait_ready)
    controller(spire, component).change(undo, pod_change(nodeSelector=NOWHERE))


@fault(
    "objects",
    "spire ready",
    "has no replica",
    "component ready",
    "Deployment spire-server/.*oidc-discovery-provider has 0 of 1 ready",
)
def oidc_provider_scaled_to_nothing(environment: Environment, undo: ExitStack) -> None:
    provider = environment.client.layout.oidc_provider
    assert provider, "the fault needs an OIDC discovery provider"
    _without_replicas(environment.client, provider, undo)


def _without_replicas(spire: Spire, workload: Workload, undo: ExitStack) -> None:
    undo.callback(spire.wait_ready)
    controller(spire, workload).change(undo, {"spec": {"replicas": 0}})


@fault("objects", "spire ready", "has no image: .*nowhere", "component ready", "has no image: .*nowhere")
def controller_manager_without_image(environment: Environment, undo: ExitStack) -> None:
    undo.callback(environment.client.wait_ready)
    layout = environment.client.layout
    server = controller(environment.client, layout.server)
    containers = server.read()["spec"]["template"]["spec"]["containers"]
    for each in containers:
        if each["name"] == layout.controller_manager.container.name:
            each["image"] = "localhost/nowhere:0"
    server.change(undo, pod_change(containers=containers))


# Live objects: the demo


@fault(
    "objects",
    "success",
    "401 Invalid token",
    "audience",
    "the server accepts .*/other, and the token is for .*/default",
)
def server_of_another_audience(environment: Environment, undo: ExitStack) -> None:
    audience = f"spiffe://{environment.server.trust_domain}/other"
    changed_server(environment, undo, env=_environment(environment, SERVER_AUDIENCE=audience))
    environment.demo.reconnect()


@fault(
    "objects", "success", "unexpected ID", "TLS", r"the server presents \S+/sa/other, and \S+/sa/default is expected"
)
def server_under_another_service_account(environment: Environment, undo: ExitStack) -> None:
    namespace = environment.demo.namespace
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other", "namespace": namespace}}
    apply_object(undo, environment.server.cluster, account)
    undo.callback(environment.demo.reconnect)
    # Kubernetes keeps the name under its old key too.
    demo_server(environment).change(undo, pod_change(serviceAccountName="other", serviceAccount="other"))
    environment.demo.reconnect()


@fault("objects", "demo server", "has no image: .*nowhere", "server reachable", "has no image: .*nowhere")
def server_without_image(environment: Environment, undo: ExitStack) -> None:
    _alone(environment, undo)
    changed_server(environment, undo, image="localhost/nowhere:0")


@fault("objects", "demo server", r"crashes .*[\s\S]*unable to listen", "server reachable", "crashes")
def server_that_crashes(environment: Environment, undo: ExitStack) -> None:
    _alone(environment, undo)
    changed_server(environment, undo, env=_environment(environment, READY_ADDRESS="nonsense"))


@fault(
    "objects",
    "demo server",
    "may not create its pods: .*forbidden",
    "server reachable",
    "may not create its pods: .*forbidden",
)
def server_refused_by_pod_security(environment: Environment, undo: ExitStack) -> None:
    namespace = KubernetesObject(environment.server.cluster, "namespaces", environment.demo.namespace)
    namespace.change(undo, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
    _alone(environment, undo)
    changed_server(environment, undo, securityContext={"privileged": True})


@fault("objects", "demo server", "running, not ready", "CSI socket", "has no ready pod: .*runs and is not ready")
def server_that_looks_for_the_socket_elsewhere(environment: Environment, undo: ExitStack) -> None:
    _alone(environment, undo)
    changed_server(
        environment,
        undo,
        env=_environment(environment, SPIFFE_ENDPOINT_SOCKET="unix:///spiffe-workload-api/agent.sock"),
    )


@fault("objects", "success", "unable to issue request", "server reachable", "Service .*/server-service leads to no pod")
def service_that_selects_nothing(environment: Environment, undo: ExitStack) -> None:
    # A forward keeps the pod that it was opened to.
    undo.callback(environment.demo.forward.interrupt)
    service = KubernetesObject(environment.server.cluster, "services", "server-service", environment.demo.namespace)
    service.change(undo, {"spec": {"selector": {"app": "nothing"}}})
    environment.demo.forward.interrupt()


def _environment(environment: Environment, **changed: str) -> list[dict[str, str]]:
    before = demo_server(environment).read()["spec"]["template"]["spec"]["containers"][0].get("env", [])
    variables = {item["name"]: item["value"] for item in before} | changed
    return [{"name": name, "value": value} for name, value in variables.items()]


def _alone(environment: Environment, undo: ExitStack) -> None:
    """Have no old pod of the demo server stay while the new one does not come."""
    demo_server(environment).change(undo, {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}})


# The network


@fault("network", *ENDPOINT_REFUSED, r"server\S*'s bundle here is .* refuses connections")
def endpoint_away(environment: Environment, undo: ExitStack) -> None:
    close_forward(undo, environment.federation.forwards[environment.server.trust_domain])


@fault("network", *ENDPOINT_REFUSED, r"client\S*'s bundle here is .* refuses connections")
def clients_endpoint_away(environment: Environment, undo: ExitStack) -> None:
    close_forward(undo, environment.federation.forwards[environment.client.trust_domain])


@fault(
    "network", "endpoints", "deadline exceeded|timeout|Timeout", "endpoint reachable", "its endpoint .* does not answer"
)
def endpoint_behind_a_network_policy(environment: Environment, undo: ExitStack) -> None:
    port = environment.federation.forwards[environment.server.trust_domain].port
    drop_packets(undo, environment, environment.client, environment.federation.address, port)


@fault(
    "network",
    "endpoints",
    "the endpoint answered 401",
    "endpoint identity",
    "is no bundle endpoint of server.*: it answered 401",
)
def port_that_leads_elsewhere(environment: Environment, undo: ExitStack) -> None:
    forward = environment.federation.forwards[environment.server.trust_domain]
    redirect_forward(undo, forward, environment.demo.namespace, "svc/server-service")


@fault("network", "success", "unable to issue request", "server reachable", "https://.* refuses connections")
def forward_to_the_server_away(environment: Environment, undo: ExitStack) -> None:
    close_forward(undo, environment.demo.forward)


@fault("network", "nodes ready", "timed out|Timeout", "cluster", "API server does not answer")
def node_frozen(environment: Environment, undo: ExitStack) -> None:
    pause_nodes(undo, environment, environment.client)


# Values


@fault("values", *NOT_SERVED)
def federation_disabled(environment: Environment, undo: ExitStack) -> None:
    install_variant(undo, environment, environment.server, {"spire-server": {"federation": {"enabled": False}}})


@fault("values", *NOT_FEDERATED, "does not federate with")
def values_that_federate_with_nobody(environment: Environment, undo: ExitStack) -> None:
    identities: dict[str, Any] = {"clusterSPIFFEIDs": {"default": {"federatesWith": []}}}
    install_variant(
        undo, environment, environment.client, {"spire-server": {"controllerManager": {"identities": identities}}}
    )


@fault("values", INSTALLATION, "has no image", "component ready", "DaemonSet spire-system/spire-agent .*has no image")
def agents_of_a_tag_that_does_not_exist(environment: Environment, undo: ExitStack) -> None:
    install_variant(undo, environment, environment.client, {"spire-agent": {"image": {"tag": "0.0.1"}}})


# Rendered manifests


def restarted(kind: str, name: str) -> dict[str, Any]:
    """A change that makes a controller's pods new: a chart's own checksums are of what it rendered."""
    annotations = {"selftest/restarted": "true"}
    return {"kind": kind, "name": name, "merge": {"spec": {"template": {"metadata": {"annotations": annotations}}}}}


def reconfigured(component: Component, patch: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Changes of a component's configuration, with new pods that read it."""
    file = component.configuration
    assert file, f"{component} has no configuration in a ConfigMap"
    changed = {"kind": "ConfigMap", "name": file.name, "json": {file.key: patch}}
    return [changed, restarted(component.kind, component.name)]


def reconfigured_server(spire: Spire, **changed: Any) -> list[dict[str, Any]]:
    """Changes of the SPIRE server's own settings."""
    return reconfigured(spire.layout.server, {"server": changed})


@fault("manifests", *NOT_SERVED)
def server_configured_without_endpoint(environment: Environment, undo: ExitStack) -> None:
    spire = environment.server
    install_variant(undo, environment, spire, changes=reconfigured_server(spire, federation=None))


@fault("manifests", "success", "unable to fetch SVID", "JWT", "gives no JWT-SVID|is given no JWT-SVID")
def jwt_svids_disabled(environment: Environment, undo: ExitStack) -> None:
    # The OIDC provider publishes JWT keys, and is not ready without any: it would be the link that is named.
    without_provider = {"spiffe-oidc-discovery-provider": {"enabled": False}}
    install_variant(
        undo,
        environment,
        environment.client,
        without_provider,
        changes=reconfigured_server(environment.client, disable_jwt_svids=True),
    )


@fault(
    "manifests",
    INSTALLATION,
    "spire-agent .*crashes",
    "component ready",
    "DaemonSet spire-system/spire-agent .*crashes",
)
def agents_without_a_server_address(environment: Environment, undo: ExitStack) -> None:
    install_variant(
        undo,
        environment,
        environment.client,
        changes=reconfigured(environment.client.layout.agent, {"agent": {"server_address": ""}}),
    )


@fault(
    "manifests",
    INSTALLATION,
    "spire-server .*crashes",
    "component ready",
    "StatefulSet spire-server/spire-server .*crashes",
)
def server_with_a_key_that_it_does_not_know(environment: Environment, undo: ExitStack) -> None:
    spire = environment.client
    install_variant(undo, environment, spire, changes=reconfigured_server(spire, log_level="LOUD"))


@fault(
    "manifests",
    INSTALLATION,
    "may not create its pods|violates PodSecurity",
    "component ready",
    "may not create its pods",
)
def server_that_pod_security_refuses(environment: Environment, undo: ExitStack) -> None:
    server = environment.client.layout.server
    changes = [{"kind": server.kind, "name": server.name, "merge": pod_change(hostNetwork=True)}]
    install_variant(undo, environment, environment.client, changes=changes)


@fault(
    "manifests",
    "fields known",
    'DaemonSet .*unknown field "spec.template.spec.terminationGraceSeconds"',
    "fields",
    'DaemonSet .*unknown field "spec.template.spec.terminationGraceSeconds"',
)
def misspelt_field(environment: Environment, undo: ExitStack) -> None:
    agent = environment.client.layout.agent
    changes = [{"kind": agent.kind, "name": agent.name, "merge": pod_change(terminationGraceSeconds=20)}]
    install_variant(undo, environment, environment.client, changes=changes)


@fault("manifests", "success", "no such file|no identity within", "CSI socket", "socket is not there|has no ready pod")
def csi_driver_that_mounts_another_folder(environment: Environment, undo: ExitStack) -> None:
    driver = environment.client.layout.csi_driver
    volumes = controller(environment.client, driver).read()["spec"]["template"]["spec"]["volumes"]
    for volume in volumes:
        if (volume.get("hostPath") or {}).get("path", "").rstrip("/") == driver.socket_folder:
            volume["hostPath"] = {"path": "/run/spire/elsewhere", "type": "DirectoryOrCreate"}
    changes = [{"kind": driver.kind, "name": driver.name, "merge": pod_change(volumes=volumes)}]
    # A pod keeps what it has mounted: it is recreated after the driver is broken, and again after it is restored.
    probe = environment.demo.probes[environment.client.trust_domain]
    undo.callback(probe.renew)
    install_variant(undo, environment, environment.client, changes=changes)
    probe.renew()


REFUSING_HOOK = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: spire-server-refusing-hook
  namespace: {namespace}
  annotations:
    helm.sh/hook: pre-upgrade
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: hook
          image: {image}
          args: [no-such-command]
          securityContext:
            allowPrivilegeEscalation: false
            runAsNonRoot: true
            runAsUser: 1000
            capabilities: {{drop: [ALL]}}
            seccompProfile: {{type: RuntimeDefault}}
"""


@fault(
    "manifests",
    INSTALLATION,
    r"pre-upgrade hooks failed[\s\S]*BackoffLimitExceeded",
    "component ready",
    r"Job .* has failed \d+ times \(BackoffLimitExceeded\)|Helm.s release spire has failed: .*BackoffLimitExceeded",
)
def hook_that_fails(environment: Environment, undo: ExitStack) -> None:
    # A post-renderer is not shown the hooks of a chart: it is the chart that gets one more.
    name = environment.client.cluster.label
    chart = Path(undo.enter_context(TemporaryDirectory())) / "spire"
    shutil.copytree(environment.releases[name].spire, chart)
    namespace = environment.client.layout.server.namespace
    hook = REFUSING_HOOK.format(namespace=namespace, image=environment.demo.images.probe)
    (chart / "templates" / "refusing-hook.yaml").write_text(hook)
    undo.callback(
        environment.client.cluster.kubectl,
        "delete",
        "job",
        "-n",
        namespace,
        "spire-server-refusing-hook",
        "--ignore-not-found",
    )
    install_variant(undo, environment, environment.client, chart=chart)
