"""Step 5 of the tutorial: the call from one trust domain to the other succeeds."""

from __future__ import annotations

import pytest

from fixtures.waiting import Condition, Look, wait_for
from fixtures.workloads import CLIENT_LINES, SUCCESS, Demo, Outcome

pytestmark = pytest.mark.federation
LOGGED = 10.0  # seconds
NO_BEARER = "Invalid or unsupported authorization header"


def server_logs(demo: Demo, marker: int, *words: str) -> Condition[str]:
    """The server's log has a line, after its first `marker` ones, with all these words."""

    def look() -> Look[str]:
        lines = demo.server_log_since(marker)
        return Look(next((line for line in lines if all(word in line for word in words)), None), "\n".join(lines[-10:]) or "nothing since")

    return Condition(f"a line of the server's log with {' and '.join(words)}", look)


@pytest.mark.dependency(name="no bearer", depends=["spire ready"], scope="session")
def test_a_request_without_bearer_is_refused(demo: Demo) -> None:
    marker = len(demo.server_log())
    outcome = demo.call("client-no-bearer", BEARER="none")
    assert outcome.ended == "Failed", outcome.log
    assert outcome.lines[-1] == f"401 {NO_BEARER}", outcome.log
    wait_for(server_logs(demo, marker, NO_BEARER), LOGGED)


@pytest.mark.dependency(name="success", depends=["foreign bundles"], scope="session")
def test_the_client_job_completes(success: Outcome, demo: Demo) -> None:
    assert success.ended == "Complete", success.log
    job = demo.client.cluster.batch.read_namespaced_job("client", "demo")
    assert (job.status.succeeded, job.spec.completions) == (1, 1)


@pytest.mark.dependency(name="client log", depends=["success"], scope="session")
def test_the_clients_log_tells_the_tutorials_story(success: Outcome) -> None:
    assert success.lines == (*CLIENT_LINES, SUCCESS)


@pytest.mark.dependency(name="server log", depends=["success"], scope="session")
def test_the_servers_log_names_the_client(demo: Demo) -> None:
    assert wait_for(server_logs(demo, 0, demo.client_id), LOGGED).endswith(demo.client_id)
