"""Which way from one cluster to the other is taken."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.k8s.cluster import Cluster, ClusterError
from fixtures.k8s.connectivity import exposing_service
from fixtures.k8s.connectivity.connectivity import (
    BUNDLE_ENDPOINT,
    DEMO_SERVER,
    OIDC_PROVIDER,
    Connectivity,
    choose_connectivity,
)
from fixtures.k8s.connectivity.given_address import GivenAddress, parse_address
from fixtures.k8s.connectivity.load_balancer import LoadBalancer
from fixtures.k8s.connectivity.node_port import NodePort
from fixtures.k8s.connectivity.port_forward import PortForward
from fixtures.k8s.kind.network import KindNetwork
from supply.host import Engine
from tests.unit.k8s.connectivity.test_node_port import NOT_ADMITTED, Served

NOWHERE = "192.0.2.1"  # of a network for documentation (RFC 5737): on no machine


class Networks(Engine):
    """An engine whose network has this gateway, or none."""

    def run(self, *arguments: str | Path, timeout: float = 0) -> str:  # noqa: ARG002 - nothing is run
        assert arguments[:2] == ("network", "inspect")
        return json.dumps([{"subnets": [{"gateway": self.environment["gateway"], "subnet": "127.0.0.0/8"}]}])


def engine(gateway: str) -> Engine:
    return Networks("podman", environment={"gateway": gateway})


def cluster(label: str, kind_name: str = "", *, is_external: bool = True) -> Cluster:
    return cast(Cluster, SimpleNamespace(label=label, kind_name=kind_name, is_external=is_external))


OURS = [cluster("server", "server", is_external=False), cluster("client", "theirs")]


def made(connectivity: Connectivity, tmp_path: Path, what: str = BUNDLE_ENDPOINT) -> Any:
    place = (cluster("server"), "spire-server", "spire-server", 8443)
    return connectivity.forward(what, *place, port=0, log=tmp_path / "log")


@pytest.mark.parametrize("wanted", ["auto", "port-forward"])
def test_the_tutorials_way_is_taken_where_the_gateway_is_this_machines(wanted: str, tmp_path: Path) -> None:
    found = choose_connectivity(wanted, engine("127.0.0.1"), OURS, {})
    forward = made(found, tmp_path)
    assert isinstance(forward, PortForward)
    assert (forward.target, forward.target_port, forward.address) == ("svc/spire-server", 8443, "127.0.0.1")
    assert forward.network == KindNetwork("127.0.0.1", "127.0.0.0/8")
    assert str(found).endswith(
        "by port-forward: 127.0.0.1, the gateway of Kind's network, is an address of this machine"
    )


@pytest.mark.parametrize(
    ("wanted", "gateway", "why"),
    [
        ("node-port", "127.0.0.1", "--connectivity=node-port asks for it"),
        ("auto", NOWHERE, f"{NOWHERE}, the gateway of Kind's network, is no address of this machine"),
        ("auto", "fc00::1", "podman's network kind has no IPv4 gateway"),
    ],
)
def test_node_ports_are_taken_where_they_are_wanted_or_the_gateway_is_elsewhere(
    wanted: str, gateway: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KIND_EXPERIMENTAL_PODMAN_NETWORK", raising=False)
    found = choose_connectivity(wanted, engine(gateway), OURS, {})
    forward = made(found, tmp_path)
    assert isinstance(forward, NodePort)
    assert (forward.target, forward.target_port) == ("svc/spire-server", 8443)
    assert str(found).endswith(f"by node-port: {why}")
    assert found.address == ""


def test_a_port_forward_that_nobody_would_reach_is_refused() -> None:
    with pytest.raises(ClusterError, match=rf"^--connectivity=port-forward: {NOWHERE}, .* no address .*=node-port$"):
        choose_connectivity("port-forward", engine(NOWHERE), OURS, {})


@pytest.mark.parametrize(
    ("engine", "clusters", "why"),
    [
        (None, OURS, "no container engine answers here, and so there is no network of Kind's"),
        (
            engine("127.0.0.1"),
            [cluster("server", "a"), cluster("client")],
            "no node of client is a container of this machine's podman",
        ),
    ],
)
def test_the_network_of_kind_on_this_machine_is_none_of_clusters_elsewhere(
    engine: Engine | None, clusters: list[Cluster], why: str
) -> None:
    found = choose_connectivity("auto", engine, clusters, {})
    assert (found.way, found.why) == ("node-port", why)


def test_load_balancers_are_taken_where_they_are_wanted(tmp_path: Path) -> None:
    assert isinstance(made(choose_connectivity("load-balancer", None, OURS, {}), tmp_path), LoadBalancer)


def test_addresses_that_are_given_are_taken_as_they_are(tmp_path: Path) -> None:
    given = {(BUNDLE_ENDPOINT, "server"): "https://[fd00::1]:8443", (DEMO_SERVER, "server"): "https://demo.test"}
    found = choose_connectivity("given", None, OURS, given)
    endpoint = made(found, tmp_path)
    assert isinstance(endpoint, GivenAddress)
    endpoint.open()
    endpoint.interrupt()
    endpoint.close()
    assert (endpoint.url, endpoint.address, endpoint.port) == ("https://[fd00::1]:8443", "fd00::1", 8443)
    assert endpoint.listening.look().value
    assert (endpoint.state, endpoint.is_opening) == ("given", False)
    assert made(found, tmp_path, DEMO_SERVER).url == "https://demo.test:443"
    with pytest.raises(ClusterError, match=r"no address of the OIDC discovery provider of cluster server is given$"):
        made(found, tmp_path, OIDC_PROVIDER)


@pytest.mark.parametrize(
    "url",
    ["", "a.test", "http://a.test", "https://", "https://a.test/b", "https://a.test:x",
    "https://a.test:0", "https://me:you@a.test", "https://a.test?b"],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_address(url)


@pytest.mark.parametrize(
    ("way", "service"), [("node-port", "spire-server-node-port"), ("load-balancer", "spire-server-load-balancer")]
)
def test_a_service_that_would_be_refused_is_named_with_the_remedy(
    way: str, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposing_service, "REFUSED_FOR", 0.0)
    served = Served(answers=[])
    served.refusals = [NOT_ADMITTED[0]]
    said = Connectivity(way).refusal(cast(Cluster, served), "spire-server", "spire-server", 8443)
    assert said == (
        f"--connectivity={way} cannot be used: server: `apply Service {service} (dry run)` was not carried out: "
        f"{NOT_ADMITTED[0]}: {exposing_service.REFUSED_REMEDY}"
    )
    served.refusals = []
    assert Connectivity(way).refusal(cast(Cluster, served), "spire-server", "spire-server", 8443) == ""


@pytest.mark.parametrize("way", [Connectivity("given"), Connectivity("port-forward", network=KindNetwork("127.0.0.1"))])
def test_where_no_service_is_made_none_is_asked_about(way: Connectivity) -> None:
    served = Served(answers=[])
    assert way.refusal(cast(Cluster, served), "spire-server", "spire-server", 8443) == ""
    assert served.done == []
