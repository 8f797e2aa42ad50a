"""The links: of what is not ready, what is to be named and what only follows from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures import links, pods, spiffe
from fixtures.clusters import ClusterError
from fixtures.spire import AGENT, CSI_DRIVER, Spire

Read = Callable[[str], str]


def listed(*items: Any) -> Callable[..., Any]:
    return lambda *_, **__: SimpleNamespace(items=list(items))


def workload(name: str, ready: int) -> Any:
    status = SimpleNamespace(number_ready=ready, ready_replicas=ready)
    return SimpleNamespace(metadata=SimpleNamespace(name=name), spec=SimpleNamespace(replicas=1), status=status)


@pytest.fixture
def unready(monkeypatch: pytest.MonkeyPatch, recorded: Read) -> Callable[..., Spire]:
    """SPIRE on one node or more, whose agents are not ready; its server lists agents that are banned or not, or does not answer (None)."""
    monkeypatch.setattr(pods, "doomed", lambda *_, **__: None)
    monkeypatch.setattr(pods, "waits", lambda *_: " (Running)")
    monkeypatch.setattr(links, "why_unready", lambda *_: "something")

    def made(*banned: bool | None, nodes: int = 1) -> Spire:
        (agent,) = json.loads(recorded("agent-list.json"))["agents"]
        later = {**agent, "x509svid_expires_at": "4102444800"}

        def agents() -> list[spiffe.Agent]:
            if None in banned:
                raise ClusterError("server: no such pod")
            return spiffe.agents(json.dumps({"agents": [{**later, "banned": each} for each in banned]}))

        apps = SimpleNamespace(
            list_namespaced_stateful_set=listed(workload("spire-server", 1)),
            list_namespaced_daemon_set=listed(workload(AGENT, 0), workload(CSI_DRIVER, nodes)),
            list_namespaced_deployment=listed(),
        )
        cluster = SimpleNamespace(label="server", apps=apps, core=SimpleNamespace(list_node=listed(*range(nodes))))
        return cast(Spire, SimpleNamespace(cluster=cluster, agents=agents, failed_release=lambda: ""))

    return made


def test_a_banned_agent_is_named_for_its_ban_and_not_as_unready(unready: Callable[..., Spire]) -> None:
    spire = unready(True)
    assert list(links.components(spire)) == []
    (found,) = links.agents(spire)
    assert (found.link, "banned: spiffe://" in found.sentence) == ("agent attested", True)


@pytest.mark.parametrize("agents", [(), (False,), (True, False), (None,)])
def test_an_agent_that_is_not_ready_for_another_reason_is_named_as_unready(
    unready: Callable[..., Spire], agents: tuple[bool | None, ...]
) -> None:
    (found,) = links.components(unready(*agents))
    assert found.link == "component ready"
    assert found.sentence == f"DaemonSet spire-system/{AGENT} has 0 of 1 ready (Running)"


def test_a_ban_does_not_hide_that_another_nodes_agent_is_not_ready_for_another_reason(
    unready: Callable[..., Spire],
) -> None:
    (found,) = links.components(unready(True, False, nodes=2))
    assert found.sentence == f"DaemonSet spire-system/{AGENT} has 0 of 2 ready (Running)"
    assert list(links.components(unready(True, True, nodes=2))) == []
