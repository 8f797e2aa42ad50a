"""Charts that are to be pulled: the right command, and one sentence where a chart cannot be pulled.

And releases: each is rendered once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from semver import Version

from fixtures.artifacts import supply
from fixtures.artifacts.supply import CHART_REPOSITORY, Supply, SupplyError
from fixtures.config import chart_source
from fixtures.config.chart_source import Source
from fixtures.config.settings import Settings
from fixtures.helm.release_history import Release
from fixtures.workloads.demo import DemoImages
from supply import versions
from tests.unit.config.test_chart_source import write_charts

# Writes down how it was called, and pulls a chart of the version that was asked for, or 0.30.0.
HELM = """#!{python}
import pathlib, sys
given = sys.argv[1:]
with open("{folder}/calls", "a") as calls:
    calls.write(" ".join(given) + "\\n")
if given[0] == "template":
    for kind, name in (("StatefulSet", "spire-server"), ("DaemonSet", "spire-agent")):
        container = "{{name: " + name + ", image: x/" + name + ":1}}"
        print("---\\nkind: " + kind + "\\nspec: {{template: {{spec: {{containers: [" + container + "]}}}}}}")
    sys.exit()
if "refused" in " ".join(given):
    sys.exit("level=warning msg=ignored\\nError: response status code 403: denied")
