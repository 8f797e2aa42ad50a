"""An API server that says that nodes are ready and alive, and that this suite made the cluster of the image `node:1`.

It serves namespaces (there is `theirs`) and ConfigMaps (there is `theirs/there`). How it takes one goes by its name:
`refused` (as for a field that is not in the schema), `elsewhere` (it answers for something else), `forbidden`,
`invalid`; any other is applied, and is there already. Its words are recorded.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import yaml

from fixtures.helm.values import merge
from fixtures.k8s.access.reservation import NAMESPACE
from fixtures.k8s.kind.cluster import OWNER_MARK


def nodes(*conditions: dict[str, str]) -> dict[str, Any]:
    """A list of nodes, each by its condition `Ready`."""
    items = [
        {"metadata": {"name": "node"}, "spec": {}, "status": {"conditions": [{"type": "Ready"} | each]}}
        for each in conditions
    ]
    return {"items": items}


def lease(renewed: float) -> dict[str, Any]:
    """The list of the nodes' Leases, renewed then (Unix seconds)."""
    at = datetime.fromtimestamp(renewed, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": "node", "leaseDurationSeconds": 40, "renewTime": at}
    return {"items": [{"metadata": {"name": "node", "namespace": "kube-node-lease"}, "spec": spec}]}


READY = {"status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
# As kubelets say it of a node whose cluster `kind create cluster` has just finished.
WITHOUT_NETWORK = {
    "status": "False",
    "reason": "KubeletNotReady",
    "message": "[container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized, CSINode is not yet initialized]",
}
WITHOUT_CSI_NODE = {"status": "False", "reason": "KubeletNotReady", "message": "CSINode is not yet initialized"}
KINDS = {
    "kind": "APIResourceList",
    "resources": [
        {"name": "configmaps", "namespaced": True, "kind": "ConfigMap", "verbs": ["create", "get", "patch"]},
        {"name": "namespaces", "namespaced": False, "kind": "Namespace", "verbs": ["create", "get", "patch"]},
    ],
}
THERE = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "there", "namespace": "theirs", "uid": "1", "resourceVersion": "2"},
    "data": {"whose": "somebody's"},
}
# All that a container has logged: a line of JSON, as SPIRE's programs log with `log_format: json`.
LOG_LINE = {"level": "info", "msg": "Starting Server APIs", "network": "tcp"}
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
MADE_OF = f"/api/v1/namespaces/kube-system/configmaps/{OWNER_MARK}"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
ANSWERS = {
    **{f"/apis/apps/v1/{plural}": {"items": []} for plural in ("daemonsets", "deployments", "statefulsets")},
    "/api/v1/pods": {"items": []},
    "/version": {"gitVersion": "v1.36.3"},
    "/apis": {"kind": "APIGroupList", "groups": []},
    "/api/v1": KINDS,
    "/api/v1/namespaces/theirs": {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "theirs"}},
    "/api/v1/namespaces/theirs/configmaps/there": THERE,
    MADE_OF: {"data": {"image": "node:1"}},
    "/api/v1/namespaces/theirs/pods/there/log": LOG_LINE,
}
UNDECLARED = (
    500,
    '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"failed to create typed patch '
    'object (demo/x; /v1, Kind=ConfigMap): .dataa: field not declared in schema","code":500}',
)
UNKNOWN = (
    400,
    '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"ConfigMap in version \\"v1\\" '
    "cannot be "
    'handled as a ConfigMap: strict decoding error: unknown field \\"dataa\\"","reason":"BadRequest","code":400}',
)
THERE_ALREADY = (
    409,
    '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"configmaps \\"a\\" already exists",'
    '"reason":"AlreadyExists","details":{"name":"a","kind":"configmaps"},"code":409}',
)
RESERVATION = f"/api/v1/namespaces/{NAMESPACE}"
NAMESPACE_THERE = (
    409,
    '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"namespaces '
    '\\"spire-federation-run\\" already exists","reason":"AlreadyExists","details":{"name":"spire-federation-run",'
    '"kind":"namespaces"},"code":409}',
)
NO_NAMESPACE = (
    404,
    '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"namespaces '
    '\\"spire-federation-run\\" not found","reason":"NotFound","details":{"name":"spire-federation-run",'
    '"kind":"namespaces"},"code":404}',
)
CHANGED_MEANWHILE = (
    409,
    '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Operation cannot be fulfilled on '
    'namespaces \\"spire-federation-run\\": the object has been modified; please apply your changes to the latest '
    'version and try again","reason":"Conflict","details":{"name":"spire-federation-run","kind":"namespaces"},'
    '"code":409}',
)
FORBIDDEN = (
    403,
    '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"configmaps is forbidden: User '
    '\\"a\\" cannot create resource \\"configmaps\\" in API group \\"\\" in the namespace \\"demo\\"",'
    '"reason":"Forbidden","code":403}',
)
INVALID = (
    422,
    '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"ConfigMap \\"a_b\\" is invalid: '
    'metadata.name: Invalid value: \\"a_b\\"","reason":"Invalid","code":422}',
)
ELSEWHERE = (404, "404 page\nnot found")
APPLIED = (200, '{"kind":"ConfigMap","apiVersion":"v1"}')


