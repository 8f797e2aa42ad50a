"""The links from the Workload API to an accepted call."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.diagnosis.causes import CSI_CAUSE
from fixtures.diagnosis.finding import Finding
from fixtures.diagnosis.links.workload_links import check_call, check_demo_server, check_workload_api
from fixtures.k8s.server_side_apply import WORKLOAD_LABEL
from fixtures.workloads.probe import SUCCESS_LINE, Answer, ProbeError, parse_identity
from tests.unit.diagnosis.links.spire_objects import Objects, Read
from tests.unit.kubernetes_objects import NOW, container, controller, event, node, pod, running, stamp, waits

NAMESPACE = "demo"
SERVER_ID = "spiffe://server.example/ns/demo/sa/default"
URL = "https://10.89.0.1:10001"
STARTING = container("probe", waiting=waits("ContainerCreating"))
NO_DRIVER = (
    'MountVolume.SetUp failed for volume "x": driver name csi.spiffe.io not found in the list of registered CSI drivers'
)


class Probe:
    """A probe whose client prints what the Workload API hands out (an exception: fails), and whose call ends so."""

    def __init__(self, handed_out: Any, answer: Answer | None = None) -> None:
        self.handed_out = handed_out
        self.answer = answer or Answer(0, f"{SUCCESS_LINE}\n")
        self.audiences: list[str] = []

    def fetch(self, audience: str) -> Any:
        self.audiences.append(audience)
        if isinstance(self.handed_out, Exception):
            raise self.handed_out
        return self.handed_out

    def call(self, url: str, server_id: str) -> Answer:
        assert (url, server_id) == (URL, SERVER_ID)
        return self.answer


def demo(objects: Objects, probe: Probe, *logs: list[str]) -> Any:
    """The demo, whose server's log is one after the other of these each time that it is read."""
    spire, read = objects.spire, iter(logs)
    return SimpleNamespace(
        namespace=NAMESPACE,
        probes={"server.example": probe},
        server=spire,
        client=spire,
        server_id=SERVER_ID,
        url=URL,
        server_log=lambda: next(read, []),
        forward=SimpleNamespace(state="open", port=10001, address="10.89.0.1", opening_for=0.0),
    )


def a_pod(objects: Objects, status: dict[str, Any], name: str, age: float = 600.0, **metadata: Any) -> None:
    """Add a pod of the demo's namespace that was started so many seconds ago."""
    pod(objects, status, name=name, namespace=NAMESPACE, **metadata)
    _, added = objects.objects[-1]
    added["status"]["startTime"] = stamp(NOW - age)


def on_the_api(objects: Objects, probe: Probe) -> list[Finding]:
    made = demo(objects, probe)
    return list(check_workload_api(made.server, made))


@pytest.fixture
def handed_out(recorded: Read) -> Any:
    """What the Workload API handed out in a real run."""
    return parse_identity(recorded("fetch.json"))


def test_an_identity_with_the_peers_bundles_is_as_it_should_be_asked_for_an_audience_of_this_moment(
    objects: Objects, handed_out: Any
) -> None:
    probe = Probe(handed_out)
    assert on_the_api(objects, probe) == []
    assert probe.audiences == [f"{SERVER_ID}?asked={NOW:.3f}"]


def test_a_bundle_that_is_lacking_is_named(objects: Objects, handed_out: Any) -> None:
    without = SimpleNamespace(spiffe_id=handed_out.spiffe_id, trust_domains={"server.example"})
    (found,) = on_the_api(objects, Probe(without))
    assert (found.link, found.on_its_way) == ("X.509 SVID", False)
    assert found.sentence == f"{handed_out.spiffe_id} is given no bundle of client.example"


