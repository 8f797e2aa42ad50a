"""The values that put built images in the place of those that charts pull."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.artifacts.image_overrides import overrides
from fixtures.helm.charts.dependencies import copy_charts
from fixtures.helm.charts.folder import ChartError, ChartPair
from fixtures.helm.charts.images import rendered_images
from fixtures.helm.manifests import rendered_objects
from supply.images import PREFIX
from tests.unit.chart_examples import image, write_checkout, write_helm

BUILT = [
    f"{PREFIX}/{name}"
    for name in (
        "spire-server:1.14.5",
        "spire-server:1.14.12",
        "spire-server:1.15.3",
        "spire-controller-manager:0.7.0",
        "kubectl:1.36.3",
        "shell:1.36.3",
    )
]


@pytest.fixture
def helm(tmp_path: Path) -> Path:
    return write_helm(tmp_path)


@pytest.fixture
def pair(tmp_path: Path, helm: Path) -> ChartPair:
    return copy_charts(write_checkout(tmp_path), tmp_path / "copy", helm)


def test_every_image_is_replaced_where_the_chart_sets_it(pair: ChartPair, helm: Path) -> None:
    found = overrides(pair, {}, helm, BUILT)
    assert found.unsupplied == []
    assert found.values["tools"]["shell"]["image"] == {
        "registry": "localhost",
        "repository": "spire-federation/shell",
        "tag": "1.36.3",
        "pullPolicy": "IfNotPresent",
    }
    assert found.values["extra"]["image"] == {
        "repository": f"{PREFIX}/kubectl",
        "tag": "1.36.3",
        "pullPolicy": "IfNotPresent",
    }
    assert found.values["spire-server"]["manager"]["image"]["tag"] == "0.7.0"
    assert (
        found.replaced["example.com/spiffe/spire-controller-manager:0.6.2"]
        == f"{PREFIX}/spire-controller-manager:0.7.0"
    )


def test_the_manifests_are_those_with_the_overriding_values(pair: ChartPair, helm: Path) -> None:
    found = overrides(pair, {}, helm, BUILT)
    assert set(rendered_images(found.rendered)) == set(found.replaced.values())
    assert [manifest["kind"] for manifest in rendered_objects(found.rendered)] == ["Pod"]


def test_spire_keeps_the_charts_minor_version(pair: ChartPair, helm: Path) -> None:
    assert overrides(pair, {}, helm, BUILT).values["spire-server"]["image"]["tag"] == "1.14.12"


def test_another_spire_version_can_be_asked_for(pair: ChartPair, helm: Path) -> None:
    assert overrides(pair, {}, helm, BUILT, spire_version="1.15.3").values["spire-server"]["image"]["tag"] == "1.15.3"


@pytest.mark.parametrize(("built", "spire_version"), [(BUILT[2:], ""), (BUILT, "1.13.0")])
def test_spire_of_another_minor_version_does_not_stand_in(
    pair: ChartPair, helm: Path, built: list[str], spire_version: str
) -> None:
    found = overrides(pair, {}, helm, built, spire_version=spire_version)
    assert found.unsupplied == ["example.com/spiffe/spire-server:1.14.1"]
    assert "image" not in found.values["spire-server"]


@pytest.mark.parametrize(
    ("pulled", "taken"),
    [("0.4.1", "0.6.2"), ("0.6.6", "0.6.2"), ("0.7.0", "0.7.0"), ("0.9.0", "0.7.0"), ("latest", "0.7.0")],
)
def test_of_other_programs_the_nearest_version_stands_in(pair: ChartPair, helm: Path, pulled: str, taken: str) -> None:
    values = {"spire-server": {"manager": {"image": {"tag": pulled}}}}
    found = overrides(pair, values, helm, [*BUILT, f"{PREFIX}/spire-controller-manager:0.6.2"])
    assert found.values["spire-server"]["manager"]["image"]["tag"] == taken


def test_what_is_not_built_is_listed(pair: ChartPair, helm: Path) -> None:
    found = overrides(pair, {"tornjak": {"image": image("spiffe/tornjak-backend", "v2.1.0")}}, helm, BUILT)
    assert found.unsupplied == ["example.com/spiffe/tornjak-backend:v2.1.0"]


def test_an_image_that_no_value_sets_is_listed(pair: ChartPair, helm: Path) -> None:
    (pair.spire / "fixed").write_text("example.com/kubectl:v9")
    found = overrides(pair, {}, helm, BUILT)
    assert found.unsupplied == ["example.com/kubectl:v9"]
    assert "example.com/kubectl:v9" not in found.replaced


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("0.8.0", "spiffe-helper"),
        ("0.11.0", "spiffe-helper"),
        ("0.7.1", "spiffe-helper-shim"),
        ("nightly@sha256:00ff", "spiffe-helper-shim"),
    ],
)
def test_a_program_with_another_command_line_stands_in_through_its_shim_alone(
    pair: ChartPair, helm: Path, tag: str, name: str
) -> None:
    values = {"helper": {"image": image("spiffe/spiffe-helper", tag)}}
    helpers = [f"{PREFIX}/spiffe-helper:0.11.0", f"{PREFIX}/spiffe-helper-shim:0.11.0"]
    found = overrides(pair, values, helm, [*BUILT, *helpers])
    assert found.unsupplied == []
    assert found.values["helper"]["image"]["repository"] == f"spire-federation/{name}"
    others = [each for each in helpers if f"/{name}:" not in each]
    without = overrides(pair, values, helm, [*BUILT, *others])
    assert without.unsupplied == [f"example.com/spiffe/spiffe-helper:{tag}"]


def test_a_shim_is_reported_with_what_it_does(pair: ChartPair, helm: Path) -> None:
    values = {"helper": {"image": image("spiffe/spiffe-helper", "nightly")}}
    found = overrides(pair, values, helm, [*BUILT, f"{PREFIX}/spiffe-helper-shim:0.11.0"])
    through = "through a shim that translates its old command line"
    assert f"spiffe-helper 0.11.0 for nightly {through}" in found.other_versions
    pulled, ours = "example.com/spiffe/spiffe-helper:nightly", f"{PREFIX}/spiffe-helper-shim:0.11.0"
    assert f"{pulled} -> {ours} {through}" in found.replacements
    assert f"example.com/spiffe/spire-server:1.14.1 -> {PREFIX}/spire-server:1.14.12" in found.replacements


def test_what_was_handed_over_is_taken_before_what_was_built(pair: ChartPair, helm: Path) -> None:
    values = {"helper": {"image": image("spiffe/spiffe-helper", "nightly@sha256:00ff")}}
    handed = ["example.com/spiffe/spiffe-helper:nightly", "example.com/spiffe/spire-controller-manager:0.6.2"]
    found = overrides(pair, values, helm, BUILT, handed=handed)
    assert found.unsupplied == []
    assert found.values["helper"]["image"] == {
        "registry": "example.com",
        "repository": "spiffe/spiffe-helper",
        "tag": "nightly",
        "pullPolicy": "IfNotPresent",
    }
    assert found.values["spire-server"]["manager"]["image"]["repository"] == "spiffe/spire-controller-manager"


def test_what_was_handed_over_at_another_version_is_not_what_is_pulled(pair: ChartPair, helm: Path) -> None:
    values = {"helper": {"image": image("spiffe/spiffe-helper", "nightly")}}
    found = overrides(pair, values, helm, BUILT, handed=["example.com/spiffe/spiffe-helper:0.11.0"])
    assert found.unsupplied == ["example.com/spiffe/spiffe-helper:nightly"]


def test_an_image_that_is_replaced_by_another_version_is_reported(pair: ChartPair, helm: Path) -> None:
    found = overrides(pair, {}, helm, [*BUILT, f"{PREFIX}/spire-controller-manager:0.6.2"])
    reported = ["busybox 1.36.3 for 1.37", "kubectl 1.36.3 for v1", "spire-server 1.14.12 for 1.14.1"]
    assert sorted(found.other_versions) == reported


def test_a_chart_that_does_not_render_is_refused_in_helms_words(pair: ChartPair, helm: Path) -> None:
    (pair.spire / "HELM-FAILS").write_text("Error: trustDomain must be set")
    with pytest.raises(
        ChartError,
        match=r"^the chart spire 0\.29\.1 does not render with these values: Error: trustDomain must be set$",
    ):
        overrides(pair, {}, helm, BUILT)
