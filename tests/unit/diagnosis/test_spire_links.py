"""The links: of what is not ready, what is to be named, what only follows from it, and what may be on its way."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.diagnosis import spire_links
from fixtures.diagnosis.causes import (
    CSI_CAUSE,
    WHY_ORPHANED,
    WHY_REFUSED,
    WHY_UNATTESTED,
    WHY_UNKNOWN_CALLER,
    WHY_UNMET,
    is_of_configuration,
)
from fixtures.diagnosis.finding import Finding
from fixtures.diagnosis.spire_links import NEW_POD, RECENT
from fixtures.k8s import failures
from fixtures.k8s.cluster import Cluster, ClusterError
from fixtures.k8s.connectivity.port_forward import PortForward
from fixtures.k8s.kind.network import KindNetwork
from fixtures.spire import api_types
from fixtures.spire.federation import Federation
from fixtures.spire.installation import Spire
from fixtures.spire.layout import Workload
from fixtures.workloads.demo import Demo
from fixtures.workloads.probe import ProbeError
from tests.unit import own_chart
from tests.unit.kubernetes_objects import (
    NOW,
    KubernetesObjects,
    container,
    controller,
    event,
    exited,
    node,
    pod,
    running,
    stamp,
    waits,
)
from tests.unit.own_chart import AGENT, CLASS_NAME, CSI_DRIVER, SERVER, SERVER_NAMESPACE, SYSTEM_NAMESPACE

Read = Callable[[str], str]
AGENT_POD = f"{AGENT}-x7k2p"
REFUSED = (
    'time="2026-11-23T09:59:55Z" level=warning msg="Failed to retrieve attestation result" error="failed to receive '
    "attestation "
    'response: rpc error: code = InvalidArgument desc = nodeattestor(k8s_psat): not configured for cluster \\"other\\""'
)
REFUSAL = (
    "Failed to retrieve attestation result: failed to receive attestation response: rpc error: code = "
    "InvalidArgument desc = "
    'nodeattestor(k8s_psat): not configured for cluster "other"'
)
RUNS = container(AGENT, running=running(NOW - 20), ready=False)


class Objects(KubernetesObjects):
    """A cluster with SPIRE, whose controllers may be unready; its server lists agents or does not answer (None)."""

    def __init__(self, recorded: Read) -> None:
        super().__init__()
        (agent,) = api_types.agents(recorded("agent-list.json"))
        self.attested = replace(agent, expires=int(NOW) + 3600)
        self.agents: list[api_types.AttestedAgent] | None = [self.attested]
        self.status, self.failed, self.server_log = "deployed", "", ""
        self.installed_by_run, self.revision = True, 1

    def with_spire(self, *, server: int = 1, agents: int = 1, drivers: int = 1, nodes: int = 1) -> Spire:
        for number in range(nodes):
            node(self, f"node-{number}")
        counts = {"readyReplicas": server, "updatedReplicas": 1}
        controller(self, "StatefulSet", SERVER, status=counts)
        for name, ready in ((AGENT, agents), (CSI_DRIVER, drivers)):
            wanted = {"desiredNumberScheduled": nodes, "updatedNumberScheduled": nodes}
            controller(self, "DaemonSet", name, SYSTEM_NAMESPACE, status={"numberReady": ready, **wanted})
        return self.spire

    def of_agent(self, *statuses: dict[str, Any]) -> None:
        """The agent's pod, with these containers."""
        pod(self, *statuses, name=AGENT_POD, namespace=SYSTEM_NAMESPACE, owner=("DaemonSet", AGENT))

    def of_oidc_provider(self, *statuses: dict[str, Any], **fields: Any) -> Any:
        """The pod of an OIDC discovery provider `oidc`, with these containers, beside a SPIRE that is ready."""
        self.with_spire()
        controller(self, "Deployment", "oidc")
        return pod(self, *statuses, name="oidc-1-x", owner=("ReplicaSet", "oidc-1"), **fields)

    def of_server(self, since: float = NOW - 600) -> None:
        """The server's pod, whose container runs since then (Unix seconds)."""
        pod(self, container(SERVER, running=running(since)))

    def _workloads(self) -> tuple[Workload, ...]:
        """The release's, as far as they are there; and the Deployments that a test has added."""
        of_release = [each for each in own_chart.LAYOUT.workloads if each.kind != "Deployment"]
        added = [item["metadata"]["name"] for kind, item in self.objects if kind == "Deployment"]
        deployments = [Workload("Deployment", SERVER_NAMESPACE, name, {}, {}, ()) for name in added]
        return (*of_release, *deployments)

    @property
    def spire(self) -> Spire:
        def agents() -> list[api_types.AttestedAgent]:
            if self.agents is None:
                raise ClusterError("server: no such pod")
            return self.agents

        found = SimpleNamespace(
            cluster=self,
            entries=list,
            was_installed_by_run=self.installed_by_run,
            revision=self.revision,
            agents=agents,
            failed_revision=lambda: self.failed,
            release_status=self.status,
            server_log=lambda: self.server_log,
            layout=replace(own_chart.LAYOUT, workloads=self._workloads()),
            namespaces=lambda: own_chart.LAYOUT.namespaces,
            trust_domain="server.example",
            federates_with=("client.example",),
        )
        found.agent_pods = lambda: Spire.agent_pods(cast(Spire, found))
        found.refusals = lambda since: Spire.refusals(cast(Spire, found), since)
        return cast(Spire, found)


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch, recorded: Read) -> Objects:
    """A cluster with nothing in it, at `NOW`."""
    clock = SimpleNamespace(time=lambda: NOW, monotonic=lambda: NOW)
    for module in (failures, spire_links):
        monkeypatch.setattr(module, "time", clock)
    return Objects(recorded)


