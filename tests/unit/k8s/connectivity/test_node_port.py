"""A NodePort of the suite's own beside a Service; what the API server says of a port is recorded."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes import client as k8s
from urllib3.exceptions import ReadTimeoutError

from fixtures.core.waiting import UnrecoverableError, wait_for
from fixtures.k8s.cluster import Cluster, ClusterError
from fixtures.k8s.connectivity import exposing_service
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
# From a control plane that reaches its nodes at few ports: by a firewall that drops, by one that rejects, by a proxy
# between the two networks, and for credentials that may not ask.
UNREACHED = [
    f'{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":{words},"code":{code}}}\n'
    for words, code in (
        ('"error trying to reach service: dial tcp 10.89.0.90:31999: i/o timeout"', 503),
        ('"error trying to reach service: dial tcp 10.89.0.90:31999: connect: connection timed out"', 503),
        ('"error trying to reach service: dial tcp 10.89.0.90:31999: connect: no route to host"', 503),
        ('"error trying to reach service: dial tcp 127.0.0.1:8132: connect: connection refused"', 503),
        ('"error trying to reach service: No agent available"', 503),
        (
            '"nodes \\"control-plane\\" is forbidden: User \\"a\\" cannot get resource \\"nodes/proxy\\" in API group '
            '\\"\\" at the cluster scope"',
            403,
        ),
    )
]
# By a ValidatingAdmissionPolicy, a webhook, and a ResourceQuota.
NOT_ADMITTED = [
    "services \"spire-server-node-port\" is forbidden: ValidatingAdmissionPolicy 'no-node-ports' with binding "
    "'no-node-ports' denied request: Services of type NodePort are not allowed in this company",
    'admission webhook "validate.kyverno.svc-fail" denied the request: resource Service/spire-server/'
    "spire-server-node-port was blocked due to the following policies restrict-nodeport",
    'services "spire-server-node-port" is forbidden: exceeded quota: no-node-ports, requested: services.nodeports=1, '
    "used: services.nodeports=0, limited: services.nodeports=0",
]
NO_NAMESPACE = 'namespaces "spire-server" not found'
TERMINATING = (
    'services "spire-server-node-port" is forbidden: unable to create new content in namespace spire-server because it '
    "is being terminated"
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


def endpoint_slice(ready: bool | None = True, ports: tuple[int, ...] = (8443,)) -> Any:
    """A slice with one endpoint, or none where `ready` is None."""
    ends = [k8s.V1Endpoint(addresses=["10.244.0.5"], conditions=k8s.V1EndpointConditions(ready=ready))]
    return k8s.V1EndpointSlice(
        address_type="IPv4",
        endpoints=[] if ready is None else ends,
        ports=[k8s.DiscoveryV1EndpointPort(port=each) for each in ports] or None,
    )


class Served:
    """A cluster whose API server has one Service, and gives `node_port` to the first that has none.

    `answers` are what it says of a node port, one after the other; `refusals`, of the Service, where it takes it last.
    """

    label = "server"

    def __init__(self, *, answers: list[str], nodes: list[Any] | None = None) -> None:
        self.core = self.discovery = self
        self.answers = answers
        self.refusals: list[str] = []
        self.slices = [endpoint_slice()]
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

    def list_namespaced_endpoint_slice(self, namespace: str, *, label_selector: str) -> Any:
        assert namespace == "spire-server"
        assert label_selector == f"kubernetes.io/service-name={self.applied['metadata']['name']}"
        if not self.slices:
            raise k8s.ApiException(403)
        return SimpleNamespace(items=self.slices)

    def record_before(self, manifest: Any) -> None:
        self.done.append(("record", manifest["metadata"]["name"]))

    def apply(self, manifest: Any, *, dry_run: bool = False) -> None:
        self.done.append(("dry run" if dry_run else "apply", manifest["metadata"]["name"]))
        refusal = self.refusals.pop(0) if len(self.refusals) > 1 else "".join(self.refusals)
        if refusal:
            shown = f"apply Service {manifest['metadata']['name']}{' (dry run)' if dry_run else ''}"
            raise ClusterError(f"server: `{shown}` was not carried out: {refusal}")
        self.applied = {} if dry_run else manifest

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


@pytest.fixture
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REFUSED_FOR", "ASKED_EVERY", "PROGRAMMED_WITHIN", "REFUSES_FOR"):
        monkeypatch.setattr(exposing_service, name, getattr(exposing_service, name) / 20)


@pytest.mark.parametrize("answer", UNREACHED)
def test_what_the_api_server_does_not_reach_is_left_to_the_other_clusters_pods(
    answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = forward(Served(answers=[answer]))
    monkeypatch.setattr(made, "_is_wanted", True)
    assert made.listening.look().value is None, "kube-proxy has its time"
    assert made.words
    monkeypatch.setattr(exposing_service, "PROGRAMMED_WITHIN", 0.0)
    assert made.listening.look().value
    assert (made.url, made.state, made.words) == ("https://10.89.0.90:31999", "listening", "")


def test_an_api_server_that_does_not_answer_in_time_is_no_verdict_either(
    short_times: None,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hang(*_: str, **__: float) -> None:
        raise ReadTimeoutError(cast(Any, None), "", "Read timed out. (read timeout=2.0)")

    cluster = Served(answers=[""])
    monkeypatch.setattr(cluster, "connect_get_node_proxy_with_path", hang)
    made = forward(cluster)
    made.open()
    assert made.state == "listening"


def test_a_node_that_refuses_its_port_is_waited_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    made = forward(Served(answers=[REFUSED]))
    monkeypatch.setattr(exposing_service, "PROGRAMMED_WITHIN", 0.0)
    assert made.listening.look().value is None
    monkeypatch.setattr(exposing_service, "REFUSES_FOR", 0.0)
    assert made.listening.look().value, "a firewall may refuse it to the API server alone"


@pytest.mark.parametrize("slices", [[endpoint_slice(None)], [endpoint_slice(ready=False)], [endpoint_slice(ports=())]])
@pytest.mark.parametrize("answer", ["", UNREACHED[0], REFUSED])
def test_without_a_ready_pod_behind_it_it_does_not_listen_whatever_answers(
    slices: list[Any], answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PROGRAMMED_WITHIN", "REFUSES_FOR"):
        monkeypatch.setattr(exposing_service, name, 0.0)
    cluster = Served(answers=[answer])
    cluster.slices = slices
    made = forward(cluster)
    assert made.listening.look().value is None
    assert made.words == "no pod that is ready is behind spire-server/spire-server-node-port"
    cluster.slices = [*slices, endpoint_slice()]
    assert made.listening.look().value


def test_credentials_that_may_not_see_endpoints_do_without() -> None:
    cluster = Served(answers=[REFUSED, ""])
    cluster.slices = []
    made = forward(cluster)
    made.open()
    assert len(cluster.asked) == 2


@pytest.mark.parametrize("refusal", NOT_ADMITTED)
def test_a_service_that_is_not_admitted_ends_the_wait_soon_in_the_api_servers_words(
    refusal: str,
    short_times: None,  # noqa: ARG001
) -> None:
    cluster = Served(answers=[""])
    cluster.refusals = [refusal]
    made = forward(cluster)
    with pytest.raises(UnrecoverableError, match=re.escape(refusal)):
        made.open()
    assert (made.state, made.is_opening) == ("being opened", True)
    assert refusal in made.words
    made.close()
    assert "delete" not in [verb for verb, *_ in cluster.done], "there is none"


def test_a_service_that_is_refused_for_a_moment_is_opened() -> None:
    cluster = Served(answers=[""])
    cluster.refusals = [NOT_ADMITTED[2], ""]
    made = forward(cluster)
    made.open()
    assert made.state == "listening"


@pytest.mark.parametrize(
    ("refusals", "found"),
    [
        *(([each], each) for each in NOT_ADMITTED),
        ([NOT_ADMITTED[0], ""], ""),
        ([], ""),
        # These say nothing of what will be so once SPIRE is installed.
        ([NO_NAMESPACE], ""),
        ([TERMINATING], ""),
        (['admission webhook "a" does not support dry run'], ""),
        (['Internal error occurred: failed calling webhook "a": context deadline exceeded'], ""),
    ],
)
def test_whether_a_service_will_be_admitted_is_asked_beforehand_and_nothing_is_made(
    refusals: list[str],
    found: str,
    short_times: None,  # noqa: ARG001
) -> None:
    cluster = Served(answers=[""])
    cluster.refusals = refusals
    said = forward(cluster).refusal()
    shown = "server: `apply Service spire-server-node-port (dry run)` was not carried out: "
    assert said == (f"{shown}{found}" if found else "")
    assert set(cluster.done) == {("dry run", "spire-server-node-port")}


def test_a_service_that_something_makes_one_of_another_type_is_named() -> None:
    cluster = Served(answers=[""])
    cluster.node_port = 0
    made = forward(cluster)
    assert made.listening.look().value is None
    assert "has no node port, though it was applied with one" in made.words
    made.close()
    assert cluster.done[-1] == ("delete", "spire-server-node-port")


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
