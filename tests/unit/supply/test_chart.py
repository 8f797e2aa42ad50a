"""The project's own chart, as values that are written for the published ones find it."""

from __future__ import annotations

from fixtures.helm.charts.folder import default_values
from fixtures.helm.values import at, nested
from fixtures.helm.values_check.ignored_keys import ignored_keys
from supply.chart import CHART


def test_the_subject_is_the_servers_own_where_nothing_is_said_for_all() -> None:
    given = nested(["spire-server", "caSubject"], {"country": "NO", "organization": "o", "commonName": "c"})
    assert ignored_keys(given, CHART / "spire") == []
    for_all = at(default_values(CHART / "spire"), "global.spire.caSubject")
    assert not any(for_all.values())


def test_its_strict_mode_is_switched_off_as_theirs_is() -> None:
    assert ignored_keys(nested(["global", "spire", "recommendations", "strictMode"], False), CHART / "spire") == []