def sentences(found: Any) -> list[str]:
    return [finding.sentence for finding in found]


def test_where_all_is_ready_nothing_is_found(objects: Objects) -> None:
    spire = objects.with_spire()
    assert list(spire_links.check_components(spire)) == []
    assert list(spire_links.check_agents(spire)) == []


def test_a_banned_agent_is_named_for_its_ban_and_not_as_unready(objects: Objects) -> None:
    objects.agents = [replace(objects.attested, banned=True)]
    spire = objects.with_spire(agents=0)
    assert list(spire_links.check_components(spire)) == []
    (found,) = spire_links.check_agents(spire)
    assert (found.link, "banned: spiffe://" in found.sentence, found.on_its_way) == ("agent attested", True, False)


@pytest.mark.parametrize("banned", [(), (False,), (True, False), None], ids=str)
def test_an_agent_that_is_not_ready_for_another_reason_is_named_as_unready(
    objects: Objects, banned: tuple[bool, ...] | None
) -> None:
    objects.agents = None if banned is None else [replace(objects.attested, banned=each) for each in banned]
    objects.of_agent(RUNS)
    (found,) = spire_links.check_components(objects.with_spire(agents=0))
    assert found.link == "component ready"
    assert found.sentence == (
        f"DaemonSet spire-system/{AGENT} has 0 of 1 ready: container {AGENT} of pod {AGENT_POD} runs and is not ready"
    )
    assert found.on_its_way


def test_a_ban_does_not_hide_that_another_nodes_agent_is_not_ready_for_another_reason(objects: Objects) -> None:
    banned = replace(objects.attested, banned=True)
    objects.agents = [banned, objects.attested]
    objects.of_agent(RUNS)
    spire = objects.with_spire(agents=0, nodes=2, drivers=2)
    (found,) = spire_links.check_components(spire)
    assert found.sentence.startswith(f"DaemonSet spire-system/{AGENT} has 0 of 2 ready: ")
    objects.agents = [banned, banned]
    assert list(spire_links.check_components(spire)) == []


def test_an_agent_that_its_server_refuses_is_named_for_that_with_both_sides_words(objects: Objects) -> None:
    objects.agents = []
    objects.of_server()
    objects.of_agent(RUNS)
    for seconds in (12, 8, 2):
        objects.log(f"{AGENT_POD}/{AGENT}", REFUSED, at=NOW - seconds)
    objects.server_log = (
        'time="2026-11-23T09:59:55Z" level=info msg="Node attestation request received"\n'
        'time="2026-11-23T09:59:55Z" level=error msg="Nodeattestor(k8s_psat): not configured for cluster '
        '\\"other\\"" method=AttestAgent\n'
        'time="2026-11-23T09:59:56Z" level=error msg="Failed to sign" error=another\n'
    )
    spire = objects.with_spire(agents=0)
    assert list(spire_links.check_components(spire)) == []
    (found,) = spire_links.check_agents(spire)
    assert found.link == "agent attested"
    assert found.sentence == f"0 of 1 agents are attested; an agent is refused: {REFUSAL}"
    assert found.cause == WHY_REFUSED
    assert found.evidence.splitlines() == ["agent list: none", objects.server_log.splitlines()[1]]
    assert not found.on_its_way


def test_an_agent_that_is_refused_is_named_though_it_was_attested_before(objects: Objects) -> None:
    objects.of_server()
    objects.of_agent(RUNS)
    for seconds in (12, 8, 2):
        objects.log(f"{AGENT_POD}/{AGENT}", REFUSED, at=NOW - seconds)
    (found,) = spire_links.check_agents(objects.with_spire(agents=0))
    assert found.sentence == f"1 of 1 agents are attested; an agent is refused: {REFUSAL}"


# As SPIRE's agent (1.15) logs it.
ATTESTED_LINE = (
    'time="2026-11-23T09:59:59Z" level=info msg="Node attestation was successful" reattestable=true '
    'spiffe_id="spiffe://server.example/spire/agent/k8s_psat/server/x"'
)


@pytest.mark.parametrize(
    ("server_since", "attested", "counts"),
    [(NOW - 60, False, True), (NOW - 1, False, False), (None, False, False), (NOW - 60, True, False)],
    ids=["refused", "by the server before", "the server is away", "attested since"],
)
def test_a_refusal_counts_until_the_server_is_another_one_or_has_attested_the_agent_after_all(
    objects: Objects, server_since: float | None, attested: bool, counts: bool
) -> None:
    if server_since is not None:
        objects.of_server(server_since)
    objects.of_agent(RUNS)
    for seconds in (12, 8, 2):
        objects.log(f"{AGENT_POD}/{AGENT}", REFUSED, at=NOW - seconds)
    if attested:
        objects.log(f"{AGENT_POD}/{AGENT}", ATTESTED_LINE, at=NOW - 1)
    found = objects.with_spire(agents=0).refusals(0.0)
    assert bool(found) is counts


