"""Charts that are to be pulled: the right command, and one sentence where a chart cannot be pulled."""

from __future__ import annotations

from pathlib import Path
from urllib.request import Request

import pytest
import yaml
from semver import Version

from fixtures.artifacts import chart_download
from fixtures.artifacts.chart_download import check_reachable, prepare_charts
from fixtures.artifacts.supply import SupplyError
from fixtures.config import chart_source
from fixtures.config.chart_repository import CHART_REPOSITORY, parse_repository
from fixtures.config.chart_source import Source
from tests.unit.config.test_chart_source import write_charts


def calls(helm: Path) -> list[str]:
    return [line.split(" --untar")[0] for line in (helm.parent / "calls").read_text().splitlines()]


def versions_asked(helm: Path) -> list[str]:
    return [line.partition("--version ")[2] for line in (helm.parent / "calls").read_text().splitlines()]


def test_a_version_of_the_repository_is_pulled_with_the_crds_that_belong_to_it(helm: Path, tmp_path: Path) -> None:
    pair = prepare_charts(Source(chart_version=Version.parse("0.29.0")), helm, tmp_path)
    assert (str(pair.version), str(pair.crds_version)) == ("0.29.0", "0.5.0")
    assert calls(helm) == [f"pull {name} --repo {CHART_REPOSITORY}" for name in ("spire", "spire-crds")]
    assert versions_asked(helm) == ["0.29.0", "0.5.0"]


@pytest.mark.parametrize("version", ["0.31.0", "0.31.0-rc.1", "1.0.0"])
def test_charts_newer_than_those_known_are_pulled_with_the_newest_crds(
    helm: Path, tmp_path: Path, version: str
) -> None:
    prepare_charts(Source(chart_version=Version.parse(version)), helm, tmp_path)
    assert versions_asked(helm) == [version, ""]


def test_an_oci_reference_is_pulled_with_the_crds_beside_it(helm: Path, tmp_path: Path) -> None:
    pair = prepare_charts(
        chart_source.parse_oci_reference("--charts", "oci://registry.example/mirror/spire"), helm, tmp_path
    )
    assert (str(pair.version), str(pair.crds_version)) == ("0.30.0", "0.6.0")
    assert calls(helm) == [f"pull oci://registry.example/mirror/{name}" for name in ("spire", "spire-crds")]
    assert versions_asked(helm) == ["", "0.6.0"]


def test_a_chart_that_the_registry_refuses_is_refused_in_a_sentence_with_its_reason(helm: Path, tmp_path: Path) -> None:
    with pytest.raises(SupplyError) as caught:
        prepare_charts(
            chart_source.parse_oci_reference("--charts", "oci://registry.example/refused/spire:0.30.0"), helm, tmp_path
        )
    assert str(caught.value) == (
        "the chart spire 0.30.0 cannot be pulled from oci://registry.example/refused: "
        "Error: response status code 403: denied"
    )


def test_charts_of_one_version_from_two_places_are_kept_apart(helm: Path, tmp_path: Path) -> None:
    released, changed = (Source(charts=write_charts(tmp_path / name)) for name in ("released", "changed"))
    (tmp_path / "changed" / "spire" / "values.yaml").write_text("changed: true\n")
    pulled = Source(chart_version=Version.parse("0.30.0"))
    mirrored = chart_source.parse_oci_reference("--from", "oci://registry.example/mirror/spire:0.30.0")
    made = {source: prepare_charts(source, helm, tmp_path).spire for source in (released, changed, pulled, mirrored)}
    assert len({path.resolve() for path in made.values()}) == len(made)
    assert [source for source, path in made.items() if (path / "values.yaml").exists()] == [changed]


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

    def unreachable(url: str | Request, _ca: str, **_: bool) -> str:
        urls.append(url.full_url if isinstance(url, Request) else url)
        return "Name or service not known"

    monkeypatch.setattr(chart_download, "why_unreachable", unreachable)
    with pytest.raises(SupplyError, match=r"\(Name or service not known\): give a folder with --charts$") as caught:
        check_reachable(source)
    assert urls == [asked]
    assert str(caught.value).startswith(f"{what} is not available: ")


def test_a_folder_of_charts_is_reachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(chart_download, "why_unreachable", lambda *asked, **_: pytest.fail(str(asked)))
    check_reachable(Source(charts=tmp_path))


def test_a_pull_that_does_not_end_is_refused_in_a_sentence(
    helm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helm.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(chart_download, "CHART_PULL_TIMEOUT", 0.1)
    wanted = Source(chart_version=Version.parse("0.29.0"))
    with pytest.raises(SupplyError, match=r"^the chart spire 0\.29\.0 cannot be pulled from .* did not end in 0\.1 s$"):
        prepare_charts(wanted, helm, tmp_path)


def local_registry(monkeypatch: pytest.MonkeyPatch, https: str) -> None:
    """A registry that answers by HTTP, and to HTTPS as it says."""

    def why(url: str | Request, _ca: str = "", **_: bool) -> str:
        return https if str(url).startswith("https") else ""

    monkeypatch.setattr(chart_download, "why_unreachable", why)


@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1:5000", "10.89.0.1:5000", "registry.localhost"])
def test_a_registry_of_a_private_network_that_has_no_tls_is_asked_by_http(
    helm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    local_registry(monkeypatch, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1002)")
    source = chart_source.parse_oci_reference("--charts", f"oci://{host}/charts/spire:0.30.0")
    check_reachable(source)
    prepare_charts(source, helm, tmp_path)
    assert calls(helm) == [f"pull oci://{host}/charts/{name} --plain-http" for name in ("spire", "spire-crds")]


@pytest.mark.parametrize(
    ("host", "https"),
    [
        ("registry.example", "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1002)"),
        ("8.8.8.8:5000", "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1002)"),
        ("10.89.0.1:5000", "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer"),
    ],
)
def test_no_other_registry_is_asked_without_tls(monkeypatch: pytest.MonkeyPatch, host: str, https: str) -> None:
    local_registry(monkeypatch, https)
    hint = "give its CA with --ca-file" if "VERIFY" in https else "give a folder with --charts"
    with pytest.raises(SupplyError, match=rf"cannot be reached \(.*\): {hint}$"):
        check_reachable(chart_source.parse_oci_reference("--charts", f"oci://{host}/charts/spire"))


def test_a_repositorys_password_is_in_no_argument(helm: Path, tmp_path: Path) -> None:
    """Arguments are seen in the list of processes."""
    repository = parse_repository("--chart-repository", "https://reader:Tr4ffic-key@charts.example")
    program = helm.read_text().replace("if given", "if given[0] == 'repo':\n    sys.exit()\nif given", 1)
    into = "given[given.index('--untardir') + 1]"
    helm.write_text(f"{program}\nimport os, shutil\nshutil.copy(os.environ['HELM_REPOSITORY_CONFIG'], {into})\n")
    prepare_charts(Source(chart_version=Version.parse("0.30.0"), repository=repository), helm, tmp_path)
    assert calls(helm) == ["repo update --fail-on-repo-update-fail", "pull charts/spire", "pull charts/spire-crds"]
    kept_file, *_ = tmp_path.rglob("pulled-*/repositories.yaml")
    (entry,) = yaml.safe_load(kept_file.read_text())["repositories"]
    assert (entry["url"], entry["username"], entry["password"]) == ("https://charts.example/", "reader", "Tr4ffic-key")
