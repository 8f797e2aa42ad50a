"""The clusters that the links of the diagnosis are tried on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fixtures.diagnosis.links import component_links, endpoint_links, spire_links
from tests.unit.diagnosis.links.spire_objects import Objects, Read
from tests.unit.kubernetes_objects import NOW


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch, recorded: Read) -> Objects:
    """A cluster with nothing in it, at `NOW`."""
    monkeypatch.setattr("time.time", lambda: NOW)
    clock = SimpleNamespace(time=lambda: NOW, monotonic=lambda: NOW)
    for module in (spire_links, component_links, endpoint_links):
        monkeypatch.setattr(module, "time", clock)
    return Objects(recorded)
