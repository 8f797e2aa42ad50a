"""How soon a server notices what becomes of a peer's bundle."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.spire.logs import why_too_slow
from tests.unit.own_chart import LAYOUT


def spire(label: str, hint: float) -> Any:
    endpoint = replace(LAYOUT.bundle_endpoint, refresh_hint=hint)
    return SimpleNamespace(cluster=SimpleNamespace(label=label), layout=replace(LAYOUT, bundle_endpoint=endpoint))


@pytest.mark.parametrize(("hint", "scale", "is_refused"), [(60, 1, False), (300, 1, True), (300, 5, False)])
def test_waits_that_are_shorter_than_a_servers_own_interval_are_refused_with_what_would_do(
    hint: float, scale: float, is_refused: bool
) -> None:
    found = why_too_slow([spire("server", hint), spire("client", 60)], scale)
    assert bool(found) is is_refused
    if is_refused:
        assert found.startswith("server: peers fetch its bundle only every 75 s, and -m resilience waits 15 s for that")
        assert "--timeout-scale=5," in found
