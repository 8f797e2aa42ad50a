"""A release of a source: its values under the chart's own keys, and the images that are chosen for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from semver import Version

from fixtures.artifacts.image_overrides import Overrides
from fixtures.artifacts.releases import _label, make_releases
from fixtures.artifacts.supply import SupplyError
from fixtures.config.chart_source import Source
from fixtures.config.cluster_values import ClusterSettings
from fixtures.config.settings import Settings
from fixtures.helm.charts.folder import ChartPair
from fixtures.helm.values import merge, nested
from tests.unit.artifacts.test_selection import between
from tests.unit.config.test_chart_source import write_charts


def test_what_is_written_of_two_charts_of_one_version_says_which_is_the_one_upgraded_to(tmp_path: Path) -> None:
    old, new = (Source(charts=write_charts(tmp_path / name)) for name in ("old", "new"))
    newest = Version.parse("0.30.0")
    assert [_label(between(old, new), each, newest) for each in (old, new)] == ["0.30.0", "0.30.0-upgraded"]
    before = Source(charts=write_charts(tmp_path / "before", "0.29.0"))
    assert _label(between(before, new), new, newest) == "0.30.0"
    assert _label(between(old, None), old, newest) == "0.30.0"


def settings_of(source: Source) -> Settings:
    return cast(Settings, SimpleNamespace(source=source, upgrade_to=None))


def clusters(**values: Any) -> list[ClusterSettings]:
    return [
        ClusterSettings(name, f"{name}.example", (), {"global": {"name": name}, **values})
        for name in ("server", "client")
    ]


def chosen(_pair: ChartPair, values: Mapping[str, Any]) -> Overrides:
    """Images are chosen for the values that the chart gets."""
    tag = f"of-{values['global']['name']}"
    return Overrides({"spire-server": {"image": {"tag": tag}}}, {"x/server:1": f"y/server:{tag}"}, [], tag)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    charts = write_charts(tmp_path / "charts", "0.17.0")
    (charts / "spire" / "values.yaml").write_text("global: {name: x}\nspire-server: {ca_subject: {}, image: {}}\n")
    return Source(charts=charts)


def test_a_release_has_the_values_of_its_cluster_under_the_keys_of_its_chart_with_the_images_chosen(
    source: Source, helm: Path, tmp_path: Path
) -> None:
    given = clusters(**{"spire-server": {"image": {"tag": "overlaid"}}})
    overlay = nested(("global", "spire", "caSubject", "country"), "NO")
    made = make_releases(settings_of(source), source, given, helm, tmp_path, [overlay], chosen)
    assert made.label == "0.17.0"
    assert {name: release.values for name, release in made.releases.items()} == {
        name: {
            "global": {"name": name},
            "spire-server": {"ca_subject": {"country": "NO"}, "image": {"tag": f"of-{name}"}},
        }
        for name in ("server", "client")
    }
    # An upgrade compares what was asked for, whatever each chart's words and images are.
    assert made.releases["client"].given == {
        "global": {"name": "client", "spire": {"caSubject": {"country": "NO"}}},
        "spire-server": {"image": {"tag": "overlaid"}},
    }
    assert {name: each.rendered for name, each in made.overrides.items()} == {
        "server": "of-server",
        "client": "of-client",
    }
    # Helm installs a copy with its dependencies, and not what the user has.
    assert source.charts is not None
    assert not made.releases["server"].spire.is_relative_to(source.charts)


def test_a_misspelt_key_that_the_chart_ignores_is_refused_with_its_cluster(
    source: Source, helm: Path, tmp_path: Path
) -> None:
    given = clusters(**{"spire-sever": {"a": 1}})
    refusal = r"^chart 0\.17\.0 ignores spire-sever, which resembles spire-server \(cluster server\)$"
    with pytest.raises(SupplyError, match=refusal):
        make_releases(settings_of(source), source, given, helm, tmp_path, [], chosen)


def test_another_key_that_the_chart_does_not_read_is_named_with_all_its_clusters(
    source: Source, helm: Path, tmp_path: Path
) -> None:
    server, client = clusters(**{"of-another-chart": {"a": 1}})
    client = replace(client, values=merge(client.values, {"image": {"tag": "x"}, "third": 1}))
    made = make_releases(settings_of(source), source, [server, client], helm, tmp_path, [], chosen)
    assert made.unread_values == [
        "server, client: chart 0.17.0 ignores of-another-chart",
        "client: chart 0.17.0 ignores image (it reads spire-server.image)",
        "client: chart 0.17.0 ignores third",
    ]
    assert made.switched_off_values == []


def test_what_a_user_gives_and_the_chart_has_no_word_for_is_named(source: Source, helm: Path, tmp_path: Path) -> None:
    given = clusters(**{"spire-agent": {"experimental": {"syncInterval": "10s"}}})
    made = make_releases(settings_of(source), source, given, helm, tmp_path, [], chosen)
    (sentence,) = made.unread_values
    assert sentence.startswith("server, client: chart 0.17.0 ignores spire-agent.experimental (Up to 0.24.2 ")


def test_a_key_beside_a_switch_that_is_off_is_named(source: Source, helm: Path, tmp_path: Path) -> None:
    assert source.charts is not None
    values = source.charts / "spire" / "values.yaml"
    values.write_text(values.read_text() + "tornjak: {enabled: false, port: 1}\n")
    given = clusters(tornjak={"port": 2})
    made = make_releases(settings_of(source), source, given, helm, tmp_path, [], chosen)
    (sentence,) = made.switched_off_values
    assert sentence == "server, client: tornjak.port has no effect while tornjak.enabled is not true (chart 0.17.0)"


def test_images_that_nobody_supplies_are_refused_by_name(source: Source, helm: Path, tmp_path: Path) -> None:
    def none(_pair: ChartPair, _values: Mapping[str, Any]) -> Overrides:
        return Overrides({}, {}, ["x/a:1", "x/b:2"], "")

    with pytest.raises(SupplyError, match=r"^chart 0\.17\.0 pulls what is neither .*: x/a:1, x/b:2$"):
        make_releases(settings_of(source), source, clusters(), helm, tmp_path, [], none)
