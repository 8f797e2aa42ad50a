"""When live traffic succeeds again, and which of SPIRE's log lines count."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.spire import logs
from fixtures.spire.installation import Spire
from fixtures.traffic.continuous import RECOVERED_REQUESTS, ContinuousTraffic, answered_since_last_failure
from fixtures.traffic.request_log import Request

Read = Callable[[str], str]


def sent(*answers: tuple[float, bool]) -> list[Request]:
    return [
        Request(number, start, 0.01, ok, "" if ok else "tls", 200 if ok else 0, "" if ok else "refused")
        for number, (start, ok) in enumerate(answers, 1)
    ]


def test_only_what_was_answered_since_the_last_failure_counts() -> None:
    found = answered_since_last_failure(sent((1, True), (2, False), (3, True), (4, True)), 0)
    assert [each.start for each in found] == [3, 4]


def test_what_began_before_the_moment_does_not_count() -> None:
    assert [each.start for each in answered_since_last_failure(sent((1, True), (3, True)), 2)] == [3]


def test_nothing_counts_while_the_newest_fails() -> None:
    assert answered_since_last_failure(sent((1, True), (2, False)), 0) == []


def live(**requests: Iterable[Request]) -> ContinuousTraffic:
    made = ContinuousTraffic.__new__(ContinuousTraffic)
    made.generator = cast(Any, SimpleNamespace(requests=lambda kind: list(requests[kind])))
    return made


def test_traffic_has_recovered_at_the_first_answer_of_the_kind_that_recovered_last() -> None:
    steady = [(10 + number / 5, True) for number in range(RECOVERED_REQUESTS + 3)]
    found = live(new=sent((9, False), *steady), kept=sent(*steady[2:])).recovery(8.0).look()
    assert found.value == pytest.approx(2.41)


def test_traffic_has_not_recovered_after_a_few_answers() -> None:
    steady = [(10 + number / 5, True) for number in range(RECOVERED_REQUESTS)]
    found = live(new=sent(*steady), kept=sent((11, False), *steady[-3:])).recovery(8.0).look()
    assert found.value is None
    assert "kept: 3 answered" in found.seen


def spire(log: str) -> Spire:
    return cast(Spire, SimpleNamespace(cluster=SimpleNamespace(label="client"), server_log=lambda: log))


LOG = (
    'time="2026-11-24T10:00:00Z" level=error msg="Error updating bundle" error="connection refused" '
    "trust_domain=server.example\n"
    'time="2026-11-24T10:00:15Z" level=error msg="Error updating bundle" error="unexpected ID" '
    "trust_domain=server.example\n"
)
FIRST = 1795514400.0


def test_a_log_line_counts_only_for_its_own_reason() -> None:
    said = logs.bundle_update_error(spire(LOG), "unexpected ID", since=FIRST).look().value
    assert said is not None
    assert said.at == FIRST + 15
    assert logs.bundle_update_error(spire(LOG), "no such host", since=FIRST).look().value is None


def test_earlier_log_lines_do_not_count_and_those_of_the_same_second_do() -> None:
    assert logs.bundle_update_error(spire(LOG), "refused", since=FIRST + 1).look().value is None
    assert logs.bundle_update_error(spire(LOG), "refused", since=FIRST + 0.9).look().value is not None
