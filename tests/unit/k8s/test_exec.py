"""How an execution in a pod ended, from what API servers have said of it."""

from __future__ import annotations

import pytest
from kubernetes.client import ApiException

from fixtures.k8s.exec import ExecutionError, _error_message, exit_code

# Recorded, Kubernetes 1.36.3; the last one is shortened.
SUCCEEDED = '{"metadata":{},"status":"Success"}'
FAILED = (
    '{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: command terminated '
    'with exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}'
)
NOT_STARTED = (
    '{"metadata":{},"status":"Failure","message":"Internal error occurred: error executing command in container: '
    "failed to exec in "
    'container: failed to start exec: OCI runtime exec failed: exec: \\"/nothing\\": stat /nothing: no such file or '
    'directory",'
    '"reason":"InternalError","details":{"causes":[{"message":"Internal error occurred: error executing command in '
    'container"}]},"code":500}'
)
NO_POD = (
    "Handshake status 404 Not Found -+-+- {'audit-id': 'c1a9ffdd-16b2-455d-b6d6-68de24f4b0d7', 'content-length': "
    "'196'} -+-+- "
    '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods \\"spire-server-1\\" not '
    'found","reason":"NotFound","details":{"name":"spire-server-1","kind":"pods"},"code":404}\n'
)


@pytest.mark.parametrize(("status", "code"), [(SUCCEEDED, 0), (FAILED, 3)])
def test_the_exit_code_is_the_programs_own(status: str, code: int) -> None:
    assert exit_code(status) == code


def test_what_was_never_started_has_no_exit_code() -> None:
    with pytest.raises(ExecutionError, match=r"stat /nothing: no such file or directory$"):
        exit_code(NOT_STARTED)


def test_a_connection_that_broke_is_not_taken_for_an_end() -> None:
    with pytest.raises(ExecutionError, match="without a word of how"):
        exit_code("")


def test_a_refusal_is_reported_in_the_api_servers_words() -> None:
    assert _error_message(ApiException(status=0, reason=NO_POD)) == 'pods "spire-server-1" not found'
    assert _error_message(ConnectionRefusedError(111, "Connection refused")) == "[Errno 111] Connection refused"
