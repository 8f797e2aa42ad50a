"""What SPIRE's components have logged meanwhile."""

from __future__ import annotations

import pytest

from fixtures.config.settings import Settings
from fixtures.report.run import Report
from fixtures.spire.logged_errors.error_log import ErrorLog
from tests import checks


@pytest.mark.dependency(name="logs", depends=["success", "wrong audience"], scope="session")
def test_no_component_logs_an_error_that_no_table_excuses(
    error_log: ErrorLog, report: Report, settings: Settings
) -> None:
    checks.logged_errors_are_excused(error_log.read(), report.warn, strict=settings.strict)
