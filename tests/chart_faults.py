"""Installation faults, as data: what is wrong with a chart or its values, and which link must be named for it.

The installation itself meets a fault, as it does at a user's: a run of `-m federation` with a broken copy of this
project's chart, or with values that break any chart. `python -m tests.tools.reliability faults` makes those runs;
healthy variants, which are only slow or unusual, are in the list too, and must stay green.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from _pytest.mark.expression import Expression

from fixtures.config.cluster_values import read_clusters
from fixtures.helm.values import load, merge, nested
from fixtures.helm.values_check.ignored_keys import ignored_keys
from fixtures.helm.versions import CRD_CHART_VERSIONS
from supply import versions
from supply.images import PREFIX

if TYPE_CHECKING:  # for pytest 8, which has it by another name
    from _pytest.mark.expression import ExpressionMatcher

# The version that a copy of the project's own chart gets: the suite takes its values as they are, as of the newest
# chart.
VERSION = CRD_CHART_VERSIONS[0][0]
PINS = versions.load()
SHELL_IMAGE = f"{PREFIX}/shell:{PINS.kubernetes}"
PROVISIONER_IMAGE = f"{PREFIX}/local-path-provisioner:{PINS.programs['local-path-provisioner'].tag}"
# What a run is that was refused before anything was started: there is no link then, and the sentence is the refusal's.
REFUSED_AT_START = "refused"
# What breaks no link yet: a check of the upgrade's says it, and the sentence is that check's.
FAILED_CHECK = "failed check"

FaultValues = Mapping[str, Any]


@dataclass(frozen=True)
class Edit:
    """A change of a file of the chart `spire`: every `old` becomes `new`, or `new` is added where `old` is empty."""

    file: str
    old: str
    new: str

    def apply(self, chart: Path) -> None:
        """Change the file in a copy of the chart. Raises `ValueError` where the chart has no such text."""
        path = chart / self.file
        before = path.read_text() if path.is_file() else ""
        if self.old and self.old not in before:
            raise ValueError(f"the chart has no such text in {self.file}: {self.old!r}")
        path.write_text(before.replace(self.old, self.new) if self.old else before + self.new)


@dataclass(frozen=True)
class ChartFault:
    """A chart or values that cannot make a federation, or, where `healthy`, that must.

    `edits` are made to a copy of this project's chart, `values` are added to a cluster's (`cluster`; both where it is
    empty), `arguments` to the run's command line. `other` are the values that do the same to a chart that is not this
    project's, where there are such. `link` is the one that the diagnosis must name (several, with `|` between them,
    where the fault can rightly be seen at each), and `sentence` a pattern of what it must say. `kept` says whether it
    can be met on clusters that have a good release already, and `cores` to how many cores the run is limited. Where
    `only_upgraded`, an installation cannot meet it: it takes something from what the release before had.
    """

    name: str
    link: str = ""
    sentence: str = ""
    edits: tuple[Edit, ...] = ()
    values: FaultValues = field(default_factory=dict)
    cluster: str = ""
    other: FaultValues | None = None
    healthy: bool = False
    kept: bool = True
    cores: float | None = None
    only_upgraded: bool = False
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


def copy_of_own_chart(source: Path, into: Path) -> Path:
    """Copy the folder of this project's charts to one that `--charts` takes, and return it; `into` must not exist.

    The suite refuses values that a chart does not read. Those of `charts-values/` that this project's chart passes over
    get an empty default, which is how a chart says that it takes anything.
    """
    shutil.copytree(source, into)
    spire = into / "spire"
    for file, changed in ((spire / "Chart.yaml", {"version": VERSION}), (spire / "values.yaml", _passed_over(spire))):
        file.write_text(yaml.safe_dump(merge(load(file), changed), sort_keys=False))
    return into


def _passed_over(spire: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for cluster in read_clusters():
        for key in ignored_keys(cluster.values, spire):
            found = merge(found, nested(key.path, {}))
    return found


def broken(fault: ChartFault, charts_folder: Path, into: Path) -> Path:
    """Copy what `copy_of_own_chart` made, and make the fault's edits. Raises `ValueError` where one does not match."""
    shutil.copytree(charts_folder, into)
    for edit in fault.edits:
        edit.apply(into / "spire")
    return into


SERVER, SERVER_CONFIG, SERVER_ACCESS = (
    f"templates/{name}" for name in ("server.yaml", "_server-config.tpl", "server-access.yaml")
)
AGENT, AGENT_CONFIG = "templates/agent.yaml", "templates/_agent-config.tpl"
MANAGER, MANAGER_CONFIG = "templates/controller-manager.yaml", "templates/_controller-manager.tpl"
CSI, IDENTITIES = "templates/csi-driver.yaml", "templates/identities.yaml"
OIDC, OIDC_CONFIG = "templates/oidc-discovery-provider.yaml", "templates/_oidc-config.tpl"

