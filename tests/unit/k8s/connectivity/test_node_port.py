"""A NodePort of the suite's own beside a Service; what the API server says of a port is recorded."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes import client as k8s

from fixtures.core.waiting import wait_for
from fixtures.k8s.cluster import Cluster, ClusterError
from fixtures.k8s.connectivity.node_port import NodePort
from fixtures.k8s.server_side_apply import LABELS

SELECTOR = {"app.kubernetes.io/name": "spire-server", "app.kubernetes.io/part-of": "spire"}
PORTS = [
    {"name": "grpc", "port": 443, "protocol": "TCP", "targetPort": "grpc"},
    {"name": "federation", "port": 8443, "protocol": "TCP", "targetPort": "federation"},
]
NOT_FOUND = (
    'server: `kubectl get service another` ended with 1: Error from server (NotFound): services "another" not found'
)
# Before kube-proxy leads to the Service, and of a server that refuses the request.
REFUSED = (
    '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"error trying to reach service: '
    'dial tcp 10.89.0.90:31999: connect: connection refused","reason":"ServiceUnavailable","code":503}\n'
)
FORBIDDEN = (
    '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"forbidden: User '
    '\\"system:anonymous\\" cannot get path \\"/\\"","reason":"Forbidden","details":{},"code":403}\n'
)


def node(name: str, *addresses: str, ready: str = "True") -> Any:
    return k8s.V1Node(
        metadata=k8s.V1ObjectMeta(name=name),
        status=k8s.V1NodeStatus(
            addresses=[k8s.V1NodeAddress(address=each, type="InternalIP") for each in addresses],
            conditions=[k8s.V1NodeCondition(type="Ready", status=ready)],
        ),
    )


class Served:
    """A cluster whose API server has one Service, and gives `node_port` to the first that has none."""

    label = "server"

    def __init__(self, *, answers: list[str], nodes: list[Any] | None = None) -> None:
        self.core = self
        self.answers = answers
        self.nodes = nodes or [node("gone", "10.89.0.89", ready="Unknown"), node("control-plane", "10.89.0.90")]
        self.done: list[tuple[str, ...]] = []
        self.applied: dict[str, Any] = {}
        self.asked: list[str] = []
        self.node_port = 31999

    def list_node(self) -> Any:
        return SimpleNamespace(items=self.nodes)

    def connect_get_node_proxy_with_path(self, name: str, path: str, **_: float) -> str:
        assert path == ""
        self.asked.append(name)
        body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if body:
            error = k8s.ApiException(json.loads(body)["code"])
            error.body = body
            raise error
        return "{'keys': []}"

    def record_before(self, manifest: Any) -> None:
        self.done.append(("record", manifest["metadata"]["name"]))

    def apply(self, manifest: Any) -> None:
        self.done.append(("apply", manifest["metadata"]["name"]))
        self.applied = manifest

    def kubectl(self, verb: str, *arguments: str) -> str:
        kind, name, option, namespace, _ = arguments[:5]
        assert (kind, option, namespace) == ("service", "-n", "spire-server")
        if verb != "get":
            self.done.append((verb, name))
            return ""
        if self.applied and name == self.applied["metadata"]["name"]:
            (port,) = self.applied["spec"]["ports"]
            return json.dumps({"spec": {**self.applied["spec"], "ports": [{"nodePort": self.node_port, **port}]}})
        if name != "spire-server":
            raise ClusterError(NOT_FOUND)
        return json.dumps({"spec": {"type": "ClusterIP", "selector": SELECTOR, "ports": PORTS}})


def forward(cluster: Served, target: str = "svc/spire-server", port: int = 8443) -> NodePort:
    return NodePort(cast(Cluster, cluster), "spire-server", target, port)


def test_the_service_is_of_the_suites_own_and_leads_to_what_the_target_leads_to() -> None:
    cluster = Served(answers=[""])
    made = forward(cluster)
    assert (made.state, made.is_opening) == ("closed", False)
    made.open()
    assert cluster.done == [("record", "spire-server-node-port"), ("apply", "spire-server-node-port")]
    assert cluster.applied["metadata"]["labels"] == LABELS
    port = {"name": "federation", "protocol": "TCP", "port": 8443, "targetPort": "federation"}
    assert cluster.applied["spec"] == {"type": "NodePort", "selector": SELECTOR, "ports": [port]}
    assert cluster.asked == ["https:control-plane:31999"], "a node that is ready is asked for"
    assert (made.url, made.state, made.is_opening) == ("https://10.89.0.90:31999", "listening", False)


def test_an_address_of_ipv6_is_in_brackets() -> None:
    made = forward(Served(answers=[""], nodes=[node("control-plane", "fc00:f853:ccd:e793::5")]))
    made.expose()
    assert made.url == "https://[fc00:f853:ccd:e793::5]:31999"


def test_it_is_being_opened_until_the_node_leads_to_the_server() -> None:
    cluster = Served(answers=[REFUSED, ""])
    made = forward(cluster)
    made.open()
    assert len(cluster.asked) == 2
    cluster.answers = [REFUSED]
    assert made.listening.look().value is None
    assert (made.state, made.is_opening) == ("being opened", True)
    assert made.words == "dial tcp 10.89.0.90:31999: connect: connection refused"
    cluster.answers = [""]
    wait_for(made.listening, 1)
    assert (made.state, made.words) == ("listening", "")


def test_a_server_that_answers_with_an_error_is_reached() -> None:
    made = forward(Served(answers=[FORBIDDEN]))
    made.open()
    assert made.state == "listening"


def test_it_keeps_its_port_when_it_is_opened_again() -> None:
    cluster = Served(answers=[""])
    made = forward(cluster)
    made.open()
    made.close()
    assert cluster.done[-1] == ("delete", "spire-server-node-port")
    assert made.state == "closed"
    cluster.node_port = 30000
    made.open()
    assert made.url == "https://10.89.0.90:31999"


def test_what_was_never_opened_deletes_nothing() -> None:
    cluster = Served(answers=[""])
    forward(cluster).close()
    assert cluster.done == []


@pytest.mark.parametrize(
    ("target", "port", "nodes", "said"),
    [
        ("svc/spire-server", 9443, None, "Service spire-server does not have a service port 9443"),
        ("svc/another", 8443, None, re.escape(NOT_FOUND)),
        ("svc/spire-server", 8443, [node("control-plane")], "server: no node has an InternalIP"),
    ],
)
def test_what_cannot_be_exposed_is_named(target: str, port: int, nodes: list[Any] | None, said: str) -> None:
    made = forward(Served(answers=[""], nodes=nodes), target, port)
    with pytest.raises(ClusterError, match=f"^{said}$"):
        made.expose()
    assert made.listening.look().value is None
    assert made.words
