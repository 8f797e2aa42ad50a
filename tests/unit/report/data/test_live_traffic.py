"""The live traffic of a run, from its results and from the logs in its folder."""

from __future__ import annotations

from pathlib import Path

from fixtures.report.data.facts import TrafficResults
from fixtures.report.data.live_traffic import MOST_BINS, described
from fixtures.traffic.summary import RestartWindow, TrafficPhase
from tests.unit.traffic.client_log import BEGINNING, line

FAILED = {"ok": False, "stage": "svid", "status": 0, "error": "no such file or directory"}


def test_requests_are_counted_by_second_and_failures_are_there_one_by_one(tmp_path: Path) -> None:
    log = [line(number, **(FAILED if number in (6, 12) else {})) for number in range(1, 16)]
    (tmp_path / "traffic-new.log").write_text("\n".join(log) + "\n")
    windows = [RestartWindow(BEGINNING + 0.5, BEGINNING + 1.1, "server: spire-agent was replaced")]
    found = described(TrafficResults([], [TrafficPhase("before", BEGINNING, BEGINNING + 3)], windows), tmp_path)
    assert found is not None
    assert [(each["at"], each["answered"], each["failed"]) for each in found["bins"]] == [
        (BEGINNING, 5, 0),
        (BEGINNING + 1, 4, 1),
        (BEGINNING + 2, 4, 1),
    ]
    assert [(each["kind"], each["stage"], each["in_restart"]) for each in found["failures"]] == [
        ("new", "svid", True),
        ("new", "svid", False),
    ]


def test_what_a_run_that_was_ended_left_of_its_traffic_is_there(tmp_path: Path) -> None:
    (tmp_path / "traffic-kept.log").write_text(line(1) + "\n" + line(2)[:20])
    found = described(None, tmp_path)
    assert found is not None
    assert (found["phases"], found["summaries"]) == ([], [])
    assert [(each["kind"], each["answered"]) for each in found["bins"]] == [("kept", 1)]


def test_a_long_run_has_no_more_intervals_than_can_be_drawn(tmp_path: Path) -> None:
    (tmp_path / "traffic-new.log").write_text("\n".join(line(number) for number in range(1, 5 * 600)))
    found = described(None, tmp_path)
    assert found is not None
    assert len(found["bins"]) <= MOST_BINS + 1
    assert sum(each["answered"] for each in found["bins"]) == 5 * 600 - 1


def test_without_traffic_there_is_none(tmp_path: Path) -> None:
    assert described(None, tmp_path) is None