SERVER_POD_SPEC = "serviceAccountName: spire-server\n"
AGENT_POD = "serviceAccountName: spire-agent\n"
AGENT_SPEC = "kind: DaemonSet\nmetadata:\n  name: spire-agent\n  namespace: {{ $namespace }}\nspec:\n"
PROBES = '{{- include "spire.probes" (dict "port" "health" "ready" "/ready" "live" "/live") | nindent 10 }}'
REVIEWS = """\
  - apiGroups: [authentication.k8s.io]
    resources: [tokenreviews]
    verbs: [create]
"""
SERVICE_SELECTOR = '{{- include "spire.selector" "spire-server" | nindent 4 }}\n  # Readiness'
FEDERATION_PORT = """\
    - name: federation
      port: {{ $values.federation.bundleEndpoint.port }}
      targetPort: federation
"""
ENDPOINT_TEMPLATE = '{{- $_ := set $server "federation" (dict "bundle_endpoint" $endpoint) -}}\n'
CONFIG_VOLUME = """\
        - name: config
          configMap:
            name: spire-server
"""
QUOTA = """\
apiVersion: v1
kind: ResourceQuota
metadata:
  name: pods
  namespace: {{ include "spire.serverNamespace" . }}
spec:
  hard: {pods: "0"}
"""
# For the agents alone.
API_ALONE = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: spire-server
  namespace: {{ include "spire.serverNamespace" . }}
spec:
  podSelector:
    matchLabels:
      {{- include "spire.selector" "spire-server" | nindent 6 }}
  ingress: [{ports: [{port: grpc}, {port: 9443}]}]
"""
POD_MONITOR = """\
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: spire-server
  namespace: {{ include "spire.serverNamespace" . }}
spec:
  podMetricsEndpoints: [{port: prom}]
"""
SERVER_CHECKSUM = 'checksum/server: {{ include "spire.server.config" . | sha256sum }}'
NAMESPACE_BEGINS = '"privileged" }}\n'
NAMESPACE_ENDS = "pod-security.kubernetes.io/warn: {{ $level }}\n    {{- end }}\n"
WHERE_NONE_IS = '{{- if not (lookup "v1" "Namespace" "" $name) }}\n'
POD_MANAGEMENT = "podManagementPolicy: Parallel"
NODE_NAME = '"node_name_env" "KUBELET_HOST"'
SERVER_ARGUMENTS = "args: [-config, /etc/spire/server.conf]\n"
PLUGINS_VOLUME = {"name": "plugins", "persistentVolumeClaim": {"claimName": "spire-plugins"}}
PLUGINS_CLAIM = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: plugins
  namespace: {{ include "spire.serverNamespace" . }}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 10Mi}}
"""
OTHER_IDENTITIES = """\
      clusterSPIFFEIDs:
"""
CHECK_HOOK = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: spire-check
  namespace: {{ .Release.Namespace }}
  annotations:
    helm.sh/hook: post-install,post-upgrade
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: check
          image: %s
          command: [/bin/sh, -c, "%s"]
"""


def own_values(section: str, **values: Any) -> FaultValues:
    """Values of a component below `spire-server`, or of another chart of SPIRE's."""
    return {"spire-server": {section: values}}


def identities(**values: Any) -> FaultValues:
    """Values of the default ClusterSPIFFEID."""
    return own_values("controllerManager", identities={"clusterSPIFFEIDs": {"default": values}})


# A server that cannot run

