"""A cluster's objects, in the client library's own models, and APIs that answer from them.

Objects are given as the API server's JSON has them: what a controller or the kubelet leaves out, and in which form
times are, is then as it is in a cluster.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from kubernetes import client as k8s
from kubernetes.client.exceptions import ApiException, NotFoundException

from fixtures.k8s.cluster import Cluster

NOW = 1795428000.0  # Unix seconds, 2026-11-23T10:00:00Z
NAMESPACE = "spire-server"
# The Events API's model would be another one of the same kind.
MODELS = {"Event": "CoreV1Event"}


def stamp(seconds: float) -> str:
    """A time (Unix seconds) as in objects."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def model(kind: str, found: dict[str, Any]) -> Any:
    """The client's model of an object of this kind, from the API server's JSON."""
    return k8s.ApiClient().deserialize(json.dumps(found), MODELS.get(kind, f"V1{kind}"), "application/json")


class KubernetesObjects:
    """A cluster's objects, and the answers to the client library's `list_…` and `read_…` with their models."""

    label = "server"
    is_external = False

    def __init__(self) -> None:
        self.objects: list[tuple[str, dict[str, Any]]] = []
        self.logs: dict[tuple[str, bool], list[str]] = {}

    @property
    def cluster(self) -> Cluster:
        """What the code under test takes for a cluster."""
        return cast(Cluster, self)

    def add(self, kind: str, name: str = "it", namespace: str = NAMESPACE, **fields: Any) -> dict[str, Any]:
        """Add an object and return it, as JSON; `metadata` in `fields` completes its own."""
        metadata = {"name": name, "namespace": namespace, "uid": f"{kind}/{namespace}/{name}", "generation": 1}
        metadata |= {"creationTimestamp": stamp(NOW - 600), **fields.pop("metadata", {})}
        made = {"metadata": metadata, **fields}
        self.objects.append((kind, made))
        return made

    def remove(self, kind: str) -> None:
        """Remove all objects of a kind."""
        self.objects = [(each, item) for each, item in self.objects if each != kind]

    def log(self, where: str, *lines: str, at: float = NOW - 5, previous: bool = False) -> None:
        """Add log lines to a container (`pod/container`) or to its previous run, all of this time (Unix seconds)."""
        time = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
        # The container runtime writes nanoseconds.
        self.logs.setdefault((where, previous), []).extend(f"{time}123Z {line}" for line in lines)

    def list_nodes(self, **options: Any) -> list[Any]:
        """The nodes, as they are now."""
        return list(self.core.list_node(**options).items)

    @property
    def core(self) -> Any:
        return _Api(self, k8s.CoreV1Api)

    @property
    def apps(self) -> Any:
        return _Api(self, k8s.AppsV1Api)

    @property
    def batch(self) -> Any:
        return _Api(self, k8s.BatchV1Api)

    @property
    def storage(self) -> Any:
        return _Api(self, k8s.StorageV1Api)

    @property
    def discovery(self) -> Any:
        return _Api(self, k8s.DiscoveryV1Api)

    @property
    def custom(self) -> Any:
        """Objects as JSON, by the plural of their kind."""

        def listed(_group: str, _version: str, plural: str) -> dict[str, Any]:
            return {"items": [item for kind, item in self.objects if f"{kind.lower()}s" == plural]}

        return SimpleNamespace(list_cluster_custom_object=listed)


