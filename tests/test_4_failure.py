"""The tutorial's failure, and the one it is named after: each beside the call that differs in nothing else."""

from __future__ import annotations

import pytest

from fixtures.waiting import wait_for
from fixtures.workloads import CLIENT_LINES, Demo, Outcome, rejected_audience, unexpected_id
from tests.test_3_success import LOGGED, server_logs

pytestmark = pytest.mark.federation


@pytest.mark.dependency(name="alternate audience", depends=["success"], scope="session")
def test_the_alternate_audience_fails_in_the_tls_handshake(demo: Demo, success: Outcome) -> None:
    # One value is both the audience and the ID that the client expects, so that it is TLS that fails: with the tutorial's
    # own value the same Job succeeds.
    assert success.ended == "Complete"
    marker = len(demo.server_log())
    outcome = demo.call("client-fail", AUDIENCE=f"{demo.server_id}-alternate")
    assert outcome.ended == "Failed", outcome.log
    assert unexpected_id(outcome.log) == demo.server_id, outcome.log
    wait_for(server_logs(demo, marker, "TLS handshake error", "bad certificate"), LOGGED)


@pytest.mark.dependency(name="wrong audience", depends=["success"], scope="session")
def test_a_wrong_jwt_audience_is_refused_by_the_server(demo: Demo) -> None:
    right = demo.call("client-right-audience", AUDIENCE=demo.server_id, EXPECTED_SERVER_ID=demo.server_id)
    assert right.ended == "Complete", right.log
    marker = len(demo.server_log())
    wrong_audience = f"{demo.server_id}-alternate"
    wrong = demo.call("client-wrong-audience", AUDIENCE=wrong_audience, EXPECTED_SERVER_ID=demo.server_id)
    assert wrong.ended == "Failed", wrong.log
    assert wrong.lines == (*CLIENT_LINES, "401 Invalid token"), "TLS must have succeeded, and the token been fetched"
    line = wait_for(server_logs(demo, marker, "Invalid token"), LOGGED)
    assert rejected_audience(line) == ([demo.server_id], [wrong_audience]), line
