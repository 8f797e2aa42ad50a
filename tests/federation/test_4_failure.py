"""The tutorial's failure, and the one it is named after: each beside the call that differs in nothing else."""

from __future__ import annotations

import pytest

from fixtures.core.waiting import wait_for
from fixtures.workloads.demo import CLIENT_LINES, SERVER_LOG_TIMEOUT, Demo
from fixtures.workloads.go_spiffe import rejected_audience, unexpected_id
from fixtures.workloads.tutorial_calls import TutorialCalls


@pytest.mark.dependency(name="alternate audience", depends=["success"], scope="session")
def test_the_alternate_audience_fails_in_the_tls_handshake(demo: Demo, finished_calls: TutorialCalls) -> None:
    # One value is both the audience and the ID that the client expects, so that it is TLS that fails: with the
    # tutorial's own value the same Job completes.
    assert finished_calls.outcome("client").ended == "Complete"
    failed = finished_calls.outcome("client-fail")
    assert failed.ended == "Failed", failed.log
    assert unexpected_id(failed.log) == demo.server_id, failed.log
    wait_for(
        demo.server_log_line("TLS handshake error", "bad certificate", after=finished_calls.after), SERVER_LOG_TIMEOUT
    )


@pytest.mark.dependency(name="wrong audience", depends=["success"], scope="session")
def test_a_wrong_jwt_audience_is_refused_by_the_server(demo: Demo, finished_calls: TutorialCalls) -> None:
    right, wrong = finished_calls.outcome("client-right-audience"), finished_calls.outcome("client-wrong-audience")
    assert right.ended == "Complete", right.log
    assert wrong.ended == "Failed", wrong.log
    assert wrong.lines == (*CLIENT_LINES, "401 Invalid token"), "TLS must have succeeded, and the token been fetched"
    line = wait_for(demo.server_log_line("Invalid token", after=finished_calls.after), SERVER_LOG_TIMEOUT)
    assert rejected_audience(line) == ([demo.server_id], [finished_calls.wrong_audience]), line
