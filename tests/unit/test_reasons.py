"""From recorded words of programs and objects to the link that is broken."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures import reasons
from fixtures.chain import LINKS
from fixtures.spiffe import Bundle
from fixtures.spire import CLASS_NAME

URL = "https://10.89.0.1:10001"
SERVER_ID = "spiffe://server.example/ns/demo/sa/default"
Read = Callable[[str], str]


def failed(text: str, *server_log: str) -> tuple[str, str, str, str]:
    found = reasons.failed_call(URL, SERVER_ID, text, server_log)
    assert found[0] in LINKS
    return found


def test_the_tutorials_alternate_audience_breaks_tls(recorded: Read) -> None:
    link, sentence, _, evidence = reasons.failed_call(
        URL,
        f"{SERVER_ID}-alternate",
        recorded("job-client-client-fail.log"),
        recorded("demo-server.log").splitlines()[-3:],
    )
    assert link == "TLS"
    assert sentence == f"the server presents {SERVER_ID}, and {SERVER_ID}-alternate is expected of it"
    assert "unexpected ID" in evidence
    assert "bad certificate" in evidence, "both sides' words are shown"


def test_a_wrong_audience_is_told_with_both(recorded: Read) -> None:
    refused = next(line for line in recorded("demo-server.log").splitlines() if "Invalid token" in line)
    link, sentence, _, _ = failed(recorded("job-client-client-wrong-audience.log"), refused)
    assert link == "audience"
    assert sentence == f"the server accepts {SERVER_ID}, and the token is for {SERVER_ID}-alternate"


@pytest.mark.parametrize(
    ("text", "server_log", "link", "words"),
    [
        ("401 Invalid token", ['Invalid token: jwtsvid: no JWT bundle found for trust domain "client.example"'], "JWT", "no JWT bundle found"),
        ("401 Invalid token", [], "JWT", "401 Invalid token"),
        ("unable to create X509Source: no identity within 3s: rpc error: code = PermissionDenied desc = no identity issued", [], "X.509 SVID", "no identity"),
        ("unable to create X509Source: no identity within 3s: dial unix /spiffe-workload-api/spire-agent.sock: connect: no such file or directory", [], "CSI socket", "not there"),
        ("unable to fetch SVID: rpc error: code = Unavailable desc = could not fetch JWT-SVID", [], "JWT", "no JWT-SVID"),
        (f'Get "{URL}": x509svid: could not verify leaf certificate: x509: certificate signed by unknown authority', [], "TLS", "certificate signed by unknown authority"),
        (f'Get "{URL}": dial tcp 10.89.0.1:10001: connect: connection refused', [], "server reachable", "refuses connections"),
        (f'Get "{URL}": dial tcp 10.89.0.1:10001: i/o timeout', [], "server reachable", "does not answer"),
        (f'Get "{URL}": EOF', [], "server reachable", "closes connections"),
    ],
)  # fmt: skip
def test_a_failed_call_breaks_the_link_that_its_words_are_about(
    text: str, server_log: list[str], link: str, words: str
) -> None:
    found = failed(text, *server_log)
    assert found[0] == link
    assert words in found[1]


@pytest.mark.parametrize(
    ("error", "link"),
    [
        ("unable to fetch X509-SVID: rpc error: code = PermissionDenied desc = no identity issued", "X.509 SVID"),
        ('unable to fetch X509-SVID: connection error: desc = "transport: Error while dialing: dial unix /spiffe-workload-api/spire-agent.sock: connect: connection refused"', "CSI socket"),
        ("unable to fetch JWT-SVID: rpc error: code = Unimplemented desc = JWT-SVIDs are disabled", "JWT"),
    ],
)  # fmt: skip
def test_a_failed_fetch_breaks_the_link_that_its_words_are_about(error: str, link: str) -> None:
    assert reasons.failed_fetch(error)[0] == link


def federation_object(**spec: str) -> dict[str, Any]:
    return {"metadata": {"name": "client-example"}, "spec": {"trustDomain": "client.example", **spec}}


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (None, "no ClusterFederatedTrustDomain for it"),
        (federation_object(), "client-example has no class name"),
        (federation_object(className="other"), "client-example has the class name other"),
        (federation_object(className=CLASS_NAME), "though ClusterFederatedTrustDomain client-example is there"),
    ],
)
def test_a_relationship_that_is_not_there_is_put_down_to_its_object(made: Any, words: str) -> None:
    sentence, cause, _ = reasons.no_relationship("client.example", made)
    assert words in sentence
    assert cause


def cluster_spiffe_id(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"className": CLASS_NAME, **spec}}


DEFAULT = cluster_spiffe_id("default", federatesWith=["client.example"], fallback=True)


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([], "no ClusterSPIFFEID is of the class"),
        ([cluster_spiffe_id("default", federatesWith=[])], "no ClusterSPIFFEID federates with client.example"),
        ([DEFAULT, cluster_spiffe_id("second")], "second selects the pod and does not federate"),
        ([DEFAULT], "no ClusterSPIFFEID that federates selects the pod"),
        ([{"metadata": {"name": "a"}, "spec": {"className": "other"}}], "no ClusterSPIFFEID is of the class"),
    ],
)
def test_an_entry_that_does_not_federate_is_put_down_to_the_objects_that_make_it(ids: Any, words: str) -> None:
    assert words in reasons.why_no_entry(ids, ["client.example"])
    assert len(reasons.described(ids).splitlines()) == len(ids)


@pytest.mark.parametrize(
    ("doomed", "item", "words"),
    [
        ("container a of b has no image: ErrImagePull", {}, "name or tag is wrong"),
        ("container a of b crashes (exit code 1)", {}, "configuration is refused"),
        ("StatefulSet a may not create its pods: forbidden", {}, "admission rule"),
        ("", {"desired": 0}, "node selector"),
        ("", {"replicas": 0}, "scaled down"),
        ("", {}, "still starting"),
    ],
)
def test_a_component_that_is_not_ready_has_a_usual_cause(doomed: str, item: dict[str, int], words: str) -> None:
    status = SimpleNamespace(desired_number_scheduled=item.get("desired"))
    controller = SimpleNamespace(status=status, spec=SimpleNamespace(replicas=item.get("replicas", 1)))
    assert words in reasons.why_unready(doomed, controller, 1)


def test_bundles_that_differ_are_told_by_what_is_lacking_and_what_is_left() -> None:
    old = Bundle(frozenset({"a" * 64}), frozenset({"key-1"}), 1, 60)
    new = Bundle(frozenset({"b" * 64}), frozenset({"key-1", "key-2"}), 2, 60)
    assert reasons.difference(old, new) == f"it lacks {'b' * 12}, key-2; it still has {'a' * 12}"
    assert reasons.difference(old, old) == ""