@pytest.mark.parametrize(("age", "on_its_way"), [(2.0, True), (600.0, False)])
def test_a_pod_that_waits_for_the_csi_driver_is_named_before_the_workload_api_is_asked(
    objects: Objects, handed_out: Any, age: float, on_its_way: bool
) -> None:
    objects.with_spire()
    a_pod(objects, STARTING, "probe-1", age)
    event(objects, "Pod", "probe-1", "FailedMount", NO_DRIVER, namespace=NAMESPACE)
    probe = Probe(handed_out)
    (found,) = on_the_api(objects, probe)
    assert (found.link, found.cause, found.on_its_way) == ("CSI socket", CSI_CAUSE, on_its_way)
    assert found.sentence.startswith("demo/probe-1 does not start: pod probe-1 waits for a volume: MountVolume.SetUp")
    assert probe.audiences == []


def only_where(objects: Objects, *components: str) -> Any:
    """SPIRE whose DaemonSets of these kinds (`agents`, `csi_driver`) are for nodes with a label that `node` lacks."""
    objects.with_spire()
    node(objects, "node")
    spire, pool = objects.spire, {"pool": "spire"}
    layout = spire.layout
    if "agents" in components:
        layout = replace(layout, agents=tuple(replace(each, node_selector=pool) for each in layout.agents))
    if "csi_driver" in components:
        layout = replace(layout, csi_driver=replace(layout.csi_driver, node_selector=pool))
    spire.layout = layout
    return spire


def test_a_pod_on_a_node_that_the_driver_is_not_for_is_red_at_once_and_that_is_the_cause(
    objects: Objects, handed_out: Any
) -> None:
    spire = only_where(objects, "csi_driver")
    made = demo(objects, Probe(handed_out))
    # Elsewhere it is registered.
    objects.add("CSINode", "node-0", spec={"drivers": [{"name": "csi.spiffe.io", "nodeID": "node-0"}]})
    objects.add("CSINode", "node", spec={"drivers": None})
    a_pod(objects, STARTING, "probe-1", 2.0)
    event(objects, "Pod", "probe-1", "FailedMount", NO_DRIVER, namespace=NAMESPACE)
    (found,) = check_workload_api(spire, made)
    words = "node node has no CSI driver: DaemonSet spire-system/spire-spiffe-csi-driver does not select it"
    assert (found.link, found.cause, found.on_its_way) == ("CSI socket", words, False)


def test_a_pod_that_runs_where_no_agent_is_for_its_node_is_red_for_that(objects: Objects) -> None:
    spire = only_where(objects, "agents")
    words = "node node has no agent: DaemonSet spire-system/spire-agent does not select it"
    a_pod(objects, container("probe", running=running(NOW - 2)), "probe-1", 2.0, labels={WORKLOAD_LABEL: "probe"})
    refused = "dial unix /spiffe-workload-api/spire-agent.sock: connect: no such file or directory"
    (found,) = check_workload_api(spire, demo(objects, Probe(ProbeError(refused))))
    assert (found.link, found.cause, found.on_its_way) == ("CSI socket", words, False)
    controller(objects, "Deployment", "server", NAMESPACE)
    pod(objects, STARTING, name="server-1-x", namespace=NAMESPACE, owner=("ReplicaSet", "server-1"))
    made = demo(objects, Probe(None), [f"unable to create X509Source: {refused}"])
    made.server = spire
    (found,) = check_demo_server(made)
    assert (found.link, found.cause) == ("CSI socket", words)


@pytest.mark.parametrize(("driver", "link"), [("csi.spiffe.io", "CSI socket"), ("other.example", "server reachable")])
def test_a_pod_whose_volume_of_the_workload_api_is_not_mounted_lacks_the_socket(
    objects: Objects, handed_out: Any, driver: str, link: str
) -> None:
    objects.with_spire()
    volume = {"name": "workload-api", "csi": {"driver": driver, "readOnly": True}}
    pod(objects, STARTING, name="probe-1", namespace=NAMESPACE, volumes=[volume])
    refused = 'MountVolume.SetUp failed for volume "workload-api" : rpc error: code = InvalidArgument desc = only '
    event(objects, "Pod", "probe-1", "FailedMount", f"{refused}ephemeral volumes are supported", namespace=NAMESPACE)
    (found,) = on_the_api(objects, Probe(handed_out))
    assert (found.link, "podInfoOnMount" in found.cause) == (link, True)


