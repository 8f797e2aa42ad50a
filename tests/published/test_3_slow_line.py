"""A slow line to the registry: by default every image crosses it once, and not once for each cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.core.redaction import write
from fixtures.core.tables import columns
from fixtures.report.run import Report
from supply.host import Engine
from tests.published.conftest import Published
from tests.stand_ins.faulty_registry import FaultyRegistry
from tests.stand_ins.web_server import serving

BYTES_PER_SECOND = 4_000_000  # 32 Mbit/s
CLUSTER_COUNT = 2


@pytest.fixture(scope="module")
def table(report: Report, run_folder: Path) -> Iterator[list[tuple[str, ...]]]:
    """What each run took; a table of the report, and `slow-line.txt`."""
    rows: list[tuple[str, ...]] = []
    yield rows
    lines = columns([("pulled", "over the line", "seconds"), *rows], numbers=[1, 2])
    write(run_folder / "slow-line.txt", "\n".join(lines) + "\n")
    report.table("slow line", lines)


@pytest.mark.parametrize(("pull", "times"), [("once", 1), ("nodes", CLUSTER_COUNT)])
def test_images_cross_a_slow_line_so_many_times(
    pull: str, times: int, published: Published, engine: Engine, run_folder: Path, table: list[tuple[str, ...]]
) -> None:
    if _pulled(published, engine):
        pytest.skip("the engine has images of these names already, and would pull none")
    server = FaultyRegistry(published.network.gateway, published.registry.url, bytes_per_second=BYTES_PER_SECOND)
    try:
        with serving(server):
            # Those of the demo are built.
            result = published.run(
                run_folder / f"pulled-{pull}",
                f"--charts={published.charts}",
                f"--pull={pull}",
                mirrors=dict.fromkeys(published.mirrors, server.url),
            )
    finally:
        # Nobody else is to take them for what their projects publish.
        pulled = _pulled(published, engine)
        if pulled:
            engine.run("rmi", *pulled)
    assert server.line is not None
    table.append((pull, f"{server.line.sent / 1e6:.0f} MB", f"{result.seconds:.1f} s"))
    assert result.green, f"{result.verdict}; see {result.folder}"
    total = sum(published.registry.sizes[image] for image in published.pulled_by_charts)
    assert (times - 0.5) * total < server.line.sent < (times + 0.5) * total


def _pulled(published: Published, engine: Engine) -> list[str]:
    """The images that the engine has."""
    there = engine.run("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    return [image for image in published.images if image in there]