def test_an_agent_that_is_refused_again_after_it_attested_is_refused(objects: Objects) -> None:
    objects.of_server()
    objects.of_agent(RUNS)
    objects.log(f"{AGENT_POD}/{AGENT}", ATTESTED_LINE, at=NOW - 20)
    objects.log(f"{AGENT_POD}/{AGENT}", REFUSED, at=NOW - 10)
    (found,) = objects.with_spire(agents=0).refusals(0.0)
    assert found.at == pytest.approx(NOW - 10, abs=0.01)


def test_an_agent_that_does_not_reach_its_server_is_not_refused(objects: Objects) -> None:
    objects.agents = []
    objects.of_agent(RUNS)
    for seconds in (12, 8, 2):
        line = REFUSED.replace("not configured for", "dial tcp 10.96.0.1:443: connect: connection refused:")
        objects.log(f"{AGENT_POD}/{AGENT}", line, at=NOW - seconds)
    spire = objects.with_spire(agents=0)
    (component,) = spire_links.check_components(spire)
    assert "connection refused" in component.sentence
    (found,) = spire_links.check_agents(spire)
    assert (found.sentence, found.on_its_way) == ("0 of 1 agents are attested", True)


def test_a_ready_agent_that_is_not_attested_is_broken(objects: Objects) -> None:
    objects.agents = [replace(objects.attested, expires=int(NOW) - 1)]
    objects.of_agent(container(AGENT, running=running()))
    (found,) = spire_links.check_agents(objects.with_spire())
    assert (found.sentence, found.on_its_way) == ("0 of 1 agents are attested", False)


CRASHES = container(AGENT, 5, {"terminated": exited(1, NOW - 5)}, waiting=waits("CrashLoopBackOff"))


@pytest.mark.parametrize("server", [0, 1])
def test_a_crash_of_what_needs_another_component_may_be_for_that(objects: Objects, server: int) -> None:
    objects.of_agent(CRASHES)
    pod(objects, container(SERVER, running=running(NOW - 30), ready=bool(server)), name="spire-server-0")
    found = list(spire_links.check_components(objects.with_spire(server=server, agents=0)))
    crash = next(each for each in found if AGENT in each.sentence)
    assert "crashes (exit code 1, 5 restarts)" in crash.sentence
    assert crash.on_its_way is not bool(server)
    assert len(found) == 2 - server


def test_the_servers_own_words_are_given_where_its_bundle_is_missing(objects: Objects) -> None:
    objects.of_agent(container(AGENT, waiting=waits("ContainerCreating")))
    pod(objects, container(SERVER, running=running()), name="spire-server-0")
    message = 'MountVolume.SetUp failed for volume "spire-bundle" : configmap "spire-bundle" not found'
    event(objects, "Pod", AGENT_POD, "FailedMount", message, namespace=SYSTEM_NAMESPACE)
    objects.server_log = (
        'time="2026-11-23T09:59:55Z" level=error msg="Notifier failed to handle event" '
        'error="forbidden" notifier=k8sbundle\n'
    )
    (found,) = spire_links.check_components(objects.with_spire(agents=0))
    assert found.sentence.endswith(f"{message}; the server logs: Notifier failed to handle event: forbidden")
    assert not found.on_its_way


def test_a_release_that_failed_before_it_came_to_its_components_is_the_reason_that_they_are_not_there(
    objects: Objects,
) -> None:
    objects.status, objects.failed = "failed", 'revision 2: pre-upgrade hooks failed: namespaces "identity" not found'
    found = sentences(spire_links.check_components(objects.spire))
    assert found[0] == f"Helm's release spire has failed: {objects.failed}"
    assert found[1] == f"there is no StatefulSet spire-server/{SERVER}"
    assert found.count(found[0]) == 1


@pytest.mark.parametrize(
    ("revision", "ready_for", "logged", "on_its_way"),
    [
        # As seen on chart 0.30.0: a server with its authorities in its datastore publishes them 30 s after its start.
        (2, 20, "", True),
        (2, 50, "", False),
        (2, 20, 'level=error msg="Failed to publish bundle" BundlePublisher=k8s_configmap error="forbidden"', False),
        (1, 20, "", False),
    ],
)
def test_an_upgraded_servers_bundle_in_a_renamed_config_map_may_come_after_half_a_minute(
    objects: Objects, revision: int, ready_for: float, logged: str, on_its_way: bool
) -> None:
    objects.revision, objects.server_log = revision, logged
    objects.of_agent(container(AGENT, waiting=waits("ContainerCreating")))
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": stamp(NOW - ready_for)}
    pod(objects, container(SERVER, running=running()), conditions=[ready])
    message = 'MountVolume.SetUp failed for volume "spire-bundle" : configmap "spire-bundle" not found'
    event(objects, "Pod", AGENT_POD, "FailedMount", message, namespace=SYSTEM_NAMESPACE)
    (found,) = spire_links.check_components(objects.with_spire(agents=0))
    assert found.on_its_way is on_its_way
    assert ("the server logs: Failed to publish bundle: forbidden" in found.sentence) is bool(logged)


