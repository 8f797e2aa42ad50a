"""What the client prints in a pod, as data; a missing pod is distinguished from the client's failures."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.k8s.cluster import ClusterError
from fixtures.k8s.server_side_apply import WORKLOAD_LABEL
from fixtures.spire.installation import Spire
from fixtures.workloads.probe import Answer, Endpoint, Probe, ProbeError, parse_identity

Read = Callable[[str], str]
# Recorded: the client's last word.
REFUSED = (
    '2026/11/24 21:36:55 unable to ask the endpoint: Get "https://10.89.0.1:1": dial tcp 10.89.0.1:1: '
    "connect: connection refused\n"
)


def pod(name: str, phase: str = "Running", deleted: str | None = None) -> Any:
    return SimpleNamespace(
        metadata=SimpleNamespace(name=name, deletion_timestamp=deleted), status=SimpleNamespace(phase=phase)
    )


class Executed:
    """Stands in for a cluster on which a program in a pod ends as a test says; remembers what it was asked."""

    label = "client"
    is_external = False

    def __init__(self, code: int, output: str, errors: str = "") -> None:
        self.done = subprocess.CompletedProcess((), code, output, errors)
        self.asked: tuple[str, ...] = ()
        self.given: str | None = None
        self.pods = [pod("probe-old", deleted="2026-11-24T21:36:50Z"), pod("probe-new")]
        self.core = SimpleNamespace(list_namespaced_pod=self._list)

    def _list(self, namespace: str, *, label_selector: str) -> Any:
        assert (namespace, label_selector) == ("demo", f"{WORKLOAD_LABEL}=probe")
        return SimpleNamespace(items=self.pods)

    def execute(self, *asked: str, timeout: float, stdin: str | None, check: bool) -> Any:
        assert timeout > 0
        assert not check
        self.asked, self.given = asked, stdin
        return self.done


def probe(cluster: Executed) -> Probe:
    return Probe(cast(Spire, SimpleNamespace(cluster=cluster, trust_domain="client.example")), "client:v0", "demo")


def test_an_identity_is_read_from_what_the_client_prints(recorded: Read) -> None:
    found = probe(Executed(0, recorded("fetch.json"))).fetch("spiffe://server.example/ns/demo/sa/default")
    assert found == parse_identity(recorded("fetch.json"))
    assert found.spiffe_id == "spiffe://client.example/ns/demo/sa/probe"
    assert found.trust_domains == {"client.example", "server.example"}
    assert len(found.x509_authorities["server.example"]) == 2
    assert found.jwt_authority in found.jwt_authorities["client.example"]


def test_an_endpoint_that_does_not_answer_is_reported_in_the_clients_words() -> None:
    with pytest.raises(ProbeError, match=r"connection refused$"):
        probe(Executed(1, "", REFUSED)).endpoint("https://10.89.0.1:1")


def test_an_endpoint_is_asked_for_what_it_presents_and_serves() -> None:
    cluster = Executed(0, '{"spiffe_id": "spiffe://server.example/spire/server", "document": {"keys": []}}\n')
    found = probe(cluster).get("https://a.example", connect_to="10.89.0.1:1", bundle="{}", text=True)
    assert found == Endpoint("spiffe://server.example/spire/server", {"keys": []})
    assert cluster.asked[3:6] == ("/client", "endpoint", "ENDPOINT_URL=https://a.example")
    assert {"CONNECT_TO=10.89.0.1:1", "BUNDLE=file:/dev/stdin", "DOCUMENT=text"} <= set(cluster.asked)
    assert cluster.given == "{}"


def test_a_probe_is_deleted_with_its_pod() -> None:
    cluster = Executed(0, "")
    asked: list[tuple[str, ...]] = []
    cluster.kubectl = lambda *arguments: asked.append(arguments)  # type: ignore[attr-defined]
    probe(cluster).delete()
    (command,) = asked
    assert command[:5] == ("delete", "deployment", "probe", "-n", "demo")
    assert "--cascade=foreground" in command


def test_a_pod_that_is_not_there_is_not_taken_for_an_endpoint_that_does_not_answer() -> None:
    cluster = Executed(0, "")
    cluster.pods = [pod("probe-old", deleted="2026-11-24T21:36:50Z"), pod("probe-new", phase="Pending")]
    with pytest.raises(ClusterError, match="no pod of demo/probe runs"):
        probe(cluster).endpoint("https://10.89.0.1:1")


def test_a_token_goes_in_by_standard_input_and_never_as_an_argument() -> None:
    cluster = Executed(1, "401 Invalid token\n")
    answer = probe(cluster).call("https://10.89.0.1:10001", "spiffe://server.example/a", bearer="eyJsecret")
    assert answer == Answer(1, "401 Invalid token\n")
    assert cluster.given == "eyJsecret"
    assert cluster.asked[:4] == ("demo", "probe-new", "client", "/client")
    assert not any("eyJ" in argument for argument in cluster.asked)


@pytest.mark.parametrize(
    ("code", "text", "succeeded"),
    [(0, "Starting...\nSuccess!!!\n", True), (1, "Success!!!\n", False), (0, "Starting...\n", False)],
)
def test_a_call_has_succeeded_when_the_server_said_so_and_the_client_too(code: int, text: str, succeeded: bool) -> None:
    assert Answer(code, text).succeeded is succeeded