SERVER_FAULTS = (
    # A home lab's values on another cluster: the server stays Pending, and nothing crashes (spire-tutorials#48).
    ChartFault(
        "unknown-storage-class",
        "component ready",
        # A StatefulSet's claims cannot be changed: on a release that is there already, Helm fails.
        r"(?i)storage ?class|longhorn|updates to statefulset spec",
        values=own_values("persistence", storageClass="longhorn"),
    ),
    # Requests of a production cluster on a small one.
    ChartFault(
        "server-that-asks-for-64-cores",
        "component ready",
        r"(?i)insufficient cpu",
        (
            Edit(
                SERVER,
                SERVER_ARGUMENTS,
                SERVER_ARGUMENTS + '          resources: {requests: {cpu: "64"}}\n',
            ),
        ),
        other=own_values("resources", requests={"cpu": "64"}),
    ),
    ChartFault(
        "server-for-nodes-that-are-not-there",
        "component ready",
        r"(?i)node selector|node affinity|node\(s\) didn't match",
        (Edit(SERVER, SERVER_POD_SPEC, SERVER_POD_SPEC + "      nodeSelector: {pool: spire}\n"),),
        other=own_values("nodeSelector", pool="spire"),
    ),
    # Priority classes that come with another chart of the company's.
    ChartFault(
        "unknown-priority-class",
        "component ready",
        r"(?i)priority ?class",
        (Edit(SERVER, SERVER_POD_SPEC, SERVER_POD_SPEC + "      priorityClassName: platform-critical\n"),),
        other={"spire-server": {"priorityClassName": "platform-critical"}},
    ),
    # The ConfigMap was renamed in one of two places.
    ChartFault(
        "server-whose-config-map-is-missing",
        "component ready",
        r"spire-server-config",
        (Edit(SERVER, CONFIG_VOLUME, CONFIG_VOLUME.replace("name: spire-server", "name: spire-server-config")),),
    ),
    ChartFault(
        "server-whose-liveness-probe-kills-it",
        "component ready",
        r"(?i)liveness",
        (
            Edit(
                SERVER,
                PROBES,
                "livenessProbe: {httpGet: {path: /live, port: 9999}, periodSeconds: 2, failureThreshold: 1}",
            ),
        ),
    ),
    # The datastore is away (csm#4762): the server gives up at its start, again and again.
    ChartFault(
        "datastore-away",
        "component ready",
        r"(?i)datastore|refused",
        (
            Edit(SERVER_CONFIG, '"sqlite3"', '"postgres"'),
            Edit(
                SERVER_CONFIG, '"/run/spire/data/datastore.sqlite3"', '"host=127.0.0.1 port=1 user=spire dbname=spire"'
            ),
        ),
        other=own_values("dataStore", sql={"databaseType": "postgres", "host": "127.0.0.1", "port": 1}),
    ),
    # An option of another SPIRE version.
    ChartFault(
        "server-that-needs-more-memory",
        "component ready",
        r"killed for lack of memory .*12Mi",
        (Edit(SERVER, PROBES, f"{PROBES}\n          resources: {{limits: {{memory: 12Mi}}}}"),),
        other={"spire-server": {"resources": {"limits": {"memory": "12Mi"}}}},
    ),
    ChartFault(
        "server-option-that-is-not-known",
        "component ready",
        r"(?i)unknown",
        (Edit(SERVER_CONFIG, '"audit_log_enabled" false', '"audit_log" false'),),
    ),
    # The namespace is "restricted", and the pod is not (namespace labels of a platform team).
    ChartFault(
        "server-that-pod-security-refuses",
        "component ready",
        r"PodSecurity",
        (Edit(SERVER, SERVER_POD_SPEC, SERVER_POD_SPEC + "      hostNetwork: true\n"),),
    ),
    ChartFault(
        "server-that-may-not-write-the-bundle",
        "component ready|agent attested",
        r"(?i)forbidden",
        (Edit(SERVER_ACCESS, "verbs: [get, patch]", "verbs: [get]"),),
    ),
    # A quota of the platform team's.
    ChartFault(
        "quota-that-leaves-the-server-no-pod",
        "component ready",
        r"exceeded quota",
        (Edit("templates/quota.yaml", "", QUOTA),),
    ),
    # A volume with plugins, whose claim is in another namespace.
    ChartFault(
        "server-with-a-claim-that-is-not-there",
        "component ready",
        r'(?i)persistentvolumeclaim "spire-plugins" not found|claim spire-plugins: there is no such claim',
        (Edit(SERVER, CONFIG_VOLUME, f"{CONFIG_VOLUME}        - {json.dumps(PLUGINS_VOLUME)}\n"),),
        other={"spire-server": {"extraVolumes": [PLUGINS_VOLUME]}},
    ),
    ChartFault(
        "server-whose-environment-names-a-key-that-is-not-there",
        "component ready",
        r"couldn't find key database-host in ConfigMap spire-server/spire-server",
        (
            Edit(
                SERVER,
                SERVER_ARGUMENTS,
                SERVER_ARGUMENTS + "          env: [{name: DATABASE_HOST, valueFrom: {configMapKeyRef: "
                "{name: spire-server, key: database-host}}}]\n",
            ),
        ),
    ),
    # Prometheus' operator is not on this cluster.
    ChartFault(
        "pod-monitor-without-its-definition",
        # Helm changes nothing for it: what an upgrade was to change goes on as it was.
        f"component ready|{FAILED_CHECK}",
        r'no matches for kind "PodMonitor"',
        (Edit("templates/pod-monitor.yaml", "", POD_MONITOR),),
        other={"spire-agent": {"telemetry": {"prometheus": {"enabled": True, "podMonitor": {"enabled": True}}}}},
    ),
    # The controller manager shares the server's pod, and waits there for a socket.
    ChartFault(
        "controller-manager-that-looks-for-another-socket",
        "component ready",
        r"(?i)controller-manager[\s\S]*(socket|registration\.sock|crash|not ready)",
        (Edit(MANAGER_CONFIG, "private/api.sock", "private/registration.sock"),),
    ),
)

# Agents that never attest: 338 s of waiting before they were seen.

