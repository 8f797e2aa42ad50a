"""What cannot work of a release, by what its own parts say of each other."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from fixtures.spire.layout import contradictions, read
from tests.unit.spire.layout_examples import (
    AGENT,
    MANAGER,
    NAMESPACE,
    SERVER,
    agent,
    changed,
    config_map,
    container,
    csi_driver,
    from_config_map,
    server,
    service,
    workload,
)

FITTING: dict[str, Any] = copy.deepcopy(SERVER)
NORTH = {"service_account_allow_list": ["nodes:default"], "audience": ["spire-server"]}
FITTING["plugins"]["NodeAttestor"] = [{"k8s_psat": {"plugin_data": {"clusters": {"north": NORTH}}}}]


def found(config: Any = FITTING, manager: Any = MANAGER, of_agent: Any = AGENT) -> list[str]:
    manifests = [*server(config=config, manager=manager), *agent(config=of_agent), csi_driver()]
    return contradictions(read(manifests, NAMESPACE))


def _reconciling(kind: str) -> dict[str, Any]:
    return {"manager": changed(MANAGER, reconcile={kind: True})}


def publishing(namespace: str) -> dict[str, Any]:
    """A server's configuration that publishes its bundle in a namespace."""
    config = copy.deepcopy(FITTING)
    config["plugins"]["Notifier"] = [{"k8sbundle": {"plugin_data": {"namespace": namespace}}}]
    return config


def attesting(**changes: Any) -> Any:
    """A server's configuration that knows the agents' cluster otherwise."""
    config = copy.deepcopy(FITTING)
    clusters = {"south": NORTH} if changes.pop("south", False) else {"north": {**NORTH, **changes}}
    config["plugins"]["NodeAttestor"] = [{"k8s_psat": {"plugin_data": {"clusters": clusters}}}]
    return config


def listening(address: str) -> Any:
    """A server's configuration whose bundle endpoint listens there."""
    config = copy.deepcopy(FITTING)
    config["server"]["federation"]["bundle_endpoint"]["address"] = address
    return config


def knowing(*workload_attestors: str) -> Any:
    """An agent's configuration with other workload attestors."""
    config = copy.deepcopy(AGENT)
    config["plugins"]["WorkloadAttestor"] = [{name: {}} for name in workload_attestors]
    return config


def parents(template: str) -> Any:
    """A controller manager's configuration with this SPIFFE ID of agents."""
    return changed(MANAGER, parentIDTemplate=template)


PSAT_PARENT = "spiffe://{{ .TrustDomain }}/spire/agent/k8s_psat/{{ .ClusterName }}/{{ .NodeMeta.UID }}"


def with_plugins(**plugins: Any) -> Any:
    """A server's configuration with these plugins too."""
    return {**FITTING, "plugins": {**FITTING["plugins"], **plugins}}


@pytest.mark.parametrize(
    "template",
    [
        "",
        PSAT_PARENT,
        PSAT_PARENT.replace(" .", " $."),
        PSAT_PARENT.replace(".NodeMeta.UID", "print .NodeMeta.UID"),
        PSAT_PARENT.replace(".ClusterName", "printf .ClusterName"),
        "spiffe://{{ .TrustDomain }}/nodes/all",
    ],
)
def test_a_parent_may_be_an_agent_or_an_alias_of_nodes(template: str) -> None:
    assert found(manager=parents(template)) == []


def test_a_plugin_that_is_switched_off_is_none() -> None:
    kept = with_plugins(KeyManager=[{"disk": {}}, {"memory": {"enabled": False}}])
    assert found(config=kept) == []
    off = {"enabled": False, "plugin_data": {"keys_path": "/lost/keys.json", "server_address": "root"}}
    assert found(config=with_plugins(KeyManager=[{"aws_kms": {}}, {"disk": off}])) == []
    assert found(config=with_plugins(UpstreamAuthority=[{"spire": off}])) == []
    (sentence,) = found(config=with_plugins(Notifier=[{"k8sbundle": {"enabled": False}}]))
    assert "nothing of the release publishes it there" in sentence


