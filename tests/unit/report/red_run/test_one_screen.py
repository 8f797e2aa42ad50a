"""The end of a red run: what it says, how often, and in how many lines of a screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from fixtures.report.red_run.failure import Failure
from fixtures.report.red_run.one_screen import (
    SCREEN_LINES,
    STATE,
    broke_by_link,
    headline,
    shown_diagnosis,
    shown_failures,
    shown_skips,
    shown_warnings,
)


def failure(test: str, when: str, sentence: str, where: str = "") -> dict[str, Any]:
    """What failed, as the run's document has it."""
    return asdict(Failure(test, when, sentence, where))


TOLD = (
    "server: StatefulSet spire-server/spire-server cannot come after 3.5 s: server: pod spire-server-0 waits for its "
    'claim spire-data-spire-server-0: storageclass.storage.k8s.io "nowhere" not found'
)


@pytest.fixture
def diagnosis(recorded: Callable[[str], str]) -> list[str]:
    """What was said of a StorageClass that there is not."""
    return recorded("diagnosis-storage-class.txt").splitlines()


def test_a_diagnosis_is_the_broken_link_its_cause_and_a_line_for_a_consequence(diagnosis: list[str]) -> None:
    shown = shown_diagnosis(diagnosis, 100)
    assert shown == [
        "broken link: component ready (server): StatefulSet spire-server/spire-server has 0 of 1 ready: pod",
        "  spire-server-0 waits for its claim spire-data-spire-server-0: storageclass.storage.k8s.io",
        '  "nowhere" not found',
        "  usually: no provisioner serves the claim: the StorageClass is unknown, or what provisions for it",
        "    does not run",
        "  in consequence: component ready (server): Helm's release spire has failed: revision 1: Release …",
        "  in consequence: component ready (client): StatefulSet spire-server/spire-server has 0 of 1 ready …",
        "  in consequence: component ready (client): Helm's release spire has failed: revision 1: Release …",
        "  and 4 more, see diagnosis.txt",
    ]


def test_the_last_lines_of_the_evidence_are_shown_and_where_no_link_is_broken_the_suites_own_state() -> None:
    evidence = [f"    line {number}" for number in range(12)]
    broken = ["broken link: TLS (client): refused", "  usually: a wrong ID", *evidence, STATE, "  none"]
    assert shown_diagnosis(broken, 100) == [*broken[:2], *evidence[4:]]
    holds = ["no broken link: every one that can be looked at holds", STATE, "  SPIRE is there"]
    assert shown_diagnosis(holds, 100) == holds


# As a server of SPIRE 1.15 ended whose liveness probe asked the wrong port; some fields are left out.
ENDED = """\
        time="2026-11-28T02:49:45Z" level=error msg="Error updating bundle" error="failed to store fetched federated \
bundle: datastore-sql: sql: database is closed" subsystem_name=bundle_client trust_domain=client.example
        time="2026-11-28T02:49:45Z" level=info msg="Server APIs have stopped" address="[::]:8081" network=tcp
        time="2026-11-28T02:49:45Z" level=info msg="Serving health checks" address="0.0.0.0:8080"
        time="2026-11-28T02:49:45Z" level=info msg="Plugin unloaded" external=false plugin_name=k8sbundle
        time="2026-11-28T02:49:45Z" level=info msg="Plugin unloaded" external=false plugin_name=k8s_psat
        time="2026-11-28T02:49:45Z" level=info msg="Plugin unloaded" external=false plugin_name=disk
        time="2026-11-28T02:49:45Z" level=info msg="Catalog closed" subsystem_name=catalog
        {"level":"warning","msg":"No longer polling for updates","error":"closed","time":"2026-11-28T02:49:45Z"}
        time="2026-11-28T02:49:45Z" level=info msg="DataStore closed" subsystem_name=catalog
        time="2026-11-28T02:49:45Z" level=info msg="Server stopped gracefully"
"""


def test_of_log_lines_level_message_and_error_are_shown_and_errors_wherever_they_stand() -> None:
    broken = ["broken link: TLS (client): refused", "  usually: a wrong ID", *ENDED.splitlines()]
    assert shown_diagnosis(broken, 100)[2:] == [
        "    error: Error updating bundle: failed to store fetched federated bundle: datastore-sql: sql:",
        "      database is closed",
        "    info: Plugin unloaded",
        "    info: Plugin unloaded",
        "    info: Plugin unloaded",
        "    info: Catalog closed",
        "    warning: No longer polling for updates: closed",
        "    info: DataStore closed",
        "    info: Server stopped gracefully",
    ]