AGENT_FAULTS = (
    ChartFault(
        "agent-of-another-cluster",
        "component ready|agent attested",
        r"(?i)attest[\s\S]*not configured for cluster|not configured for cluster",
        (Edit(AGENT_CONFIG, '"cluster" $spire.clusterName', '"cluster" "production"'),),
    ),
    ChartFault(
        "agent-of-another-trust-domain",
        "component ready|agent attested",
        r"(?i)attest|trust domain",
        (Edit(AGENT_CONFIG, '"trust_domain" $spire.trustDomain', '"trust_domain" "elsewhere.example"'),),
    ),
    ChartFault(
        "agent-with-a-token-for-somebody-else",
        "component ready|agent attested",
        r"(?i)not authenticated|token audiences",
        (Edit(AGENT, "audience: spire-server", "audience: vault"),),
    ),
    ChartFault(
        "agent-that-is-not-in-the-allow-list",
        "component ready|agent attested",
        r"(?i)not an allowed service account",
        (Edit(SERVER_CONFIG, '"%s:spire-agent"', '"%s:agent"'),),
    ),
    ChartFault(
        "server-that-may-not-review-tokens",
        "component ready|agent attested",
        r"(?i)TokenReview|forbidden",
        (Edit(SERVER_ACCESS, REVIEWS, ""),),
    ),
    ChartFault(
        "agent-that-asks-for-a-server-of-another-name",
        "component ready|agent attested",
        r"(?i)no such host|lookup|spire-servers",
        (Edit(AGENT_CONFIG, '"spire-server.%s.svc"', '"spire-servers.%s.svc"'),),
    ),
    ChartFault(
        "service-of-the-server-that-selects-nothing",
        "component ready|agent attested",
        r"(?i)Service|refused|unavailable|connect",
        (
            Edit(
                SERVER,
                '  selector:\n    {{- include "spire.selector" "spire-server" | nindent 4 }}\n',
                '  selector:\n    {{- include "spire.selector" "server" | nindent 4 }}\n',
            ),
        ),
    ),
    ChartFault(
        "service-of-the-server-with-another-port",
        "component ready|agent attested",
        r"(?i)Service|refused|unavailable|connect",
        (Edit(SERVER, "targetPort: grpc", "targetPort: 8099"),),
    ),
    ChartFault(
        "agent-that-does-not-ask-the-clusters-dns",
        "component ready",
        r"do not ask the cluster's DNS",
        (Edit(AGENT, AGENT_POD, f"{AGENT_POD}      dnsPolicy: Default\n"),),
    ),
    # The Service has a second port, and the agents ask that one.
    ChartFault(
        "service-of-the-server-that-leads-to-another-program",
        "component ready|agent attested",
        r"no SPIRE server|no port of Service \S+ leads there",
        (Edit(SERVER, "targetPort: grpc", "targetPort: webhook"),),
        other=own_values("service", port=8081),
    ),
    # Calls are tried again, and half of them reach the server.
    ChartFault(
        "service-of-the-server-that-leads-to-other-pods-too",
        "component ready",
        r"leads to pod \S+ too",
        (
            Edit(SERVER, SERVICE_SELECTOR, "app.kubernetes.io/part-of: spire\n  # Readiness"),
            Edit(SERVER, "targetPort: grpc", "targetPort: 8081"),
            Edit(SERVER, "targetPort: federation", "targetPort: {{ $values.federation.bundleEndpoint.port }}"),
        ),
    ),
    # The bundle's ConfigMap was renamed for the server alone (values of a mesh integration): the agents wait for the
    # old one.
    ChartFault(
        "bundle-in-another-config-map",
        "component ready|agent attested",
        r"spire-bundle",
        (
            Edit(SERVER_CONFIG, '"config_map" "spire-bundle"', '"config_map" "trust-bundle"'),
            Edit(SERVER_ACCESS, "spire-bundle", "trust-bundle"),
        ),
    ),
    # The chart's 0.26 renamed the key.
    ChartFault(
        "bundle-under-another-key",
        "component ready|agent attested",
        r"bundle\.crt",
        (Edit(SERVER_CONFIG, '"config_map_key" "bundle.crt"', '"config_map_key" "bundle.spiffe"'),),
    ),
    # "So that no agent waits for the bundle's ConfigMap."
    ChartFault(
        "agents-that-trust-any-server",
        "agent attested",
        r"DaemonSet spire-system/spire-agent starts without a trust bundle: it trusts whoever answers for its server",
        (Edit(AGENT_CONFIG, '"trust_bundle_path" "/run/spire/bundle/bundle.crt"', '"insecure_bootstrap" true'),),
    ),
    ChartFault(
        "agent-without-its-service-account",
        "component ready",
        r"(?i)service ?account",
        (Edit(AGENT, AGENT_POD, "serviceAccountName: spire-agents\n"),),
    ),
    ChartFault(
        "agents-on-no-node",
        "component ready",
        r"DaemonSet spire-system/spire-agent[\s\S]*(?i:node|selector|0 of 1)",
        (Edit(AGENT, AGENT_POD, AGENT_POD + "      nodeSelector: {pool: workers}\n"),),
        other={"spire-agent": {"nodeSelector": {"pool": "workers"}}},
    ),
    ChartFault(
        "agent-whose-readiness-probe-asks-the-wrong-port",
        "component ready",
        r"(?i)spire-agent[\s\S]*(probe|9999)",
        (Edit(AGENT, PROBES, "readinessProbe: {httpGet: {path: /ready, port: 9999}, periodSeconds: 2}"),),
    ),
    # "No identity issued" for everybody: the agent cannot ask the kubelet whose pod a process is
    # (helm-charts-hardened#704, spire#4004).
    ChartFault(
        "agent-that-may-not-ask-the-kubelet",
        "component ready|X.509 SVID",
        r"(?i)workload ?attestor[\s\S]*(kubelet|pods)",
        (Edit(AGENT, "verbs: [get]", "verbs: [list]"),),
        other={"spire-agent": {"hostNetwork": False}},
    ),
    # The image is neither built here nor can it be pulled.
    ChartFault(
        "agent-of-a-tag-that-does-not-exist",
        REFUSED_AT_START,
        r"spire-agent:0\.0\.1",
        values={"spire-agent": {"image": {"tag": "0.0.1"}}},
    ),
)

# The Workload API in pods

