"""Charts made ready on a copy, with their dependencies as folders."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest
import yaml
from semver import Version

from fixtures.artifacts.image_overrides import overrides
from fixtures.helm.charts.dependencies import copy_charts
from fixtures.helm.charts.folder import ChartError, default_values
from fixtures.helm.values_check.ignored_keys import ignored_keys
from tests.unit.chart_examples import write_chart


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_the_copy_is_complete_and_the_checkout_untouched(checkout: Path, tmp_path: Path, helm: Path) -> None:
    before = tree(checkout)
    pair = copy_charts(checkout, tmp_path / "copy", helm)
    assert (pair.version, pair.crds_version) == (Version.parse("0.29.1"), Version.parse("0.5.0"))
    assert (pair.spire / "charts" / "extra" / "Chart.yaml").is_file()
    assert (pair.crds / "Chart.yaml").is_file()
    assert pair.spire.is_relative_to(tmp_path / "copy")
    assert tree(checkout) == before


def test_the_charts_folder_itself_will_do(checkout: Path, tmp_path: Path, helm: Path) -> None:
    assert copy_charts(checkout / "charts", tmp_path / "copy", helm).version == Version.parse("0.29.1")


def test_a_complete_chart_needs_no_helm(checkout: Path, tmp_path: Path) -> None:
    shutil.copytree(checkout / "charts" / "extra", checkout / "charts" / "spire" / "charts" / "extra")
    copy_charts(checkout, tmp_path / "copy", tmp_path / "no-such-program")


def test_packaged_dependencies_become_folders(checkout: Path, tmp_path: Path) -> None:
    inside = checkout / "charts" / "spire" / "charts"
    shutil.make_archive(str(inside / "extra-0.1.0"), "gztar", checkout / "charts", "extra")
    (inside / "extra-0.1.0.tar.gz").rename(inside / "extra-0.1.0.tgz")
    pair = copy_charts(checkout, tmp_path / "copy", tmp_path / "no-such-program")
    assert sorted(path.name for path in (pair.spire / "charts").iterdir()) == ["extra", "spire-server"]


def test_a_packaged_dependency_of_a_packaged_one_becomes_a_folder_whose_defaults_count(
    checkout: Path, tmp_path: Path
) -> None:
    extra = checkout / "charts" / "extra"
    write_chart(tmp_path / "inner", {"a": 1, "b": 1}, version="0.2.0")
    (extra / "charts").mkdir()
    for folder, archive in ((tmp_path / "inner", extra / "charts" / "inner-0.2.0.tgz"), (extra, None)):
        to = archive or checkout / "charts" / "spire" / "charts" / "extra-0.1.0.tgz"
        with tarfile.open(to, "w:gz") as tar:
            tar.add(folder, folder.name)
    (extra / "values.yaml").write_text("")
    pair = copy_charts(checkout, tmp_path / "copy", tmp_path / "no-such-program")
    assert not list(pair.spire.rglob("*.tgz"))
    # Helm takes what is in `charts/` for a dependency, declared or not.
    assert default_values(pair.spire)["extra"]["inner"] == {"a": 1, "b": 1}
    (ignored,) = ignored_keys({"extra": {"inner": {"a": 2, "c": 2}}}, pair.spire)
    assert str(ignored) == "extra.inner.c"


def test_a_packaged_dependency_that_leads_out_of_its_folder_is_refused(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "evil").write_text("")
    packaged = checkout / "charts" / "spire" / "charts" / "extra-0.1.0.tgz"
    with tarfile.open(packaged, "w:gz") as tar:
        tar.add(tmp_path / "evil", "extra/../../outside")
    with pytest.raises(ChartError, match=r"extra-0\.1\.0\.tgz cannot be unpacked: .*"):
        copy_charts(checkout, tmp_path / "copy", tmp_path / "no-such-program")


@pytest.mark.parametrize(
    ("lost", "reason"),
    [
        ("spire", r"checkout is no folder of charts: it has neither"),
        ("spire-crds", r"has no spire-crds/Chart\.yaml"),
    ],
)
def test_a_folder_without_the_charts_is_refused(
    checkout: Path, tmp_path: Path, helm: Path, lost: str, reason: str
) -> None:
    shutil.rmtree(checkout / "charts" / lost)
    with pytest.raises(ChartError, match=reason):
        copy_charts(checkout, tmp_path / "copy", helm)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        ("name: nested\nversion: 1.0.0\n", "holds the chart nested, not spire"),
        ("name: spire\nversion: newest\n", "gives no version: 'newest'"),
        ("- a\n", "describes no chart"),
    ],
)
def test_a_chart_that_is_another_is_refused(
    checkout: Path, tmp_path: Path, helm: Path, described: str, reason: str
) -> None:
    (checkout / "charts" / "spire" / "Chart.yaml").write_text(described)
    with pytest.raises(ChartError, match=reason):
        copy_charts(checkout, tmp_path / "copy", helm)


def test_what_helm_says_is_in_the_refusal(checkout: Path, tmp_path: Path, helm: Path) -> None:
    (checkout / "charts" / "spire" / "HELM-FAILS").write_text("Error: no repository definition for example.com")
    with pytest.raises(ChartError, match=r"dependency update .* failed: Error: no repository definition"):
        copy_charts(checkout, tmp_path / "copy", helm)


@pytest.mark.skipif(shutil.which("helm") is None, reason="no helm on PATH")
def test_the_real_helm_completes_a_chart_without_a_network(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    spire = checkout / "charts" / "spire"
    for chart, version in ((spire / "charts" / "spire-server", "0.1.0"), (checkout / "charts" / "extra", "0.1.0")):
        (chart / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": chart.name, "version": version}))
    described = yaml.safe_load((spire / "Chart.yaml").read_text())
    described["dependencies"][0]["repository"] = "file://./charts/spire-server"
    (spire / "Chart.yaml").write_text(yaml.safe_dump(described))
    (spire / "templates").mkdir()
    (spire / "templates" / "pod.yaml").write_text(
        'kind: Pod\nspec: {containers: [{image: "{{ .Values.tools.shell.image.repository }}:1"}]}\n'
    )
    helm = Path(str(shutil.which("helm")))
    pair = copy_charts(checkout, tmp_path / "copy", helm)
    assert sorted(path.name for path in (pair.spire / "charts").iterdir()) == ["extra", "spire-server"]
    assert overrides(pair, {}, helm, []).unsupplied == ["busybox:1"]
