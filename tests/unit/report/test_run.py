"""A run as data: its phases, their times, and its verdict."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from fixtures.report.data.document import describe
from fixtures.report.red_run.failure import Failure
from fixtures.report.run import Phase, Report, timing_table


def finished(what: str, cluster: str, seconds: float) -> Phase:
    return Phase(what, cluster, 0.0, seconds=seconds)


def timings(report: Report) -> list[str]:
    """The table of the phases so far."""
    return timing_table(report.times()["phases"], report.elapsed)


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return Report(tmp_path)


def test_a_pause_between_the_readings_of_two_clocks_does_not_shift_when_phases_began(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = 0.0
    pauses = iter([5.0, 0.0, 3.0])  # seconds, each after a reading

    def reading(at: float) -> float:
        nonlocal passed
        found = at + passed
        passed += next(pauses, 0.001)
        return found

    clocks = SimpleNamespace(time=lambda: reading(1_000_000.0), monotonic=lambda: reading(100.0))
    report.phases.append(Phase("SPIRE", "server", 90.0, seconds=1.0))
    monkeypatch.setattr("fixtures.report.run.time", clocks)
    assert report.times()["phases"][0]["began"] == pytest.approx(999_990.0, abs=0.01)


def test_the_timings_have_a_row_for_each_phase_and_a_column_for_each_cluster(report: Report) -> None:
    report.phases += [
        finished("supply", "", 1.25),
        finished("Kind cluster", "server", 20.0),
        finished("Kind cluster", "client", 21.5),
        finished("SPIRE", "client", 30.0),
        finished("SPIRE", "server", 31.0),
    ]
    rows = [line.split() for line in timings(report)]
    assert rows[:-1] == [
        ["phase", "run", "server", "client"],
        ["supply", "1.2"],
        ["Kind", "cluster", "20.0", "21.5"],
        ["SPIRE", "31.0", "30.0"],
    ]
    assert rows[-1][0] == "all"


def test_every_time_stands_under_its_cluster(report: Report) -> None:
    report.phases += [finished("supply", "", 1.0), finished("SPIRE", "server", 2.0), finished("SPIRE", "client", 3.0)]
    head, supply, spire, _ = timings(report)
    assert supply.index("1.0") + len("1.0") == head.index("run") + len("run")
    assert spire.index("2.0") + len("2.0") == head.index("server") + len("server")
    assert spire.index("3.0") + len("3.0") == head.index("client") + len("client")


def test_a_phase_that_comes_twice_for_a_cluster_is_added_up(report: Report) -> None:
    report.phases += [finished("client Job", "client", 1.5), finished("client Job", "client", 2.0)]
    assert timings(report)[1].split() == ["client", "Job", "3.5"]


def test_a_run_without_phases_has_a_table_all_the_same(report: Report) -> None:
    assert [line.split()[0] for line in timings(report)] == ["phase", "all"]


def test_the_end_of_a_phase_is_reported_also_when_it_failed(report: Report) -> None:
    done: list[tuple[str, bool, bool]] = []
    report.on_phase_end.append(lambda phase: done.append((str(phase), phase.failed, phase.seconds is not None)))
    with report.phase("supply"):
        assert done == []
    with pytest.raises(ValueError, match="broken"), report.phase("SPIRE", "server"):
        raise ValueError("broken")
    assert done == [("run: supply", False, True), ("server: SPIRE", True, True)]


def test_a_phase_is_under_way_until_it_ends(report: Report) -> None:
    with report.phase("SPIRE", "server") as phase:
        assert report.running() == [phase]
    assert report.running() == []
    assert report.phases == [phase]


def test_the_time_of_the_run_stays_once_it_has_ended(report: Report) -> None:
    report.end({"passed": 1}, succeeded=True)
    assert report.seconds is not None
    report.seconds = 12.5
    assert timings(report)[-1].split() == ["all", "12.5"]


@pytest.mark.parametrize(
    ("outcomes", "succeeded", "verdict"),
    [
        ({"passed": 2, "failed": 0, "skipped": 1}, True, "GREEN: 2 passed, 1 skipped"),
        ({"passed": 2, "failed": 1}, False, "RED: 2 passed, 1 failed"),
        ({"passed": 0, "skipped": 3}, True, "RED: 3 skipped"),
        ({}, True, "RED: no test ran"),
    ],
)
def test_the_verdict_counts_the_tests(report: Report, outcomes: dict[str, int], succeeded: bool, verdict: str) -> None:
    report.end(outcomes, succeeded=succeeded)
    assert describe(report)["verdict"]["sentence"] == verdict


def test_a_red_run_says_what_failed_first_and_what_broke(report: Report) -> None:
    report.failures += [
        Failure("a.py::test_a[x::y]", "call", "first\nof two", "a.py:7"),
        Failure("b", "call", "second"),
    ]
    report.set_diagnosis(["broken link: a (b): c", "  usually: d"])
    report.end({"failed": 2}, succeeded=False)
    made = describe(report)
    assert made["verdict"]["first_failure"] == "test_a[x::y]: first"
    assert made["failures"][0] == {
        "test": "a.py::test_a[x::y]", "when": "call", "sentence": "first\nof two", "where": "a.py:7"
    }  # fmt: skip
    assert made["diagnosis"]["lines"][0] == "broken link: a (b): c"


def test_the_first_failure_is_when_the_run_became_red(report: Report) -> None:
    report.set_red()
    first = report.red_at
    report.set_diagnosis(["broken link: a (b): c"])
    assert first is not None
    assert report.red_at == first


def test_a_run_that_was_ended_before_a_test_failed_is_aborted_and_one_after_it_is_red(report: Report) -> None:
    report.interrupted = True
    report.end({"passed": 2}, succeeded=False)
    assert describe(report)["verdict"]["sentence"] == "ABORTED: 2 passed"
    report.failures.append(Failure("test_a.py::test_ready", "call", "0 of 1 agents"))
    assert report.result == "red"
