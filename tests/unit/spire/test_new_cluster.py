"""What a release takes for granted of its cluster, where that is one which Kind makes."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fixtures.spire.layout import read
from fixtures.spire.layout.manifests import Objects
from fixtures.spire.layout.new_cluster import NewCluster, lacks
from tests.unit.spire.layout_examples import (
    AGENT,
    NAMESPACE,
    SERVER,
    Manifest,
    agent,
    changed,
    csi_driver,
    manifest,
    release,
    server,
)

KIND = NewCluster()
SERVER_POD = "StatefulSet identity/trust"


def said(manifests: list[Manifest], cluster: NewCluster = KIND) -> list[str]:
    return list(lacks(cluster, read(manifests, NAMESPACE), Objects(tuple(manifests), NAMESPACE)))


def with_pod(**fields: Any) -> list[Manifest]:
    """The release, with more fields of the pod of its server; lists are added to."""
    manifests = copy.deepcopy(release())
    pod = manifests[0]["spec"]["template"]["spec"]
    for key, value in fields.items():
        pod[key] = [*pod.get(key, ()), *value] if isinstance(value, list) else value
    return manifests


def with_environment(**fields: Any) -> list[Manifest]:
    """The release, with more fields of a container of its server."""
    manifests = copy.deepcopy(release())
    manifests[0]["spec"]["template"]["spec"]["containers"][0].update(fields)
    return manifests


def with_claim(**spec: Any) -> list[Manifest]:
    manifests = copy.deepcopy(release())
    manifests[0]["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": spec}]
    return manifests


def with_plugins(**plugins: Any) -> list[Manifest]:
    config = {**SERVER, "plugins": {**SERVER["plugins"], **plugins}}
    return [*server(config=config), *agent(), csi_driver()]


def secret(name: str, namespace: str = "identity", kind: str = "Secret") -> Manifest:
    return manifest(kind, name, namespace)


def test_a_release_that_has_all_it_needs_takes_nothing_for_granted() -> None:
    assert said(release()) == []


@pytest.mark.parametrize(
    ("group", "hint"),
    [("monitoring.coreos.com", "see telemetry.prometheus.podMonitor in the values, or give"), ("example.com", "give")],
)
def test_a_kind_that_the_api_server_does_not_know_is_named_with_its_group(group: str, hint: str) -> None:
    manifests = release(*(manifest("Watched", name, "nodes", f"{group}/v1") for name in ("one", "two")))
    assert said(manifests) == [
        f"Kind's clusters do not know Watched ({group}), and Helm installs nothing of the release: {hint} their custom "
        "resource definitions by --apply"
    ]
    assert said(manifests, NewCluster(groups=[group])) == []
    definition = manifest("CustomResourceDefinition", f"watched.{group}", spec={"group": group})
    assert said(manifests, NewCluster((definition,))) == said([*manifests, definition]) == []


def test_what_only_helm_test_would_make_is_not_asked_for() -> None:
    hook = {"annotations": {"helm.sh/hook": "test"}}
    pod = {"containers": [{"name": "a", "envFrom": [{"secretRef": {"name": "gone"}}]}]}
    test = manifest("Pod", "test", "identity", spec=pod, metadata=hook)
    assert said(release(test, manifest("Watched", "test", api="example.com/v1", metadata=hook))) == []


def test_a_storage_class_that_kind_does_not_have_is_named() -> None:
    manifests = with_claim(storageClassName="gp3", accessModes=["ReadWriteOnce"])
    (sentence,) = said(manifests)
    assert sentence.startswith(
        f"{SERVER_POD} claims a volume of the StorageClass gp3, and Kind's clusters have standard: "
    )
    assert said(manifests, NewCluster((manifest("StorageClass", "gp3"),))) == []
    assert said(with_claim(storageClassName="standard", accessModes=["ReadWriteOnce"])) == []


@pytest.mark.parametrize("name", [None, "standard"])
def test_a_volume_for_several_nodes_is_named(name: str | None) -> None:
    (sentence,) = said(with_claim(storageClassName=name, accessModes=["ReadWriteMany"]))
    assert sentence.startswith(
        f"{SERVER_POD} claims a volume that is ReadWriteMany, and those of Kind's clusters are for "
    )


@pytest.mark.parametrize(
    ("kind", "manifests"),
    [
        ("Secret", with_pod(volumes=[{"name": "a", "secret": {"secretName": "given"}}])),
        ("Secret", with_pod(volumes=[{"name": "a", "projected": {"sources": [{"secret": {"name": "given"}}]}}])),
        ("ConfigMap", with_pod(volumes=[{"name": "a", "configMap": {"name": "given"}}])),
        ("Secret", with_pod(initContainers=[{"name": "a", "envFrom": [{"secretRef": {"name": "given"}}]}])),
        ("Secret", with_environment(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "given", "key": "a"}}}])),
        ("ConfigMap", with_environment(env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "given"}}}])),
    ],
)
def test_what_a_pod_is_given_and_nothing_makes_is_named(kind: str, manifests: list[Manifest]) -> None:
    makes = "which nothing of the release makes: give it by --apply"
    sentence = f"pods of {SERVER_POD} are given the {kind} identity/given, {makes}"
    assert said(manifests) == [sentence]
    assert said([*manifests, secret("given", kind=kind)]) == []
    assert said(manifests, NewCluster((secret("given", kind=kind),))) == []
    assert said(manifests, NewCluster((secret("given", "elsewhere", kind),))) == [sentence]


@pytest.mark.parametrize(
    "manifests",
    [
        with_pod(volumes=[{"name": "a", "secret": {"secretName": "given", "optional": True}}]),
        with_environment(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "given", "optional": True}}}]),
        with_pod(volumes=[{"name": "a", "configMap": {"name": "kube-root-ca.crt"}}]),
    ],
)
def test_what_a_pod_may_do_without_or_has_in_every_namespace_is_not_asked_for(manifests: list[Manifest]) -> None:
    assert said(manifests) == []


def test_the_secret_of_a_certificate_is_made_by_who_signs_it() -> None:
    certificate = manifest("Certificate", "a", "identity", "cert-manager.io/v1", spec={"secretName": "given"})
    manifests = [*with_pod(volumes=[{"name": "a", "secret": {"secretName": "given"}}]), certificate]
    (sentence,) = said(manifests)
    assert sentence.startswith("Kind's clusters do not know Certificate (cert-manager.io), and Helm installs nothing")
    assert said(manifests, NewCluster(groups=["cert-manager.io"])) == []


def test_nodes_with_labels_of_ones_own_are_named() -> None:
    manifests = with_pod(nodeSelector={"pool": "infra", "kubernetes.io/os": "linux"})
    (sentence,) = said(manifests)
    assert sentence.startswith(
        f"{SERVER_POD} is for nodes with pool=infra alone, and those of Kind's clusters have no "
    )
    assert said(manifests, NewCluster(labels=["pool"])) == said(manifests, NewCluster(labels=None)) == []


IN_POOL = {"key": "pool", "operator": "In", "values": ["a"]}


@pytest.mark.parametrize(
    ("terms", "is_named"),
    [
        ([[IN_POOL]], True),
        ([[IN_POOL], [{"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}, IN_POOL]], True),
        ([[IN_POOL], [{"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}]], False),
        ([[{"key": "compute", "operator": "NotIn", "values": ["fargate"]}]], False),
    ],
)
def test_nodes_that_an_affinity_requires_are_named(terms: list[Any], is_named: bool) -> None:
    required = {"nodeSelectorTerms": [{"matchExpressions": each} for each in terms]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    found = [each.partition(" alone,")[0] for each in said(with_pod(affinity=affinity))]
    assert found == ([f"{SERVER_POD} is for nodes with pool"] if is_named else [])


@pytest.mark.parametrize(
    ("replicas", "nodes", "labels", "key", "is_named"),
    [
        (3, 1, {"run": "trust"}, "kubernetes.io/hostname", True),
        (3, 2, {"run": "trust"}, "kubernetes.io/hostname", True),
        (3, 3, {"run": "trust"}, "kubernetes.io/hostname", False),
        (None, 1, {"run": "trust"}, "kubernetes.io/hostname", False),
        (3, 1, {"run": "database"}, "kubernetes.io/hostname", False),
        (3, 1, {"run": "trust"}, "zone", False),  # of nodes without the label none is kept off
    ],
)
def test_more_pods_than_nodes_are_named_where_each_is_to_have_its_own(
    replicas: int | None, nodes: int, labels: dict[str, str], key: str, is_named: bool
) -> None:
    apart = {"topologyKey": key, "labelSelector": {"matchLabels": labels}}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}}
    manifests = with_pod(affinity=affinity)
    manifests[0]["spec"]["replicas"] = replicas
    found = [each.partition(" (")[0] for each in said(manifests, NewCluster(nodes=nodes))]
    assert found == ([f"{SERVER_POD} has 3 pods, each on another node"] if is_named else [])


def test_plugins_that_ask_a_cloud_are_named_with_their_values() -> None:
    plugins: dict[str, Any] = {"KeyManager": [{"aws_kms": {}}], "UpstreamAuthority": [{"gcp_cas": {}}]}
    why = "for which pods of Kind's clusters have no credentials of their own"
    asks = f"{SERVER_POD} asks a cloud ({{}}), {why}: see {{}}"
    assert said(with_plugins(**plugins)) == [
        asks.format("aws_kms", "spire-server.keyManager"),
        asks.format("gcp_cas", "spire-server.upstreamAuthority"),
    ]
    config = {**AGENT, "plugins": {**AGENT["plugins"], "NodeAttestor": [{"aws_iid": {}}]}}
    (sentence,) = said([*server(), *agent(config=config), csi_driver()])
    assert sentence.startswith("DaemonSet nodes/nodes-agent asks a cloud (aws_iid), ")
    assert sentence.endswith(": see spire-agent.nodeAttestor")


def test_a_spread_over_labels_that_no_node_has_is_named_where_pods_are_not_put_elsewhere() -> None:
    spread = {"topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
    (sentence,) = said(with_pod(topologySpreadConstraints=[spread]))
    assert sentence.startswith(f"{SERVER_POD} is for nodes with the labels topology.kubernetes.io/zone (topologySpread")
    assert said(with_pod(topologySpreadConstraints=[{**spread, "whenUnsatisfiable": "ScheduleAnyway"}])) == []


@pytest.mark.parametrize("odd", [["one"], "one", 1])
@pytest.mark.parametrize("field", ["nodeSelector", "topologySpreadConstraints", "affinity"])
def test_what_the_api_server_refuses_for_its_type_is_left_to_it(field: str, odd: Any) -> None:
    manifests = copy.deepcopy(release())
    manifests[0]["spec"]["template"]["spec"][field] = odd
    assert said(manifests) == []


def test_a_priority_class_that_nobody_makes_is_named() -> None:
    (sentence,) = said(with_pod(priorityClassName="ours"))
    assert sentence.startswith(f"{SERVER_POD} asks for the PriorityClass ours, which Kind's clusters do not have: see ")
    assert said(with_pod(priorityClassName="ours"), NewCluster((manifest("PriorityClass", "ours"),))) == []
    assert said(with_pod(priorityClassName="system-node-critical")) == []


@pytest.mark.parametrize(
    "connection",
    [
        "dbname=spire user=spire host=db.data.svc.cluster.local port=5432 password=secret",
        "postgres://spire:se.cret@db.data.svc:5432/spire?sslmode=require",
        "host=db.data sslmode=disable",
        "spire:secret@tcp(db.data.svc:3306)/spire?parseTime=true",
    ],
)
def test_a_database_in_the_cluster_that_nobody_makes_is_named_without_its_secret(connection: str) -> None:
    manifests = with_plugins(DataStore=[{"sql": {"plugin_data": {"connection_string": connection}}}])
    (sentence,) = said(manifests)
    assert sentence.startswith(f"{SERVER_POD} looks for its datastore at db.data")
    assert sentence.endswith(": see spire-server.dataStore.sql, or give what it leads to by --apply")
    assert "cret" not in sentence
    assert said(manifests, NewCluster((manifest("Service", "db", "data"),))) == []


@pytest.mark.parametrize(
    "connection",
    ["host=db.example.org", "host=10.0.0.1", "host=localhost", "host=/run/db", "host=$HOST", "/run/spire/data.sqlite3"],
)
def test_a_database_elsewhere_is_not_looked_for(connection: str) -> None:
    assert said(with_plugins(DataStore=[{"sql": {"plugin_data": {"connection_string": connection}}}])) == []


def test_a_vault_in_the_cluster_and_a_cert_manager_that_nobody_makes_are_named() -> None:
    data = {"plugin_data": {"vault_addr": "https://vault.vault.svc:8200"}}
    (sentence,) = said(with_plugins(UpstreamAuthority=[{"vault": data}]))
    assert sentence.startswith(
        f"{SERVER_POD} looks for the authority that signs its own at vault.vault.svc, and Kind's "
    )
    signed = with_plugins(UpstreamAuthority=[{"cert_manager": {"plugin_data": {"issuer_name": "ours"}}}])
    (sentence,) = said(signed)
    assert sentence.startswith(
        f"{SERVER_POD} has its authority signed by cert-manager, which Kind's clusters do not have"
    )
    assert said(signed, NewCluster(groups=["cert-manager.io"])) == []


def test_agents_that_look_for_their_server_where_nothing_is_are_named() -> None:
    def asking(address: str) -> list[Manifest]:
        return [*server(), *agent(config=changed(AGENT, server_address=address)), csi_driver()]

    manifests = asking("spire-server.spire")
    (sentence,) = said(manifests)
    assert sentence == (
        "DaemonSet nodes/nodes-agent looks for its server at spire-server.spire, which is no Service of the release's, "
        f"nor of Kind's clusters; {SERVER_POD} is in the namespace identity: see spire-agent.server"
    )
    assert said(manifests, NewCluster((manifest("Service", "spire-server", "spire"),))) == []
    # In the release's own namespaces it is looked for whatever the cluster is, and elsewhere it may be.
    assert said(asking("other.identity")) == said(asking("server.example.org")) == said(asking("10.0.0.1")) == []


@pytest.mark.parametrize(
    ("folder", "is_named"),
    [("/var/lib/kubelet", False), ("/var/lib/kubelet/", False), ("/var/lib/k0s/kubelet", True)],
)
def test_a_csi_driver_that_registers_with_another_kubelet_is_named(folder: str, is_named: bool) -> None:
    driver = copy.deepcopy(csi_driver())
    registry = {"name": "registry", "hostPath": {"path": f"{folder}/plugins_registry"}}
    driver["spec"]["template"]["spec"]["volumes"].append(registry)
    found = [each.partition(", and")[0] for each in said([*server(), *agent(), driver])]
    assert found == ([f"DaemonSet nodes/nodes-csi registers with a kubelet in {folder}"] if is_named else [])
