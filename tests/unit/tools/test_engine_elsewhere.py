"""The tool that runs the suite where its engine is not."""

from __future__ import annotations

import pytest

from tests.tools.engine_elsewhere import published_ports


@pytest.mark.parametrize(
    ("listed", "ports"),
    [
        ("", set()),
        # As `podman ps` 4.3 prints them, of two nodes, and of other containers.
        ("127.0.0.1:38211->6443/tcp\n127.0.0.1:34019->6443/tcp\n", {38211, 34019}),
        ("0.0.0.0:8080->80/tcp, 127.0.0.1:9000->90/tcp\n", {9000}),
    ],
)
def test_the_ports_are_those_on_loopback(listed: str, ports: set[int]) -> None:
    assert published_ports(listed) == ports
