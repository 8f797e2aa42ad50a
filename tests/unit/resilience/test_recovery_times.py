"""Times, and the table of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fixtures.core.waiting import Condition, Look
from fixtures.resilience.recovery_times import MeasuredFrom, RecoveryTimes


def at_once(value: float) -> Condition[float]:
    return Condition("now", lambda: Look(value, ""))


def test_times_are_shown_by_kind_in_equal_columns() -> None:
    measured = RecoveryTimes()
    measured.add("recovery", "agent back", 1.25)
    measured.add("propagation", "prepared", 12.0, "15 s")
    measured.from_now("recovery").wait("at once", at_once(1), 1)
    lines = measured.table()
    assert lines[0].split() == ["recovery", "seconds"]
    assert lines[1].split() == ["agent", "back", "1.2"]
    assert [line.split()[0] for line in lines] == ["recovery", "agent", "at", "propagation", "prepared"]
    assert lines[-1].endswith("12.0  15 s")


def test_a_table_of_nothing_says_so() -> None:
    assert RecoveryTimes().table() == ["nothing was measured"]


def test_times_are_measured_from_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.resilience.recovery_times.time", SimpleNamespace(time=lambda: 105.0))
    measured = RecoveryTimes()
    moment = MeasuredFrom(measured, "recovery", 100.0)
    assert moment.record("a") == 5.0
    assert moment.wait("b", at_once(7), 1, "15 s") == 7
    assert [(each.kind, each.what, each.bound, each.limit) for each in measured.rows] == [
        ("recovery", "a", "", None),
        ("recovery", "b", "15 s", 1),
    ]
    assert [each.seconds for each in measured.rows] == [5.0, 5.0]


def test_a_condition_that_measures_by_itself_gets_the_moment_and_its_value_is_kept() -> None:
    measured = RecoveryTimes()
    MeasuredFrom(measured, "recovery", 100.0).wait_seconds("traffic", lambda since: at_once(since + 1), 1)
    assert measured.rows == [("recovery", "traffic", 101.0, "", 1)]
