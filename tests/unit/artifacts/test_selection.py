"""A supply that cannot be made, and an upgrade that is none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from semver import Version

from fixtures.artifacts import selection
from fixtures.artifacts.selection import _check_upgrade
from fixtures.artifacts.supply import Supply, SupplyError
from fixtures.config import chart_source
from fixtures.config.chart_source import Source
from fixtures.config.settings import Settings
from fixtures.helm.release_history import Release
from fixtures.k8s.kind.configuration import NodeSettings
from fixtures.k8s.kind.registries import parse_mirror
from supply.host import Engine
from supply.plan import BuildError
from tests.unit.config.test_chart_source import write_charts


def between(old: Source, new: Source | None) -> Settings:
    return cast(Settings, SimpleNamespace(source=old, upgrade_to=new))


@pytest.mark.parametrize(
    ("wanted", "mirrored", "asked"),
    [
        ("auto", (), "https://ghcr.io/v2/"),
        ("auto", ("http://10.89.0.1:5000",), "http://10.89.0.1:5000/v2/"),
        ("auto", ("http://10.89.0.1:5000", "ghcr.io=https://h.example/v2/ghcr"), "https://h.example/v2/ghcr/"),
        ("auto", ("docker.io=http://10.89.0.1:5000",), "https://ghcr.io/v2/"),
        ("local", (), ""),
    ],
)
def test_a_local_supply_that_cannot_be_built_says_why_it_was_to_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wanted: str, mirrored: tuple[str, ...], asked: str
) -> None:
    def fail(*_: object) -> Supply:
        raise BuildError("building the local supply needs Go 1.26 or newer on PATH")

    monkeypatch.setattr(selection, "why_unreachable", lambda *_: "timed out")
    monkeypatch.setattr("fixtures.artifacts.local.make_supply", fail)
    mirrors = tuple(parse_mirror("--mirror", each) for each in mirrored)
    nodes = NodeSettings(mirrors=mirrors)
    settings: Any = SimpleNamespace(
        supply=wanted, sources=(), upgrade_to=None, kind=None, kubectl=None, nodes=nodes, ca=""
    )
    lines: list[str] = []
    with pytest.raises(BuildError) as caught:
        selection.choose(settings, Engine("docker"), tmp_path, tmp_path, lines.append)
    why = {
        "auto": f"{asked} cannot be reached (timed out); {selection.AUTO_HINT}",
        "local": "--supply=local",
    }[wanted]
    assert lines == [f"local supply: {why}"]
    assert str(caught.value) == f"building the local supply needs Go 1.26 or newer on PATH; it was to be built: {why}"


@pytest.mark.parametrize(
    ("changed", "refused"),
    [({}, True), ({"values.yaml": "a: 1"}, False), ({"templates/service.yaml": ""}, False)],
    ids=["nothing", "its values", "a template"],
)
def test_an_upgrade_between_charts_that_were_pulled_is_refused_where_nothing_would_change(
    tmp_path: Path, changed: dict[str, str], refused: bool
) -> None:
    old, new = (write_charts(tmp_path / name) for name in ("old", "new"))
    for name, text in changed.items():
        (new / "spire" / name).parent.mkdir(exist_ok=True)
        (new / "spire" / name).write_text(text)
    releases, upgraded = ({"server": Release(each / "spire", each / "spire-crds", {})} for each in (old, new))
    made = cast(Supply, SimpleNamespace(releases=releases, upgraded=upgraded))
    mirror = chart_source.parse_oci_reference("--from", "oci://registry.example/mirror/spire:0.30.0")
    settings = between(Source(chart_version=Version.parse("0.30.0")), mirror)
    if refused:
        with pytest.raises(SupplyError, match=r"^from chart 0\.30\.0 to chart 0\.30\.0 of oci://.* are the same$"):
            _check_upgrade(settings, made)
    else:
        _check_upgrade(settings, made)


def test_a_run_that_upgrades_nothing_has_no_upgrade_to_refuse() -> None:
    made: Any = SimpleNamespace(releases={"server": None}, upgraded={})
    _check_upgrade(between(Source(), None), made)
