"""The federation with what is published: all but an engine is downloaded or pulled, by the real protocols."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.published.conftest import Published


@pytest.mark.dependency(name="published", scope="session")
def test_a_first_run_downloads_programs_and_pulls_charts_and_images(published: Published, run_folder: Path) -> None:
    """With charts from a repository over HTTP, and the demo's server as the tutorial publishes it."""
    options = (f"--chart-repository={published.chart_repository.url}", "--demo-images=published", "--pull=nodes")
    result = published.run(run_folder / "first-run", *options)
    assert result.green, f"{result.verdict}; see {result.folder}"
    asked = published.downloads.asked
    for name in ("kind", "kubectl", "helm"):
        # Once, though both clusters want them at once.
        assert len([path for path in asked if path.startswith(f"/{name}/")]) == 1, asked
    left = set(published.images) - published.registry.pulled()
    assert not left, f"not pulled from the registry: {', '.join(sorted(left))}"
