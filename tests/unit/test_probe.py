"""What the client says when it is executed in a pod, as data; and kubectl's own failures told from the client's."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.clusters import ClusterError
from fixtures.probe import Answer, Probe, ProbeError, identity
from fixtures.spire import Spire

Read = Callable[[str], str]
# Recorded: the client's last word, and kubectl's.
REFUSED = (
    '2026/11/24 21:36:55 unable to ask the bundle endpoint: Get "https://10.89.0.1:1": dial tcp 10.89.0.1:1: connect: connection refused\n'
    "command terminated with exit code 1\n"
)
NO_POD = 'Error from server (NotFound): deployments.apps "probe" not found\n'


class Kubectl:
    """Stands in for a cluster whose kubectl ends as a test says; remembers what it was asked."""

    label = "client"
    kubectl_path = Path("kubectl")

    def __init__(self, code: int, output: str, errors: str = "") -> None:
        self.done = subprocess.CompletedProcess((), code, output, errors)
        self.asked: tuple[str, ...] = ()
        self.given: str | None = None

    def attempt(self, _program: Path, *arguments: str, timeout: float, stdin: str | None) -> Any:
        assert timeout > 0
        self.asked, self.given = arguments, stdin
        return self.done


def probe(cluster: Kubectl) -> Probe:
    return Probe(cast(Spire, SimpleNamespace(cluster=cluster, trust_domain="client.example")), "client:v0", "demo")


def test_an_identity_is_read_from_what_the_client_prints(recorded: Read) -> None:
    found = probe(Kubectl(0, recorded("fetch.json"))).fetch("spiffe://server.example/ns/demo/sa/default")
    assert found == identity(recorded("fetch.json"))
    assert found.spiffe_id == "spiffe://client.example/ns/demo/sa/probe"
    assert found.trust_domains == {"client.example", "server.example"}
    assert len(found.x509_authorities["server.example"]) == 2
    assert found.jwt_authority in found.jwt_authorities["client.example"]


def test_an_endpoint_that_does_not_answer_is_told_in_the_clients_words() -> None:
    with pytest.raises(ProbeError, match=r"connection refused$"):
        probe(Kubectl(1, "", REFUSED)).endpoint("https://10.89.0.1:1")


def test_a_pod_that_is_not_there_is_not_taken_for_an_endpoint_that_does_not_answer() -> None:
    with pytest.raises(ClusterError, match="not found"):
        probe(Kubectl(1, "", NO_POD)).endpoint("https://10.89.0.1:1")


def test_a_token_goes_in_by_standard_input_and_never_as_an_argument() -> None:
    cluster = Kubectl(1, "401 Invalid token\n", "command terminated with exit code 1\n")
    answer = probe(cluster).call("https://10.89.0.1:10001", "spiffe://server.example/a", bearer="eyJsecret")
    assert answer == Answer(1, "401 Invalid token\n")
    assert cluster.given == "eyJsecret"
    assert "--stdin" in cluster.asked
    assert not any("eyJ" in argument for argument in cluster.asked)


@pytest.mark.parametrize(
    ("code", "text", "succeeded"),
    [(0, "Starting...\nSuccess!!!\n", True), (1, "Success!!!\n", False), (0, "Starting...\n", False)],
)
def test_a_call_has_succeeded_when_the_server_said_so_and_the_client_too(code: int, text: str, succeeded: bool) -> None:
    assert Answer(code, text).succeeded is succeeded