name = given[1].rpartition("/")[2]
version = given[given.index("--version") + 1] if "--version" in given else "0.30.0"
chart = pathlib.Path(given[given.index("--untardir") + 1], name)
chart.mkdir(parents=True)
(chart / "Chart.yaml").write_text("name: " + name + "\\nversion: " + version + "\\n")
"""


@pytest.fixture
def helm(tmp_path: Path) -> Path:
    program = tmp_path / "helm"
    program.write_text(HELM.format(python=sys.executable, folder=tmp_path))
    program.chmod(0o755)
    return program


def calls(helm: Path) -> list[str]:
    return [line.split(" --untar")[0] for line in (helm.parent / "calls").read_text().splitlines()]


def versions_asked(helm: Path) -> list[str]:
    return [line.partition("--version ")[2] for line in (helm.parent / "calls").read_text().splitlines()]


def test_a_version_of_the_repository_is_pulled_with_the_crds_that_belong_to_it(helm: Path, tmp_path: Path) -> None:
    pair = supply._charts(Source(chart_version=Version.parse("0.29.0")), helm, tmp_path)
    assert (str(pair.version), str(pair.crds_version)) == ("0.29.0", "0.5.0")
    assert calls(helm) == [f"pull {name} --repo {CHART_REPOSITORY}" for name in ("spire", "spire-crds")]
    assert versions_asked(helm) == ["0.29.0", "0.5.0"]


def test_an_oci_reference_is_pulled_with_the_crds_beside_it(helm: Path, tmp_path: Path) -> None:
    pair = supply._charts(
        chart_source.parse_oci_reference("--charts", "oci://registry.example/mirror/spire"), helm, tmp_path
    )
    assert (str(pair.version), str(pair.crds_version)) == ("0.30.0", "0.6.0")
    assert calls(helm) == [f"pull oci://registry.example/mirror/{name}" for name in ("spire", "spire-crds")]
    assert versions_asked(helm) == ["", "0.6.0"]


def test_a_chart_that_the_registry_refuses_is_refused_in_a_sentence_with_its_reason(helm: Path, tmp_path: Path) -> None:
    with pytest.raises(SupplyError) as caught:
        supply._charts(
            chart_source.parse_oci_reference("--charts", "oci://registry.example/refused/spire:0.30.0"), helm, tmp_path
        )
    assert str(caught.value) == (
        "the chart spire 0.30.0 cannot be had from oci://registry.example/refused: "
        "Error: response status code 403: denied"
    )


def test_charts_of_one_version_from_two_places_are_kept_apart(helm: Path, tmp_path: Path) -> None:
    released, changed = (Source(charts=write_charts(tmp_path / name)) for name in ("released", "changed"))
    (tmp_path / "changed" / "spire" / "values.yaml").write_text("changed: true\n")
    pulled = Source(chart_version=Version.parse("0.30.0"))
    mirrored = chart_source.parse_oci_reference("--from", "oci://registry.example/mirror/spire:0.30.0")
    made = {source: supply._charts(source, helm, tmp_path).spire for source in (released, changed, pulled, mirrored)}
    assert len({path.resolve() for path in made.values()}) == len(made)
    assert [source for source, path in made.items() if (path / "values.yaml").exists()] == [changed]


def between(old: Source, new: Source | None) -> Settings:
    return cast(Settings, SimpleNamespace(source=old, upgrade_to=new))


def test_what_is_written_of_two_charts_of_one_version_says_which_is_the_one_upgraded_to(tmp_path: Path) -> None:
    old, new = (Source(charts=write_charts(tmp_path / name)) for name in ("old", "new"))
    newest = Version.parse("0.30.0")
    assert [supply._label(between(old, new), each, newest) for each in (old, new)] == ["0.30.0", "0.30.0-upgraded"]
    before = Source(charts=write_charts(tmp_path / "before", "0.29.0"))
    assert supply._label(between(before, new), new, newest) == "0.30.0"
    assert supply._label(between(old, None), old, newest) == "0.30.0"


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
            supply._check_upgrade(settings, made)
    else:
        supply._check_upgrade(settings, made)


def test_a_run_that_upgrades_nothing_has_no_upgrade_to_refuse() -> None:
    made: Any = SimpleNamespace(releases={"server": None}, upgraded={})
    supply._check_upgrade(between(Source(), None), made)


@pytest.mark.parametrize(
    ("source", "asked", "what"),
    [
        (Source(), f"{CHART_REPOSITORY}index.yaml", "the newest chart"),
        (Source(chart_version=Version.parse("0.30.0")), f"{CHART_REPOSITORY}index.yaml", "chart 0.30.0"),
        (
            Source(chart_version=Version.parse("0.30.0"), registry="oci://registry.example:5000/a/b"),
            "https://registry.example:5000/v2/",
            "chart 0.30.0 of oci://registry.example:5000/a/b",
        ),
    ],
)
def test_charts_that_cannot_be_reached_are_refused_before_a_helm_is_made_for_them(
    monkeypatch: pytest.MonkeyPatch, source: Source, asked: str, what: str
) -> None:
    urls = []

    def unreachable(url: str) -> str:
        urls.append(url)
        return "Name or service not known"

    monkeypatch.setattr(supply, "_unreachable", unreachable)
    with pytest.raises(SupplyError, match=r"\(Name or service not known\): give a folder with --charts$") as caught:
        supply._check_reachable(source)
    assert urls == [asked]
    assert str(caught.value).startswith(f"{what} cannot be had, as ")


def test_a_folder_of_charts_is_reachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(supply, "_unreachable", lambda url: pytest.fail(url))
    supply._check_reachable(Source(charts=tmp_path))


@pytest.mark.parametrize(("version", "is_taken"), [("v3.12.3", False), ("v3.13.0", True), ("v4.0.1", True)])
def test_a_helm_on_path_that_cannot_label_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, is_taken: bool
) -> None:
    program = tmp_path / "helm"
    program.write_text(f"#!/bin/sh\nprintf {version}\n")
    program.chmod(0o755)
    pinned = tmp_path / "tools" / f"helm-{versions.load().programs['helm'].version}"
    pinned.parent.mkdir()
    pinned.touch()
    monkeypatch.setattr(supply, "_on_path", lambda _: program)
    monkeypatch.setattr(supply, "cache_folder", lambda: tmp_path)
    assert supply._helm(tmp_path) == (program if is_taken else pinned)


def test_a_helm_that_does_not_run_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "helm"
    program.write_text("#!/bin/sh\necho 'helm: exec format error' >&2\nexit 126\n")
    program.chmod(0o755)
    monkeypatch.setattr(supply, "_on_path", lambda _: program)
    with pytest.raises(SupplyError, match="helm does not say its version: helm: exec format error"):
        supply._helm(tmp_path)


def supplied(helm: Path, rendered: dict[str, str]) -> Supply:
    demo = DemoImages("server", "client", "client")
    return Supply("for a test", (), helm, helm, helm, None, (), {}, {}, demo, "", rendered)


def test_lifetimes_that_do_not_fit_are_named_once_with_their_clusters_and_releases(
    helm: Path, release: Release, recorded: Callable[[str], str]
) -> None:
    fitting = recorded("own-chart-manifests.yaml")
    unfit = fitting.replace('"refresh_hint": "5m"', '"refresh_hint": "10h"')
    releases = {name: replace(release, values={"cluster": name}) for name in ("server", "client")}
    upgraded = {name: replace(release, values={"upgraded": name}) for name in ("server", "client")}
    rendered = {each.mark: fitting for each in (*releases.values(), *upgraded.values())}
    made = replace(supplied(helm, rendered), releases=releases, upgraded=upgraded)
    assert made.unfit_lifetimes() == []
    rendered[releases["client"].mark] = rendered[upgraded["server"].mark] = unfit
    rendered[upgraded["client"].mark] = fitting.replace('"ca_ttl": "24h"', '"ca_ttl": "5h"')
    polls, svids = made.unfit_lifetimes()
    assert polls.startswith("client, server upgraded: peers poll the bundle every 2h30m ")
    assert svids.startswith("client upgraded: default_x509_svid_ttl is 1h, ")


@pytest.fixture
def release(tmp_path: Path) -> Release:
    chart = tmp_path / "spire"
    chart.mkdir()
    (chart / "Chart.yaml").write_text("name: spire\nversion: 0.30.0\n")
    return Release(chart, chart, {"a": 1})


def test_the_images_of_server_and_agents_are_those_of_the_releases_own_manifests(
    helm: Path, release: Release, recorded: Callable[[str], str]
) -> None:
    made = supplied(helm, {release.mark: recorded("own-chart.yaml")})
    prefix = "localhost/spire-federation"
    expected = {"spire-server": f"{prefix}/spire-server:1.15.3", "spire-agent": f"{prefix}/spire-agent:1.15.3"}
    assert made.expected_images(release) == expected


def test_a_release_is_rendered_once_and_one_with_other_values_by_itself(helm: Path, release: Release) -> None:
    made = supplied(helm, {})
    assert made.manifests(release) == made.manifests(release)
    assert [found["kind"] for found in made.manifests(release)] == ["StatefulSet", "DaemonSet"]
    assert len(calls(helm)) == 1
    made.manifests(replace(release, values={"a": 2}))
    assert len(calls(helm)) == 2


def test_manifests_that_are_known_already_are_not_rendered_again(helm: Path, release: Release) -> None:
    made = supplied(helm, {release.mark: "kind: Known\n"})
    assert made.manifests(release) == [{"kind": "Known"}]
    assert not (helm.parent / "calls").exists()