def test_parts_that_fit_each_other_do_not_contradict() -> None:
    assert found() == []


@pytest.mark.parametrize("address", ["", "10.0.0.1", "spire.corp.example", "trust.elsewhere.svc", "trust.identity.svc"])
def test_an_address_may_be_one_that_the_release_does_not_show(address: str) -> None:
    assert found(of_agent=changed(AGENT, server_address=address)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"config": changed(FITTING, disable_jwt_svids=True)}, r"signs no JWT-SVIDs, .* spire-server\.jwtSVIDSupport"),
        (_reconciling("clusterFederatedTrustDomains"), "^no workload gets an identity, "),
        (_reconciling("clusterSPIFFEIDs"), r"^nothing federates, .*: see spire-server\.controllerManager\.reconcile$"),
        ({"of_agent": changed(AGENT, server_address="other.identity")}, r"looks for its server at other\.identity, "),
        (
            {"config": publishing("identity")},
            "starts with the bundle in ConfigMap nodes/spire-bundle, key bundle.crt, and StatefulSet identity/trust "
            "publishes it in ConfigMap identity/spire-bundle, key bundle.crt",
        ),
        ({"config": SERVER}, "nodes-agent attests by k8s_psat, and StatefulSet identity/trust by nothing: see "),
        (
            {"of_agent": changed(AGENT, server_port="8081")},
            "nodes-agent asks its server at port 8081 of Service identity/trust, and that is 443: see ",
        ),
        ({"config": attesting(south=True)}, "attests as one of the cluster north, and .* knows south: see "),
        (
            {"config": attesting(service_account_allow_list=["spire:spire-agent"])},
            "attests with the service account nodes:default, and .* allows spire:spire-agent: see ",
        ),
        ({"config": listening("127.0.0.1")}, r"^the bundle endpoint listens at 127\.0\.0\.1 alone, where no peer "),
        ({"of_agent": knowing("unix")}, r"does not know which pod a process is of: .*workloadAttestors\.k8s\.enabled$"),
        (
            {"manager": parents("spiffe://{{ .TrustDomain }}/spire/agent/x509pop/{{ .NodeMeta.UID }}")},
            "attests by k8s_psat, and entries are for agents that do by x509pop: see ",
        ),
        (
            {"manager": parents(PSAT_PARENT.replace("{{ .TrustDomain }}", "other.example"))},
            r"^entries are for agents of other\.example, and DaemonSet nodes/nodes-agent is of one\.example: see ",
        ),
        (
            {"manager": parents(PSAT_PARENT.replace("{{ .ClusterName }}", "south"))},
            "^entries are for agents of the cluster south, and DaemonSet nodes/nodes-agent is of north: see ",
        ),
        (
            {"manager": changed(parents(PSAT_PARENT), clusterName="south")},
            "^entries are for agents of the cluster south, and DaemonSet nodes/nodes-agent is of north: see ",
        ),
        (
            {"manager": parents(PSAT_PARENT.replace("UID", "Name"))},
            r"^entries are for agents whose SPIFFE IDs end in \{\{ \.NodeMeta\.Name \}\}, not in their node's UID: ",
        ),
        (
            {"manager": parents("spiffe://one.example/spire/agent/k8s_psat/north")},
            "^entries are for agents whose SPIFFE IDs end in nothing, not in their node's UID: see ",
        ),
        (
            {"config": with_plugins(KeyManager=[{"disk": {}}, {"gcp_kms": {}}])},
            r"^StatefulSet identity/trust has several plugins of a kind .* KeyManager \(disk and gcp_kms\): see ",
        ),
        (
            {"of_agent": {**AGENT, "plugins": {**AGENT["plugins"], "KeyManager": {"disk": {}, "memory": {}}}}},
            r"^DaemonSet nodes/nodes-agent has several plugins of a kind .* KeyManager \(disk and memory\): see ",
        ),
    ],
)
def test_what_contradicts_is_named_with_its_key(changes: dict[str, Any], words: str) -> None:
    (sentence,) = found(**changes)
    assert re.search(words, sentence)


