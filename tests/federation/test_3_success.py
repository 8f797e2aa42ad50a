"""Step 5 of the tutorial: the call from one trust domain to the other succeeds."""

from __future__ import annotations

import pytest

from fixtures.core.waiting import wait_for
from fixtures.workloads.demo import NO_BEARER_MESSAGE, SERVER_LOG_TIMEOUT, Demo
from fixtures.workloads.tutorial_calls import TutorialCalls
from tests import checks


@pytest.mark.dependency(name="no bearer", depends=["spire ready"], scope="session")
def test_a_request_without_bearer_is_refused(demo: Demo, finished_calls: TutorialCalls) -> None:
    outcome = finished_calls.outcome("client-no-bearer")
    assert outcome.ended == "Failed", outcome.log
    assert outcome.lines[-1] == f"401 {NO_BEARER_MESSAGE}", outcome.log
    wait_for(demo.server_log_line(NO_BEARER_MESSAGE, after=finished_calls.after), SERVER_LOG_TIMEOUT)


@pytest.mark.dependency(name="success", depends=["foreign bundles"], scope="session")
def test_the_client_job_completes(demo: Demo, finished_calls: TutorialCalls) -> None:
    assert finished_calls.outcome("client").ended == "Complete", finished_calls.outcome("client").log
    # Nothing to wait for: a Job that is Complete has counted its pod.
    job = demo.client.cluster.batch.read_namespaced_job("client", demo.namespace)
    assert (job.status.succeeded, job.spec.completions) == (1, 1)


@pytest.mark.dependency(name="client log", depends=["success"], scope="session")
def test_the_clients_log_has_the_tutorials_lines(finished_calls: TutorialCalls) -> None:
    checks.call_succeeded(finished_calls.outcome("client"))


@pytest.mark.dependency(name="server log", depends=["success"], scope="session")
def test_the_servers_log_names_the_client(demo: Demo, finished_calls: TutorialCalls) -> None:
    client_id = demo.id_of_job("client")
    assert wait_for(demo.server_log_line(client_id, after=finished_calls.after), SERVER_LOG_TIMEOUT).endswith(client_id)