CSI_FAULTS = (
    ChartFault(
        "csi-driver-that-registers-another-name",
        "component ready|CSI socket",
        r"(?i)csi",
        (Edit(CSI, "-plugin-name={{ $values.pluginName }}", "-plugin-name=csi.example.com"),),
    ),
    # 277 s of waiting before it was seen.
    ChartFault(
        "csi-driver-of-another-socket-folder",
        "component ready|CSI socket",
        r"(?i)socket|no such file",
        (Edit(CSI, 'dir (index .Values "spire-agent").socketPath', '"/run/spire/sockets"'),),
        other={"spiffe-csi-driver": {"agentSocketPath": "/run/spire/sockets/spire-agent.sock"}},
    ),
    ChartFault(
        "csi-driver-without-pod-info",
        "component ready|CSI socket",
        r"only ephemeral volumes",
        (Edit(CSI, "podInfoOnMount: true", "podInfoOnMount: false"),),
    ),
    ChartFault(
        "csi-driver-that-the-kubelet-does-not-reach",
        "component ready|CSI socket",
        r"(?i)csi",
        (
            Edit(
                CSI,
                "--kubelet-registration-path=/var/lib/kubelet/plugins/{{ $values.pluginName }}/csi.sock",
                "--kubelet-registration-path=/var/lib/kubelet/plugins/spiffe/csi.sock",
            ),
        ),
    ),
    ChartFault(
        "oidc-provider-that-looks-for-another-socket",
        "component ready",
        r"(?i)oidc[\s\S]*(socket|no such file|workload api)",
        (Edit(OIDC_CONFIG, '"/spiffe-workload-api/%s"', '"/spiffe-workload-api/public-%s"'),),
    ),
    ChartFault(
        "oidc-provider-whose-secret-is-missing",
        "component ready",
        r"oidc-provider-tls",
        (
            Edit(
                OIDC,
                "        - name: config\n          configMap:\n            name: {{ $name }}\n",
                "        - name: config\n          secret:\n            secretName: oidc-provider-tls\n",
            ),
        ),
    ),
    # It is ready, and nobody reaches it.
    ChartFault(
        "oidc-provider-whose-service-leads-nowhere",
        "component ready",
        r"port 80 of Service \S+ leads to port http of its pods, and no container declares that port",
        (Edit(OIDC, "{name: http, containerPort: 8080}", "{name: web, containerPort: 8080}"),),
    ),
    # By the Service's name it answers, and verifiers know only the issuer's.
    ChartFault(
        "oidc-provider-that-does-not-answer-to-its-issuer",
        "web services",
        r"answered 400[\s\S]*other names or paths than the issuer's",
        (Edit(OIDC_CONFIG, 'list $advertised (get (urlParse $issuer) "hostname") $name', "list $name"),),
    ),
    # The documentation's example as the default.
    ChartFault(
        "oidc-provider-that-sends-verifiers-elsewhere",
        "web services",
        r"that neither it nor the values know: https://oidc-discovery\.example\.org/keys",
        (Edit(OIDC_CONFIG, '(printf "http://%s/keys" $fqdn)', '"https://oidc-discovery.example.org/keys"'),),
    ),
    ChartFault(
        "oidc-provider-that-is-paused",
        "component ready",
        r"it is paused \(spec\.paused\)",
        # An upgrade meets it where the pods are to be others.
        (
            Edit(OIDC, "  replicas: 1\n", "  replicas: 1\n  paused: true\n"),
            Edit(OIDC, "terminationGracePeriodSeconds: 5", "terminationGracePeriodSeconds: 6"),
        ),
    ),
    # The kubelet needs two minutes of failures to kill it.
    ChartFault(
        "oidc-provider-that-will-be-killed",
        "component ready",
        r"the liveness probe of container \S+ of pod \S+ \(port health, /alive\) fails: answers 404; the kubelet",
        (Edit(OIDC, '"live" "/live"', '"live" "/alive"'),),
    ),
)

# Identities, and the controller manager that registers them

IDENTITY_FAULTS = (
    ChartFault(
        "controller-manager-that-may-not-list-pods",
        "component ready|entry with federatesWith",
        r"(?i)forbidden|may not|cannot list",
        (Edit(MANAGER, "[namespaces, nodes, pods, endpoints]", "[namespaces, nodes, endpoints]"),),
    ),
    # 108 to 139 s of waiting; the pods have no entry, and nobody says why.
    ChartFault(
        "default-identity-of-another-class",
        "entry with federatesWith",
        r"(?i)class",
        (Edit(IDENTITIES, '"className" (include "spire.className" $)', '"className" "dir-spire"'),),
    ),
    # A class name of one's own, in one of two places.
    ChartFault(
        "controller-manager-of-another-class",
        "component ready|entry with federatesWith|federation relationship",
        r"(?i)class",
        (Edit(MANAGER_CONFIG, '"className" (include "spire.className" .)', '"className" "dir-spire"'),),
    ),
    ChartFault(
        "identities-not-reconciled",
        "component ready|entry with federatesWith",
        r"(?i)reconcil|no entry",
        values=own_values("controllerManager", reconcile={"clusterSPIFFEIDs": False}),
    ),
    ChartFault(
        "default-identity-for-spires-own-namespaces",
        "entry with federatesWith",
        r"(?i)no entry",
        (Edit(IDENTITIES, '"operator" "NotIn"', '"operator" "In"'),),
    ),
    # Renamed values are silently ignored: the entries are there, and federate with nobody.
    ChartFault(
        "default-identity-that-does-not-federate",
        "entry with federatesWith",
        r"(?i)does not federate",
        (Edit(IDENTITIES, 'omit $entry "enabled"', 'omit $entry "enabled" "federatesWith"'),),
    ),
    # The default is a fallback since 0.24: any other identity that selects a pod removes what it federates with.
    ChartFault(
        "second-identity-that-does-not-federate",
        "entry with federatesWith",
        r"(?i)does not federate",
        (Edit("values.yaml", OTHER_IDENTITIES, OTHER_IDENTITIES + "        second: {enabled: true}\n"),),
        other=own_values(
            "controllerManager",
            identities={
                "clusterSPIFFEIDs": {
                    "second": {"spiffeIDTemplate": "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/default"}
                }
            },
        ),
    ),
    # jwtSVIDSupport, after an upgrade with reused values (0.30); the OIDC provider, which needs JWT keys, would be
    # named first.
    ChartFault(
        "jwt-svids-disabled",
        "JWT",
        r"JWT-SVID",
        (Edit(SERVER_CONFIG, '"audit_log_enabled" false', '"audit_log_enabled" false\n  "disable_jwt_svids" true'),),
        values={"spiffe-oidc-discovery-provider": {"enabled": False}},
        other={"spire-server": {"jwtSVIDSupport": False}, "spiffe-oidc-discovery-provider": {"enabled": False}},
    ),
)