DATA = "/run/spire/data"
SQLITE = {"database_type": "sqlite3", "connection_string": f"file:{DATA}/datastore.sqlite3?_journal_mode=WAL"}


def lost(
    datastore: Any,
    keys: Any,
    volumes: Any = (),
    claims: Any = (),
    mounts: Any = (("data", DATA),),
    *,
    upstream: bool = False,
) -> list[str]:
    """What is said of a server that stores there, with these volumes and claims, and mounts of theirs.

    `keys` are a file, or all of the block of a KeyManager.
    """
    config = copy.deepcopy(FITTING)
    config["plugins"]["DataStore"] = [{"sql": {"plugin_data": datastore}}]
    if upstream:
        config["plugins"]["UpstreamAuthority"] = [{"disk": {"plugin_data": {}}}]
    on_disk = {"disk": {"plugin_data": {"keys_path": keys}}}
    config["plugins"]["KeyManager"] = [on_disk if isinstance(keys, str) else keys]
    manifests = [*server(config=config), *agent(), csi_driver()]
    (stateful_set,) = (each for each in manifests if each["kind"] == "StatefulSet")
    stateful_set["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": name}} for name in claims]
    pod = stateful_set["spec"]["template"]["spec"]
    pod["volumes"] = [*pod["volumes"], *volumes]
    for each in pod["containers"]:
        each.setdefault("volumeMounts", []).extend({"name": name, "mountPath": path} for name, path in mounts)
    return contradictions(read(manifests, NAMESPACE))


@pytest.mark.parametrize(
    "where",
    [
        {"claims": ["data"]},
        {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "spire"}}]},
    ],
    ids=["claim of the StatefulSet", "claim"],
)
def test_what_is_in_a_volume_that_outlives_the_pod_is_not_lost(where: dict[str, Any]) -> None:
    assert lost(SQLITE, f"{DATA}/keys.json", **where) == []
    (found,) = lost(SQLITE, "/tmp/keys.json", **where)  # noqa: S108
    assert "loses its keys /tmp/keys.json with its pod" in found
    assert found.endswith("see spire-server.keyManager")


def test_with_an_upstream_authority_the_x509_authority_is_not_lost() -> None:
    (of_datastore,) = lost(SQLITE, f"{DATA}/keys.json", upstream=True, volumes=[{"name": "data", "emptyDir": {}}])
    assert "neither entries that were made by hand nor the bundles that peers have moved on to" in of_datastore
    (of_keys,) = lost(SQLITE, {"memory": {"plugin_data": {}}}, upstream=True, claims=["data"])
    assert "the next one signs JWT-SVIDs with new keys, which peers refuse" in of_keys


@pytest.mark.parametrize(
    "connection",
    [
        ":memory:",
        "file::memory:?cache=shared",
        f"file:{DATA}/datastore.sqlite3?cache=shared&mode=memory",
        f"{DATA}/datastore.sqlite3?vfs=memdb",
    ],
)
def test_a_datastore_in_memory_is_lost_with_the_pod(connection: str) -> None:
    kept = f"{DATA}/keys.json"
    (found,) = lost({"database_type": "sqlite3", "connection_string": connection}, kept, claims=["data"])
    assert "loses its datastore in memory with its pod" in found
    assert lost({"database_type": "postgres", "connection_string": "dbname=:memory:"}, kept, claims=["data"]) == []


