"""The published supply: which node image goes with it, and that Tornjak is there where the chart has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from semver import Version

from fixtures.artifacts import published
from fixtures.artifacts.published import pinned_node_image
from fixtures.helm.charts.folder import ChartPair
from fixtures.helm.values import merge
from supply import versions

PINS = versions.load()
DEFAULTS: dict[str, Any] = {"spire-server": {"tornjak": {"enabled": False}}, "tornjak-frontend": {"enabled": False}}


def kind(folder: Path, version: str) -> Path:
    program = folder / "kind"
    program.write_text(f"#!/bin/sh\necho 'kind {version} go1.26.8 linux/amd64'\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("version", "is_pinned"), [(PINS.programs["kind"].version, True), ("v0.40.0", True), ("v0.27.0", False)]
)
def test_an_older_kind_than_the_pinned_one_has_its_own(tmp_path: Path, version: str, is_pinned: bool) -> None:
    lines: list[str] = []
    found = pinned_node_image(kind(tmp_path, version), lines.append)
    assert found == (PINS.node_image if is_pinned else None)
    assert [line.partition(":")[0] for line in lines] == ([] if is_pinned else [f"{tmp_path}/kind is kind 0.27.0"])


def test_the_pinned_image_is_one_and_the_same_for_everybody() -> None:
    name, _, digest = PINS.node_image.partition("@sha256:")
    assert name.startswith("kindest/node:v1.")
    assert len(digest) == 64


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
        # As without the suite: nobody has switched it on.
        (DEFAULTS, {"spire-server": {"tornjak": {"config": {"a": 1}}}}, (None, None)),
        (DEFAULTS, {"tornjak-frontend": {"apiServerURL": "http://tornjak.example"}}, (None, None)),
        (DEFAULTS, {"spire-server": {"tornjak": {"config": {"a": 1}, "enabled": True}}}, (True, True)),
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


def test_what_is_no_mapping_where_the_chart_has_no_tornjak_is_ignored_too(tmp_path: Path) -> None:
    given = {"spire-server": {"tornjak": True}, "tornjak-frontend": 1}
    assert published._as_published(chart(tmp_path, {"spire-server": {}}), given).values == {}
