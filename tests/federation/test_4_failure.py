"""The tutorial's failure, and the one it is named after: each beside the call that differs in nothing else."""

from __future__ import annotations

import pytest

from fixtures.core.waiting import wait_for
from fixtures.workloads.demo import CLIENT_LINES, LOGGED, Demo
from fixtures.workloads.go_spiffe import rejected_audience, unexpected_id
from fixtures.workloads.tutorial_calls import Calls


@pytest.mark.dependency(name="alternate audience", depends=["success"], scope="session")
def test_the_alternate_audience_fails_in_the_tls_handshake(demo: Demo, called: Calls) -> None:
    # One value is both the audience and the ID that the client expects, so that it is TLS that fails: with the
    # tutorial's own value the same Job completes.
    assert called.outcome("client").ended == "Complete"
    failed = called.outcome("client-fail")
    assert failed.ended == "Failed", failed.log
    assert unexpected_id(failed.log) == demo.server_id, failed.log
    wait_for(demo.server_logs("TLS handshake error", "bad certificate", after=called.after), LOGGED)


@pytest.mark.dependency(name="wrong audience", depends=["success"], scope="session")
def test_a_wrong_jwt_audience_is_refused_by_the_server(demo: Demo, called: Calls) -> None:
    right, wrong = called.outcome("client-right-audience"), called.outcome("client-wrong-audience")
    assert right.ended == "Complete", right.log
    assert wrong.ended == "Failed", wrong.log
    assert wrong.lines == (*CLIENT_LINES, "401 Invalid token"), "TLS must have succeeded, and the token been fetched"
    line = wait_for(demo.server_logs("Invalid token", after=called.after), LOGGED)
    assert rejected_audience(line) == ([demo.server_id], [called.wrong_audience]), line
