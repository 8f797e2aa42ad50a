"""Which way from one cluster to the other is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from fixtures.k8s.cluster import Cluster, ClusterError
from fixtures.k8s.connectivity.connectivity import Connectivity, choose_connectivity
from fixtures.k8s.connectivity.node_port import NodePort
from fixtures.k8s.connectivity.port_forward import PortForward
from supply.host import Engine

NOWHERE = "192.0.2.1"  # of a network for documentation (RFC 5737): on no machine


class Networks(Engine):
    """An engine whose network has this gateway, or none."""

    def run(self, *arguments: str | Path, timeout: float = 0) -> str:  # noqa: ARG002 - nothing is run
        assert arguments[:2] == ("network", "inspect")
        return json.dumps([{"subnets": [{"gateway": self.environment["gateway"]}]}])


def engine(gateway: str) -> Engine:
    return Networks("podman", environment={"gateway": gateway})


def made(connectivity: Connectivity, tmp_path: Path) -> Any:
    place = (cast(Cluster, None), "spire-server", "spire-server", 8443)
    return connectivity.forward(*place, port=0, log=tmp_path / "log")


@pytest.mark.parametrize("wanted", ["auto", "port-forward"])
def test_the_tutorials_way_is_taken_where_the_gateway_is_this_machines(wanted: str, tmp_path: Path) -> None:
    found = choose_connectivity(wanted, engine("127.0.0.1"))
    forward = made(found, tmp_path)
    assert isinstance(forward, PortForward)
    assert (forward.target, forward.target_port, forward.address) == ("svc/spire-server", 8443, "127.0.0.1")
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
    found = choose_connectivity(wanted, engine(gateway))
    forward = made(found, tmp_path)
    assert isinstance(forward, NodePort)
    assert (forward.target, forward.target_port) == ("svc/spire-server", 8443)
    assert str(found).endswith(f"by node-port: {why}")


def test_a_port_forward_that_nobody_would_reach_is_refused() -> None:
    with pytest.raises(ClusterError, match=rf"^--connectivity=port-forward: {NOWHERE}, .* no address .*=node-port$"):
        choose_connectivity("port-forward", engine(NOWHERE))