# Federation

FEDERATION_FAULTS = (
    # 151 s of waiting before it was seen; `reconcile: false` was ignored in 0.18 to 0.20.
    ChartFault(
        "federation-objects-not-reconciled",
        "federation relationship",
        r"(?i)reconcil",
        values=own_values("controllerManager", reconcile={"clusterFederatedTrustDomains": False}),
    ),
    ChartFault(
        "controller-manager-that-may-not-read-federation-objects",
        "component ready|federation relationship",
        r"(?i)forbidden|may not",
        (
            Edit(
                MANAGER,
                "resources: [clusterspiffeids, clusterstaticentries, clusterfederatedtrustdomains]",
                "resources: [clusterspiffeids, clusterstaticentries]",
            ),
        ),
    ),
    ChartFault(
        "service-without-the-endpoints-port",
        "endpoint reachable",
        r"(?i)port|refuses|closes",
        (Edit(SERVER, FEDERATION_PORT, ""),),
    ),
    # The port's number is right, and what is behind it is the API.
    ChartFault(
        "service-that-leads-past-the-bundle-endpoint",
        "endpoint reachable",
        r"no port of Service \S+ leads there",
        (Edit(SERVER, FEDERATION_PORT, FEDERATION_PORT.replace("targetPort: federation", "targetPort: grpc")),),
    ),
    ChartFault(
        "server-without-a-bundle-endpoint",
        REFUSED_AT_START,
        r"no bundle endpoint is configured for StatefulSet",
        (Edit(SERVER_CONFIG, ENDPOINT_TEMPLATE, ""),),
    ),
    ChartFault(
        "federation-disabled",
        REFUSED_AT_START,
        r"spire-server\.federation\.enabled is not true",
        values=own_values("federation", enabled=False),
    ),
    ChartFault(
        "values-that-federate-with-nobody",
        REFUSED_AT_START,
        r"federates with nobody",
        values=identities(federatesWith=[]),
        cluster="client",
    ),
    # Webhooks with `failurePolicy: Fail` whose Service is another release's.
    ChartFault(
        "webhook-whose-service-is-not-there",
        "component ready|federation relationship|webhook",
        r"(?i)webhook",
        (
            Edit(
                MANAGER,
                "        name: spire-controller-manager-webhook\n        namespace",
                "        name: spire-webhook\n        namespace",
            ),
            Edit(MANAGER, "    failurePolicy: Ignore", "    failurePolicy: Fail"),
        ),
    ),
    # The API server asks it about resources that nobody makes.
    ChartFault(
        "webhook-that-is-asked-about-one-kind-alone",
        "webhook",
        r"ClusterFederatedTrustDomain webhook-check refused: it is accepted: no webhook is asked about it",
        (
            Edit(
                MANAGER,
                '"clusterfederatedtrustdomain" "clusterfederatedtrustdomains"',
                '"clusterfederatedtrustdomain" "clusterfederatedtrustdomain"',
            ),
        ),
    ),
    # By `hasKey` in the place of the value, say: workloads may give themselves any identity.
    ChartFault(
        "workloads-that-administer-their-server",
        "entry with federatesWith",
        r"spiffe://\S+/ns/demo/sa/\S+ may call the server's own APIs, and no value asks for that",
        (Edit(IDENTITIES, 'omit $entry "enabled"', 'merge (dict "admin" true) (omit $entry "enabled")'),),
    ),
    ChartFault(
        "workloads-that-sign-for-their-trust-domain",
        "entry with federatesWith",
        r"spiffe://\S+/ns/demo/sa/\S+ may sign for the trust domain, as nested servers do, and no value asks for that",
        (Edit(IDENTITIES, 'omit $entry "enabled"', 'merge (dict "downstream" true) (omit $entry "enabled")'),),
    ),
    # What a web server of SPIRE's may do, so may who takes it over.
    ChartFault(
        "server-with-an-administrator-that-nobody-asked-for",
        "entry with federatesWith",
        r"spiffe://\S+/oidc may call the server's own APIs, and no value asks for that \(adminIDs",
        (
            Edit(
                SERVER_CONFIG,
                '"audit_log_enabled" false',
                '"audit_log_enabled" false "admin_ids" (list (printf "spiffe://%s/oidc" $spire.trustDomain))',
            ),
        ),
    ),
    ChartFault(
        "hook-that-fails",
        "component ready",
        r"(?i)BackoffLimit[\s\S]*hook",
        (Edit("templates/check.yaml", "", CHECK_HOOK % (SHELL_IMAGE, "exit 1")),),
    ),
)

# Healthy variants: slow, and green in the end

