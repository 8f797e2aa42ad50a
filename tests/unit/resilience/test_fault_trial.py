"""Verdicts on faults, and the figures of all of them."""

from __future__ import annotations

import pytest

from fixtures.diagnosis.chain import Diagnosis
from fixtures.diagnosis.finding import Finding
from fixtures.resilience.fault_trial import TrialResult, TrialStatistics

FINDING = Finding(
    "endpoint reachable", "client", "its endpoint https://10.89.0.1:8440 refuses connections", "the forward is gone"
)


def verdict(name: str = "endpoint-away", error: str = "connection refused", red: float = 2.0) -> TrialResult:
    return TrialResult(name, error, Diagnosis(FINDING), red, 2 * red)


@pytest.mark.parametrize(
    ("error", "reason", "caught"),
    [
        ("connection refused", "refused", True),
        ("a line\nconnection refused", "line.*refused", True),
        ("timeout", "refused", False),
        ("", ".", False),
    ],
)
def test_a_fault_is_caught_when_the_check_was_red_for_the_reason(error: str, reason: str, caught: bool) -> None:
    assert verdict(error=error).caught(reason) is caught


@pytest.mark.parametrize(
    ("link", "sentence", "named"),
    [
        ("endpoint reachable", "refuses", True),
        ("endpoint identity", "refuses", False),
        ("endpoint reachable", "presents", False),
    ],
)
def test_a_fault_is_named_when_link_and_sentence_are_right(link: str, sentence: str, named: bool) -> None:
    assert verdict().named(link, sentence) is named


def test_where_nothing_was_found_nothing_is_named() -> None:
    assert not TrialResult("a", "red", Diagnosis(None), 1, 1).named("endpoint reachable", ".")


def test_the_text_has_both_what_the_check_and_what_the_diagnosis_said() -> None:
    text = verdict().text()
    assert "    connection refused" in text
    assert "    broken link: endpoint reachable (client): its endpoint" in text
    assert "it stayed green" in verdict(error="").text()


def test_the_figures_count_what_was_caught_and_named() -> None:
    found = [
        (verdict("a", red=1.0), True, True),
        (verdict("b", red=3.0), True, False),
        (verdict("c", "", 20.0), False, False),
    ]
    lines = TrialStatistics(found, false_alarms=1, healthy=2).table()
    assert lines[0] == "faults injected 3, caught 2, named rightly 1; healthy variants 2, false alarms 1"
    assert lines[1] == "time to red: median 2.0 s, longest 3.0 s; a fault costs 16.0 s on average"
    assert [line.split()[:3] for line in lines[4:]] == [["a", "yes", "yes"], ["b", "yes", "NO"], ["c", "NO", "NO"]]


def test_a_run_without_faults_says_so() -> None:
    assert TrialStatistics([]).table() == ["no fault was injected"]
