"""The layout of the project's own chart, from its recorded manifests, and the names in it that tests ask for."""

from __future__ import annotations

from pathlib import Path

import yaml

from fixtures.spire.layout import Layout, read

LAYOUT: Layout = read(
    list(yaml.safe_load_all((Path(__file__).parent / "recorded" / "own-chart.yaml").read_text())), "spire-mgmt"
)
SERVER = LAYOUT.server.name
AGENT = LAYOUT.agent.name
CSI_DRIVER = LAYOUT.csi_driver.name
CLASS_NAME = LAYOUT.controller_manager.class_name
SERVER_NAMESPACE = LAYOUT.server.namespace
SYSTEM_NAMESPACE = LAYOUT.agent.namespace


def read_layout(_release: object) -> Layout:
    """What a `Spire` asks for the layout of a release."""
    return LAYOUT
