"""Which SPIRE a run installs, and which upgrades of it make sense."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from semver import Version

from fixtures.config import chart_source
from fixtures.config.chart_source import Source
from fixtures.helm.versions import crds_for
from supply import versions


def write_charts(folder: Path, version: str = "0.30.0") -> Path:
    for name, its in (("spire", version), ("spire-crds", crds_for(Version.parse(version)))):
        (folder / name).mkdir(parents=True)
        (folder / name / "Chart.yaml").write_text(yaml.safe_dump({"name": name, "version": its}))
    return folder


@pytest.mark.parametrize("given", ["0.30.0", "v0.30.0", " 0.30.0"])
def test_a_version_is_read_with_or_without_its_letter(given: str) -> None:
    assert chart_source.parse_version("--chart-version", given) == Version.parse("0.30.0")


def test_a_candidate_keeps_the_name_that_helm_knows_it_by() -> None:
    assert str(chart_source.parse_source("--to", "0.30.0-rc.1")) == "chart 0.30.0-rc.1"
    assert (
        str(chart_source.parse_oci_reference("--charts", "oci://registry.example/spire:0.30.0-rc.1").chart_version)
        == "0.30.0-rc.1"
    )


@pytest.mark.parametrize("given", [None, ""])
def test_no_version_is_none(given: str | None) -> None:
    assert chart_source.parse_version("--chart-version", given) is None


@pytest.mark.parametrize("given", ["latest", "0.30", "0.30.x", ">=0.30", "0..1", "../0.30.0"])
def test_what_is_no_version_is_refused_as_it_was_given(given: str) -> None:
    with pytest.raises(ValueError, match=r"^--chart-version '") as caught:
        chart_source.parse_version("--chart-version", given)
    assert repr(given) in str(caught.value)


def test_a_chart_that_is_older_than_the_oldest_known_is_refused() -> None:
    assert chart_source.parse_version("--chart-version", str(chart_source.OLDEST_CHART)) == chart_source.OLDEST_CHART
    with pytest.raises(ValueError, match=r"--chart-version 0\.16\.9: the oldest chart this suite knows is"):
        chart_source.parse_version("--chart-version", "0.16.9")


def test_a_charts_folder_is_found_given_itself_or_its_checkout(tmp_path: Path) -> None:
    folder = write_charts(tmp_path / "charts")
    assert chart_source.charts_folder("--charts", str(folder)) == folder
    assert chart_source.charts_folder("--charts", str(tmp_path)) == folder


def test_no_charts_folder_is_none() -> None:
    assert chart_source.charts_folder("--charts", None) is None


def test_a_charts_folder_is_absolute_however_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_charts(tmp_path / "charts")
    monkeypatch.chdir(tmp_path)
    assert chart_source.charts_folder("--charts", "charts") == folder


@pytest.mark.parametrize("missing", ["spire", "spire-crds"])
def test_a_folder_that_lacks_one_of_the_charts_is_refused(tmp_path: Path, missing: str) -> None:
    (write_charts(tmp_path) / missing / "Chart.yaml").unlink()
    with pytest.raises(ValueError, match=rf"^--charts: .* has n.*{missing}/Chart\.yaml"):
        chart_source.charts_folder("--charts", str(tmp_path))


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^--from: .*none is no folder of charts"):
        chart_source.charts_folder("--from", str(tmp_path / "none"))


def test_an_upgrade_names_charts_by_folder_or_version_and_spire_by_version(tmp_path: Path) -> None:
    folder = write_charts(tmp_path / "charts")
    assert chart_source.parse_source("--from", str(folder)) == Source(charts=folder)
    assert chart_source.parse_source("--from", "0.24.2") == Source(chart_version=Version.parse("0.24.2"))
    assert chart_source.parse_source("--from", "1.14.5") == Source(spire_version="1.14.5")


def test_a_source_says_what_it_is(tmp_path: Path) -> None:
    assert str(Source(charts=write_charts(tmp_path, "0.24.2"))) == f"chart 0.24.2 in {tmp_path}"
    assert str(Source(chart_version=Version.parse("0.24.2"))) == "chart 0.24.2"
    assert str(Source(spire_version="1.14.5")) == "SPIRE 1.14.5"
    assert str(Source()) == "SPIRE default"


def test_a_folder_whose_chart_is_older_than_the_oldest_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--charts .* has the chart 0\.16\.0: the oldest chart this suite knows is"):
        chart_source.charts_folder("--charts", str(write_charts(tmp_path, "0.16.0")))


@pytest.mark.parametrize(
    ("given", "registry", "version"),
    [
        ("oci://registry.example/charts/spire:0.30.0", "oci://registry.example/charts", "0.30.0"),
        ("oci://registry.example:5000/a/b/spire", "oci://registry.example:5000/a/b", None),
        ("oci://registry.example/charts", "oci://registry.example/charts", None),
        ("oci://registry.example/spire:v0.29.0", "oci://registry.example", "0.29.0"),
        ("oci://registry.example/charts/spire:0.30.0_mirror.1", "oci://registry.example/charts", "0.30.0+mirror.1"),
    ],
)
def test_an_oci_reference_names_the_folder_of_both_charts(given: str, registry: str, version: str | None) -> None:
    found = chart_source.parse_charts("--charts", given, None)
    assert found == Source(chart_version=Version.parse(version) if version else None, registry=registry)
    assert found.is_published


@pytest.mark.parametrize(
    "given", ["oci://", "oci://registry.example", "oci:///charts/spire", "oci://registry.example//spire", "oci://a b/c"]
)
def test_an_oci_reference_that_names_no_folder_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"^--charts oci://.*: not of the form oci://HOST/FOLDER/spire:VERSION$"):
        chart_source.parse_charts("--charts", given, None)


def test_an_oci_reference_with_a_tag_that_is_no_version_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^--charts oci://.*: 'latest' is not a version such as 0\.30\.0"):
        chart_source.parse_charts("--charts", "oci://registry.example/charts/spire:latest", None)


def test_a_version_goes_with_an_oci_reference_and_not_with_a_folder(tmp_path: Path) -> None:
    found = chart_source.parse_charts("--charts", "oci://registry.example/charts/spire", "0.30.0")
    assert found == Source(chart_version=Version.parse("0.30.0"), registry="oci://registry.example/charts")
    with pytest.raises(ValueError, match="two ways to choose the chart: give one"):
        chart_source.parse_charts("--charts", str(write_charts(tmp_path)), "0.30.0")
    with pytest.raises(ValueError, match="names a version, and so does --chart-version"):
        chart_source.parse_charts("--charts", "oci://registry.example/charts/spire:0.29.0", "0.30.0")


def test_an_upgrade_between_oci_references_needs_their_versions() -> None:
    old, new = (chart_source.parse_source("--to", f"oci://registry.example/spire:0.{minor}.0") for minor in (28, 30))
    with pytest.raises(ValueError, match=r"from 0\.28\.0 to 0\.30\.0 skips a minor version"):
        chart_source.check_upgrade(old, new)
    with pytest.raises(ValueError, match="an upgrade is between versions that are named"):
        chart_source.parse_source("--to", "oci://registry.example/spire")


def test_a_source_at_a_registry_says_where() -> None:
    assert (
        str(chart_source.parse_oci_reference("--charts", "oci://registry.example/a/spire:0.30.0"))
        == "chart 0.30.0 of oci://registry.example/a"
    )
    assert (
        str(chart_source.parse_oci_reference("--charts", "oci://registry.example/a"))
        == "chart (the newest) of oci://registry.example/a"
    )


@pytest.mark.parametrize("supply", ["auto", "published", "local"])
def test_a_published_chart_is_taken_whatever_the_supply_of_images(supply: str) -> None:
    chart_source.check_source(Source(chart_version=Version.parse("0.24.2")), supply)


@pytest.mark.parametrize("supply", ["auto", "local"])
def test_every_pinned_spire_version_is_taken_where_the_supply_may_be_local(supply: str) -> None:
    for version in versions.load().spire:
        chart_source.check_source(Source(spire_version=version), supply)


def test_a_pinned_spire_version_is_refused_where_the_supply_is_published() -> None:
    with pytest.raises(ValueError, match="is one of the local supply"):
        chart_source.check_source(Source(spire_version=versions.load().spire[0]), "published")


def test_a_spire_version_that_is_not_pinned_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"SPIRE 9\.9\.9 is not one that the local supply can build") as caught:
        chart_source.check_source(Source(spire_version="9.9.9"), "auto")
    assert all(version in str(caught.value) for version in versions.load().spire)


@pytest.mark.parametrize(("old", "new"), [("0.24.0", "0.24.2"), ("0.24.2", "0.25.0"), ("0.29.0", "0.30.1")])
def test_an_upgrade_by_at_most_one_minor_version_is_taken(old: str, new: str) -> None:
    chart_source.check_upgrade(Source(chart_version=Version.parse(old)), Source(chart_version=Version.parse(new)))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("0.24.2", "0.26.0", "skips a minor version"),
        ("0.24.2", "1.0.0", "skips a minor version"),
        ("0.25.0", "0.24.2", "is a downgrade"),
        ("0.24.2", "0.24.1", "is a downgrade"),
    ],
)
def test_an_upgrade_that_skips_a_minor_version_or_goes_back_is_refused(old: str, new: str, why: str) -> None:
    with pytest.raises(ValueError, match=rf"from {old} to {new} {why}"):
        chart_source.check_upgrade(Source(chart_version=Version.parse(old)), Source(chart_version=Version.parse(new)))


def test_an_upgrade_to_the_version_that_is_installed_already_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.15\.3"):
        chart_source.check_upgrade(Source(spire_version="1.15.3"), Source(spire_version="1.15.3"))


def test_folders_of_charts_are_compared_by_the_versions_they_hold(tmp_path: Path) -> None:
    old = Source(charts=write_charts(tmp_path / "old", "0.24.0"))
    new = Source(charts=write_charts(tmp_path / "new", "0.26.0"))
    with pytest.raises(ValueError, match=r"from 0\.24\.0 to 0\.26\.0 skips a minor version"):
        chart_source.check_upgrade(old, new)


def test_a_change_of_a_chart_is_an_upgrade_though_it_has_the_version_of_the_release(tmp_path: Path) -> None:
    old, new = (Source(charts=write_charts(tmp_path / name)) for name in ("released", "changed"))
    with pytest.raises(ValueError, match=r"is no upgrade: the files of both are the same$") as caught:
        chart_source.check_upgrade(old, new)
    assert str(caught.value).startswith(f"from chart 0.30.0 in {old.charts} to chart 0.30.0 in {new.charts} ")
    (tmp_path / "changed" / "spire" / "templates").mkdir()
    (tmp_path / "changed" / "spire" / "templates" / "service.yaml").touch()
    chart_source.check_upgrade(old, new)
    chart_source.check_upgrade(new, old)


def test_what_is_pulled_may_differ_from_a_folder_or_a_mirror_of_the_same_version(tmp_path: Path) -> None:
    released, folder = Source(chart_version=Version.parse("0.30.0")), Source(charts=write_charts(tmp_path))
    mirrored = chart_source.parse_oci_reference("--to", "oci://registry.example/charts/spire:0.30.0")
    for old, new in ((released, folder), (folder, mirrored), (mirrored, released)):
        chart_source.check_upgrade(old, new)
    for same in (released, mirrored):
        with pytest.raises(ValueError, match=r"from chart 0\.30\.0.* to chart 0\.30\.0.* is no upgrade"):
            chart_source.check_upgrade(same, same)


def test_an_upgrade_between_charts_of_different_makers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="are of different charts"):
        chart_source.check_upgrade(Source(spire_version="1.14.5"), Source(charts=write_charts(tmp_path)))
