"""A release of SPIRE with names of its own, small enough to change one part of it at a time."""

from __future__ import annotations

import copy
import json
from typing import Any

import yaml

Manifest = dict[str, Any]

NAMESPACE = "release"
SERVER: Any = {
    "server": {
        "trust_domain": "one.example",
        "federation": {"bundle_endpoint": {"port": 9443, "profile": [{"https_spiffe": {}}]}},
    },
    "plugins": {"Notifier": [{"k8sbundle": {"plugin_data": {"namespace": "nodes"}}}]},
}
AGENT: Any = {
    "agent": {
        "trust_domain": "one.example",
        "server_address": "trust.identity.svc",
        "socket_path": "/sockets/inside/workload.sock",
        "trust_bundle_path": "/bundle/root.pem",
    },
    "plugins": {
        "NodeAttestor": [{"k8s_psat": {"plugin_data": {"cluster": "north"}}}],
        "WorkloadAttestor": [{"k8s": {}}],
    },
}
MANAGER: Any = {
    "apiVersion": "spire.spiffe.io/v1alpha1",
    "kind": "ControllerManagerConfig",
    "clusterName": "north",
    "trustDomain": "one.example",
    "className": "mine",
}


def manifest(kind: str, name: str, namespace: str = "", api: str = "v1", **fields: Any) -> Manifest:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {}) | fields.pop("metadata", {})
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **fields}


def config_map(name: str, namespace: str, file: str, content: Any) -> Manifest:
    return manifest(
        "ConfigMap", name, namespace, data={file: content if isinstance(content, str) else json.dumps(content)}
    )


def container(name: str, *arguments: str, mounts: dict[str, str] | None = None, **fields: Any) -> Manifest:
    """A container; `mounts` are volume -> path."""
    listed = [{"name": volume, "mountPath": path} for volume, path in (mounts or {}).items()]
    return {"name": name, "image": f"{name}:1", "args": list(arguments), "volumeMounts": listed, **fields}


def workload(kind: str, name: str, namespace: str, containers: list[Manifest], **volumes: Manifest) -> Manifest:
    labels = {"run": name}
    pod = {"containers": containers, "volumes": [{"name": each, **volume} for each, volume in volumes.items()]}
    template = {"metadata": {"labels": {**labels, "revision": "a"}}, "spec": pod}
    return manifest(kind, name, namespace, "apps/v1", spec={"selector": {"matchLabels": labels}, "template": template})


def service(name: str, namespace: str, of: str, port: int, target: int | str) -> Manifest:
    return manifest(
        "Service", name, namespace, spec={"selector": {"run": of}, "ports": [{"port": port, "targetPort": target}]}
    )


def from_config_map(name: str, **fields: Any) -> Manifest:
    return {"configMap": {"name": name, **fields}}


def of_node(path: str) -> Manifest:
    return {"hostPath": {"path": path}}


def agent(
    name: str = "nodes-agent", folder: str = "/run/node", config: Any = AGENT, kind: str = "DaemonSet"
) -> list[Manifest]:
    program = container(
        "agent", "-config", "/etc/agent.conf", mounts={"etc": "/etc", "sockets": "/sockets", "bundle": "/bundle"}
    )
    volumes = {
        "etc": from_config_map(name),
        "sockets": of_node(folder),
        "bundle": from_config_map("spire-bundle", items=[{"key": "bundle.crt", "path": "root.pem"}]),
    }
    return [workload(kind, name, "nodes", [program], **volumes), config_map(name, "nodes", "agent.conf", config)]


def csi_driver(
    name: str = "nodes-csi", folder: str = "/run/node/inside", driver: str = "one.csi.example", mount: str = "/sockets"
) -> Manifest:
    flags = ("-plugin-name", driver, "-workload-api-socket-dir", "/sockets")
    beside = container("registrar", "-csi-address", "/csi/csi.sock")
    containers = [beside, container("driver", *flags, mounts={"sockets": mount})]
    return workload("DaemonSet", name, "nodes", containers, sockets=of_node(folder))


def server(
    name: str = "trust", config: Any = SERVER, manager: Any = MANAGER, kind: str = "StatefulSet"
) -> list[Manifest]:
    """A server with its controller manager (None: without) and its Service."""
    ports = [{"name": "bundle", "containerPort": 9443}, {"name": "api", "containerPort": 8081}]
    containers = [container("program", "-config=/etc/server.conf", mounts={"etc": "/etc"}, ports=ports)]
    volumes = {"etc": from_config_map(name)}
    configuration = [config_map(name, "identity", "server.conf", config)]
    if manager is not None:
        mount = [{"name": "manager", "mountPath": "/manager.yaml", "subPath": "manager.yaml"}]
        containers.insert(0, container("manager", "--config=manager.yaml", volumeMounts=mount))
        volumes["manager"] = from_config_map(f"{name}-manager")
        configuration.append(config_map(f"{name}-manager", "identity", "manager.yaml", yaml.safe_dump(manager)))
    ports_of_service = [{"port": 443, "targetPort": "api"}, {"port": 444, "targetPort": "bundle"}]
    return [
        workload(kind, name, "identity", containers, **volumes),
        *configuration,
        manifest("Service", name, "identity", spec={"selector": {"run": name}, "ports": ports_of_service}),
    ]


def identity(
    name: str, class_name: str = "mine", federates_with: tuple[str, ...] = ("two.example",), **spec: Any
) -> Manifest:
    template = "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}"
    fields = {"className": class_name, "spiffeIDTemplate": template, "federatesWith": list(federates_with), **spec}
    return manifest("ClusterSPIFFEID", name, api="spire.spiffe.io/v1alpha1", spec=fields)


def release(*more: Manifest) -> list[Manifest]:
    """The release, and more objects."""
    return [*server(), *agent(), csi_driver(), *more]


def changed(config: Any, **blocks: Any) -> Any:
    """A configuration with fields of its first block changed; None takes a field away."""
    copied = copy.deepcopy(config)
    block = next(iter(copied.values())) if "kind" not in copied else copied
    block.update(blocks)
    for name in [name for name, value in block.items() if value is None]:
        del block[name]
    return copied
