"""What became of requests, and when a failure is excused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from fixtures.traffic.request_log import Request
from fixtures.traffic.summary import (
    RestartWindow,
    Summary,
    TrafficPhase,
    standstill_windows,
    summarize,
    table,
    to_json,
)


def request(at: float, seconds: float = 0.0, stage: str = "", error: str = "") -> Request:
    return Request(int(at * 5) + 1, at, seconds, not stage, stage, 0 if stage else 200, error)


def one(sent: Sequence[Request], phase: TrafficPhase, of: Sequence[RestartWindow] = ()) -> Summary:
    (found,) = summarize({"kept": sent}, [phase], of)
    return found


def test_requests_are_counted_in_the_phase_in_which_they_began() -> None:
    # The one that began in the first phase fails in the second.
    sent = [request(0), request(9.8, 2.0, "svid", "late"), request(10), request(10.2)]
    first, second = summarize({"kept": sent}, [TrafficPhase("old", 0, 10), TrafficPhase("new", 10, 20)], [])
    assert (first.sent, first.failed, first.first_error) == (2, 1, "late")
    assert (second.sent, second.failed, second.first_error) == (2, 0, "")


def test_kinds_are_summarised_apart_in_order() -> None:
    found = summarize(
        {"new": [request(1, 0, "tls")], "kept": [request(1)]}, [TrafficPhase("a", 0, 5), TrafficPhase("b", 5, 9)], []
    )
    assert [(each.phase, each.kind, each.sent, each.failed) for each in found] == [
        ("a", "new", 1, 1),
        ("a", "kept", 1, 0),
        ("b", "new", 0, 0),
        ("b", "kept", 0, 0),
    ]


@pytest.mark.parametrize(
    ("start", "seconds", "outside"),
    [
        (8.0, 1.9, 1),  # over before the window
        (8.5, 2.0, 0),  # failed in it
        (10.5, 0.1, 0),  # within it
        (11.9, 2.0, 0),  # began in it
        (12.1, 2.0, 1),  # began after it
        (9.0, 5.0, 0),  # around it
    ],
)
def test_a_failure_is_excused_only_where_it_touches_a_window(start: float, seconds: float, outside: int) -> None:
    found = one([request(start, seconds, "svid")], TrafficPhase("upgrade", 0, 100), [RestartWindow(10, 12, "agent")])
    assert (found.failed, found.failed_outside_windows) == (1, outside)


def test_failures_are_counted_by_stage_and_the_earliest_is_reported() -> None:
    sent = [request(3, 0, "tls", "third"), request(1, 2.5, "svid", "first"), request(2, 0, "tls", "second"), request(4)]
    found = one(sent, TrafficPhase("upgrade", 0, 10))
    assert found.stages == {"tls": 2, "svid": 1}
    assert found.first_error == "first", "by start, not in the order of the list or of the ends"


def test_the_longest_gap_is_between_answers_and_failures_do_not_end_it() -> None:
    sent = [
        request(0, 0.1),
        request(1, 0.1),
        request(2, 0.1, "tls"),
        request(3, 0.1, "tls"),
        request(4, 0.6),
        request(5, 0.1),
    ]
    # From the end of the second, 1.1, to the end of the fifth, 4.6.
    assert one(sent, TrafficPhase("upgrade", 0, 6)).longest_gap_ms == 3500.0


def test_a_gap_counts_in_full_in_every_phase_that_it_overlaps() -> None:
    sent = [request(at) for at in (0, 1, 2, 8, 9, 10)]
    phases = [
        TrafficPhase("before", 0, 1.5),
        TrafficPhase("old", 1.5, 3),
        TrafficPhase("mixed", 3, 7),
        TrafficPhase("new", 7, 8.5),
        TrafficPhase("after", 8.5, 10),
    ]
    gaps = [each.longest_gap_ms for each in summarize({"kept": sent}, phases, [])]
    assert gaps == [1000.0, 6000.0, 6000.0, 6000.0, 1000.0]


def test_an_answer_out_of_order_ends_a_gap_too() -> None:
    # Sent first, answered last.
    sent = [request(0, 4.0), request(1, 0.5), request(2, 0.5)]
    assert one(sent, TrafficPhase("p", 0, 5)).longest_gap_ms == 1500.0


def test_an_outage_that_lasts_to_the_end_is_a_gap() -> None:
    # Without the last failure's end the longest gap would be the second between the only two answers.
    sent = [request(0), request(1), *(request(at, 2.0, "tls") for at in range(2, 30))]
    assert one(sent, TrafficPhase("new", 0, 40)).longest_gap_ms == 30000.0


def test_a_client_that_never_got_an_answer_has_one_gap() -> None:
    assert one([request(at, 2.0, "tls") for at in range(10)], TrafficPhase("p", 0, 20)).longest_gap_ms == 11000.0


def test_a_phase_without_requests_has_no_gap_rather_than_a_short_one() -> None:
    found = one([request(0), request(1)], TrafficPhase("late", 50, 60))
    assert (found.sent, found.longest_gap_ms) == (0, None)
    assert "none sent" in table([found])[1]
    assert one([], TrafficPhase("late", 50, 60)).longest_gap_ms is None


def test_the_table_has_straight_columns_and_says_the_first_error() -> None:
    found = [
        Summary("before", "new", 120, 0, 0, 231.4, {}, ""),
        Summary("client cluster", "kept", 1200, 12, 3, 5230.0, {"tls": 2, "svid": 10}, "no\nagent"),
    ]
    heading, first, second, error = table(found)
    end = heading.index("sent") + len("sent")
    assert (first[:end].split()[-1], second[:end].split()[-1]) == ("120", "1200")
    assert second.endswith("svid 10, tls 2")
    assert [cell for cell in second.split("  ") if cell.strip()][3].strip() == "12"
    assert error.strip() == "first error: no agent"


def test_the_summaries_are_json_for_others() -> None:
    found = Summary("late", "kept", 0, 0, 0, None, {"tls": 1}, "x")
    assert json.loads(to_json([found])) == [
        {
            "phase": "late",
            "kind": "kept",
            "sent": 0,
            "failed": 0,
            "failed_outside_windows": 0,
            "longest_gap_ms": None,
            "stages": {"tls": 1},
            "first_error": "x",
        }
    ]


# Five requests a second, as the client sends them; from 10.0 to 12.1 the machine ran nothing.
SCHEDULE = [request(number / 5) for number in range(100)]


def stood_still(since: float, until: float) -> list[Request]:
    return [replace(each, start=until) if since < each.start < until else each for each in SCHEDULE]


def test_a_client_that_began_requests_late_shows_that_the_machine_stood_still() -> None:
    assert standstill_windows({"new": SCHEDULE}) == []
    (found,) = standstill_windows({"new": stood_still(10.0, 12.1), "kept": SCHEDULE})
    assert (round(found.began, 3), found.ended) == (10.2, 12.1)
    assert found.why == "the machine let the client of new connections begin no request"


def test_late_answers_and_a_moment_of_delay_are_no_standstill() -> None:
    # It begins each request in time, whatever becomes of the others.
    slow = [replace(each, seconds=2.0, ok=False, stage="http") for each in SCHEDULE]
    assert standstill_windows({"new": slow}) == []
    assert standstill_windows({"new": stood_still(10.0, 10.6)}) == []
    assert standstill_windows({"new": []}) == []
    # Those under way at the end are not in the log yet.
    assert standstill_windows({"new": [*SCHEDULE[:50], *SCHEDULE[60:]]}) == []


def test_a_clock_that_is_put_forward_is_one_standstill_and_not_one_without_end() -> None:
    forward = [replace(each, start=each.start + 0.6) if each.start >= 10.0 else each for each in SCHEDULE]
    (found,) = standstill_windows({"new": forward})
    assert (round(found.began, 3), round(found.ended, 3)) == (10.0, 10.6)


def test_two_standstills_are_two_and_requests_between_them_count() -> None:
    late = [*stood_still(4.0, 5.0)[:50], *stood_still(14.0, 16.5)[50:]]
    failed = [
        replace(each, seconds=2.0, ok=False, stage="http") if each.start in (9.0, 14.0) else each for each in late
    ]
    windows = standstill_windows({"new": failed})
    assert [(round(each.began, 3), each.ended) for each in windows] == [(4.2, 5.0), (14.2, 16.5)]
    found = one(failed, TrafficPhase("upgrade", 0, 100), windows)
    assert (found.failed, found.failed_outside_windows) == (2, 1)
