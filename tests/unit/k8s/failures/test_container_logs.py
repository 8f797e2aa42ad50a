"""Lines of level error in the logs of SPIRE and its neighbours: which they are, and what they say."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from fixtures.core.display import LONGEST_MESSAGE
from fixtures.k8s.failures.container_logs import (
    ERROR_LINE,
    SEARCHED_LINES,
    LoggedError,
    error_lines,
    last_error,
    log_message,
)
from tests.unit.kubernetes_objects import NOW, KubernetesObjects, container, pod, running

Read = Callable[[str], str]
REFUSED = (
    "failed to receive attestation response: rpc error: code = InvalidArgument desc = nodeattestor(k8s_psat): not "
    'configured for cluster "other"'
)
NOT_CREATED = (
    "Failed to create federation relationship: rpc error: code = Internal desc = failed to create federation "
    'relationship: "bad"'
)
STAMP = "2026-11-23T10:00:00.000000123Z"


def words(*lines: str) -> list[str]:
    return [error.words for error in error_lines("\n".join(f"{STAMP} {line}" for line in lines))]


def test_of_every_form_of_log_the_errors_are_found_with_what_they_say(recorded: Read) -> None:
    found = words(*recorded("log-lines.log").splitlines())
    assert found == [
        f"Failed to retrieve attestation result: {REFUSED}",
        f"Agent crashed: {REFUSED}",
        'Nodeattestor(k8s_psat): not configured for cluster "other"',
        f"Failed to retrieve attestation result: {REFUSED}",
        f"Agent crashed: {REFUSED}",
        "2026-11-26T07:36:05.868Z ERROR federation-relationship-reconciler Failed to create federation relationship "
        '{"trustDomain": "client.example", "error": "rpc error: code = Internal desc = failed to create federation '
        'relationship: \\"bad\\""}',
        NOT_CREATED,
        'Failed to watch: "pods \\"x\\" is forbidden" reflector="a"',
        "Failed to update lock: x",
        'panic: semver: Invalid character(s) found in major number "v1"',
    ]


@pytest.mark.parametrize("name", ["spire-server.log", "demo-server.log", "job-client-client.log"])
def test_in_the_logs_of_what_works_there_is_no_error(recorded: Read, name: str) -> None:
    assert words(*recorded(name).splitlines()) == []


@pytest.mark.parametrize(
    "line",
    [
        "level=fatal msg=a",
        'level="error" msg=a',
        '{"level": "panic", "msg": "a"}',
        '{"level":"dpanic","msg":"a"}',
        "2026-11-23T10:00:00.000Z\tFATAL\tsetup\ta",
        "F1123 10:00:00.000000       1 main.go:1] a",
        "error: lost connection to pod",
        "fatal error: all goroutines are asleep - deadlock!",
        'level=warn msg=a error="b"',
        '{"level":"warn","ts":1.0,"msg":"a","error":"b"}',
    ],
)
def test_these_are_errors_too(line: str) -> None:
    assert ERROR_LINE.search(line)


@pytest.mark.parametrize(
    "line",
    [
        (
            'time="2026-11-23T10:00:00Z" level=debug msg="Dialing" reason="connection error: desc = transport: Error '
            'while dialing: dial unix"'
        ),
        'level=info msg="recovered" error="it was away"',
        'level=info msg="an error was mended" previous_level=error_free',
        "I1123 10:00:00.000000       1 main.go:1] an error of before",
        "e1123 connections were served",
        "2026-11-23T10:00:00.000Z\tINFO\tsetup\tno error",
        '{"level":"info","msg":"level=errors"}',
        "http: TLS handshake error from 10.244.0.1:34292: EOF",
        "",
    ],
)
def test_these_are_none(line: str) -> None:
    assert not ERROR_LINE.search(line)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("level=error msg=plain error=words", "plain: words"),
        (
            'level=error msg="with \\"quotes\\" inside" error="and at the \\"end\\""',
            'with "quotes" inside: and at the "end"',
        ),
        ('level=error error="it is away" msg="Failed"', "Failed: it is away"),
        ("level=error code=5", "level=error code=5"),
        ('{"level":"error","message":"a","err":"b"}', "a: b"),
        ('{"level":"error","code":5}', '{"level":"error","code":5}'),
        ('{"level":"error","msg":"cut of', '{"level":"error","msg":"cut of'),
        ("E1123 10:00:00.000000       1 main.go:1] no error given", "no error given"),
        ("panic:   runtime\terror", "panic: runtime error"),
    ],
)  # fmt: skip
def test_of_a_line_its_message_and_error_are_kept(line: str, expected: str) -> None:
    assert log_message(line) == expected


def test_a_long_line_is_cut_in_the_middle() -> None:
    line = json.dumps({"level": "error", "msg": "begin " + "x" * 1000, "error": "y" * 1000 + " end"})
    found = log_message(line)
    assert found.startswith("begin xxx")
    assert found.endswith("yyy end")
    assert len(found) == LONGEST_MESSAGE + len(" … ")


def test_errors_have_the_runtimes_times_and_those_of_before_are_passed_over() -> None:
    text = (
        "2026-11-23T09:59:59.999999999Z level=error msg=before\n"
        "2026-11-23T10:00:00.500000000Z level=error msg=first\n"
        "2026-11-23T12:00:01.000000000+02:00 level=error msg=second\n"
        "without a time level=error msg=third\n"
    )
    assert error_lines(text, since=NOW) == [LoggedError(NOW + 0.5, "first"), LoggedError(NOW + 1, "second")]
    assert [error.words for error in error_lines(text)] == ["before", "first", "second", "third"]


def test_the_errors_of_the_previous_container_count_where_this_one_has_none() -> None:
    objects = KubernetesObjects()
    pod(objects, container(running=running()))
    ask = objects.cluster, "spire-server", "spire-server-0", "main"
    assert last_error(*ask) == ""
    objects.log("spire-server-0/main", "level=error msg=previous", previous=True)
    objects.log("spire-server-0/main", "level=info msg=started")
    assert last_error(*ask) == "previous"
    assert last_error(*ask, since=NOW) == ""
    objects.log("spire-server-0/main", "level=error msg=first", "level=error msg=last")
    assert last_error(*ask) == "last"


def test_only_the_end_of_a_long_log_is_searched() -> None:
    objects = KubernetesObjects()
    pod(objects, container(running=running()))
    objects.log("spire-server-0/main", "level=error msg=old")
    objects.log("spire-server-0/main", *["level=info msg=busy"] * (SEARCHED_LINES - 1))
    assert last_error(objects.cluster, "spire-server", "spire-server-0", "main") == "old"
    objects.log("spire-server-0/main", "level=info msg=busy")
    assert last_error(objects.cluster, "spire-server", "spire-server-0", "main") == ""
