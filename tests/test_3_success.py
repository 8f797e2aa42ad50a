"""Step 5 of the tutorial: the call from one trust domain to the other succeeds."""

from __future__ import annotations

import pytest

from fixtures.calls import Calls
from fixtures.waiting import wait_for
from fixtures.workloads import LOGGED, NO_BEARER, Demo
from tests import checks

pytestmark = pytest.mark.federation


@pytest.mark.dependency(name="no bearer", depends=["spire ready"], scope="session")
def test_a_request_without_bearer_is_refused(demo: Demo, calls: Calls) -> None:
    outcome = calls.outcome("client-no-bearer")
    assert outcome.ended == "Failed", outcome.log
    assert outcome.lines[-1] == f"401 {NO_BEARER}", outcome.log
    wait_for(demo.server_logs(NO_BEARER, after=calls.after), LOGGED)


@pytest.mark.dependency(name="success", depends=["foreign bundles"], scope="session")
def test_the_client_job_completes(demo: Demo, calls: Calls) -> None:
    assert calls.outcome("client").ended == "Complete", calls.outcome("client").log
    job = demo.client.cluster.batch.read_namespaced_job("client", "demo")
    assert (job.status.succeeded, job.spec.completions) == (1, 1)


@pytest.mark.dependency(name="client log", depends=["success"], scope="session")
def test_the_clients_log_tells_the_tutorials_story(calls: Calls) -> None:
    checks.call_succeeded(calls.outcome("client"))


@pytest.mark.dependency(name="server log", depends=["success"], scope="session")
def test_the_servers_log_names_the_client(demo: Demo, calls: Calls) -> None:
    assert wait_for(demo.server_logs(demo.client_id, after=calls.after), LOGGED).endswith(demo.client_id)
