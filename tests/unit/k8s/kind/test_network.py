"""Kind's network, as engines describe it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fixtures.k8s.cluster import ClusterError
from fixtures.k8s.kind.network import KindNetwork, _subnets, kind_network
from supply.host import Engine

Read = Callable[[str], str]
DOCKER_NETWORK = {
    "Name": "kind",
    "Driver": "bridge",
    "EnableIPv6": True,
    "IPAM": {
        "Driver": "default",
        "Config": [{"Subnet": "fc00:f853:ccd:e793::/64"}, {"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}],
    },
}


@dataclass(frozen=True)
class Networks(Engine):
    """An engine that knows of networks alone, and remembers which it was asked for."""

    described: str = "[]"
    asked: list[str] = field(default_factory=list)

    def run(self, *arguments: str | Path, timeout: float = 300) -> str:
        assert (arguments[:2], timeout) == (("network", "inspect"), 300)
        self.asked.append(str(arguments[2]))
        if self.described == "none":
            raise subprocess.CalledProcessError(125, [self.program, *map(str, arguments)])
        return self.described


@pytest.fixture
def no_chosen_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOCKER", "PODMAN"):
        monkeypatch.delenv(f"KIND_EXPERIMENTAL_{name}_NETWORK", raising=False)


def test_subnets_are_read_from_what_podman_prints(recorded: Read) -> None:
    (described,) = json.loads(recorded("podman-network.json"))
    assert _subnets(described) == [
        KindNetwork("fc00:f853:ccd:e793::1", "fc00:f853:ccd:e793::/64"),
        KindNetwork("10.89.0.1", "10.89.0.0/24"),
    ]


def test_subnets_are_read_from_what_docker_prints() -> None:
    assert KindNetwork("172.18.0.1", "172.18.0.0/16") in _subnets(DOCKER_NETWORK)


@pytest.mark.parametrize("described", [{}, {"IPAM": None}, {"IPAM": {"Config": None}}, {"subnets": []}])
def test_a_network_without_subnets_has_none(described: dict[str, Any]) -> None:
    assert _subnets(described) == []


@pytest.mark.usefixtures("no_chosen_network")
def test_pods_reach_this_machine_under_the_networks_ipv4_gateway(recorded: Read) -> None:
    assert kind_network(Networks("podman", described=recorded("podman-network.json"))).gateway == "10.89.0.1"
    assert kind_network(Networks("docker", described=json.dumps([DOCKER_NETWORK]))).gateway == "172.18.0.1"


@pytest.mark.parametrize("program", ["docker", "podman"])
def test_the_network_is_the_one_that_kind_is_set_to_use(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    # Kind names the variable after its provider.
    monkeypatch.setenv(f"KIND_EXPERIMENTAL_{program.upper()}_NETWORK", "another")
    networks = Networks(program, described=json.dumps([DOCKER_NETWORK]))
    kind_network(networks)
    assert networks.asked == ["another"]


@pytest.mark.usefixtures("no_chosen_network")
@pytest.mark.parametrize(
    ("described", "why"),
    [
        ("none", r"podman does not describe the network kind"),
        ("[]", r"podman does not describe the network kind"),
        ("Error: not JSON", r"podman does not describe the network kind"),
        ('[{"subnets": [{"gateway": "fc00::1"}]}]', r"podman's network kind has no IPv4 gateway"),
    ],
)
def test_a_network_without_an_address_for_pods_is_an_error_that_names_it(described: str, why: str) -> None:
    with pytest.raises(ClusterError, match=why):
        kind_network(Networks("podman", described=described))