class ApiServer(ThreadingHTTPServer):
    """The server; `asked` are the requests that change something or would, as method, path and query.

    `nodes` are its answers about the nodes, one after the other, the last one from then on; so are those of
    `successive`, by their paths (`{"status": 404}`: there is none).
    `applied` are the objects that were, by their paths, in that order. `allowed` says of the attributes that a
    SelfSubjectAccessReview asks about whether they are; `reviewed` are those that were asked about. `headers` are those
    of each request, by its method and path. `reservation` is the namespace by which a run has the
    cluster, if there is one.
    """

    request_queue_size = 32

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str, dict[str, list[str]]]] = []
        self.nodes = [nodes(READY)]
        self.successive: dict[str, list[dict[str, Any]]] = {}
        self.applied: dict[str, dict[str, Any]] = {}
        self.allowed: Callable[[dict[str, str]], bool] = lambda _: True
        self.reviewed: list[dict[str, str]] = []
        self.reservation: dict[str, Any] | None = None
        self.headers: dict[str, list[tuple[str, str]]] = {}

    def kubeconfig(self) -> str:
        """A kubeconfig that leads here."""
        return kubeconfig(self.server_port)


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer

    def parse_request(self) -> bool:
        parsed = super().parse_request()
        if parsed:
            self.server.headers[f"{self.command} {self.path.partition('?')[0]}"] = list(self.headers.items())
        return parsed

    def do_GET(self) -> None:
        asked = self.path.partition("?")[0]
        listed = {"/api/v1/nodes": self.server.nodes, LEASES: [lease(time.time())], **self.server.successive}
        answers = listed.get(asked)
        if answers:
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            self._answer(404 if answer == {"status": 404} else 200, json.dumps(answer))
            return
        if asked == RESERVATION:
            made = self.server.reservation
            self._answer(*(NO_NAMESPACE if made is None else (200, json.dumps(made))))
            return
        found = self.server.applied.get(asked) or ANSWERS.get(asked)
        self._answer(404 if found is None else 200, json.dumps(found or {}))

    def do_PATCH(self) -> None:
        path = self.path.partition("?")[0]
        if path == RESERVATION:
            changed, _ = self._asked()
            made = self.server.reservation
            version = changed["metadata"].pop("resourceVersion", None)
            if made is None or version not in (None, made["metadata"]["resourceVersion"]):
                self._answer(*(NO_NAMESPACE if made is None else CHANGED_MEANWHILE))
                return
            made["metadata"]["annotations"] |= changed["metadata"]["annotations"]
            made["metadata"]["resourceVersion"] += "0"
            self._answer(200, json.dumps(made))
            return
        assert self.headers["Content-Type"] == "application/apply-patch+yaml"
        manifest, query = self._asked()
        refusals = {"refused": UNDECLARED, "forbidden": FORBIDDEN, "elsewhere": ELSEWHERE}
        answer = refusals.get(manifest["metadata"]["name"], APPLIED)
        asked = self.path.partition("?")[0]
        if answer is APPLIED and "dryRun" in query:
            there: Any = self.server.applied.get(asked) or ANSWERS.get(asked) or {}
            answer = (200, json.dumps(merge(there, manifest)))
        elif answer is APPLIED:
            self.server.applied[asked] = manifest
        self._answer(*answer)

    def do_POST(self) -> None:
        manifest, query = self._asked()
        if self.path == ACCESS_REVIEWS:
            attributes = manifest["spec"]["resourceAttributes"]
            self.server.reviewed.append(attributes)
            # Of RBAC, which has no reason for what it does not allow.
            manifest["status"] = {"allowed": self.server.allowed(attributes)}
            self._answer(201, json.dumps(manifest))
            return
        if self.path == "/api/v1/namespaces":
            self._reserve(manifest)
            return
        answers = {"forbidden": FORBIDDEN, "elsewhere": ELSEWHERE, "invalid": INVALID}
        if query.get("fieldValidation") == ["Strict"]:
            answers["refused"] = UNKNOWN
        self._answer(*answers.get(manifest["metadata"]["name"], THERE_ALREADY))

    def _reserve(self, manifest: dict[str, Any]) -> None:
        if not self.server.allowed({"resource": "namespaces", "verb": "create"}):
            self._answer(*FORBIDDEN)
        elif self.server.reservation is not None:
            self._answer(*NAMESPACE_THERE)
        else:
            made = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": "1"}}
            self.server.reservation = made
            self._answer(201, json.dumps(made))

    def _asked(self) -> tuple[dict[str, Any], dict[str, list[str]]]:
        path, _, query = self.path.partition("?")
        self.server.asked.append((self.command, path, parse_qs(query)))
        return json.loads(self.rfile.read(int(self.headers["Content-Length"]))), parse_qs(query)

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if body.startswith("{") else "text/plain")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[ApiServer]:
    """The server, while it answers."""
    with ApiServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def kubeconfig(port: int, host: str = "127.0.0.1", **cluster: str) -> str:
    """A kubeconfig that leads to this port; `cluster` is what it says of the cluster besides."""
    found: dict[str, Any] = {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": f"http://{host}:{port}", **cluster}}],
        "users": [{"name": "a", "user": {"token": "t"}}],
    }
    return yaml.safe_dump(found)
