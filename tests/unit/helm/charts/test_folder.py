"""A folder of charts is found, and CRDs of another time are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from semver import Version

from fixtures.helm.charts.folder import ChartError, find_charts


@pytest.mark.parametrize(
    ("spire", "crds"),
    [("0.29.1", "0.4.0"), ("0.29.1", "0.6.0"), ("0.30.0", "0.5.0"), ("0.17.0", "0.4.0"), ("0.31.0", "0.5.0")],
)
def test_crds_of_another_time_are_refused(checkout: Path, spire: str, crds: str) -> None:
    for name, version in (("spire", spire), ("spire-crds", crds)):
        (checkout / "charts" / name / "Chart.yaml").write_text(f"name: {name}\nversion: {version}\n")
    with pytest.raises(ChartError, match=rf"has spire-crds {crds}, and spire {spire} needs 0\.[3-6]$"):
        find_charts(checkout)


@pytest.mark.parametrize(
    ("spire", "crds"), [("0.29.1", "0.5.7"), ("0.30.2", "0.6.0"), ("0.31.0", "0.6.0"), ("0.31.0", "0.7.0")]
)
def test_crds_that_fit_are_taken(checkout: Path, spire: str, crds: str) -> None:
    for name, version in (("spire", spire), ("spire-crds", crds)):
        (checkout / "charts" / name / "Chart.yaml").write_text(f"name: {name}\nversion: {version}\n")
    assert find_charts(checkout) == (checkout / "charts", Version.parse(spire), Version.parse(crds))
