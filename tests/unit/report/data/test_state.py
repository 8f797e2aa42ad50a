"""What is read of bundles at the end of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.diagnosis.testbed import Testbed
from fixtures.report.data.facts import Facts
from fixtures.report.data.state import read_state
from fixtures.spire import api_types
from fixtures.spire.server_cli import SpireError

REFRESHED = datetime.fromisoformat("2026-11-24T03:59:07Z").timestamp()  # by the recorded log, for the last time
SEEDED = REFRESHED - 200.0


def a_testbed(document: str, log: str, *, stored: bool = True) -> Testbed:
    """A server that federates with `client.example`: the recorded bundle is its own and, if `stored`, its peer's."""

    def foreign_bundle(trust_domain: str) -> api_types.Bundle:
        if not stored:
            raise SpireError(f"server stores no bundle of {trust_domain}")
        return api_types.bundle(document)

    spire = SimpleNamespace(
        cluster=SimpleNamespace(label="server"),
        trust_domain="server.example",
        bundle=lambda: api_types.bundle(document),
        server_log=lambda: log,
        foreign_bundle=foreign_bundle,
    )
    peer = SimpleNamespace(trust_domain="client.example")
    federation = SimpleNamespace(peers=lambda _: [peer], seeded_at=lambda *_: SEEDED)
    return Testbed([], cast(Any, [spire]), cast(Any, federation))


def test_a_bundle_has_its_fingerprints_and_the_age_since_it_was_taken_from_its_endpoint(
    recorded: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixtures.report.data.state.time", SimpleNamespace(time=lambda: REFRESHED + 90))
    document = json.dumps({**json.loads(recorded("bundle-show.json")), "spiffe_refresh_hint": 300})
    found = read_state(Facts(testbed=a_testbed(document, recorded("spire-server.log"))))
    own, foreign = found["bundles"]
    assert (own["trust_domain"], own["is_own"], own["age"]) == ("server.example", True, None)
    assert own["x509_authorities"] == sorted(api_types.bundle(document).x509_authorities)
    assert own["jwt_authorities"] == sorted(api_types.bundle(document).jwt_authorities)
    assert (own["sequence"], own["refresh_hint"]) == (api_types.bundle(document).sequence, 300)
    assert (foreign["trust_domain"], foreign["is_own"]) == ("client.example", False)
    assert (foreign["seeded"], foreign["refreshed"]) == (SEEDED, REFRESHED)
    assert foreign["age"] == 90.0
    assert [line["message"] for line in found["log_lines"]] == ["Bundle refreshed client.example"] * 2


def test_a_bundle_that_was_never_refreshed_is_as_old_as_its_seed(
    recorded: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixtures.report.data.state.time", SimpleNamespace(time=lambda: SEEDED + 90))
    found = read_state(Facts(testbed=a_testbed(recorded("bundle-show.json"), "")))
    foreign = found["bundles"][1]
    assert (foreign["seeded"], foreign["refreshed"]) == (SEEDED, None)
    assert foreign["age"] == 90.0


def test_a_bundle_that_is_not_there_is_left_out(recorded: Callable[[str], str]) -> None:
    found = read_state(Facts(testbed=a_testbed(recorded("bundle-show.json"), "", stored=False)))
    assert [each["trust_domain"] for each in found["bundles"]] == ["server.example"]


def test_of_a_run_that_came_to_no_cluster_there_is_nothing() -> None:
    assert read_state(Facts()) == {"bundles": [], "images": [], "events": [], "log_lines": [], "programs": {}}


def warning(namespace: str, name: str, **given: Any) -> dict[str, Any]:
    """An event as the API server has it."""
    return {
        "involvedObject": {"kind": "Pod", "name": name, "namespace": namespace},
        "metadata": {"creationTimestamp": "2026-11-24T04:00:00Z"},
        "reason": "BackOff",
        "message": f"of {name}",
        **given,
    }


def test_warnings_of_spires_and_the_demos_namespaces_are_kept_in_order_and_images_with_their_digests() -> None:
    events = [
        warning("spire-server", "last", lastTimestamp="2026-11-24T04:00:03Z", eventTime=None, count=3),
        warning("other", "of somebody else"),
        warning("demo", "second", eventTime="2026-11-24T04:00:01.500000Z", reason=None, message=None),
        warning("", "node", involvedObject={"kind": "Node", "name": "n"}),
    ]
    status = SimpleNamespace(name="main", image="a:1", image_id="registry.example/a@sha256:1")
    pod = SimpleNamespace(
        spec=SimpleNamespace(init_containers=None, containers=[SimpleNamespace(name="main")]),
        status=SimpleNamespace(init_container_statuses=None, container_statuses=[status]),
    )
    core = SimpleNamespace(
        list_event_for_all_namespaces=lambda **_: SimpleNamespace(data=json.dumps({"items": events})),
        list_namespaced_pod=lambda namespace, **_: SimpleNamespace(items=[pod] if namespace == "demo" else []),
    )
    cluster = cast(Any, SimpleNamespace(label="server", core=core, is_external=False))
    testbed = Testbed([cluster], demo=cast(Any, SimpleNamespace(namespace="demo")))
    testbed.spires = cast(Any, [SimpleNamespace(cluster=cluster, namespaces=lambda: ("spire-server",))])
    found = read_state(Facts(testbed=testbed))
    at = datetime.fromisoformat("2026-11-24T04:00:00Z").timestamp()
    assert [tuple(each.values()) for each in found["events"]] == [
        ("server", at, "Node n", "BackOff", "of node", 1),
        ("server", at + 1.5, "Pod second", "", "", 1),
        ("server", at + 3, "Pod last", "BackOff", "of last", 3),
    ]
    assert [*found["events"][0]] == ["cluster", "at", "object", "reason", "message", "count"]
    assert found["images"] == [{"cluster": "server", "container": "main", "image": "a:1", "digest": "sha256:1"}]
