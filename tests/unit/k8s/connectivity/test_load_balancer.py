"""A Service of type LoadBalancer of the suite's own, which has its address from somebody else."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from fixtures.k8s.cluster import Cluster
from fixtures.k8s.connectivity import exposing_service
from fixtures.k8s.connectivity.load_balancer import LoadBalancer
from tests.unit.k8s.connectivity.test_node_port import REFUSED, Served, endpoint_slice


class Balanced(Served):
    """As `Served`, where a Service that was made has this `status.loadBalancer`."""

    def __init__(self, status: dict[str, Any], *, answers: list[str]) -> None:
        super().__init__(answers=answers)
        self.status = status

    def kubectl(self, verb: str, *arguments: str) -> str:
        found = super().kubectl(verb, *arguments)
        is_ours = verb == "get" and arguments[1] == self.applied.get("metadata", {}).get("name")
        return json.dumps({**json.loads(found), "status": {"loadBalancer": self.status}}) if is_ours else found


def forward(cluster: Balanced) -> LoadBalancer:
    return LoadBalancer(cast(Cluster, cluster), "spire-server", "svc/spire-server", 8443)


@pytest.mark.parametrize(
    ("ingress", "url"),
    [
        ({"ip": "203.0.113.7", "ipMode": "VIP"}, "https://203.0.113.7:8443"),
        ({"ip": "2001:db8::7"}, "https://[2001:db8::7]:8443"),
        ({"hostname": "a1b2.elb.example.com"}, "https://a1b2.elb.example.com:8443"),
    ],
)
def test_it_is_where_its_status_says(ingress: dict[str, str], url: str) -> None:
    cluster = Balanced({"ingress": [ingress]}, answers=[""])
    made = forward(cluster)
    made.open()
    assert cluster.applied["metadata"]["name"] == "spire-server-load-balancer"
    assert cluster.applied["spec"]["type"] == "LoadBalancer"
    assert (made.url, made.state) == (url, "listening")
    assert cluster.asked == ["https:control-plane:31999"], "whether a pod is behind it is asked of the node"
    made.close()
    assert cluster.done[-1] == ("delete", "spire-server-load-balancer")


@pytest.mark.parametrize("status", [{}, {"ingress": []}])
def test_without_an_address_it_is_being_opened_and_says_why(status: dict[str, Any]) -> None:
    made = forward(Balanced(status, answers=[""]))
    assert made.listening.look().value is None
    assert made.words.startswith(
        "server: Service spire-server/spire-server-load-balancer: it has no address in status.loadBalancer: "
    )


def test_with_an_address_and_nothing_behind_it_it_is_being_opened() -> None:
    cluster = Balanced({"ingress": [{"ip": "203.0.113.7"}]}, answers=[REFUSED])
    made = forward(cluster)
    assert made.listening.look().value is None
    assert made.words.startswith("dial tcp")
    cluster.slices = [endpoint_slice(None)]
    assert made.listening.look().value is None
    assert made.words == "no pod that is ready is behind spire-server/spire-server-load-balancer"


def test_one_without_a_node_port_is_opened_and_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with `allocateLoadBalancerNodePorts: false`, which a cloud's webhook may set."""
    monkeypatch.setattr(exposing_service, "PROGRAMMED_WITHIN", 0.0)
    cluster = Balanced({"ingress": [{"ip": "203.0.113.7"}]}, answers=[REFUSED])
    cluster.node_port = 0
    made = forward(cluster)
    made.open()
    assert (made.url, made.state, cluster.asked) == ("https://203.0.113.7:8443", "listening", [])
    made.close()
    assert cluster.done[-1] == ("delete", "spire-server-load-balancer")