SLOW_PROVISIONER = f"""\
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: slow
provisioner: example.com/slow
volumeBindingMode: WaitForFirstConsumer
---
# A second local-path provisioner, with the rights and settings of the node image's, that comes 40 s late.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: slow-provisioner
  namespace: local-path-storage
spec:
  selector:
    matchLabels: {{app: slow-provisioner}}
  template:
    metadata:
      labels: {{app: slow-provisioner}}
    spec:
      serviceAccountName: local-path-provisioner
      initContainers:
        - name: late
          image: {SHELL_IMAGE}
          command: [sleep, "40"]
      containers:
        - name: provisioner
          image: {PROVISIONER_IMAGE}
          args:
            - start
            - --provisioner-name=example.com/slow
            - --config=/etc/config/config.json
            - --helper-pod-file=/etc/config/helperPod.yaml
            - --service-account-name=local-path-provisioner
            - --configmap-name=local-path-config
          env:
            - name: POD_NAMESPACE
              valueFrom: {{fieldRef: {{fieldPath: metadata.namespace}}}}
          volumeMounts:
            - {{name: config, mountPath: /etc/config}}
      volumes:
        - name: config
          configMap: {{name: local-path-config}}
"""
LATE = f"""\
      initContainers:
        - name: late
          image: {SHELL_IMAGE}
          command: [sleep, "30"]
"""
RESTRICTED = """\
          securityContext:
            {{- include "spire.restrictedContainer" . | nindent 12 }}
"""
# It sees the node's processes, as the agent beside it does.
KILLER = f"""\
        - name: killer
          image: {SHELL_IMAGE}
          command:
            - /bin/bash
            - -c
            - |
              until agent=$(grep -lsx spire-agent /proc/[0-9]*/comm); do sleep 0.2; done
              sleep 1
              kill -KILL $(echo "$agent" | cut -d / -f 3)
              exec sleep infinity
"""

HEALTHY = (
    # A large installation: an entry takes a minute to its agent.
    ChartFault(
        "entries-that-take-a-minute",
        values={
            "spire-server": {
                "experimental": {"enabled": True, "cacheReloadInterval": "20s"},
                "controllerManager": {"gcInterval": 30_000_000_000},
            },
            "spire-agent": {"experimental": {"enabled": True, "syncInterval": "20s"}},
        },
        healthy=True,
    ),
    # A workload's SPIFFE ID is what its entry says, whatever its form.
    ChartFault(
        "identities-of-another-form",
        values=identities(spiffeIDTemplate="spiffe://{{ .TrustDomain }}/{{ .PodMeta.Namespace }}/{{ .PodMeta.Name }}"),
        healthy=True,
    ),
    ChartFault(
        "provisioner-that-takes-40-s",
        edits=(Edit("templates/slow-provisioner.yaml", "", SLOW_PROVISIONER),),
        values=own_values("persistence", storageClass="slow"),
        healthy=True,
    ),
    ChartFault(
        "csi-driver-that-comes-30-s-late",
        edits=(Edit(CSI, "      containers:\n", LATE + "      containers:\n"),),
        healthy=True,
    ),
    ChartFault(
        "server-that-comes-30-s-late",
        edits=(Edit(SERVER, "      containers:\n", LATE + RESTRICTED + "      containers:\n"),),
        healthy=True,
    ),
    ChartFault(
        "agent-that-is-killed-once",
        edits=(
            Edit(
                AGENT, "      volumes:\n        - name: config\n", KILLER + "      volumes:\n        - name: config\n"
            ),
        ),
        healthy=True,
    ),
    ChartFault(
        "hook-that-takes-a-minute",
        edits=(Edit("templates/check.yaml", "", CHECK_HOOK % (SHELL_IMAGE, "sleep 60")),),
        healthy=True,
    ),
    # Agents serve on until their node is drained, with what the release before has given them.
    ChartFault(
        "agents-that-are-replaced-with-their-nodes",
        edits=(
            Edit(AGENT, AGENT_SPEC, f"{AGENT_SPEC}  updateStrategy: {{type: OnDelete}}\n"),
            Edit(AGENT, "terminationGracePeriodSeconds: 10", "terminationGracePeriodSeconds: 11"),
        ),
        healthy=True,
        only_upgraded=True,
    ),
    ChartFault(
        "claim-for-plugins",
        edits=(Edit("templates/plugins.yaml", "", PLUGINS_CLAIM),),
        healthy=True,
        only_upgraded=True,
    ),
    # Nodes that are there already keep the cores that they have.
    ChartFault("half-a-core", healthy=True, kept=False, cores=0.5),
)

# What only an upgrade can meet: the federation goes on, and SPIRE's other users are hurt, or a later day is