def on_host(**pod: Any) -> list[str]:
    """What is said of a server whose datastore is in a folder of its node."""
    manifests = [*server(config=FITTING), *agent(), csi_driver()]
    config = copy.deepcopy(FITTING)
    config["plugins"]["DataStore"] = [{"sql": {"plugin_data": SQLITE}}]
    manifests = [*server(config=config), *agent(), csi_driver()]
    (stateful_set,) = (each for each in manifests if each["kind"] == "StatefulSet")
    spec = stateful_set["spec"]["template"]["spec"]
    spec["volumes"].append({"name": "data", "hostPath": {"path": "/var/lib/spire"}})
    for each in spec["containers"]:
        each.setdefault("volumeMounts", []).append({"name": "data", "mountPath": DATA})
    spec.update(pod)
    return contradictions(read(manifests, NAMESPACE))


def test_a_datastore_in_its_nodes_folder_stays_there_only_with_its_pod() -> None:
    (found,) = on_host()
    assert "has its datastore in its node's folder /var/lib/spire, and its next pod may be on another node" in found
    assert on_host(nodeSelector={"disk": "fast"}) == []
    assert on_host(affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}) == []
    assert len(on_host(affinity={"podAntiAffinity": {}})) == 1


def test_a_relative_path_is_in_no_volume_wherever_the_suite_itself_runs() -> None:
    relative = {"database_type": "sqlite3", "connection_string": "data.sqlite3"}
    (found,) = lost(relative, f"{DATA}/keys.json", claims=["data"], mounts=(("data", str(Path.cwd())),))
    assert "loses its datastore data.sqlite3 with its pod" in found


def test_keys_in_memory_are_lost_with_the_pod() -> None:
    (found,) = lost(SQLITE, {"memory": {"plugin_data": {}}}, claims=["data"])
    assert "keeps its datastore, and loses its keys in memory with its pod" in found


@pytest.mark.parametrize(
    "where",
    [
        {"volumes": [{"name": "data", "emptyDir": {}}]},
        {"volumes": [{"name": "data"}]},
        {"mounts": ()},
        {"claims": ["data", "other"], "mounts": (("data", "/run/spire"), ("tmp", DATA)), "volumes": [{"name": "tmp"}]},
    ],
    ids=["emptyDir", "volume without a source", "no volume", "an emptyDir below the claim"],
)
def test_a_datastore_that_goes_with_the_pod_is_named(where: dict[str, Any]) -> None:
    (found,) = lost(SQLITE, f"{DATA}/keys.json", **where)
    assert f"loses its datastore {DATA}/datastore.sqlite3 with its pod" in found
    assert found.endswith("see spire-server.dataStore and spire-server.persistence")


def test_another_database_is_not_in_the_pod() -> None:
    postgres = {"database_type": "postgres", "connection_string": "dbname=spire host=db"}
    assert lost(postgres, f"{DATA}/keys.json", claims=["data"]) == []


def test_an_agent_may_ask_at_any_port_of_its_service_that_leads_to_the_api() -> None:
    manifests = [*server(config=FITTING), *agent(config=changed(AGENT, server_port="8081")), csi_driver()]
    manifests.append(service("other", "identity", "trust", 8081, "api"))
    (sentence,) = contradictions(read(manifests, NAMESPACE))
    assert "asks its server at port 8081 of Service identity/trust, and that is 443: see " in sentence
    (of_trust,) = (each for each in manifests if each["kind"] == "Service" and each["metadata"]["name"] == "trust")
    of_trust["spec"]["ports"].append({"port": 8081, "targetPort": "api", "protocol": "UDP"})
    assert len(contradictions(read(manifests, NAMESPACE))) == 1
    of_trust["spec"]["ports"].append({"port": 8081, "targetPort": "api"})
    assert contradictions(read(manifests, NAMESPACE)) == []


def test_agents_and_csi_driver_have_one_folder() -> None:
    manifests = [*server(config=FITTING), *agent(), csi_driver(folder="/run/elsewhere")]
    (sentence,) = contradictions(read(manifests, NAMESPACE))
    assert "has its socket in /run/node/inside, and DaemonSet nodes/nodes-csi mounts /run/elsewhere: see " in sentence