def test_a_sentence_that_two_checks_have_is_shown_once(diagnosis: list[str]) -> None:
    failures = [
        failure("tests/federation/test_1_deployment.py::test_ready", "setup", TOLD),
        failure("tests/federation/test_1_deployment.py::test_restricted", "setup", TOLD),
        failure("tests/federation/test_1_deployment.py::test_other", "call", "no key", "fixtures/spire/layout.py:7"),
    ]
    assert shown_failures(failures, diagnosis, 100) == [
        "✗ test_1_deployment.py::test_ready (setup) and 1 more",
        "    server: StatefulSet spire-server/spire-server cannot come after 3.5 s: server: pod",
        "    spire-server-0 waits for its claim spire-data-spire-server-0: storageclass.storage.k8s.io",
        '    "nowhere" not found',
        "✗ test_1_deployment.py::test_other",
        "    no key [fixtures/spire/layout.py:7]",
    ]


def test_a_wait_that_ended_for_the_broken_link_refers_to_it(diagnosis: list[str]) -> None:
    link = diagnosis[0].removeprefix("broken link: ")
    ended = failure("test_a.py::test_ready", "call", f"server: SPIRE cannot come after 31.2 s: {link}")
    assert shown_failures([ended], diagnosis, 100) == [
        "✗ test_a.py::test_ready",
        "    server: SPIRE cannot come after 31.2 s: the broken link, see above",
    ]


@pytest.mark.parametrize("columns", [100, 60, 40])
def test_however_much_has_failed_it_is_one_screen_and_no_line_is_wider(diagnosis: list[str], columns: int) -> None:
    names = [f"tests/federation/test_{n}.py::test_{'x' * n}" for n in range(60)]
    failures = [failure(name, "call", f"{name} {TOLD} {n}" * 9) for n, name in enumerate(names)]
    shown = [
        *shown_diagnosis([*diagnosis[:2], *[f"    {TOLD}"] * 20, *diagnosis[2:]], columns),
        *shown_failures(failures, diagnosis, columns),
        *shown_skips([f"test_{n}" for n in range(90)], ["not here"], columns),
    ]
    assert max(map(len, shown)) <= columns
    assert "see failures.txt" in shown[-3]
    # The headings, the verdict, and pytest's own two lines are to have room too.
    assert len(shown) <= (SCREEN_LINES - 8) * max(1, 100 / columns)


def test_all_dependants_are_a_line_and_so_is_each_other_reason() -> None:
    assert shown_skips(["test_a", "test_b"], ["not here", "no Tornjak", "not here"], 100) == [
        "2 skipped: a prerequisite did not pass",
        "2 skipped: not here",
        "1 skipped: no Tornjak",
    ]


def test_of_the_warnings_two_are_shown_each_in_two_lines() -> None:
    shown = shown_warnings(["peers poll the bundle too late " * 9, "short", "third", "fourth"], 100)
    assert len(shown) == 4
    assert shown[1].endswith(" …")
    assert shown[2:] == ["short", "and 2 more, see warnings.txt"]
    assert shown_warnings([], 100) == []


def red(first: str, broken_at: str | None, *lines: str) -> dict[str, Any]:
    """A run whose first failure is of the test `first`, and whose diagnosis was made at the failure of `broken_at`."""
    diagnosis = None if broken_at is None else {"lines": list(lines), "test": broken_at}
    return {"verdict": {"first_failure": f"{first}: it failed"}, "failures": [{"test": first}], "diagnosis": diagnosis}


LINK = ("broken link: TLS (client): refused", "  usually: a wrong ID", "    evidence")
HOLDS = "no broken link: every one that can be looked at holds"


@pytest.mark.parametrize(
    ("run", "leads"),
    [
        (red("a", "a", *LINK), [*LINK[:2], "a: it failed"]),
        # What broke later is most likely in consequence.
        (red("a", "b", *LINK), ["a: it failed", *LINK[:2]]),
        (red("a", "a", HOLDS, STATE), ["a: it failed", HOLDS, STATE]),
        (red("a", None), ["a: it failed"]),
    ],
)
def test_a_red_run_leads_with_what_tells_most(run: dict[str, Any], leads: list[str]) -> None:
    assert headline(run) == leads
    assert broke_by_link(run) is (leads[0] == LINK[0])