@pytest.mark.parametrize(
    ("status", "on_its_way"), [("", True), ("pending-install", True), ("deployed", False), ("failed", False)]
)
def test_a_component_that_is_not_there_may_come_while_helm_installs(
    objects: Objects, status: str, on_its_way: bool
) -> None:
    objects.status = status
    found = list(spire_links.check_components(objects.spire))
    assert sentences(found) == [
        f"there is no StatefulSet spire-server/{SERVER}",
        f"there is no DaemonSet spire-system/{AGENT}",
        f"there is no DaemonSet spire-system/{CSI_DRIVER}",
    ]
    assert {each.on_its_way for each in found} == {on_its_way}


def job(objects: Objects, **status: Any) -> None:
    objects.add("Job", "hook", SERVER_NAMESPACE, status=status)


def hook_pod(objects: Objects, *statuses: dict[str, Any]) -> None:
    # A Job's pod that is not started again has failed where a container has.
    phase = "Failed" if any("terminated" in each["state"] for each in statuses) else ""
    pod(objects, *statuses, name="hook-x", owner=("Job", "hook"), phase=phase)


@pytest.mark.parametrize(("ready", "is_found"), [(1, False), (0, True)])
def test_while_a_hook_runs_before_the_installation_nothing_is_missing(
    objects: Objects, ready: int, is_found: bool
) -> None:
    objects.status = "pending-install"
    job(objects, active=1, ready=ready)
    hook_pod(objects, container(running=running()))
    assert bool(list(spire_links.check_components(objects.spire))) is is_found


@pytest.mark.parametrize(
    ("status", "statuses", "words", "on_its_way"),
    [
        ({"succeeded": 1}, [container(terminated=exited(0))], None, False),
        ({"active": 1, "ready": 1}, [container(running=running())], None, False),
        ({"active": 1, "failed": 1}, [container(terminated=exited(1))], "has failed 1 times", True),
        ({"failed": 2}, [container(terminated=exited(1))], "has failed 2 times", False),
        (
            {"active": 1},
            [container(waiting=waits("ImagePullBackOff", "localhost/main:v1: not found"))],
            "container main of pod hook-x has no image: localhost/main:v1: not found",
            False,
        ),
        (
            {"active": 1},
            [container(waiting=waits("ContainerCreating"))],
            "container main of pod hook-x is being started (ContainerCreating)",
            True,
        ),
    ],
    ids=["succeeded", "runs", "fails", "failed", "no image", "starts"],
)
def test_a_hook_that_fails_or_does_not_start_is_named(
    objects: Objects, status: dict[str, int], statuses: list[dict[str, Any]], words: str | None, on_its_way: bool
) -> None:
    spire = objects.with_spire()
    job(objects, **status)
    hook_pod(objects, *statuses)
    objects.log("hook-x/main", "kubectl: command not found")
    found = list(spire_links.check_components(spire))
    assert [(each.sentence, each.on_its_way) for each in found] == (
        [(f"Job spire-server/hook {words}", on_its_way)] if words else []
    )
    if "failed" in status:
        assert found[0].evidence == "    kubectl: command not found"


def test_a_failed_release_is_named_with_helms_words(objects: Objects) -> None:
    objects.failed = "revision 2: pre-upgrade hooks failed: job failed:\n  BackoffLimitExceeded"
    (found,) = spire_links.check_components(objects.with_spire())
    expected = "Helm's release spire has failed: revision 2: pre-upgrade hooks failed: job failed: BackoffLimitExceeded"
    assert (found.sentence, found.evidence) == (expected, objects.failed)


@pytest.mark.parametrize(
    ("endpoints", "leads"), [([{"conditions": {"ready": True}}], True), ([{"conditions": {"ready": False}}], False)]
)
def test_a_service_without_a_ready_pod_is_named_where_all_else_is_ready(
    objects: Objects, endpoints: list[dict[str, Any]], leads: bool
) -> None:
    objects.add("Service", SERVER, spec={"selector": {"app": "server"}})
    objects.add("Service", "without-selector", spec={})
    labels = {"labels": {"kubernetes.io/service-name": SERVER}}
    slice_endpoints = [{**each, "addresses": ["10.244.0.5"]} for each in endpoints]
    objects.add("EndpointSlice", f"{SERVER}-x", metadata=labels, addressType="IPv4", endpoints=slice_endpoints)
    # The API server has null where there is none.
    objects.add("EndpointSlice", f"{SERVER}-y", metadata=labels, addressType="IPv6", endpoints=None)
    found = sentences(spire_links.check_components(objects.with_spire()))
    assert found == ([] if leads else [f"Service spire-server/{SERVER} leads to no pod"])
    # Where SPIRE was there before the run, its own Services are looked at, and no neighbour's.
    objects.installed_by_run = False
    objects.add("Service", "neighbour", spec={"selector": {"app": "neighbour"}})
    assert sentences(spire_links.check_components(objects.spire)) == found
    objects.remove("StatefulSet")
    assert not any("leads to no pod" in each for each in sentences(spire_links.check_components(objects.spire)))


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
    return list(spire_links.forwards(spire, federation, demo))


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