def with_token(audience: str) -> list[Any]:
    """The release, its agents with a token for this audience."""
    manifests = [*server(config=FITTING), *agent(), csi_driver()]
    (daemon_set,) = (
        each for each in manifests if each["kind"] == "DaemonSet" and each["metadata"]["name"] == "nodes-agent"
    )
    pod = daemon_set["spec"]["template"]["spec"]
    source = {"serviceAccountToken": {"path": "spire-agent", "audience": audience}}
    pod["volumes"].append({"name": "token", "projected": {"sources": [source]}})
    pod["containers"][0]["volumeMounts"].append({"name": "token", "mountPath": "/var/run/secrets/tokens"})
    return manifests


def test_an_agents_token_is_for_its_server() -> None:
    assert contradictions(read(with_token("spire-server"), NAMESPACE)) == []
    (sentence,) = contradictions(read(with_token("other"), NAMESPACE))
    assert (
        "attests with a token for other, and StatefulSet identity/trust takes those for spire-server: see" in sentence
    )


def test_a_bundle_that_nobody_publishes_is_named_unless_the_release_has_it() -> None:
    config = copy.deepcopy(FITTING)
    del config["plugins"]["Notifier"]
    manifests = [*server(config=config), *agent(), csi_driver()]
    (sentence,) = contradictions(read(manifests, NAMESPACE))
    assert (
        "starts with the bundle in ConfigMap nodes/spire-bundle, key bundle.crt, and nothing of the release" in sentence
    )
    given = config_map("spire-bundle", "nodes", "bundle.crt", "-----BEGIN CERTIFICATE-----")
    assert contradictions(read([*manifests, given], NAMESPACE)) == []


def oidc(domains: list[str], *, mounted: dict[str, Any] | None = None) -> list[Any]:
    """An OIDC discovery provider that answers to these domains, and a helper beside it with this mount, if any."""
    given = {"domains": domains, "workload_api": {}}
    provider = container("provider", "-config", "/etc/oidc/oidc.conf", mounts={"config": "/etc/oidc"})
    containers = [provider]
    volumes = from_config_map("oidc")
    if mounted is not None:
        given["serving_cert_file"] = {"cert_file_path": "/certs/tls.crt"}
        provider["volumeMounts"].append({"name": "certs", "mountPath": "/certs", **mounted.pop("provider", {})})
        containers.append({"name": "helper", "volumeMounts": [{"name": "certs", "mountPath": "/out", **mounted}]})
    made = workload("Deployment", "oidc", "identity", containers, config=volumes)
    made["spec"]["template"]["spec"]["volumes"].append({"name": "certs", "emptyDir": {}})
    return [made, config_map("oidc", "identity", "oidc.conf", given)]


@pytest.mark.parametrize(
    ("issuer", "domains", "said"),
    [
        ("https://oidc.one.example", ["oidc.one.example"], []),
        ("https://OIDC.one.example:8443/", ["other", "OIDC.one.example"], []),
        ("", ["other"], []),
        ("https://oidc.one.example", ["other"], ["Deployment identity/oidc does not answer to oidc.one.example"]),
        (
            "spiffe://oidc.one.example",
            ["oidc.one.example"],
            ["the issuer of JWT-SVIDs is spiffe://oidc.one.example, and"],
        ),
        # As the chart 0.17 has it.
        ("oidc.one.example", ["oidc.one.example"], ["the issuer of JWT-SVIDs is oidc.one.example, which is no URL"]),
        (
            "https://oidc.one.example/tenant",
            ["oidc.one.example"],
            ["verifiers look for Deployment identity/oidc's documents below /tenant, the issuer's path"],
        ),
    ],
)
def test_the_oidc_provider_answers_to_its_servers_issuer(issuer: str, domains: list[str], said: list[str]) -> None:
    manifests = [*server(config=changed(FITTING, jwt_issuer=issuer)), *agent(), csi_driver(), *oidc(domains)]
    found = contradictions(read(manifests, NAMESPACE))
    assert [each[: len(words)] for each, words in zip(found, said, strict=True)] == said


