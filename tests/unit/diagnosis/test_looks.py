"""Which links are looked at: those that the run has come to, on each cluster its own."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.diagnosis.chain import diagnose
from fixtures.diagnosis.finding import Finding
from fixtures.diagnosis.links import (
    cluster_links,
    component_links,
    endpoint_links,
    socket_links,
    spire_links,
    static_entry_links,
    web_links,
    webhook_links,
    workload_links,
)
from fixtures.diagnosis.testbed import Testbed

OF_SPIRE = (
    "cluster",
    "socket's folder",
    "socket's names",
    "components",
    "agents",
    "bundle for agents",
    static_entry_links.STATIC_ENTRIES,
    webhook_links.WEBHOOK,
    spire_links.FIELDS,
)
OF_FEDERATION = (
    *OF_SPIRE,
    "endpoint's Service",
    "forwards",
    "relationships and bundles",
    "endpoints",
)
OF_DEMO = (*OF_FEDERATION, "entries", "Workload API", web_links.WEB_SERVICES)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The parts of a run on two clusters, all links of which hold."""

    def nothing(*_: Any) -> Iterator[Finding]:
        yield from ()

    for module, names in {
        cluster_links: ["check_cluster"],
        component_links: ["check_components"],
        spire_links: ["check_agents", "check_published_bundle", "check_relationships", "check_entries", "check_fields"],
        endpoint_links: ["endpoint_service", "forwards", "check_endpoints"],
        workload_links: ["check_workload_api", "check_demo_server", "check_call"],
        web_links: ["check_web_services"],
        socket_links: ["check_socket_folder", "check_socket_names"],
        static_entry_links: ["check_static_entries"],
        webhook_links: ["check_webhook"],
    }.items():
        for name in names:
            monkeypatch.setattr(module, name, nothing)
    clusters = [SimpleNamespace(label=label) for label in ("server", "client")]
    spires = [SimpleNamespace(cluster=cluster) for cluster in clusters]
    demo = SimpleNamespace(server=spires[0], client=spires[1])
    return {"clusters": clusters, "spires": spires, "federation": SimpleNamespace(), "demo": demo}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["clusters"], {"server": ("cluster",), "client": ("cluster",)}),
        (["clusters", "spires"], {"server": OF_SPIRE, "client": OF_SPIRE}),
        (["clusters", "spires", "federation"], {"server": OF_FEDERATION, "client": OF_FEDERATION}),
        (
            ["clusters", "spires", "federation", "demo"],
            {"server": (*OF_DEMO, "server"), "client": (*OF_DEMO, "call")},
        ),
    ],
    ids=lambda parts: parts[-1] if isinstance(parts, list) else "",
)
def test_links_are_looked_at_as_far_as_the_run_has_come(
    run: dict[str, Any], parts: list[str], expected: dict[str, tuple[str, ...]]
) -> None:
    found = diagnose(Testbed(**{name: run[name] for name in parts}))
    assert (found.broken, found.unseen) == (None, ())
    assert found.looks == {(label, name) for label, names in expected.items() for name in names}


def test_only_one_cluster_has_spire(run: dict[str, Any]) -> None:
    found = diagnose(Testbed(run["clusters"], run["spires"][:1]))
    assert found.unseen == ()
    assert found.looks == {("client", "cluster"), *(("server", name) for name in OF_SPIRE)}


@pytest.mark.parametrize(
    ("state", "brief", "asked"),
    [
        ({}, True, False),
        ({}, False, True),
        # What is on its way, or follows from something else, may be all there is.
        ({"on_its_way": True}, True, True),
        ({"follows": True}, True, True),
    ],
)
def test_a_brief_look_spares_the_pods_calls_where_something_is_broken(
    run: dict[str, Any], monkeypatch: pytest.MonkeyPatch, state: dict[str, Any], brief: bool, asked: bool
) -> None:
    def broken(spire: Any) -> Iterator[Finding]:
        yield Finding("component ready", spire.cluster.label, "no pod is ready", "", **state)

    monkeypatch.setattr(component_links, "check_components", broken)
    looks = diagnose(Testbed(**run), brief=brief).looks
    assert {("client", "call"), ("server", "server"), ("client", "Workload API")} & looks == (
        {("client", "call"), ("server", "server"), ("client", "Workload API")} if asked else set()
    )
    assert ("client", "entries") in looks