def test_a_forward_to_another_clusters_server_is_that_clusters(objects: Objects) -> None:
    opening = forward(is_opening=True)
    demo = cast(Demo, SimpleNamespace(forward=opening, server=SimpleNamespace()))
    federation = cast(Federation, SimpleNamespace(forwards={"client.example": opening}))
    assert list(spire_links.forwards(objects.spire, federation, demo)) == []


def federation(*, is_made: bool = True, rejection: str = "") -> Federation:
    """A federation with client.example, whose object this run has made or not, or which the API server did not take."""
    peer = SimpleNamespace(trust_domain="client.example")
    found = SimpleNamespace(peers=lambda _: [peer], has_been_made=lambda *_: is_made, rejection=lambda *_: rejection)
    return cast(Federation, found)


@pytest.mark.parametrize(("age", "on_its_way"), [(NEW_POD - 1, True), (NEW_POD + 1, False)])
def test_a_new_pods_entry_may_be_on_its_way(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, age: float, on_its_way: bool
) -> None:
    spire = objects.spire
    monkeypatch.setattr(spire, "entries", list, raising=False)
    made = pod(objects, container(running=running()), name="server-1-x", namespace="demo")
    assert made.status.start_time.timestamp() == NOW - 120
    objects.objects[-1][1]["status"]["startTime"] = stamp(NOW - age)
    objects.add("ClusterSPIFFEID", "default", spec={"className": CLASS_NAME, "federatesWith": ["client.example"]})
    (found,) = spire_links.check_entries(spire, cast(Demo, SimpleNamespace(namespace="demo")), federation())
    assert (found.sentence, found.on_its_way) == ("pod demo/server-1-x has no entry", on_its_way)
    assert not found.follows
    # Without a bundle of each that it names there is no entry: the federation that was not made is the reason.
    unmade = federation(is_made=False)
    (found,) = spire_links.check_entries(spire, cast(Demo, SimpleNamespace(namespace="demo")), unmade)
    assert found.follows


