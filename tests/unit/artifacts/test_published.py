"""The published supply's values: Tornjak is there where the chart has it and the user does not turn it off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from semver import Version

from fixtures.artifacts import published
from fixtures.helm.charts import ChartPair
from fixtures.helm.values import merge

DEFAULTS: dict[str, Any] = {"spire-server": {"tornjak": {"enabled": False}}, "tornjak-frontend": {"enabled": False}}


def chart(folder: Path, values: dict[str, Any]) -> ChartPair:
    spire = folder / "spire"
    spire.mkdir()
    (spire / "Chart.yaml").write_text(yaml.safe_dump({"name": "spire", "version": "0.30.0"}))
    (spire / "values.yaml").write_text(yaml.safe_dump(values))
    return ChartPair(spire, folder / "spire-crds", Version(0, 30), Version(0, 6))


@pytest.mark.parametrize(
    ("defaults", "given", "enabled"),
    [
        (DEFAULTS, {}, (True, True)),
        (DEFAULTS, {"spire-server": {"tornjak": {"enabled": False}}}, (False, True)),
        (DEFAULTS, DEFAULTS, (False, False)),
        # A chart that has no Tornjak would ignore the keys.
        ({"spire-server": {}}, {}, (None, None)),
    ],
)
def test_tornjak_is_enabled_where_the_chart_has_it_and_the_values_do_not_turn_it_off(
    tmp_path: Path, defaults: dict[str, Any], given: dict[str, Any], enabled: tuple[bool | None, bool | None]
) -> None:
    found = merge(given, published._as_published(chart(tmp_path, defaults), given).values)
    server, frontend = found.get("spire-server", {}).get("tornjak", {}), found.get("tornjak-frontend", {})
    assert (server.get("enabled"), frontend.get("enabled")) == enabled