def test_a_pod_that_waits_for_something_else_keeps_the_server_from_being_reached(
    objects: Objects, handed_out: Any
) -> None:
    a_pod(objects, container("main", waiting=waits("ErrImagePull", "x: not found")), "server-1")
    (found,) = on_the_api(objects, Probe(handed_out))
    assert (found.link, found.cause == CSI_CAUSE) == ("server reachable", False)
    assert "has no image: x: not found" in found.sentence


@pytest.mark.parametrize(
    ("error", "age", "link", "on_its_way"),
    [
        ("unable to create X509Source: rpc error: no identity issued", 2.0, "X.509 SVID", True),
        ("unable to create X509Source: rpc error: no identity issued", 60.0, "X.509 SVID", False),
        ("dial unix /spiffe-workload-api/agent.sock: connect: no such file or directory", 2.0, "CSI socket", True),
        ("unable to fetch JWT SVID: rpc error: code = Unknown", 2.0, "JWT", False),
    ],
)
def test_what_the_workload_api_does_not_hand_out_may_come_for_a_pod_that_is_new(
    objects: Objects, error: str, age: float, link: str, on_its_way: bool
) -> None:
    objects.with_spire()
    runs = container("probe", running=running(NOW - age))
    a_pod(objects, runs, "older-1", labels={WORKLOAD_LABEL: "server"})
    a_pod(objects, runs, "probe-1", age, labels={WORKLOAD_LABEL: "probe"})
    (found,) = on_the_api(objects, Probe(ProbeError(error)))
    assert (found.link, found.on_its_way, found.evidence) == (link, on_its_way, error)


def test_a_demo_server_that_is_ready_and_has_its_service_is_as_it_should_be(objects: Objects) -> None:
    controller(objects, "Deployment", "server", NAMESPACE, status={"readyReplicas": 1})
    subsets = [{"addresses": [{"ip": "10.244.0.5"}]}]
    objects.add("Endpoints", "server-service", NAMESPACE, subsets=subsets)
    assert list(check_demo_server(demo(objects, Probe(None)))) == []


def test_a_service_that_leads_to_no_pod_is_named(objects: Objects) -> None:
    controller(objects, "Deployment", "server", NAMESPACE, status={"readyReplicas": 1})
    objects.add("Endpoints", "server-service", NAMESPACE)
    (found,) = check_demo_server(demo(objects, Probe(None)))
    assert (found.link, found.sentence) == ("server reachable", "Service demo/server-service leads to no pod")


@pytest.mark.parametrize(
    ("line", "link"),
    [
        ("unable to create X509Source: dial unix /spiffe-workload-api/spire-agent.sock: connect", "CSI socket"),
        ("Starting...", "server reachable"),
    ],
)
def test_a_demo_server_without_a_ready_pod_is_put_down_to_the_socket_where_its_log_is(
    objects: Objects, line: str, link: str
) -> None:
    controller(objects, "Deployment", "server", NAMESPACE)
    (found,) = check_demo_server(demo(objects, Probe(None), [line]))
    assert (found.link, found.cause == CSI_CAUSE) == (link, link == "CSI socket")
    assert found.sentence.startswith("Deployment demo/server has no ready pod: ")


def test_a_call_that_succeeds_breaks_no_link_and_one_that_is_refused_is_named_with_both_sides_words(
    objects: Objects,
) -> None:
    assert list(check_call(demo(objects, Probe(None)))) == []
    refused = "unable to fetch SVID: rpc error: code = Unavailable"
    (found,) = check_call(demo(objects, Probe(None, Answer(1, refused)), ["old"], ["old", "new"]))
    assert (found.link, found.sentence) == ("JWT", "the client is given no JWT-SVID")
    assert found.evidence.splitlines() == ["client:", refused, "server:", "new"]
