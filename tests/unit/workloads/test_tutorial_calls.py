"""The tutorial's calls: each with what it changes of the client, and none before the tutorial's own has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.core.progress import Observation, observing
from fixtures.core.waiting import Condition, Look, wait_for
from fixtures.spire import api_types
from fixtures.workloads.jobs import JobOutcome
from fixtures.workloads.probe import Endpoint
from fixtures.workloads.tutorial_calls import TutorialCalls

SERVER_ID = "spiffe://server.example/ns/demo/sa/default"
WRONG = f"{SERVER_ID}-alternate"


class Demo:
    """A demo whose calls are remembered: name, whether the Job's own end is waited for, and what is changed."""

    def __init__(self) -> None:
        self.server_id = SERVER_ID
        self.client = SimpleNamespace(cluster=SimpleNamespace(label="client"))
        self.calls: list[tuple[str, bool, dict[str, str]]] = []
        self.first_may_end = threading.Event()
        self.fails = False
        self.probes: dict[str, Any] = {}

    def server_log(self) -> list[str]:
        return ["a line", "another"]

    def call(
        self, name: str, *, wait_for_job: bool = True, pod_ended: Callable[[], None] = lambda: None, **environment: str
    ) -> JobOutcome:
        self.calls.append((name, wait_for_job, environment))
        if name == "client":
            assert self.first_may_end.wait(60)
            if self.fails:
                raise RuntimeError("the API server is away")
            pod_ended()
        return JobOutcome(name, "Complete", (f"log of {name}",))


@pytest.fixture
def demo() -> Demo:
    return Demo()


@pytest.fixture
def started(demo: Demo) -> Iterator[Callable[..., TutorialCalls]]:
    """Starts the calls, of trust domains that federate in pairs; they are ended after the test."""
    made: list[TutorialCalls] = []

    def start(*pairs: Any) -> TutorialCalls:
        federation: Any = SimpleNamespace(pairs=pairs, endpoint_url=lambda trust_domain: f"https://{trust_domain}")
        made.append(TutorialCalls(cast(Any, demo), federation))
        return made[-1]

    yield start
    demo.first_may_end.set()
    for each in made:
        each.close()


def test_each_call_is_made_once_with_what_it_changes_after_the_tutorials_own(
    demo: Demo, started: Callable[..., TutorialCalls]
) -> None:
    calls = started()
    assert calls.after == 2
    assert calls.wrong_audience == WRONG
    wait_for(Condition("the first call", lambda: Look(bool(demo.calls) or None, "none")), 60, interval=0.01)
    demo.first_may_end.wait(0.2)  # in which no other is made
    assert [name for name, *_ in demo.calls] == ["client"]
    demo.first_may_end.set()
    seen: list[Observation] = []
    with observing(seen.append):
        assert calls.outcome("client-fail").log == "log of client-fail"
        for name in ("client", "client-no-bearer", "client-right-audience", "client-wrong-audience"):
            assert calls.outcome(name).name == name
    assert sorted(demo.calls) == [
        ("client", True, {}),
        ("client-fail", False, {"AUDIENCE": WRONG}),
        ("client-no-bearer", False, {"BEARER": "none"}),
        ("client-right-audience", False, {"AUDIENCE": SERVER_ID, "EXPECTED_SERVER_ID": SERVER_ID}),
        ("client-wrong-audience", False, {"AUDIENCE": WRONG, "EXPECTED_SERVER_ID": SERVER_ID}),
    ]
    assert (seen[0].what, seen[0].seen) == ("client: Job client-fail", "Complete\nlog of client-fail")


def test_a_call_of_the_tutorials_own_that_fails_lets_the_others_begin(
    demo: Demo, started: Callable[..., TutorialCalls]
) -> None:
    demo.fails = True
    calls = started()
    demo.first_may_end.set()
    assert calls.outcome("client-no-bearer").ended == "Complete"
    with pytest.raises(RuntimeError, match="the API server is away"):
        calls.outcome("client")


def test_every_bundle_endpoint_is_asked_from_its_peers_with_their_probes(
    demo: Demo, started: Callable[..., TutorialCalls], recorded: Callable[[str], str]
) -> None:
    document = recorded("bundle-show.json")
    asked: list[str] = []

    def endpoint(url: str) -> Endpoint:
        asked.append(url)
        return Endpoint("spiffe://server.example/spire/server", document)

    cluster = SimpleNamespace(label="client")
    demo.probes["client.example"] = SimpleNamespace(
        cluster=cluster, wait=lambda: asked.append("waited"), endpoint=endpoint
    )
    client: Any = SimpleNamespace(trust_domain="client.example", cluster=cluster)
    server: Any = SimpleNamespace(
        trust_domain="server.example",
        server_id="spiffe://server.example/spire/server",
        bundle=lambda: api_types.bundle(document),
    )
    calls = started((client, server))
    seen: list[Observation] = []
    with observing(seen.append):
        assert calls.endpoint(client, server).spiffe_id == "spiffe://server.example/spire/server"
    assert asked == ["waited", "https://server.example"]
    assert seen[0].what == "client: the bundle endpoint of server.example"
    assert seen[0].seen.startswith("presents spiffe://server.example/spire/server, and serves x509-svid ")
