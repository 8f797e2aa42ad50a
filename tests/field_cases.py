"""Values of real deployments, as data: what each is to come to on the hardened charts, green or the link that is named.

`-m field` makes a run for each (`tests/field/`). They are of the kinds that users have reported: names of one's own,
identities that are selected by labels, hosts that lack something, components that are away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fixtures.helm.values import KeyPath
from fixtures.helm.values_check.ignored_keys import ignored_keys
from tests.chart_faults import REFUSED_AT_START, SHELL_IMAGE, ChartFault

ID = "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}"
OTHER_PATH = "spiffe://{{ .TrustDomain }}/k8s/{{ .PodMeta.Namespace }}/{{ .PodSpec.ServiceAccountName }}"
MANAGED: dict[str, Any] = {"matchLabels": {"spiffe.io/spire-managed-identity": "true"}}
NO_PROVIDER: dict[str, Any] = {"spiffe-oidc-discovery-provider": {"enabled": False}}


def _global(**values: Any) -> dict[str, Any]:
    return {"global": {"spire": values}}


def _server(**values: Any) -> dict[str, Any]:
    return {"spire-server": values}


def _identities(**identities: Any) -> dict[str, Any]:
    return _server(controllerManager={"identities": {"clusterSPIFFEIDs": identities}})


def _idle(name: str) -> dict[str, Any]:
    """A container that does nothing, as restricted pods may have it."""
    security = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {"name": name, "image": SHELL_IMAGE, "command": ["sleep", "infinity"], "securityContext": security}


def _green(name: str, values: dict[str, Any], *arguments: str, cluster: str = "") -> ChartFault:
    return ChartFault(name, values=values, arguments=arguments, cluster=cluster, healthy=True)


FIELD_CASES = (
    # Names of one's own.
    _green("class-name", _server(controllerManager={"className": "dir-spire"})),
    _green(
        "objects-without-a-class-and-no-hooks",
        {
            "global": {"installAndUpgradeHooks": {"enabled": False}, "deleteHooks": {"enabled": False}},
            **_server(controllerManager={"className": "dir-spire", "watchClassless": True}),
        },
    ),
    _green("one-namespace-for-all", _global(recommendations={"enabled": False})),
    _green("namespaces", _global(namespaces={"server": {"name": "identity"}, "system": {"name": "nodes"}})),
    _green("bundle-config-map", _global(bundleConfigMap="trust-bundle")),
    _green(
        "csi-driver-name",
        {
            "spiffe-csi-driver": {"pluginName": "one.csi.spiffe.io"},
            "spiffe-oidc-discovery-provider": {"csiDriverName": "one.csi.spiffe.io"},
        },
    ),
    ChartFault(
        "csi-driver-name-that-the-oidc-provider-is-not-given",
        "component ready",
        r"driver name csi\.spiffe\.io not found",
        values={"spiffe-csi-driver": {"pluginName": "one.csi.spiffe.io"}},
    ),
    _green(
        "daemon-set-names",
        {"spire-agent": {"fullnameOverride": "node-agent"}, "spiffe-csi-driver": {"fullnameOverride": "node-csi"}},
    ),
    # Identities of one's own.
    _green(
        "labelled-namespaces",
        _identities(default={"spiffeIDTemplate": ID, "namespaceSelector": MANAGED, "federatesWith": ["client.example"]})
        | NO_PROVIDER,
        cluster="server",
    ),
    _green(
        "labelled-pods-and-no-default-identity",
        _identities(
            default={"enabled": False},
            mesh={"spiffeIDTemplate": ID, "podSelector": MANAGED, "federatesWith": ["client.example"]},
        )
        | NO_PROVIDER,
        cluster="server",
    ),
    ChartFault(
        "third-party-whose-bundle-is-missing",
        "entry with federatesWith",
        r"names third\.example, whose bundle the server does not store",
        values=_identities(default={"federatesWith": ["client.example", "third.example"]}),
        cluster="server",
    ),
    _green("path-of-the-identities", _identities(default={"spiffeIDTemplate": OTHER_PATH})),
    # Those of the chart's own example, whose endpoints have names that nothing here resolves.
    _green(
        "federation-objects-in-the-values",
        _server(
            controllerManager={
                "identities": {
                    "clusterFederatedTrustDomains": {
                        "peer": {
                            "trustDomain": "client.example",
                            "bundleEndpointURL": "https://spire-server-federation.client.example",
                            "bundleEndpointProfile": {
                                "type": "https_spiffe",
                                "endpointSPIFFEID": "spiffe://client.example/spire/server",
                            },
                        }
                    }
                }
            }
        ),
        cluster="server",
    ),
    # Other values that must not matter.
    _green("port-of-the-server", _server(service={"port": 8081}) | {"spire-agent": {"server": {"port": 8081}}}),
    _green(
        "name-of-the-socket",
        {
            "spire-agent": {"socketPath": "/run/spire/agent-sockets/workload.sock"},
            "spiffe-csi-driver": {"agentSocketPath": "/run/spire/agent-sockets/workload.sock"},
            "spiffe-oidc-discovery-provider": {"agentSocketName": "workload.sock"},
        },
    ),
    _green("password-in-the-values", {}, "--set=spire-server.dataStore.sql.password=correct-horse-battery"),
    _green("pace-of-the-chart", {}, "--pace=chart"),
    # Agents for nodes of several kinds, of some of which there is none here.
    _green(
        "agents-for-several-kinds-of-nodes",
        {
            "spire-agent": {
                "agents": {
                    "default": {"nodeSelector": {"kubernetes.io/os": "linux"}},
                    "gpu": {"nodeSelector": {"pool": "gpu"}},
                }
            }
        },
    ),
    # No load balancer, no Ingress controller and no Prometheus is there, and an issuer that is asked below a path.
    _green(
        "services-ingresses-telemetry-and-an-issuer-with-a-path",
        {
            "global": {
                "spire": {"ingressControllerType": "ingress-nginx", "jwtIssuer": "https://oidc.corp.example/tenant"},
                "telemetry": {"prometheus": {"enabled": True}},
            },
            "spire-server": {
                "service": {"type": "LoadBalancer"},
                "controllerManager": {"service": {"type": "NodePort"}},
                "ingress": {"enabled": True},
                "federation": {"ingress": {"enabled": True}},
                "extraContainers": [_idle("proxy")],
            },
            "spire-agent": {
                "kubeletAddress": {"mode": "hostip"},
                "sockets": {"admin": {"enabled": True, "mountOnHost": True}},
            },
            "spiffe-oidc-discovery-provider": {
                "service": {"type": "NodePort"},
                "replicaCount": 2,
                "config": {"serverPathPrefix": "/tenant", "additionalDomains": ["issuer.local"]},
            },
        },
    ),
    # What no workload here can get.
    ChartFault(
        "selectors-that-the-workloads-do-not-have",
        "X.509 SVID|component ready",
        "asks for k8s:container-name:app, which no container of pod ",
        values=_identities(default={"workloadSelectorTemplates": ["k8s:container-name:app"]}),
    ),
    ChartFault(
        "no-identity-that-federates",
        REFUSED_AT_START,
        "federates with nobody: .*default.enabled is false",
        values=_identities(default={"enabled": False}, keycloak={"spiffeIDTemplate": ID, "podSelector": MANAGED}),
    ),
    ChartFault(
        "misspelt-key",
        REFUSED_AT_START,
        r"ignores spire-server\.federation\.bundelEndpoint, which resembles spire-server\.federation\.bundleEndpoint",
        values=_server(federation={"bundelEndpoint": {"port": 8444}}),
    ),
    # Of another chart's values, and in the wrong place: named, and nothing else.
    _green("keys-that-the-chart-does-not-read", {"stepIngress": {"enabled": True}, **_server(deploymentType="x")}),
    # What the cluster lacks, or the release asks for in vain.
    ChartFault(
        "storage-class-that-is-not-there",
        "component ready",
        "claim.*longhorn",
        values=_global(persistence={"storageClass": "longhorn"}),
    ),
    ChartFault(
        "more-cores-than-any-node-has",
        "component ready",
        "nsufficient cpu",
        values=_server(resources={"requests": {"cpu": 64}}),
    ),
    ChartFault(
        "agent-outside-the-hosts-network",
        "component ready|X.509 SVID",
        r"(?i)workload ?attestor[\s\S]*kubelet",
        values={"spire-agent": {"hostNetwork": False}},
    ),
    ChartFault(
        "datastore-away",
        "component ready",
        "(?i)datastore|connection refused",
        values=_server(dataStore={"sql": {"databaseType": "postgres", "host": "127.0.0.1", "port": 1}}),
    ),
    ChartFault(
        "server-as-a-deployment-without-a-datastore-of-its-own",
        REFUSED_AT_START,
        "sqlite3 can't be used|persistence can't be set",  # in the chart's own words
        values=_server(kind="deployment"),
    ),
    ChartFault(
        "values-of-an-umbrella-chart",
        REFUSED_AT_START,
        "keys below spire:",
        values={"spire": _global(persistence={"storageClass": "longhorn"})},
    ),
)


def as_read_by(case: ChartFault, chart: Path) -> ChartFault:
    """The case as a chart's folder reads it: if it reads none of the values, as of a later chart, they break nothing.

    Raises as `ignored_keys`.
    """
    if case.healthy or case.link == REFUSED_AT_START:
        return case
    ignored = [key.path for key in ignored_keys(case.values, chart)]
    reads_none = all(any(path[: len(each)] == each for each in ignored) for path in _paths(case.values))
    return replace(case, link="", sentence="", healthy=True) if reads_none else case


def _paths(values: Mapping[str, Any], above: KeyPath = ()) -> Iterator[KeyPath]:
    """The paths of all values that are no mappings."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _paths(value, (*above, key))
        else:
            yield (*above, key)
