"""Real deployments' values on the chart that is given: a run of the suite for each, green or red for the right link."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.config.settings import Settings
from fixtures.core.redaction import write
from fixtures.core.tables import columns
from fixtures.report.run import Report
from supply.host import Engine
from tests.chart_faults import ChartFault
from tests.field_cases import FIELD_CASES, as_read_by
from tests.tools.fault_runs import Bench, Verdict


@pytest.fixture(scope="module")
def bench(settings: Settings, engine: Engine, run_folder: Path) -> Bench:
    """Where the cases' runs go."""
    if settings.source.charts is None:
        pytest.skip("these values are the hardened charts': give their folder with --charts")
    (run_folder / "charts").mkdir()
    # A run of its own makes and deletes its clusters; none of them is kept.
    return Bench(run_folder, f"{settings.prefix}field-", engine, lambda: None, settings.source.charts)


@pytest.fixture(scope="module")
def verdicts(report: Report, run_folder: Path) -> Iterator[list[Verdict]]:
    """What came of the cases; a table of the report, and `field.txt`."""
    found: list[Verdict] = []
    yield found
    lines = columns([("case", "", "", "seconds"), *(verdict.row for verdict in found)], numbers=[3])
    write(run_folder / "field.txt", "\n".join(lines) + "\n")
    report.table("field", lines)


@pytest.mark.parametrize("case", FIELD_CASES, ids=str)
def test_values_of_real_deployments_come_to_what_is_right(
    case: ChartFault, bench: Bench, verdicts: list[Verdict]
) -> None:
    verdicts.append(bench.on_new_clusters(as_read_by(case, bench.good / "spire")))
    assert verdicts[-1].right, verdicts[-1].why
