"""What SPIRE's components have logged meanwhile."""

from __future__ import annotations

import pytest

from fixtures.report.run import Report
from fixtures.spire.installation import Spire
from fixtures.spire.logged_errors import ErrorLog
from tests import checks


@pytest.mark.dependency(name="logs", depends=["success", "wrong audience"], scope="session")
def test_no_component_logs_an_error_that_no_table_excuses(
    error_log: ErrorLog, spires: dict[str, Spire], report: Report
) -> None:
    errors = error_log.read()
    # An installation that was there before has other workloads, and what it logs of them is not this run's.
    external = {spire.cluster.label for spire in spires.values() if spire.cluster.is_external}
    for each in errors:
        if each.error.cluster in external and not each.is_excused:
            report.warn(f"logged and not excused: {each.error}")
    checks.logged_errors_are_excused(each for each in errors if each.error.cluster not in external)
