"""The local supply: what is installed of Tornjak, whose images it does not build, and the network of its nodes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from fixtures.artifacts.local import _tornjak_values, check_network
from fixtures.artifacts.supply import SupplyError
from fixtures.config.settings import Settings
from fixtures.k8s.kind.configuration import NodeSettings

BACKEND, FRONTEND = "ghcr.io/spiffe/tornjak-backend:v2.1.0", "localhost/tornjak-frontend:v2.1.0"


@pytest.mark.parametrize(
    ("handed", "enabled"),
    [
        ({BACKEND, FRONTEND}, {"spire-server": {"tornjak": {"enabled": True}}, "tornjak-frontend": {"enabled": True}}),
        ({BACKEND}, {"spire-server": {"tornjak": {"enabled": True}}}),
        ({FRONTEND, "example.com/other:1"}, {"tornjak-frontend": {"enabled": True}}),
        ({"example.com/other:1"}, {}),
    ],
)
def test_of_tornjak_that_is_installed_whose_image_is_handed_over(handed: set[str], enabled: dict[str, object]) -> None:
    assert _tornjak_values(cast(Settings, SimpleNamespace(handed_images=frozenset(handed)))) == enabled


@pytest.mark.parametrize("networking", [{"podSubnet": "10.10.0.0/16"}, {"ipFamily": "dual"}])
def test_a_network_that_its_nodes_do_not_have_is_refused(networking: dict[str, str]) -> None:
    nodes = NodeSettings({"networking": networking})
    given = cast(Settings, SimpleNamespace(nodes=nodes, node_image=None))
    with pytest.raises(SupplyError, match=rf"^--kind-config: networking\.{next(iter(networking))}: the local supply's"):
        check_network(given)
    check_network(cast(Settings, SimpleNamespace(nodes=nodes, node_image="kindest/node:v1.37.0")))
    for others in ({}, {"networking": None}, {"networking": {"apiServerAddress": "127.0.0.1"}}):
        check_network(cast(Settings, SimpleNamespace(nodes=NodeSettings(others), node_image=None)))