@pytest.mark.parametrize(
    ("mounted", "is_renewed"),
    [
        ({}, True),
        ({"readOnly": True}, False),
        ({"subPath": "helper"}, False),
        ({"provider": {"subPath": "helper"}, "subPath": "helper"}, True),
        ({"provider": {"subPath": "helper"}}, True),
    ],
)
def test_what_renews_a_certificate_has_its_folder(mounted: dict[str, Any], *, is_renewed: bool) -> None:
    manifests = [*server(config=FITTING), *agent(), csi_driver(), *oidc(["one.example"], mounted=mounted)]
    provider = read(manifests, NAMESPACE).oidc_provider
    assert provider is not None
    assert (provider.unrenewed_certificate == "") is is_renewed


def on_nodes(of_agent: dict[str, Any], of_driver: dict[str, Any]) -> list[str]:
    """What is said of agents and a driver with these fields of their pods."""
    manifests = [*server(config=FITTING), *agent(), csi_driver()]
    for each in manifests:
        if each["kind"] == "DaemonSet":
            is_agent = each["metadata"]["name"] == "nodes-agent"
            each["spec"]["template"]["spec"].update(of_agent if is_agent else of_driver)
    return contradictions(read(manifests, NAMESPACE))


LINUX, PLANE = {"kubernetes.io/os": "linux"}, {"node-role.kubernetes.io/control-plane": ""}
GPU = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("of_agent", "of_driver", "words"),
    [
        ({"nodeSelector": LINUX}, {}, ""),
        ({"nodeSelector": {**LINUX, **PLANE}}, {"nodeSelector": PLANE}, ""),
        ({"nodeSelector": LINUX}, {"nodeSelector": PLANE}, "nodes with node-role.kubernetes.io/control-plane= alone"),
        ({"tolerations": [GPU]}, {}, "on nodes with taints of dedicated too, and DaemonSet nodes/nodes-csi is not"),
        ({"tolerations": [{"operator": "Exists"}]}, {"tolerations": [GPU]}, "with taints of any key too"),
        ({"tolerations": [GPU]}, {"tolerations": [{"operator": "Exists"}]}, ""),
        ({"tolerations": [GPU]}, {"tolerations": [{"operator": "Exists", "effect": "NoExecute"}]}, "of dedicated too"),
        ({"tolerations": [GPU]}, {"tolerations": [{"key": "dedicated", "operator": "Exists"}]}, ""),
        ({"tolerations": [GPU]}, {"tolerations": [{**GPU, "value": "other"}]}, "of dedicated too"),
        ({"tolerations": [GPU]}, {"tolerations": [{**GPU, "operator": "Equal"}]}, ""),
        ({}, {"tolerations": [GPU]}, ""),
    ],
)
def test_where_an_agent_is_a_driver_has_to_be(of_agent: dict[str, Any], of_driver: dict[str, Any], words: str) -> None:
    found = on_nodes(of_agent, of_driver)
    assert len(found) == bool(words)
    assert all(words in each for each in found)


def test_an_agent_that_trusts_whoever_answers_is_named() -> None:
    (sentence,) = found(of_agent=changed(AGENT, insecure_bootstrap=True))
    assert "DaemonSet nodes/nodes-agent starts without a trust bundle (insecure_bootstrap)" in sentence
    assert found(of_agent=changed(AGENT, insecure_bootstrap=False)) == []


def test_a_token_in_a_sub_path_is_not_renewed() -> None:
    manifests = with_token("spire-server")
    (mount,) = (
        mount
        for each in manifests
        if each["kind"] == "DaemonSet"
        for one in each["spec"]["template"]["spec"]["containers"]
        for mount in one.get("volumeMounts", ())
        if mount["name"] == "token"
    )
    mount.update(mountPath="/var/run/secrets/tokens/spire-agent", subPath="spire-agent")
    (sentence,) = contradictions(read(manifests, NAMESPACE))
    assert "has its service account's token by a subPath, where the kubelet does not renew it" in sentence


def budget(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "budget", "namespace": spec.pop("namespace", "identity")},
        "spec": {"selector": {}, **spec},
    }


