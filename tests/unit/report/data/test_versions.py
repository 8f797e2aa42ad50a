"""What a run's document says of versions: programs, charts and images."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import yaml

from fixtures.helm.release import Release
from fixtures.report.data.document import describe
from fixtures.report.run import Report


def release(folder: Path, values: dict[str, Any], chart: str = "0.30.0") -> Release:
    """A release of charts that are in a folder."""
    charts = {"spire": {"version": chart, "appVersion": "1.15.3"}, "spire-crds": {"version": "0.6.0"}}
    for name, described in charts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "Chart.yaml").write_text(yaml.safe_dump({"name": name, **described}))
    return Release(folder / "spire", folder / "spire-crds", values)


def supply(releases: dict[str, Release], upgraded: dict[str, Release] | None = None) -> SimpleNamespace:
    """What a run has chosen to install."""
    return SimpleNamespace(
        releases=releases, upgraded=upgraded or {}, node_image="kindest/node:v1", why="as it is", clusters=()
    )


def document(folder: Path, **facts: Any) -> dict[str, Any]:
    report = Report(folder)
    for name, value in facts.items():
        setattr(report.facts, name, value)
    return describe(report)


def versions(folder: Path, **facts: Any) -> dict[str, Any]:
    return cast(dict[str, Any], document(folder, **facts)["versions"])


def test_a_release_is_there_with_its_charts_and_the_spire_that_it_installs(tmp_path: Path) -> None:
    installed = release(tmp_path / "old", {})
    upgraded = release(tmp_path / "new", {"spire-server": {"image": {"tag": "1.16.0"}}}, "0.31.0")
    made = document(tmp_path, supply=supply({"server": installed}, {"server": upgraded}))
    assert made["values"] == [
        {"cluster": "server", "when": "installed", "values": {}},
        {"cluster": "server", "when": "upgraded", "values": {"spire-server": {"image": {"tag": "1.16.0"}}}},
    ]
    found = made["versions"]
    assert found["node_image"] == "kindest/node:v1"
    assert found["releases"] == [
        {"cluster": "server", "when": "installed", "chart": "0.30.0", "crds_chart": "0.6.0", "spire": "1.15.3"},
        {"cluster": "server", "when": "upgraded", "chart": "0.31.0", "crds_chart": "0.6.0", "spire": "1.16.0"},
    ]


def test_a_chart_that_cannot_be_read_has_no_version(tmp_path: Path) -> None:
    made = release(tmp_path / "charts", {})
    (made.crds / "Chart.yaml").unlink()
    for text in ("[unclosed", "- a list"):
        (made.spire / "Chart.yaml").write_text(text)
        (found,) = versions(tmp_path, supply=supply({"server": made}))["releases"]
        assert (found["chart"], found["crds_chart"], found["spire"]) == (None, None, None)


def test_an_image_is_there_once_with_the_clusters_and_containers_that_run_it(tmp_path: Path) -> None:
    agents = [(label, "agent", "b:1", "sha256:1") for label in ("client", "server")]
    seen = [*agents, ("server", "main", "a:1", "")]
    images = [dict(zip(("cluster", "container", "image", "digest"), each, strict=True)) for each in seen]
    programs = {"engine": "podman version 4.3.1", "helm": "v3.22.0", "kind": "kind v0.33.0"}
    found = versions(tmp_path, state={"images": images, "programs": programs})
    assert {name: found[name] for name in programs} == programs
    assert found["images"] == [
        {"image": "a:1", "digest": None, "clusters": ["server"], "containers": ["main"]},
        {"image": "b:1", "digest": "sha256:1", "clusters": ["client", "server"], "containers": ["agent"]},
    ]
