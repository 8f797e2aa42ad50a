"""The way to a bundle endpoint: its Service, the suite's forward, and a firewall between."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from fixtures.diagnosis import stalls
from fixtures.diagnosis.causes import WHY_ONLY_PODS_REACH_IT, is_of_configuration
from fixtures.diagnosis.finding import Finding
from fixtures.diagnosis.links import endpoint_links
from fixtures.k8s.cluster import Cluster
from fixtures.k8s.connectivity.load_balancer import NO_ADDRESS
from fixtures.k8s.connectivity.node_port import NodePort
from fixtures.k8s.connectivity.port_forward import PortForward
from fixtures.k8s.kind.network import KindNetwork
from fixtures.spire.api_types import Bundle, Relationship
from fixtures.spire.federation import Federation
from fixtures.workloads.demo import Demo
from fixtures.workloads.probe import Endpoint, ProbeError
from tests.unit.diagnosis.links.spire_objects import Objects
from tests.unit.k8s.connectivity.test_node_port import NOT_ADMITTED, Served
from tests.unit.own_chart import SERVER_NAMESPACE


@pytest.mark.parametrize("words", ["", "no port of Service identity/trust leads there (443 to api)"])
def test_an_endpoint_to_which_no_port_of_its_service_leads_is_named(objects: Objects, words: str) -> None:
    spire = objects.spire
    spire.layout = replace(spire.layout, bundle_endpoint=replace(spire.layout.bundle_endpoint, leads_elsewhere=words))
    found = list(endpoint_links.endpoint_service(spire))
    assert [(each.link, is_of_configuration(each.sentence, each.cause)) for each in found] == (
        [("endpoint reachable", True)] if words else []
    )
    assert all(each.sentence.endswith(f"listens on port 8443 of {spire.layout.server}, and {words}") for each in found)


def forward(*, is_opening: bool, opening_for: float = 1.0, words: str = "") -> PortForward:
    found = SimpleNamespace(
        is_opening=is_opening,
        opening_for=opening_for,
        slow_after=PortForward.slow_after,
        words=words,
        namespace=SERVER_NAMESPACE,
        target="svc/spire-server",
    )
    return cast(PortForward, found)


def found_of(objects: Objects, endpoint: PortForward, server: PortForward | None = None) -> list[Finding]:
    spire = objects.spire
    federation = cast(Federation, SimpleNamespace(forwards={spire.trust_domain: endpoint}))
    demo = cast(Demo, SimpleNamespace(forward=server, server=spire)) if server else None
    return list(endpoint_links.forwards(spire, federation, demo))


def test_a_forward_that_listens_or_is_not_to_is_not_broken(objects: Objects) -> None:
    assert found_of(objects, forward(is_opening=False), forward(is_opening=False)) == []


@pytest.mark.parametrize(("more", "on_its_way"), [(-0.1, True), (0.0, False)])
def test_a_forward_that_is_being_opened_for_long_is_broken(objects: Objects, more: float, on_its_way: bool) -> None:
    words = 'error: services "spire-server" not found'
    opening = forward(is_opening=True, opening_for=PortForward.slow_after + more, words=words)
    (found,) = found_of(objects, opening)
    assert (found.link, found.on_its_way) == ("endpoint reachable", on_its_way)
    assert found.sentence == f"the suite's forward to spire-server/svc/spire-server does not listen: {words}"
    (found,) = found_of(objects, forward(is_opening=False), opening)
    assert found.link == "server reachable"


def test_a_forward_to_a_port_that_its_service_does_not_have_is_broken_at_once(objects: Objects) -> None:
    words = "error: Service spire-server does not have a service port 8443"
    (found,) = found_of(objects, forward(is_opening=True, opening_for=0.1, words=words))
    assert not found.on_its_way


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (NOT_ADMITTED[0], "an admission policy or webhook of the cluster refuses the suite's Service: have that "),
        (NOT_ADMITTED[1], "an admission policy or webhook of the cluster refuses the suite's Service: have that "),
        (NOT_ADMITTED[2], "a quota of the namespace leaves no room for the suite's Service: have that Service allowed"),
        (
            'services "a" is forbidden: User "b" cannot patch resource "services" in API group "" in the namespace "c"',
            "the credentials of --context lack that right",
        ),
        (
            'Service "a" is invalid: spec.ports[0].nodePort: Invalid value: 31999: provided port is already allocated',
            "the API server does not take the suite's Service, for the reason in its words",
        ),
    ],
)
def test_a_service_of_the_suites_own_that_is_refused_is_broken_at_once_for_that(
    objects: Objects, words: str, cause: str
) -> None:
    (found,) = found_of(objects, forward(is_opening=True, opening_for=0.1, words=words))
    assert (found.link, found.on_its_way) == ("endpoint reachable", False)
    assert words in found.sentence
    assert found.cause.startswith(cause)


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (f"server: Service a/b: {NO_ADDRESS}", "nothing in the cluster makes load balancers"),
        ("server: no node has an InternalIP", "the cluster gives Services of type NodePort no address"),
        ("no pod that is ready is behind a/b", "the Service has no such port (is federation enabled?), or no pod that"),
    ],
)
def test_what_a_service_of_the_suites_own_lacks_may_be_on_its_way(objects: Objects, words: str, cause: str) -> None:
    (found,) = found_of(objects, forward(is_opening=True, opening_for=0.1, words=words))
    assert found.on_its_way
    assert found.cause.startswith(cause)


def test_what_is_between_is_named_where_a_ready_pod_is_behind_a_node_port_and_other_pods_do_not_reach_it() -> None:
    made = NodePort(cast(Cluster, Served(answers=[""])), "spire-server", "svc/spire-server", 8443)
    url = "https://10.89.0.90:31999"
    assert endpoint_links.firewall_cause(made, url) == ""
    made.open()
    found = endpoint_links.firewall_cause(made, url)
    assert found.startswith("a ready pod is behind NodePort spire-server/spire-server-node-port, so a firewall, a ")
    assert "keeps pods of this cluster from 10.89.0.90:31999" in found
    assert endpoint_links.firewall_cause(made, "https://10.89.0.1:8440") == "", "the object has another URL"


def test_a_forward_to_another_clusters_server_is_that_clusters(objects: Objects) -> None:
    opening = forward(is_opening=True)
    demo = cast(Demo, SimpleNamespace(forward=opening, server=SimpleNamespace()))
    federation = cast(Federation, SimpleNamespace(forwards={"client.example": opening}))
    assert list(endpoint_links.forwards(objects.spire, federation, demo)) == []


def listening_forward(port: int, *, subnet: str = "127.0.0.0/8") -> PortForward:
    """A forward at this port of this machine."""
    place = (cast(Cluster, None), SERVER_NAMESPACE, "svc/spire-server", 8443)
    return PortForward(*place, Path("log"), KindNetwork("127.0.0.1", subnet), address="127.0.0.1", port=port)


def test_a_firewall_is_named_where_a_forward_answers_on_this_machine_and_not_to_pods() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = endpoint_links.firewall_cause(listening_forward(port), f"https://127.0.0.1:{port}")
        assert found.startswith(f"127.0.0.1:{port} answers on this machine itself, so this machine's firewall (ufw, ")
        assert "`ufw allow from 127.0.0.0/8`, or give --connectivity=node-port" in found
        assert "ufw allow" not in endpoint_links.firewall_cause(
            listening_forward(port, subnet=""), f"https://127.0.0.1:{port}"
        )
        assert endpoint_links.firewall_cause(listening_forward(port), "https://127.0.0.1:1") == "", (
            "it is of another URL"
        )
    assert endpoint_links.firewall_cause(listening_forward(port), f"https://127.0.0.1:{port}") == ""
    assert endpoint_links.firewall_cause(None, f"https://127.0.0.1:{port}") == ""


@pytest.mark.parametrize(
    ("error", "is_ours", "words"),
    [
        ("", True, ""),
        ("dial tcp 10.96.1.2:8443: connect: connection refused", True, "refuses connections"),
        ("dial tcp 10.96.1.2:8443: i/o timeout", True, "does not answer"),
        ("dial tcp 10.96.1.2:8443: connect: connection refused", False, ""),
    ],
)
def test_an_endpoint_that_its_service_does_not_reach_is_named_after_all_else(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, error: str, is_ours: bool, words: str
) -> None:
    asked: list[str] = []

    def ask(url: str) -> None:
        asked.append(url)
        if error:
            raise ProbeError(error)

    spire = objects.spire
    spire.was_installed_by_run = is_ours
    monkeypatch.setattr(spire, "relationships", list, raising=False)
    probes = {spire.trust_domain: SimpleNamespace(endpoint=ask)}
    demo = cast(Demo, SimpleNamespace(probes=probes))
    found = list(endpoint_links.check_endpoints(spire, cast(Federation, SimpleNamespace(peers=lambda _: [])), demo))
    assert asked == (["https://spire-server.spire-server.svc:8443"] if is_ours else [])
    assert [(each.link, each.follows, words in each.sentence) for each in found] == (
        [("endpoint reachable", True, True)] if words else []
    )


REFUSED_PROXY = (
    'level=error msg="Error updating bundle" error="failed to fetch federated bundle from endpoint: failed to fetch '
    'bundle: Get \\"https://10.89.0.1:8440\\": proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused" '
    "subsystem_name=bundle_client trust_domain=peer.example"
)
REFRESHED = 'level=info msg="Bundle refreshed" subsystem_name=bundle_client trust_domain=peer.example'


OTHER_ERROR = f'{REFUSED_PROXY.partition("proxyconnect")[0]}x509: cannot validate" trust_domain=peer.example'


@pytest.mark.parametrize(
    ("lines", "on_its_way"),
    [
        ([REFUSED_PROXY] * 3, [False]),
        ([REFRESHED, *[REFUSED_PROXY] * 3], [False]),
        ([REFRESHED, *[REFUSED_PROXY] * 2], [True]),
        ([*[REFUSED_PROXY] * 3, REFRESHED], []),
        ([], []),
        # As of an object whose URL or profile was wrong, and is mended: the next attempt has not come.
        ([REFUSED_PROXY.replace("8440", "8441")] * 3, []),
        ([OTHER_ERROR] * 3, []),
        # As of a forward that was away, and is open again.
        ([*[REFUSED_PROXY] * 3, *["level=info msg=other"] * 25], []),
    ],
)
def test_an_endpoint_that_pods_reach_and_the_server_does_not_is_named(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, lines: list[str], on_its_way: list[bool]
) -> None:
    spire, url, bundle = objects.spire, "https://10.89.0.1:8440", Bundle(frozenset({"a"}), frozenset(), 1, None)
    relationship = Relationship("peer.example", url, "https_spiffe", "spiffe://peer.example/spire/server")
    objects.server_log = "".join(
        f'time="2026-11-23T09:59:{second:02}Z" {line}\n' for second, line in enumerate(lines, 60 - len(lines))
    )
    monkeypatch.setattr(spire, "relationships", lambda: [relationship], raising=False)
    monkeypatch.setattr(spire, "foreign_bundle", lambda _: bundle, raising=False)
    spire.was_installed_by_run = False
    endpoint = SimpleNamespace(refresh_hint=60.0)
    layout = SimpleNamespace(bundle_endpoint=endpoint)
    peer = SimpleNamespace(trust_domain="peer.example", bundle=lambda: bundle, layout=layout)
    answer = Endpoint("spiffe://peer.example/spire/server", {})
    demo = cast(Demo, SimpleNamespace(probes={spire.trust_domain: SimpleNamespace(endpoint=lambda _: answer)}))
    federation = cast(Federation, SimpleNamespace(peers=lambda _: [peer], forwards={}))
    found = list(endpoint_links.check_endpoints(spire, federation, demo))
    assert [each.on_its_way for each in found] == on_its_way
    for each in found:
        assert (each.link, each.cause, each.peer) == ("endpoint reachable", WHY_ONLY_PODS_REACH_IT, "peer.example")
        said = "answers pods of this cluster, and not the server: proxyconnect tcp: dial tcp 127.0.0.1:1: connect: "
        assert said in each.sentence


UNREACHED = ProbeError("unable to ask the endpoint: dial tcp: lookup spire.peer.example: no such host")
IMPOSTOR = Endpoint("spiffe://other.example/spire/server", {})


@pytest.mark.parametrize(
    ("is_ours", "refused", "seen", "links"),
    [
        (False, "", UNREACHED, []),
        (False, "", IMPOSTOR, []),
        (False, "client: i/o timeout", UNREACHED, ["endpoint reachable"]),
        (False, "client: i/o timeout", IMPOSTOR, ["endpoint identity"]),
        (True, "", UNREACHED, ["endpoint reachable"]),
    ],
)
def test_an_endpoint_that_the_server_alone_reaches_is_not_broken_for_spire_that_was_there_before(
    objects: Objects,
    monkeypatch: pytest.MonkeyPatch,
    is_ours: bool,
    refused: str,
    seen: Endpoint | ProbeError,
    links: list[str],
) -> None:
    spire, url = objects.spire, "https://spire.peer.example:30443"
    stored = Bundle(frozenset({"a"}), frozenset(), 1, None)
    relationship = Relationship("peer.example", url, "https_spiffe", "spiffe://peer.example/spire/server")
    monkeypatch.setattr(spire, "relationships", lambda: [relationship], raising=False)
    monkeypatch.setattr(spire, "foreign_bundle", lambda _: stored, raising=False)
    monkeypatch.setattr(spire, "refresh_error", lambda _, **__: refused, raising=False)
    spire.was_installed_by_run = is_ours

    def ask(asked: str) -> Endpoint:
        if asked != url:
            return IMPOSTOR
        if isinstance(seen, ProbeError):
            raise seen
        return seen

    shown = stored
    layout = SimpleNamespace(bundle_endpoint=SimpleNamespace(refresh_hint=60.0))
    peer = SimpleNamespace(trust_domain="peer.example", bundle=lambda: shown, layout=layout)
    demo = cast(Demo, SimpleNamespace(probes={spire.trust_domain: SimpleNamespace(endpoint=ask)}))
    federation = cast(Federation, SimpleNamespace(peers=lambda _: [peer], forwards={}))
    found = [each.link for each in endpoint_links.check_endpoints(spire, federation, demo)]
    assert found == links
    # That it is stale is said whoever reaches the endpoint: asked for it, the server takes the new one.
    shown = Bundle(frozenset({"b"}), frozenset(), 2, None)
    found = [each.link for each in endpoint_links.check_endpoints(spire, federation, demo)]
    assert found == (["bundle fresh"] if not links else [*links, *(["bundle fresh"] if seen is IMPOSTOR else [])])


def test_no_wait_ends_for_one_attempt_of_a_server() -> None:
    assert stalls.WALK_INTERVAL < endpoint_links.REFRESH_ANSWER_AGE < stalls.BROKEN_FOR