@pytest.mark.parametrize(
    ("spec", "is_named"),
    [
        ({"minAvailable": 1}, True),
        ({"minAvailable": "50%"}, True),
        ({"minAvailable": "33.3%"}, False),
        ({"maxUnavailable": 0}, True),
        ({"maxUnavailable": "0%"}, True),
        ({"maxUnavailable": "10%"}, False),
        ({"maxUnavailable": 1}, False),
        ({"minAvailable": 0}, False),
        ({}, False),
        ({"minAvailable": 1, "namespace": "nodes"}, False),
        ({"minAvailable": 1, "selector": None}, False),
        ({"minAvailable": 1, "selector": {"matchLabels": {"run": "another"}}}, False),
    ],
)
def test_a_budget_that_lets_no_pod_go_is_named(spec: dict[str, Any], *, is_named: bool) -> None:
    manifests = [*server(config=FITTING), *agent(), csi_driver(), budget(**spec)]
    (stateful_set,) = (each for each in manifests if each["kind"] == "StatefulSet")
    stateful_set["spec"]["replicas"] = 1
    words = "PodDisruptionBudget identity/budget lets no pod of StatefulSet identity/trust go, which has 1: "
    assert [each.startswith(words) for each in contradictions(read(manifests, NAMESPACE))] == [True] * is_named
    # An autoscaler may give it more.
    del stateful_set["spec"]["replicas"]
    assert contradictions(read(manifests, NAMESPACE)) == []


def test_claims_that_go_with_scaled_down_pods_are_named() -> None:
    manifests = [*server(config=FITTING), *agent(), csi_driver()]
    (stateful_set,) = (each for each in manifests if each["kind"] == "StatefulSet")
    stateful_set["spec"]["persistentVolumeClaimRetentionPolicy"] = {"whenScaled": "Delete"}
    (sentence,) = contradictions(read(manifests, NAMESPACE))
    assert "loses the claims of its pods where it is scaled down" in sentence


def test_a_configuration_that_no_pod_is_given_is_named() -> None:
    manifests = [*server(config=FITTING), *agent(), csi_driver()]
    # As charts up to 0.30 have it of `spire-agent.agents`.
    other = config_map("nodes-agent-gpu", "nodes", "agent.conf", AGENT)
    (sentence,) = contradictions(read([*manifests, other], NAMESPACE))
    assert sentence == ("no pod is given agent.conf in ConfigMap nodes/nodes-agent-gpu: what it says has no effect")
    notes = config_map("notes", "nodes", "notes.txt", "")
    sources = [{"configMap": {"name": "nodes-agent-gpu"}}]
    for kind in ("DaemonSet", "Job"):
        for volume in ({"projected": {"sources": sources}}, {"configMap": {"name": "nodes-agent-gpu"}}):
            idle = workload(kind, "gpu", "nodes", [container("idle")], other=volume)
            assert contradictions(read([*manifests, other, notes, idle], NAMESPACE)) == []
    variables = container("idle", env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "nodes-agent-gpu"}}}])
    for each in (variables, container("idle", envFrom=[{"configMapRef": {"name": "nodes-agent-gpu"}}])):
        idle = workload("DaemonSet", "gpu", "nodes", [each])
        assert contradictions(read([*manifests, other, idle], NAMESPACE)) == []


def test_an_api_and_a_bundle_endpoint_have_a_port_each() -> None:
    (sentence,) = found(config=changed(FITTING, bind_port=9443))
    assert sentence.startswith("StatefulSet identity/trust has its API and the bundle endpoint at one port, 9443: see ")


def test_an_api_on_loopback_is_named() -> None:
    (sentence,) = found(config=changed(FITTING, bind_address="127.0.0.1"))
    assert sentence.startswith("StatefulSet identity/trust has its API at 127.0.0.1 alone, where no agent reaches it")
    assert found(config=changed(FITTING, bind_address="10.0.0.5")) == []
