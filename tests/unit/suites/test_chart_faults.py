"""The installation faults: each changes just what it is about, and the suite would install it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.config import chart_source
from fixtures.config.cluster_values import CLUSTERS, read_clusters
from fixtures.diagnosis.chain import LINKS
from fixtures.helm.charts.helm_command import render
from fixtures.helm.charts.images import rendered_images
from fixtures.helm.values import merge
from fixtures.helm.values_check.ignored_keys import ignored_keys
from fixtures.upgrade.diff import difference
from supply import catalogue, plan, programs, versions
from supply.chart import CHART
from tests.chart_faults import (
    CHART_FAULTS,
    FAILED_CHECK,
    HEALTHY,
    REFUSED_AT_START,
    ChartFault,
    Edit,
    broken,
    chosen,
    copy_of_own_chart,
)

HELM = plan.folders([programs.step(versions.load().programs["helm"])], plan.cache_folder())["program-helm"] / "helm"
needs_helm = pytest.mark.skipif(not HELM.exists(), reason="`python -m supply build` has made no helm here")
ALL = (*CHART_FAULTS, *HEALTHY)

SERVER_SET, AGENTS = "StatefulSet spire-server/spire-server", "DaemonSet spire-system/spire-agent"
SERVER_CONF, AGENT_CONF = "ConfigMap spire-server/spire-server", "ConfigMap spire-system/spire-agent"
MANAGER_CONF = "ConfigMap spire-server/spire-controller-manager"
DRIVERS, OIDC = "DaemonSet spire-system/spire-spiffe-csi-driver", "spire-server/spire-spiffe-oidc-discovery-provider"
DEFAULT_ID, SERVER_SERVICE = "ClusterSPIFFEID spire-mgmt-spire-default", "Service spire-server/spire-server"
WEBHOOKS = "ValidatingWebhookConfiguration spire-controller-manager-webhook"
POD = "spec.template.spec."
CLAIM = "spec.volumeClaimTemplates[0].spec.storageClassName"

# What each changes of the rendered manifests: the beginnings of all lines that describe it, by object.
CHANGES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "unknown-storage-class": {SERVER_SET: [f"{CLAIM}: (none) → longhorn"]},
    "server-that-asks-for-64-cores": {SERVER_SET: [f"{POD}containers[spire-server].resources.requests.cpu"]},
    "server-for-nodes-that-are-not-there": {SERVER_SET: [f"{POD}nodeSelector.pool"]},
    "unknown-priority-class": {SERVER_SET: [f"{POD}priorityClassName"]},
    "server-whose-config-map-is-missing": {SERVER_SET: [f"{POD}volumes[config].configMap.name"]},
    "server-whose-liveness-probe-kills-it": {
        SERVER_SET: [f"{POD}containers[spire-server].{kind}Probe" for kind in ("liveness", "readiness", "startup")]
    },
    "datastore-away": {
        SERVER_CONF: [
            f"server.conf.plugins.DataStore.sql.plugin_data.{key}" for key in ("connection_string", "database_type")
        ]
    },
    "server-option-that-is-not-known": {
        SERVER_CONF: ["server.conf.server.audit_log:", "server.conf.server.audit_log_enabled"]
    },
    "server-that-pod-security-refuses": {SERVER_SET: [f"{POD}hostNetwork"]},
    "server-that-may-not-write-the-bundle": {
        "Role spire-system/spire-server": ["no longer patch on configmaps spire-bundle"]
    },
    "quota-that-leaves-the-server-no-pod": {"ResourceQuota spire-server/pods added": []},
    "server-with-a-claim-that-is-not-there": {SERVER_SET: [f"{POD}volumes[plugins].persistentVolumeClaim.claimName"]},
    "server-whose-environment-names-a-key-that-is-not-there": {
        SERVER_SET: ["container spire-server, environment DATABASE_HOST"]
    },
    "pod-monitor-without-its-definition": {"PodMonitor spire-server/spire-server added": []},
    "controller-manager-that-looks-for-another-socket": {
        MANAGER_CONF: ["controller-manager.yaml.spireServerSocketPath"]
    },
    "agent-of-another-cluster": {AGENT_CONF: ["agent.conf.plugins.NodeAttestor.k8s_psat.plugin_data.cluster"]},
    "agent-of-another-trust-domain": {AGENT_CONF: ["agent.conf.agent.trust_domain"]},
    "agent-with-a-token-for-somebody-else": {
        AGENTS: [f"{POD}volumes[token].projected.sources[0].serviceAccountToken.audience"]
    },
    "agent-that-is-not-in-the-allow-list": {SERVER_CONF: ["server.conf.plugins.NodeAttestor.k8s_psat"]},
    "server-that-may-not-review-tokens": {
        "ClusterRole spire-server": ["no longer create on authentication.k8s.io/tokenreviews"]
    },
    "agent-that-asks-for-a-server-of-another-name": {AGENT_CONF: ["agent.conf.agent.server_address"]},
    "service-of-the-server-that-selects-nothing": {SERVER_SERVICE: ["spec.selector.app.kubernetes.io/name"]},
    "service-of-the-server-with-another-port": {SERVER_SERVICE: ["spec.ports[grpc].targetPort"]},
    "server-that-needs-more-memory": {SERVER_SET: [f"{POD}containers[spire-server].resources"]},
    "agent-that-does-not-ask-the-clusters-dns": {AGENTS: [f"{POD}dnsPolicy"]},
    "csi-driver-without-pod-info": {"CSIDriver csi.spiffe.io": ["spec.podInfoOnMount"]},
    "service-that-leads-past-the-bundle-endpoint": {SERVER_SERVICE: ["spec.ports[federation].targetPort"]},
    "service-of-the-server-that-leads-to-another-program": {SERVER_SERVICE: ["spec.ports[grpc].targetPort"]},
    "service-of-the-server-that-leads-to-other-pods-too": {
        SERVER_SERVICE: [
            "spec.ports[federation].targetPort",
            "spec.ports[grpc].targetPort",
            "spec.selector.app.kubernetes.io/name",
        ]
    },
    "bundle-in-another-config-map": {
        SERVER_CONF: ["server.conf.plugins.Notifier.k8sbundle.plugin_data.config_map:"],
        "ConfigMap spire-system/spire-bundle removed": [],
        "ConfigMap spire-system/trust-bundle added": [],
        "Role spire-system/spire-server": [
            "no longer get, patch on configmaps spire-bundle",
            "now get, patch on configmaps",
        ],
    },
    "bundle-under-another-key": {SERVER_CONF: ["server.conf.plugins.Notifier.k8sbundle.plugin_data.config_map_key"]},
    "agent-without-its-service-account": {AGENTS: [f"{POD}serviceAccountName"]},
    "agents-on-no-node": {AGENTS: [f"{POD}nodeSelector.pool"]},
    "agent-whose-readiness-probe-asks-the-wrong-port": {
        AGENTS: [f"{POD}containers[spire-agent].{kind}Probe" for kind in ("liveness", "readiness", "startup")]
    },
    "agent-that-may-not-ask-the-kubelet": {
        "ClusterRole spire-agent": ["no longer get on nodes/pods", "now list on nodes/pods"]
    },
    "agent-of-a-tag-that-does-not-exist": {AGENTS: ["container spire-agent: localhost/spire-federation/spire-agent:"]},
    "csi-driver-that-registers-another-name": {
        DRIVERS: ["container spiffe-csi-driver, args: - -plugin-name=csi.spiffe.io"]
    },
    "csi-driver-of-another-socket-folder": {DRIVERS: [f"{POD}volumes[agent-sockets].hostPath.path"]},
    "csi-driver-that-the-kubelet-does-not-reach": {
        DRIVERS: ["container node-driver-registrar, args: - --kubelet-regis"]
    },
    "oidc-provider-that-looks-for-another-socket": {
        f"ConfigMap {OIDC}": ["oidc-discovery-provider.conf.workload_api.socket_path"]
    },
    "oidc-provider-whose-secret-is-missing": {
        f"Deployment {OIDC}": [f"{POD}volumes[config].{kind}" for kind in ("configMap.name", "secret.secretName")]
    },
    "oidc-provider-whose-service-leads-nowhere": {f"Deployment {OIDC}": [f"{POD}containers[oidc-discovery-provider]"]},
    "oidc-provider-that-does-not-answer-to-its-issuer": {f"ConfigMap {OIDC}": ["oidc-discovery-provider.conf.domains"]},
    "oidc-provider-that-sends-verifiers-elsewhere": {f"ConfigMap {OIDC}": ["oidc-discovery-provider.conf.jwks_uri"]},
    "oidc-provider-that-is-paused": {
        f"Deployment {OIDC}": ["spec.paused: (none) → true", f"{POD}terminationGracePeriodSeconds"]
    },
    "oidc-provider-that-will-be-killed": {
        f"Deployment {OIDC}": [f"{POD}containers[oidc-discovery-provider].livenessProbe.httpGet.path"]
    },
    "controller-manager-that-may-not-list-pods": {
        "ClusterRole spire-controller-manager": ["no longer get, list, watch on pods"]
    },
    "default-identity-of-another-class": {DEFAULT_ID: ["spec.className"]},
    "controller-manager-of-another-class": {MANAGER_CONF: ["controller-manager.yaml.className"]},
    "identities-not-reconciled": {MANAGER_CONF: ["controller-manager.yaml.reconcile.clusterSPIFFEIDs: true → false"]},
    "default-identity-for-spires-own-namespaces": {DEFAULT_ID: ["spec.namespaceSelector.matchExpressions[0].operator"]},
    "default-identity-that-does-not-federate": {DEFAULT_ID: ["spec.federatesWith"]},
    "second-identity-that-does-not-federate": {"ClusterSPIFFEID spire-mgmt-spire-second added": []},
    "identities-of-another-form": {DEFAULT_ID: ["spec.spiffeIDTemplate"]},
    "jwt-svids-disabled": {
        SERVER_CONF: ["server.conf.server.disable_jwt_svids: (none) → true"],
        **{f"{kind} {OIDC} removed": [] for kind in ("ConfigMap", "Deployment", "Service", "ServiceAccount")},
        "ClusterSPIFFEID spire-mgmt-spire-oidc-discovery-provider removed": [],
    },
    "federation-objects-not-reconciled": {
        MANAGER_CONF: ["controller-manager.yaml.reconcile.clusterFederatedTrustDomains: true → false"]
    },
    "controller-manager-that-may-not-read-federation-objects": {
        "ClusterRole spire-controller-manager": [
            "no longer get, list, watch on spire.spiffe.io/clusterfederatedtrustdomains"
        ]
    },
    "service-without-the-endpoints-port": {SERVER_SERVICE: ["spec.ports[federation]"]},
    "server-without-a-bundle-endpoint": {SERVER_CONF: ["server.conf.server.federation.bundle_endpoint"]},
    "federation-disabled": {
        SERVER_CONF: ["server.conf.server.federation.bundle_endpoint"],
        SERVER_SERVICE: ["spec.ports[federation]"],
        SERVER_SET: [f"{POD}containers[spire-server].ports[federation]"],
    },
    "values-that-federate-with-nobody": {DEFAULT_ID: ["spec.federatesWith: - client.example"]},
    "webhook-whose-service-is-not-there": {
        WEBHOOKS: [
            f"webhooks[{plural}.spire.spiffe.io]" for plural in ("clusterfederatedtrustdomains", "clusterspiffeids")
        ]
    },
    "webhook-that-is-asked-about-one-kind-alone": {
        WEBHOOKS: [f"webhooks[clusterfederatedtrustdomain{plural}.spire.spiffe.io]" for plural in ("", "s")]
    },
    "workloads-that-administer-their-server": {DEFAULT_ID: ["spec.admin: (none) → true"]},
    "workloads-that-sign-for-their-trust-domain": {DEFAULT_ID: ["spec.downstream: (none) → true"]},
    "server-with-an-administrator-that-nobody-asked-for": {SERVER_CONF: ["server.conf.server.admin_ids"]},
    "agents-that-trust-any-server": {
        AGENT_CONF: ["agent.conf.agent.insecure_bootstrap", "agent.conf.agent.trust_bundle_path"]
    },
    "entries-that-take-a-minute": {
        SERVER_CONF: ["server.conf.server.experimental.cache_reload_interval"],
        MANAGER_CONF: ["controller-manager.yaml.gcInterval"],
        AGENT_CONF: ["agent.conf.agent.experimental.sync_interval"],
    },
    "hook-that-fails": {"Job spire-check added": []},
    "static-entries-not-reconciled": {
        MANAGER_CONF: ["controller-manager.yaml.reconcile.clusterStaticEntries: true → false"]
    },
    "default-identity-that-is-no-fallback": {DEFAULT_ID: ["spec.fallback: true → false"]},
    "agents-that-know-no-containers": {
        AGENT_CONF: ["agent.conf.plugins.WorkloadAttestor.k8s.plugin_data.disable_container_selectors"]
    },
    "class-that-is-renamed": {
        MANAGER_CONF: ["controller-manager.yaml.className: spire-mgmt-spire → spire"],
        DEFAULT_ID: ["spec.className: spire-mgmt-spire → spire"],
        "ClusterSPIFFEID spire-mgmt-spire-oidc-discovery-provider": ["spec.className: spire-mgmt-spire → spire"],
    },
    "issuer-that-is-renamed": {
        SERVER_CONF: ["server.conf.server.jwt_issuer: https://oidc-discovery."],
        "ConfigMap spire-server/spire-spiffe-oidc-discovery-provider": [],
    },
    "issuer-that-is-renamed-beside-a-log-level": {
        SERVER_CONF: [
            "server.conf.server.jwt_issuer: https://oidc-discovery.",
            "server.conf.server.log_level: INFO → DEBUG",
        ],
        "ConfigMap spire-server/spire-spiffe-oidc-discovery-provider": [],
    },
    "namespaces-that-become-hooks": {
        f"Namespace {name}": ["metadata.annotations.helm.sh/hook: (none) → pre-install,pre-upgrade"]
        for name in ("spire-server", "spire-system")
    },
    # Without a cluster nothing is looked up.
    "namespaces-that-are-left-out-where-they-are": {},
    "network-policy-that-forgets-the-peers": {"NetworkPolicy spire-server/spire-server added": []},
    "bundle-endpoint-that-moves": {
        SERVER_CONF: ["server.conf.server.federation.bundle_endpoint.port: 8443 → 8444"],
        SERVER_SERVICE: ["spec.ports[federation].port: 8443 → 8444"],
        SERVER_SET: [f"{POD}containers[spire-server].ports[federation].containerPort: 8443 → 8444"],
    },
    "claims-that-go-with-the-server": {SERVER_SET: ["spec.persistentVolumeClaimRetentionPolicy.whenDeleted"]},
    # Checksums are passed over: they have no effect by themselves.
    "server-that-is-not-replaced-for-its-configuration": {},
    "provisioner-that-takes-40-s": {
        SERVER_SET: [f"{CLAIM}: (none) → slow"],
        "Deployment local-path-storage/slow-provisioner added": [],
        "StorageClass slow added": [],
    },
    "csi-driver-that-comes-30-s-late": {DRIVERS: ["init container late", f"{POD}initContainers[late]"]},
    "server-that-comes-30-s-late": {SERVER_SET: ["init container late", f"{POD}initContainers[late]"]},
    "agent-that-is-killed-once": {AGENTS: ["container killer", f"{POD}containers[killer]"]},
    "hook-that-takes-a-minute": {"Job spire-check added": []},
    "agents-that-are-replaced-with-their-nodes": {
        AGENTS: [f"{POD}terminationGracePeriodSeconds: 10 → 11", "spec.updateStrategy.type: (none) → OnDelete"]
    },
    "claim-for-plugins": {"PersistentVolumeClaim spire-server/plugins added": []},
    "half-a-core": {},
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_own_chart(CHART, tmp_path_factory.mktemp("charts") / "good")


@pytest.fixture(scope="module")
def rendered(good: Path) -> str:
    return render(good / "spire", [values_of(CLUSTERS[0])], HELM)


def values_of(cluster: str) -> Mapping[str, Any]:
    return next(each.values for each in read_clusters() if each.name == cluster)


def test_there_are_enough_faults_and_no_two_of_one_name() -> None:
    assert len(CHART_FAULTS) >= 25
    assert len({fault.name for fault in ALL}) == len(ALL)
    assert {fault.name for fault in ALL} == set(CHANGES)


@pytest.mark.parametrize("fault", CHART_FAULTS, ids=str)
def test_every_fault_is_to_be_named_by_a_link_that_exists_and_in_words_that_say_something(fault: ChartFault) -> None:
    assert set(fault.link.split("|")) <= {*LINKS, REFUSED_AT_START, FAILED_CHECK}
    assert (fault.link == FAILED_CHECK) <= fault.only_upgraded
    assert not re.search(fault.sentence, "")
    assert fault.cluster in ("", *CLUSTERS)
    assert not fault.healthy


@pytest.mark.parametrize("fault", HEALTHY, ids=str)
def test_a_healthy_variant_is_to_be_named_by_nothing(fault: ChartFault) -> None:
    assert (fault.healthy, fault.link, fault.sentence) == (True, "", "")


def test_the_copy_of_this_projects_chart_is_one_that_the_suite_takes(good: Path) -> None:
    assert chart_source.charts_folder("--charts", str(good)) == good
    for cluster in read_clusters():
        assert ignored_keys(cluster.values, good / "spire") == []
        assert ignored_keys(cluster.values, CHART / "spire"), "the copy need not take more than the chart itself"


@needs_helm
@pytest.mark.parametrize("fault", ALL, ids=str)
def test_a_fault_changes_what_it_is_about_and_nothing_else(
    fault: ChartFault, good: Path, rendered: str, tmp_path: Path
) -> None:
    chart = broken(fault, good, tmp_path / "broken") / "spire"
    values = merge(values_of(CLUSTERS[0]), fault.values)
    assert not fault.values or ignored_keys(values, chart) == []
    after = render(chart, [values], HELM)
    # What is neither in the node image nor built is refused before anything is installed.
    missing = set(rendered_images(after)) - set(catalogue.references())
    assert bool(missing) == (fault.name == "agent-of-a-tag-that-does-not-exist")
    changed: dict[str, list[str]] = {}
    for change in difference(rendered, after):
        details = [detail for detail in change.details if detail != "the pods are replaced"]
        if details or change.how != "changed":
            name = str(change.key) if change.how == "changed" else f"{change.key} {change.how}"
            changed.setdefault(name, []).extend(details)
    expected = CHANGES[fault.name]
    assert set(changed) == set(expected)
    for name, beginnings in expected.items():
        if beginnings:
            assert [line for line in changed[name] if not line.startswith(tuple(beginnings))] == []
            assert [each for each in beginnings if not any(line.startswith(each) for line in changed[name])] == []


@pytest.mark.parametrize(
    "fault",
    [
        fault
        for fault in CHART_FAULTS
        if fault.link == REFUSED_AT_START and fault.values and fault.cluster in ("", "client")
    ],
    ids=str,
)
def test_values_that_are_to_be_refused_are_or_name_an_image_that_is_not_built(
    fault: ChartFault, tmp_path: Path
) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(dict(fault.values)))
    given = [f"{fault.cluster}={file}" if fault.cluster else str(file)]
    if "image" in str(fault.values):
        read_clusters(given)
        return
    with pytest.raises(ValueError, match=fault.sentence):
        read_clusters(given)


@pytest.mark.parametrize("fault", [fault for fault in ALL if fault.values and fault.link != REFUSED_AT_START], ids=str)
def test_all_other_values_are_taken(fault: ChartFault, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(dict(fault.values)))
    read_clusters([f"{fault.cluster}={file}" if fault.cluster else str(file)])


def test_a_text_that_the_chart_does_not_have_is_an_error(good: Path, tmp_path: Path) -> None:
    for edit in (Edit("templates/agent.yaml", "no such text", ""), Edit("templates/none.yaml", "a", "b")):
        with pytest.raises(ValueError, match=rf"^the chart has no such text in {re.escape(edit.file)}"):
            broken(ChartFault("wrong", edits=(edit,)), good, tmp_path / edit.file.replace("/", "-"))
    assert (good / "spire" / "templates" / "agent.yaml").read_bytes() == (
        CHART / "spire" / "templates" / "agent.yaml"
    ).read_bytes()


def test_faults_are_chosen_by_name_and_by_what_they_can_be_met_on() -> None:
    def names(expression: str = "", *, kept: bool = False, upgraded: bool = False) -> list[str]:
        return [fault.name for fault in chosen(expression, kept=kept, own_chart=True, upgraded=upgraded)]

    assert names(upgraded=True) == [fault.name for fault in ALL]
    assert names() == [fault.name for fault in ALL if not fault.only_upgraded]
    assert names("csi-driver and not late and not socket") == [
        "csi-driver-that-registers-another-name",
        "csi-driver-without-pod-info",
        "csi-driver-that-the-kubelet-does-not-reach",
    ]
    assert set(names()) - set(names(kept=True)) == {"half-a-core"}
    with pytest.raises(ValueError, match="-k csi and"):
        names("csi and")


def test_of_other_charts_only_values_are_broken() -> None:
    others = {fault.name: fault for fault in chosen("", kept=False, own_chart=False)}
    assert not any(fault.edits for fault in others.values())
    assert others["jwt-svids-disabled"].values["spire-server"] == {"jwtSVIDSupport": False}
    assert "unknown-storage-class" in others
    assert not {"hook-that-takes-a-minute", "bundle-under-another-key"} & set(others)
