"""How soon a server notices what becomes of a peer's bundle."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.spire.logs import bundle_poll_interval
from tests.unit.own_chart import LAYOUT


def spire(hint: float) -> Any:
    endpoint = replace(LAYOUT.bundle_endpoint, refresh_hint=hint)
    return SimpleNamespace(layout=replace(LAYOUT, bundle_endpoint=endpoint))


@pytest.mark.parametrize(("hint", "seconds"), [(60, 15), (300, 75), (10, 15)])
def test_peers_look_at_an_endpoint_four_times_within_its_hint_and_not_more_often_than_every_15_s(
    hint: float, seconds: float
) -> None:
    assert bundle_poll_interval(spire(hint)) == seconds