UPGRADE_FAULTS = (
    # Entries of nodes, of workloads outside of Kubernetes and of nested servers: the controller manager deletes what it
    # does not declare any more.
    ChartFault(
        "static-entries-not-reconciled",
        "static entries",
        r"own-identity has no entry: spiffe://\S+/own-identity/static[\s\S]*is configured not to reconcile",
        values=own_values("controllerManager", reconcile={"clusterStaticEntries": False}),
        only_upgraded=True,
    ),
    # Pods that have an identity of their own get the default one too, and which of the two they present is chance.
    ChartFault(
        "default-identity-that-is-no-fallback",
        FAILED_CHECK,
        r"pods that have other SPIFFE IDs too: \{'\S+': \['spiffe://\S+/sa/probe'\]\}",
        values=identities(fallback=False),
        only_upgraded=True,
    ),
    # A remedy for slow attestation that is handed on.
    ChartFault(
        "agents-that-know-no-containers",
        FAILED_CHECK,
        r"own-identity being given spiffe://\S+/own-identity/demo, as by the release before did not come",
        (Edit(AGENT_CONFIG, NODE_NAME, f'"disable_container_selectors" true\n    {NODE_NAME}'),),
        other={"spire-agent": {"workloadAttestors": {"k8s": {"disableContainerSelectors": True}}}},
        only_upgraded=True,
    ),
    # "Clean up on uninstall": with the StatefulSet go the keys, and peers trust the next ones only by hand.
    ChartFault(
        "claims-that-go-with-the-server",
        FAILED_CHECK,
        r"the datastore's claims are deleted now: their retention policy has whenDeleted: Delete",
        (
            Edit(
                SERVER,
                POD_MANAGEMENT,
                f"persistentVolumeClaimRetentionPolicy: {{whenDeleted: Delete}}\n  {POD_MANAGEMENT}",
            ),
        ),
        only_upgraded=True,
    ),
    # Users' own objects name the class, and peers have the endpoint's URL.
    ChartFault(
        "class-that-is-renamed",
        FAILED_CHECK,
        r"class was spire-mgmt-spire and is spire now: custom resources that name spire-mgmt-spire are ignored",
        (Edit("templates/_helpers.tpl", 'printf "%s-%s" .Release.Namespace .Release.Name', '"spire"'),),
        only_upgraded=True,
    ),
    ChartFault(
        "bundle-endpoint-that-moves",
        FAILED_CHECK,
        r"endpoint was port 8443 of Service spire-server/spire-server and is port 8444 of Service \S+ now: peers",
        (Edit("values.yaml", "port: 8443", "port: 8444"),),
        only_upgraded=True,
    ),
    # Verifiers are configured with the issuer.
    ChartFault(
        "issuer-that-is-renamed",
        FAILED_CHECK,
        r"the JWT issuer was https://oidc-discovery\.\S+ and is https://oidc\.\S+ now: verifiers",
        (Edit("templates/_helpers.tpl", "https://oidc-discovery.%s", "https://oidc.%s"),),
        only_upgraded=True,
    ),
    # Chart and values often change together: the values are not to blame for it.
    ChartFault(
        "issuer-that-is-renamed-beside-a-log-level",
        FAILED_CHECK,
        r"the JWT issuer was https://oidc-discovery\.\S+ and is https://oidc\.\S+ now: verifiers",
        (Edit("templates/_helpers.tpl", "https://oidc-discovery.%s", "https://oidc.%s"),),
        values={"spire-server": {"logLevel": "debug"}},
        only_upgraded=True,
    ),
    # Helm deletes what the release of before had: hooks are no part of one.
    ChartFault(
        "namespaces-that-become-hooks",
        FAILED_CHECK,
        r"Namespace spire-server would be deleted, with all that is in it: the new release has it as a hook",
        (
            Edit(
                "templates/namespaces.yaml",
                "  name: {{ $name }}\n",
                "  name: {{ $name }}\n  annotations: {helm.sh/hook: 'pre-install,pre-upgrade'}\n",
            ),
        ),
        only_upgraded=True,
    ),
    # "They may be there already": so they are at every upgrade, and Helm deletes what the new release leaves out.
    ChartFault(
        "namespaces-that-are-left-out-where-they-are",
        FAILED_CHECK,
        r"Namespace spire-server would be deleted, with all that is in it: the new release does not have it",
        (
            Edit("templates/namespaces.yaml", NAMESPACE_BEGINS, f"{NAMESPACE_BEGINS}{WHERE_NONE_IS}"),
            Edit("templates/namespaces.yaml", NAMESPACE_ENDS, f"{NAMESPACE_ENDS}{{{{- end }}}}\n"),
        ),
        only_upgraded=True,
    ),
    # Peers have their bundle of before for a day.
    ChartFault(
        "network-policy-that-forgets-the-peers",
        FAILED_CHECK,
        r"NetworkPolicy spire-server/spire-server lets nobody to port 8443 of StatefulSet spire-server/spire-server",
        (Edit("templates/network-policy.yaml", "", API_ALONE),),
        only_upgraded=True,
    ),
    ChartFault(
        "server-that-is-not-replaced-for-its-configuration",
        FAILED_CHECK,
        r"StatefulSet spire-server/spire-server would go on with what ConfigMap spire-server/spire-server has now",
        (Edit(SERVER, SERVER_CHECKSUM, ""),),
        only_upgraded=True,
    ),
)

CHART_FAULTS = (*SERVER_FAULTS, *AGENT_FAULTS, *CSI_FAULTS, *IDENTITY_FAULTS, *FEDERATION_FAULTS, *UPGRADE_FAULTS)


def chosen(expression: str, *, kept: bool, own_chart: bool, upgraded: bool = False) -> Iterator[ChartFault]:
    """The faults and healthy variants that pytest's `-k` language chooses by their names, and that can be met so.

    By installations, on clusters that have a good release already if `kept`, or if `upgraded` by upgrades from one.

    Of a chart that is not this project's only values are changed. Raises `ValueError` for an expression that is none.
    """
    try:
        compiled = Expression.compile(expression) if expression else None
    except SyntaxError as error:
        raise ValueError(f"-k {expression}: {error}") from None
    for fault in (*CHART_FAULTS, *HEALTHY):
        if (compiled and not compiled.evaluate(_part_of(fault.name))) or (kept and not fault.kept):
            continue
        if fault.only_upgraded and not upgraded:
            continue
        if own_chart:
            yield fault
        elif fault.other is not None or not fault.edits:
            yield replace(fault, edits=(), values=fault.values if fault.other is None else fault.other)


def _part_of(name: str) -> ExpressionMatcher:
    def matches(text: str, /, **_: object) -> bool:
        return text in name

    return matches
