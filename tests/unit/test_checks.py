"""The checks that the suites share: what they wait for, and what they say when they fail."""

from __future__ import annotations

import pytest

from fixtures.workloads import CLIENT_LINES, Outcome
from tests import checks


def test_a_failed_check_shows_the_values_that_it_compared() -> None:
    lines = (*CLIENT_LINES, "401 Invalid token")
    with pytest.raises(AssertionError, match="401 Invalid token"):
        checks.call_succeeded(Outcome("client", "Complete", lines))