def test_a_new_pods_entry_is_not_on_its_way_where_what_makes_it_is_of_another_class(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    spire = objects.spire
    monkeypatch.setattr(spire, "entries", list, raising=False)
    pod(objects, container(running=running()), name="server-1-x", namespace="demo")
    objects.objects[-1][1]["status"]["startTime"] = stamp(NOW - 1)
    objects.add("ClusterSPIFFEID", "default", spec={"className": "other", "federatesWith": ["client.example"]})
    (found,) = spire_links.check_entries(spire, cast(Demo, SimpleNamespace(namespace="demo")), federation())
    assert (found.on_its_way, "default (class other)" in found.cause) == (False, True)


AGENT_ID, NODE_ALIAS = "spiffe://server.example/spire/agent/k8s_psat/server/uid", "spiffe://server.example/nodes"


@pytest.mark.parametrize(
    ("parent", "is_given"),
    [
        (AGENT_ID, True),
        (NODE_ALIAS, True),
        ("spiffe://server.example/spire/agent/k8s_psat/elsewhere/uid", False),
    ],
)
def test_an_entry_whose_parent_is_no_agent_is_given_to_nobody(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, parent: str, is_given: bool
) -> None:
    spire = objects.spire
    made = pod(objects, container(running=running()), name="server-1-x", namespace="demo")
    entries = [
        api_types.Entry("1", NODE_ALIAS, "spiffe://server.example/spire/server", ("k8s_psat:cluster:server",), ()),
        api_types.Entry(
            "2", "spiffe://server.example/of/another", "spiffe://server.example/gone", ("k8s:pod-uid:another",), ()
        ),
        api_types.Entry("3", "spiffe://server.example/x", parent, (f"k8s:pod-uid:{made.metadata.uid}",), ()),
    ]
    monkeypatch.setattr(spire, "entries", lambda: entries, raising=False)
    monkeypatch.setattr(spire, "agents", lambda: [replace(objects.attested, spiffe_id=AGENT_ID)])
    found, why = spire_links.useless_entry(spire, "demo")
    assert (bool(found), why == WHY_ORPHANED) == (not is_given, not is_given)
    if found:
        assert found == (
            f"the entry spiffe://server.example/x has the parent {parent}, which is the ID of no agent ({AGENT_ID})"
        )
        assert is_of_configuration(found, "")
    monkeypatch.setattr(spire, "agents", list)
    assert spire_links.useless_entry(spire, "demo") == ("", "")


def test_an_entry_of_a_pod_is_useless_where_agents_do_not_know_of_pods(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    spire = objects.spire
    made = pod(objects, container(running=running()), name="server-1-x", namespace="demo")
    entries = [api_types.Entry("1", "spiffe://server.example/x", AGENT_ID, (f"k8s:pod-uid:{made.metadata.uid}",), ())]
    monkeypatch.setattr(spire, "entries", lambda: entries, raising=False)
    monkeypatch.setattr(spire, "agents", lambda: [replace(objects.attested, spiffe_id=AGENT_ID)])
    assert spire_links.useless_entry(spire, "demo") == ("", "")
    agents = tuple(replace(each, workload_attestors=("unix",)) for each in spire.layout.agents)
    spire.layout = replace(spire.layout, agents=agents)
    found, why = spire_links.useless_entry(spire, "demo")
    assert found.endswith("is for a pod, and the agents have no workload attestor k8s (unix)")
    assert is_of_configuration(found, why)


@pytest.mark.parametrize(
    ("selectors", "unmet"),
    [
        (["k8s:ns:demo", "k8s:container-name:main", "k8s:pod-label:app:demo"], []),
        (["k8s:pod-image-count:1"], []),  # not to be known from the pod alone
        (["k8s:container-name:app"], ["k8s:container-name:app"]),
        (["k8s:ns:demo", "k8s:pod-label:app:other"], ["k8s:pod-label:app:other"]),
        (["unix:uid:1000"], ["unix:uid:1000"]),  # of an attestor that agents do not have
    ],
)
def test_an_entry_that_asks_for_what_no_container_of_its_pod_has_is_named_with_it(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, selectors: list[str], unmet: list[str]
) -> None:
    spire = objects.spire
    made = pod(objects, container(running=running()), name="server-1-x", namespace="demo")
    objects.objects[-1][1]["metadata"]["labels"] = {"app": "demo"}
    own = f"k8s:pod-uid:{made.metadata.uid}"
    entry = api_types.Entry("1", "spiffe://server.example/x", AGENT_ID, (own, *selectors), ())
    monkeypatch.setattr(spire, "entries", lambda: [entry], raising=False)
    monkeypatch.setattr(spire, "agents", lambda: [replace(objects.attested, spiffe_id=AGENT_ID)])
    found, why = spire_links.useless_entry(spire, "demo")
    assert (bool(found), why == WHY_UNMET) == (bool(unmet), bool(unmet))
    if unmet:
        assert found.endswith(f" asks for {unmet[0]}, which no container of pod demo/server-1-x has")
        assert is_of_configuration(found, "")
    # Of several entries one is enough.
    monkeypatch.setattr(spire, "entries", lambda: [entry, replace(entry, selectors=(own,))], raising=False)
    assert spire_links.useless_entry(spire, "demo") == ("", "")


@pytest.mark.parametrize(
    ("parent", "driver", "words", "is_certain"),
    [
        ("spiffe://server.example/spire/agent/k8s_psat/elsewhere/uid", "csi.spiffe.io", "is the ID of no agent", True),
        ("", "csi.spiffe.io", "it has no entry", False),  # for long: the pod is two minutes old
        (AGENT_ID, "csi.spiffe.io", "runs and is not ready", False),
        ("", "another.csi", "runs and is not ready", False),
    ],
)
def test_a_workload_that_waits_for_its_identity_without_a_word_is_put_down_to_its_entry(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, parent: str, driver: str, words: str, is_certain: bool
) -> None:
    volume = {"name": "workload-api", "csi": {"driver": driver, "readOnly": True}}
    waiting = {**container("init", running=running(NOW - 60)), "ready": False}
    made = objects.of_oidc_provider(waiting, volumes=[volume])
    spire = objects.spire
    selector = f"k8s:pod-uid:{made.metadata.uid}"
    entries = [api_types.Entry("1", "spiffe://server.example/x", parent, (selector,), ())] if parent else []
    monkeypatch.setattr(spire, "entries", lambda: entries)
    monkeypatch.setattr(spire, "agents", lambda: [replace(objects.attested, spiffe_id=AGENT_ID)])
    found = next(iter(spire_links.check_components(spire)))
    assert words in found.sentence
    assert ("entry" in found.sentence) is ("entry" in words or is_certain)
    assert is_of_configuration(found.sentence, "") is is_certain
    assert found.on_its_way is ("entry" not in found.sentence)


@pytest.mark.parametrize("is_there", [True, False])
def test_agents_that_ask_at_a_service_that_is_not_there_are_put_down_to_that(objects: Objects, is_there: bool) -> None:
    spire = objects.with_spire(agents=0)
    address = "spire-servers.spire-server"
    agents = tuple(replace(each, server_address=address) for each in spire.layout.agents)
    spire.layout = replace(spire.layout, agents=agents)
    if is_there:
        objects.add("Service", "spire-servers", SERVER_NAMESPACE, spec={"ports": []})
    objects.of_agent({**container(AGENT, running=running(NOW - 60)), "ready": False})
    line = 'level=error msg="Failed to retrieve attestation result" error="code = Unavailable: no children to pick"'
    objects.log(f"{AGENT_POD}/{AGENT}", line, at=NOW - 5)
    found = next(iter(spire_links.check_components(spire)))
    words = f"its server_address is {address}, and there is no Service spire-server/spire-servers"
    assert (words in found.sentence) is not is_there
    assert is_there or not found.on_its_way
    assert is_of_configuration(found.sentence, "") is not is_there


@pytest.mark.parametrize("missed", ["", "/tmp/spire-server/private/other.sock"])  # noqa: S108
def test_a_controller_manager_that_looks_for_another_socket_is_not_on_its_way(objects: Objects, missed: str) -> None:
    spire = objects.with_spire(server=0)
    manager = replace(spire.layout.controller_manager, missed_socket=missed)
    spire.layout = replace(spire.layout, controller_manager=manager)
    name = manager.container.name
    unready = {**container(name, running=running(NOW - 5)), "ready": False}
    pod(objects, container(SERVER, running=running(NOW - 5)), unready, owner=("StatefulSet", SERVER))
    found = next(iter(spire_links.check_components(spire)))
    assert f"container {name} of pod" in found.sentence
    assert ("it dials /tmp/spire-server/private/other.sock" in found.sentence) is bool(missed)
    assert found.on_its_way is not bool(missed)
    assert is_of_configuration(found.sentence, "") is bool(missed)


@pytest.mark.parametrize("stored", [True, False])
def test_a_third_party_without_a_bundle_is_named_where_it_keeps_an_entry_from_being_made(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    spire = objects.spire
    monkeypatch.setattr(spire, "entries", list, raising=False)
    monkeypatch.setattr(spire, "stores_bundle", lambda name: stored or name != "third.example", raising=False)
    pod(objects, container(running=running()), name="server-1-x", namespace="demo")
    named = ["client.example", "third.example"]
    objects.add("ClusterSPIFFEID", "default", spec={"className": CLASS_NAME, "federatesWith": named})
    (found,) = spire_links.check_entries(spire, cast(Demo, SimpleNamespace(namespace="demo")), federation())
    words = ": a ClusterSPIFFEID names third.example, whose bundle the server does not store"
    assert found.sentence == "pod demo/server-1-x has no entry" + ("" if stored else words)


def test_a_pod_that_is_being_deleted_or_has_ended_needs_no_entry(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    spire = objects.spire
    monkeypatch.setattr(spire, "entries", list, raising=False)
    pod(objects, container(running=running()), namespace="demo", deletionTimestamp=stamp(NOW))
    pod(objects, container(terminated=exited(0)), namespace="demo", name="client-x")
    objects.objects[-1][1]["status"]["phase"] = "Succeeded"
    assert list(spire_links.check_entries(spire, cast(Demo, SimpleNamespace(namespace="demo")), federation())) == []


@pytest.mark.parametrize("is_made", [True, False])
def test_a_relationship_that_is_still_to_be_made_is_not_missed(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, is_made: bool
) -> None:
    spire = objects.spire
    monkeypatch.setattr(spire, "relationships", list, raising=False)
    monkeypatch.setattr(spire, "foreign_bundle", lambda _: None, raising=False)
    found = spire_links.check_relationships(spire, federation(is_made=is_made))
    expected = "there is none with client.example, and no ClusterFederatedTrustDomain for it"
    assert sentences(found) == ([expected] if is_made else [])


def test_a_missing_relationship_has_the_controller_managers_words(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, recorded: Read
) -> None:
    spire = objects.spire
    monkeypatch.setattr(spire, "relationships", list, raising=False)
    monkeypatch.setattr(spire, "foreign_bundle", lambda _: None, raising=False)
    pod(objects, container("spire-controller-manager", running=running()))
    (line,) = (each for each in recorded("log-lines.log").splitlines() if "\tERROR\t" in each)
    objects.log("spire-server-0/spire-controller-manager", line)
    spec = {"className": CLASS_NAME, "trustDomain": "client.example"}
    objects.add("ClusterFederatedTrustDomain", "client-example", spec=spec)
    (found,) = spire_links.check_relationships(spire, federation())
    assert found.evidence.startswith("the controller manager logs: ")
    assert "Failed to create federation relationship" in found.evidence
    assert json.dumps("client.example") in found.evidence


def test_an_object_that_the_api_server_does_not_take_is_named_in_its_words(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    spire = objects.spire
    monkeypatch.setattr(spire, "relationships", list, raising=False)
    rejection = 'failed calling webhook "vclusterfederatedtrustdomain.kb.io": service "spire-webhook" not found'
    (found,) = spire_links.check_relationships(spire, federation(is_made=False, rejection=rejection))
    assert found.link == "federation relationship"
    assert found.sentence == f"the ClusterFederatedTrustDomain for client.example is not taken: {rejection}"


def test_a_workload_of_spires_own_without_an_entry_is_put_down_to_the_objects_that_make_it(objects: Objects) -> None:
    objects.with_spire()
    controller(objects, "Deployment", "oidc")
    runs = {**container("oidc", running=running(NOW - 60)), "ready": False}
    pod(objects, runs, name="oidc-1-x", owner=("ReplicaSet", "oidc-1"))
    line = (
        'level=warning msg="Failed to fetch JWKS" error="rpc error: code = PermissionDenied desc = no identity issued"'
    )
    for seconds in (30, 10):
        objects.log("oidc-1-x/oidc", line, at=NOW - seconds)
    pod(objects, container("spire-controller-manager", running=running()))
    objects.log("spire-server-0/spire-controller-manager", "E1125 12:00:00.0 1 main.go:1] pods is forbidden")
    (found,) = spire_links.check_components(objects.spire)
    assert found.sentence.endswith("no identity issued; the controller manager logs: pods is forbidden")
    assert found.cause == f"no ClusterSPIFFEID of the class {CLASS_NAME} selects the namespace spire-server"


# As SPIRE's agent (1.15) logs it where it may not ask the kubelet, and where it is not in the host's network.
UNATTESTED = (
    'time="2026-11-23T09:59:55Z" level=error msg="Failed to collect all selectors" error="workload attestor \\"k8s\\" '
    'failed: rpc error: code = Internal desc = workloadattestor(k8s): %s" pid=4711 subsystem_name=workload_attestor'
)
NOT_ALLOWED = (
    "unexpected status code on pods response: 403 Forbidden (user=system:serviceaccount:spire-system:spire-agent, "
    "verb=get, resource=nodes, subresource(s)=[pods proxy]), and what other attestors say, so that it is cut"
)
UNREACHED = (
    'unable to perform request: Get \\"https://127.0.0.1:10250/pods\\": dial tcp 127.0.0.1:10250: '
    "connect: connection refused"
)


@pytest.mark.parametrize(
    ("words", "at", "is_named"),
    [(NOT_ALLOWED, NOW - 10, True), (UNREACHED, NOW - 10, True), (UNREACHED, NOW - RECENT - 1, False)],
)
def test_a_workload_of_spires_own_whose_agent_cannot_ask_the_kubelet_is_put_down_to_that(
    objects: Objects, words: str, at: float, is_named: bool
) -> None:
    objects.of_oidc_provider({**container("oidc", running=running(NOW - 60)), "ready": False})
    line = 'level=warning msg="Failed to fetch JWKS" error="code = PermissionDenied desc = no identity issued"'
    for seconds in (30, 10):
        objects.log("oidc-1-x/oidc", line, at=NOW - seconds)
    objects.of_agent(container(AGENT, running=running()))
    objects.log(f"{AGENT_POD}/{AGENT}", UNATTESTED % words, at=at)
    objects.log(f"{AGENT_POD}/{AGENT}", 'level=error msg="Something else"', at=NOW - 1)
    (found,) = spire_links.check_components(objects.spire)
    assert ("workloadattestor(k8s): un" in found.sentence) is is_named
    assert (found.cause == WHY_UNATTESTED) is is_named
    assert is_of_configuration(found.sentence, "") is is_named
    assert not found.on_its_way


RESET = (
    'level=error msg="Error starting spiffe-helper" error="rpc error: code = Unavailable desc = connection error: '
    "desc = "
    '\\"error reading server preface: read unix @->/tmp/spire-agent/public/spire-agent.sock: read: connection reset by '
    'peer\\""'
)
NO_CALLER = (
    'level=warning msg="Connection failed during accept" error="could not resolve caller information" '
    "subsystem_name=endpoints"
)


@pytest.mark.parametrize(
    ("line", "words", "cause"),
    [
        (NO_CALLER, "could not resolve caller information", WHY_UNKNOWN_CALLER),
        ('level=error msg="Something else"', "Something else", CSI_CAUSE),
        ("", "", CSI_CAUSE),
    ],
)
def test_a_workload_that_its_agent_hangs_up_on_is_named_with_the_agents_words(
    objects: Objects, line: str, words: str, cause: str
) -> None:
    objects.of_oidc_provider({**container("oidc", running=running(NOW - 60)), "ready": False})
    for seconds in (30, 10):
        objects.log("oidc-1-x/oidc", RESET, at=NOW - seconds)
    objects.of_agent(container(AGENT, running=running()))
    if line:
        objects.log(f"{AGENT_POD}/{AGENT}", line, at=NOW - 5)
    (found,) = spire_links.check_components(objects.spire)
    assert ("an agent logs" in found.sentence, words in found.sentence) == (bool(line), True)
    assert found.cause == cause
    assert is_of_configuration(found.sentence, "") is (cause == WHY_UNKNOWN_CALLER)


def listening_forward(port: int, *, subnet: str = "127.0.0.0/8") -> PortForward:
    """A forward at this port of this machine."""
    place = (cast(Cluster, None), SERVER_NAMESPACE, "svc/spire-server", 8443)
    return PortForward(*place, Path("log"), KindNetwork("127.0.0.1", subnet), address="127.0.0.1", port=port)


def test_a_firewall_is_named_where_a_forward_answers_on_this_machine_and_not_to_pods() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = spire_links.firewall_cause(listening_forward(port), f"https://127.0.0.1:{port}")
        assert found.startswith(f"127.0.0.1:{port} answers on this machine itself, so this machine's firewall (ufw, ")
        assert "`ufw allow from 127.0.0.0/8`, or give --connectivity=node-port" in found
        assert "ufw allow" not in spire_links.firewall_cause(
            listening_forward(port, subnet=""), f"https://127.0.0.1:{port}"
        )
        assert spire_links.firewall_cause(listening_forward(port), "https://127.0.0.1:1") == "", "it is of another URL"
    assert spire_links.firewall_cause(listening_forward(port), f"https://127.0.0.1:{port}") == ""
    assert spire_links.firewall_cause(None, f"https://127.0.0.1:{port}") == ""


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
    found = list(spire_links.check_endpoints(spire, cast(Federation, SimpleNamespace(peers=lambda _: [])), demo))
    assert asked == (["https://spire-server.spire-server.svc:8443"] if is_ours else [])
    assert [(each.link, each.follows, words in each.sentence) for each in found] == (
        [("endpoint reachable", True, True)] if words else []
    )