class _Api:
    def __init__(self, objects: KubernetesObjects, api: type) -> None:
        self._objects, self._api = objects, api

    def __getattr__(self, method: str) -> Any:
        assert hasattr(self._api, method), f"the client library has no {self._api.__name__}.{method}"
        if method == "read_namespaced_pod_log":
            return self._log
        verb, words = cast(re.Match[str], re.fullmatch(r"(list|read)_(?:namespaced_)?(\w+)", method)).groups()

        def found(namespace: str | None, name: str = "", **options: Any) -> list[Any]:
            items = self._found(words.replace("_", ""), namespace, options)
            return [model(kind, item) for kind, item in items if name in ("", item["metadata"]["name"])]

        def read(name: str, namespace: str | None = None, **_: Any) -> Any:
            for item in found(namespace, name):
                return item
            raise NotFoundException(status=404, reason=f'{words} "{name}" not found')

        def listed(namespace: str | None = None, **options: Any) -> Any:
            return SimpleNamespace(items=found(namespace, **options))

        return read if verb == "read" else listed

    def _found(
        self, words: str, namespace: str | None, options: dict[str, Any]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        labels, fields = (_pairs(options.get(f"{each}_selector")) for each in ("label", "field"))
        for kind, item in self._objects.objects:
            metadata = item["metadata"]
            if kind.lower() == words and namespace in (None, metadata["namespace"]):
                fits = labels.items() <= metadata.get("labels", {}).items()
                if fits and all(_at(item, path) == value for path, value in fields.items()):
                    yield kind, item

    def _log(
        self,
        name: str,
        namespace: str,
        *,
        container: str,
        _preload_content: bool,
        previous: bool = False,
        tail_lines: int = 0,
        timestamps: bool = False,
        since_seconds: int = 1,
    ) -> Any:
        assert not _preload_content, "a log of one line would be mangled"
        assert since_seconds >= 1, "the API server refuses less; whoever gives it looks at the lines' times too"
        lines = self._objects.logs.get((f"{name}/{container}", previous))
        if lines is None or not list(self._found("pod", namespace, {"field_selector": f"metadata.name={name}"})):
            reason = f'previous terminated container "{container}" in pod "{name}" not found'
            raise ApiException(status=400, reason=reason)
        text = "".join(f"{line if timestamps else line.partition(' ')[2]}\n" for line in lines[-tail_lines:])
        return SimpleNamespace(data=text.encode())


def _pairs(selector: str | None) -> dict[str, str]:
    return dict(each.split("=") for each in (selector or "").split(",") if each)


def _at(item: Any, path: str) -> Any:
    for part in path.split("."):
        item = item.get(part, {})
    return item


def owned_by(kind: str, name: str) -> list[dict[str, Any]]:
    """Owner references of what a controller made."""
    return [{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": f"{kind}/{name}", "controller": True}]


def container(
    name: str = "main", restarts: int = 0, last: dict[str, Any] | None = None, **state: Any
) -> dict[str, Any]:
    """A container's status; it is ready where it is `running`, unless `ready` is given."""
    return {
        "name": name,
        "image": f"localhost/{name}:v1",
        "imageID": "",
        "ready": state.pop("ready", "running" in state),
        "restartCount": restarts,
        "state": state,
        "lastState": last or {},
    }


def waits(reason: str | None, message: str | None = None) -> dict[str, Any]:
    """The state `waiting`."""
    return {key: value for key, value in (("reason", reason), ("message", message)) if value is not None}


def running(since: float = NOW - 120) -> dict[str, Any]:
    """The state `running`, since this time (Unix seconds)."""
    return {"startedAt": stamp(since)}


def exited(code: int, at: float = NOW - 60) -> dict[str, Any]:
    """The state `terminated`, at this time (Unix seconds)."""
    return {
        "exitCode": code,
        "finishedAt": stamp(at),
        "startedAt": stamp(at),
        "reason": "Error" if code else "Completed",
    }


def node(
    cluster: KubernetesObjects,
    name: str = "node",
    *taints: dict[str, Any],
    labels: dict[str, str] | None = None,
    ready: str = "True",
    since: float | None = None,
) -> Any:
    """Add a node of two cores, with its name as a label, which is ready unless that is not `True`.

    `since` (Unix seconds) is since when, and when its kubelet reported last.
    """
    allocatable = {"cpu": "2", "memory": "4029536Ki", "pods": "110", "ephemeral-storage": "263174212Ki"}
    times = {} if since is None else dict.fromkeys(("lastTransitionTime", "lastHeartbeatTime"), stamp(since))
    status = {"conditions": [{"type": "Ready", "status": ready, **times}], "allocatable": allocatable}
    metadata = {"labels": {"kubernetes.io/hostname": name, **(labels or {})}}
    return model("Node", cluster.add("Node", name, "", metadata=metadata, spec={"taints": list(taints)}, status=status))


def _has_started(status: dict[str, Any]) -> bool:
    return bool(status["state"].keys() & {"running", "terminated"} or status["lastState"])


def pod(
    cluster: KubernetesObjects,
    *containers: dict[str, Any],
    name: str = "spire-server-0",
    namespace: str = NAMESPACE,
    owner: tuple[str, str] | None = ("StatefulSet", "spire-server"),
    init: Sequence[dict[str, Any]] = (),
    probes: dict[str, Any] | None = None,
    volumes: Sequence[dict[str, Any]] = (),
    conditions: Sequence[dict[str, Any]] = (),
    phase: str = "",
    **metadata: Any,
) -> Any:
    """Add a pod with containers of these statuses and `probes`; it is on a node unless a condition says otherwise."""
    of = {"ownerReferences": owned_by(*owner)} if owner else {}
    spec = {
        "containers": [{"name": each["name"], "image": each["image"], **(probes or {})} for each in containers],
        "initContainers": [{"name": each["name"], "image": each["image"]} for each in init],
        "volumes": list(volumes),
        **({} if any(each["type"] == "PodScheduled" for each in conditions) else {"nodeName": "node"}),
    }
    is_ready = bool(containers) and all(each["ready"] for each in containers)
    ready = {"type": "Ready", "status": str(is_ready), "lastTransitionTime": stamp(NOW - 60)}
    status = {
        "phase": phase or ("Running" if any(map(_has_started, containers)) else "Pending"),
        "startTime": stamp(NOW - 120),
        "conditions": [ready, *conditions],
        # Without it where there is none, as the kubelet has it.
        **({"containerStatuses": list(containers)} if containers else {}),
        **({"initContainerStatuses": list(init)} if init else {}),
    }
    return model("Pod", cluster.add("Pod", name, namespace, metadata={**of, **metadata}, spec=spec, status=status))


def event(
    cluster: KubernetesObjects,
    kind: str,
    name: str,
    reason: str,
    message: str | None,
    *,
    namespace: str = NAMESPACE,
    at: float = NOW - 5,
    first: float | None = None,
    container: str = "",
) -> None:
    """Add an event on an object (on one of its containers, if given), seen last at this time (Unix seconds)."""
    involved = {"kind": kind, "name": name, "namespace": namespace, "uid": f"{kind}/{namespace}/{name}"}
    involved |= {"fieldPath": f"spec.containers{{{container}}}"} if container else {}
    fields = {"reason": reason, "involvedObject": involved, "type": "Warning"}
    fields |= {} if message is None else {"message": message}
    fields |= {"firstTimestamp": stamp(at if first is None else first), "lastTimestamp": stamp(at)}
    cluster.add("Event", f"{name}.{len(cluster.objects):x}", namespace, **fields)


def controller(
    cluster: KubernetesObjects,
    kind: str = "StatefulSet",
    name: str = "spire-server",
    namespace: str = NAMESPACE,
    **changes: Any,
) -> Any:
    """Add a controller that has seen its newest form; `changes` are to its spec, and to its `status` and `metadata`."""
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main"}]}}
    spec = {"template": template, "selector": {"matchLabels": {"app": name}}}
    spec |= {"serviceName": name} if kind == "StatefulSet" else {}
    spec |= {} if kind == "DaemonSet" else {"replicas": 1}
    status = {"observedGeneration": 1, **changes.pop("status", {})}
    counts = {"currentNumberScheduled": 1, "desiredNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 0}
    status = {**counts, **status} if kind == "DaemonSet" else {"replicas": 1, **status}
    metadata = changes.pop("metadata", {})
    made = cluster.add(kind, name, namespace, metadata=metadata, spec={**spec, **changes}, status=status)
    return model(kind, made)
