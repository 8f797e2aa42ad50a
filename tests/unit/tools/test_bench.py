"""What a run costs, and the table of it."""

from __future__ import annotations

import os
import time

import pytest

from tests.tools.bench import STAT, Cost, Row, busy_seconds, measured, table

# Two readings of one machine, three seconds apart, with one of its two processors busy.
BEFORE = "cpu  189317 47979 53849 18670 890 1 741 1789 0 0\ncpu0 94871 23989 26924 9335 445 0 370 894 0 0\n"
AFTER = "cpu  189567 47979 53889 18967 893 2 742 1797 0 0\ncpu0 95171 23989 26924 9335 445 0 370 894 0 0\n"


def test_a_processor_is_busy_but_for_idling_and_waiting_for_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_CLK_TCK": 100}[name])
    assert busy_seconds(AFTER) - busy_seconds(BEFORE) == pytest.approx(2.50 + 0.40 + 0.01 + 0.01 + 0.08)


def test_what_a_program_spends_is_counted() -> None:
    def spend() -> None:
        end = time.process_time() + 0.5
        while time.process_time() < end:
            pass

    cost = measured(spend)
    assert STAT.is_file()
    assert cost.processor >= 0.4
    assert cost.seconds >= 0.5


def test_every_row_has_its_ratio_to_the_tutorial_and_says_which_goals_are_met() -> None:
    tutorial = Cost(90.0, 95.0)
    head, by_hand, cold, kept = table(
        [
            Row("tutorial", tutorial),
            Row("suite, cold", Cost(36.0, 61.2), 0.40, 60),
            Row("suite, on kept clusters", Cost(9.0, 12.0), 0.08),
        ],
        tutorial,
    )
    assert head.split() == ["seconds", "ratio", "processor-seconds", "goals"]
    assert by_hand.split() == ["tutorial", "90.0", "1.00", "95.0"]
    assert cold.split("  ")[0] == "suite, cold"
    assert cold.split()[2:5] == ["36.0", "0.40", "61.2"]
    assert cold.endswith("at most 0.40: met, at most 60 p-s: MISSED")
    assert kept.endswith("at most 0.08: MISSED")
