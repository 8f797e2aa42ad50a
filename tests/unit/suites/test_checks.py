"""The checks that the suites share: they wait for what is on its way, no longer than they may, and are exact then."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes import client as k8s

from fixtures.core.waiting import Condition, Look, WaitError, time_limits_scaled, wait_for
from fixtures.diagnosis.links import spire_links
from fixtures.helm.release import Release
from fixtures.k8s.cluster import Cluster, ClusterError
from fixtures.k8s.connectivity.connectivity import Connectivity
from fixtures.k8s.pods import containers_ready
from fixtures.spire.api_types import RegistrationEntry
from fixtures.spire.federation import Federation
from fixtures.spire.installation import Spire
from fixtures.spire.layout import IngressPath, Workload
from fixtures.traffic.summary import RestartWindow, Summary, TrafficPhase
from fixtures.workloads import observed_call
from fixtures.workloads.demo import CLIENT_LINES, Demo
from fixtures.workloads.identity_conditions import endpoint_of, endpoint_reached
from fixtures.workloads.jobs import JobOutcome
from fixtures.workloads.observed_call import let_in
from fixtures.workloads.probe import SUCCESS_LINE, Answer, Endpoint, Probe, ProbeError
from tests import checks
from tests.unit.kubernetes_objects import KubernetesObjects, container, controller, node, pod, running
from tests.unit.own_chart import AGENT, CSI_DRIVER, LAYOUT, SYSTEM_NAMESPACE, read_layout

Read = Callable[[str], str]
ADDRESS, PORT = "10.89.0.1", 8441
URL = f"https://{ADDRESS}:{PORT}"
SOON = 60.0  # seconds; nothing here takes a hundredth of it but on a busy machine
AT_ONCE = 20.0  # seconds, at the most, for what does not wait
TOO_SOON = 0.05
READY = container(running=running())
LATER = "4102444800"  # Unix seconds
# As the API server and the container runtime say them while a pod is replaced.
GONE = ClusterError('server: `exec …` was not carried out: pods "spire-server-0" not found')
REFUSED = ProbeError("unable to ask the endpoint: dial tcp 10.89.0.1:8441: connect: connection refused")


class OneAfterTheOther:
    """Answers, one after the other, the last one from then on; what is an error is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def __call__(self, *_: Any, **__: Any) -> Any:
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, Exception):
            raise found
        return found


def spire(
    *printed: str | Exception, trust_domain: str = "server.example", nodes: int = 1, folder: Path = Path()
) -> Spire:
    """SPIRE whose server prints these texts, one after the other, on a cluster of so many workers.

    They are ready, and so is a control plane with the taint that kubeadm gives it, on which nothing of SPIRE's runs.
    """
    answers = [each if isinstance(each, Exception) else SimpleNamespace(stdout=each) for each in printed]
    cluster: Any = KubernetesObjects()
    node(cluster, "control-plane", {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"})
    for number in range(nodes):
        node(cluster, f"worker-{number}")
    counts = {"desiredNumberScheduled": nodes, "updatedNumberScheduled": nodes, "numberReady": nodes}
    for name in (AGENT, CSI_DRIVER):
        controller(cluster, "DaemonSet", name, SYSTEM_NAMESPACE, status=counts)
    controller(cluster, "StatefulSet", status={"readyReplicas": 1, "updatedReplicas": 1})
    available = {"availableReplicas": 1, "updatedReplicas": 1}
    controller(cluster, "Deployment", cast(Workload, LAYOUT.oidc_provider).name, status=available)
    pod(cluster, container("spire-server", running=running()), container("spire-controller-manager", running=running()))
    cluster.label = trust_domain.partition(".")[0]
    cluster.nodes_ready = Condition("nodes", lambda: Look(nodes + 1, ""))
    cluster.execute = OneAfterTheOther(*answers)
    federates_with = ("client.example",) if trust_domain == "server.example" else ()
    made = Spire(cast(Cluster, cluster), folder / "helm", trust_domain, federates_with, folder, read_layout)
    made.layout = LAYOUT
    return made


def test_a_control_plane_that_agents_do_not_tolerate_needs_no_agent(agents: Callable[..., str]) -> None:
    made = spire(agents())
    checks.components_are_ready([made], TOO_SOON)
    checks.agents_have_attested([made], TOO_SOON)


@pytest.mark.parametrize("name", [AGENT, CSI_DRIVER])
def test_a_worker_without_an_agent_or_a_driver_is_red(name: str) -> None:
    # Its controller has not counted the second one, which was added a moment ago.
    made = spire()
    node(cast(Any, made.cluster), "new")
    objects = cast(KubernetesObjects, made.cluster)
    for kind, item in objects.objects:
        if kind == "DaemonSet" and item["metadata"]["name"] != name:
            counts = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberReady": 2}
            item["status"] |= counts
    with pytest.raises(AssertionError, match=f"server: 1 of {name} for the nodes worker-0, new"):
        checks.components_are_ready([made], TOO_SOON)


@pytest.mark.parametrize("may_be_older", [False, True])
def test_agents_that_are_replaced_with_their_nodes_are_a_warning_for_spire_whose_pods_may_be_older(
    may_be_older: bool,
) -> None:
    made = spire()
    vars(made)["may_be_older"] = lambda _: may_be_older
    counts = {"currentNumberScheduled": 1, "desiredNumberScheduled": 1, "numberReady": 1, "numberMisscheduled": 0}
    for kind, item in cast(KubernetesObjects, made.cluster).objects:
        if kind == "DaemonSet" and item["metadata"]["name"] == AGENT:
            item["status"] = {**counts, "observedGeneration": 1}
            item["spec"]["updateStrategy"] = {"type": "OnDelete"}
    warned: list[str] = []
    if not may_be_older:
        with pytest.raises(WaitError, match=r"spire-agent did not come .*1 of 1 ready, with 1 of an older revision"):
            checks.components_are_ready([made], TOO_SOON, warned.append)
        assert warned == []
    else:
        checks.components_are_ready([made], TOO_SOON, warned.append)
        words = "server: DaemonSet spire-system/spire-agent keeps pods of an older revision: the update strategy is "
        assert warned == [f"{words}OnDelete"]


def test_a_node_of_somebodys_cluster_that_has_long_not_been_ready_needs_no_agent(agents: Callable[..., str]) -> None:
    made = spire(agents())
    objects = cast(KubernetesObjects, made.cluster)
    node(objects, "ghost", ready="Unknown", since=time.time() - 90)
    for each in (made.layout.agent, made.layout.csi_driver):
        pod(objects, READY, name=f"{each.name}-x", namespace=each.namespace, owner=("DaemonSet", each.name))
        objects.objects[-1][1]["spec"]["nodeName"] = "worker-0"
    for kind, item in objects.objects:
        if kind == "DaemonSet":
            item["status"] |= {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2}
    with pytest.raises((AssertionError, WaitError)):
        checks.components_are_ready([made], TOO_SOON)
    objects.is_external = True
    checks.components_are_ready([made], TOO_SOON)
    checks.agents_have_attested([made], TOO_SOON)
    # The agent of that node is no other's.
    for kind, item in objects.objects:
        if kind == "Node" and item["metadata"]["name"] == "ghost":
            item["metadata"]["uid"] = made.agents()[0].spiffe_id.rpartition("/")[2]
    with pytest.raises(WaitError, match="0 of 1 have a valid SVID"):
        checks.agents_have_attested([made], TOO_SOON)


def test_agents_for_no_node_are_red() -> None:
    with pytest.raises(WaitError, match=r"nodes for DaemonSet spire-system/spire-agent did not come .*leave out all"):
        checks.agents_have_attested([spire(nodes=0)], TOO_SOON)


def test_a_failed_check_shows_the_values_that_it_compared() -> None:
    lines = (*CLIENT_LINES, "401 Invalid token")
    with pytest.raises(AssertionError, match="401 Invalid token"):
        checks.call_succeeded(JobOutcome("client", "Complete", lines))


@pytest.fixture
def agents(recorded: Read) -> Callable[..., str]:
    """`agent list` with the recorded agent, its SVID not expired, changed; None: without any."""

    def listed(**changed: Any) -> str:
        (agent,) = json.loads(recorded("agent-list.json"))["agents"]
        return json.dumps({"agents": [{**agent, "x509svid_expires_at": LATER, **changed}]})

    return listed


NO_AGENTS = '{"agents":[],"next_page_token":""}'


def test_agents_that_are_about_to_attest_are_waited_for(agents: Callable[..., str], recorded: Read) -> None:
    # Of a server that is being replaced, one without agents, and one whose agent's SVID has expired since.
    checks.agents_have_attested([spire(GONE, NO_AGENTS, recorded("agent-list.json"), agents())], SOON)


@pytest.mark.parametrize(
    ("changed", "nodes", "said"),
    [
        ({"x509svid_expires_at": "1"}, 1, "0 of 1 have a valid SVID"),
        ({}, 2, "1 of 2 have a valid SVID"),
    ],
)
def test_a_node_without_an_agent_that_has_attested_is_red_when_time_is_up(
    agents: Callable[..., str], changed: dict[str, Any], nodes: int, said: str
) -> None:
    with pytest.raises(WaitError, match=rf"server: {nodes} attested agents did not come .*{said}"):
        checks.agents_have_attested([spire(agents(**changed), nodes=nodes)], TOO_SOON)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"banned": True}, "server: banned: .*b25cdbdd"),
        ({"attestation_type": "join_token"}, "join_token"),
        ({"id": {"trust_domain": "server.example", "path": "/spire/agent/join_token/x"}}, "join_token/x"),
    ],
)
def test_an_agent_that_is_banned_or_attested_otherwise_is_red_at_once(
    agents: Callable[..., str], changed: dict[str, Any], said: str
) -> None:
    began = time.monotonic()
    with pytest.raises(AssertionError, match=said):
        checks.agents_have_attested([spire(agents(**changed))], SOON)
    assert time.monotonic() - began < AT_ONCE


def federated(tmp_path: Path, *printed: str | Exception) -> Federation:
    """The recorded federation, of whose server `federation list` prints these texts; the client's side has no peer."""
    server = spire(*printed, folder=tmp_path)
    client = spire('{"federation_relationships":[]}', trust_domain="client.example", folder=tmp_path)
    made = Federation([server, client], Connectivity(ADDRESS), (8440, PORT), tmp_path)
    made.forwards = {"client.example": cast(Any, SimpleNamespace(url=f"https://{ADDRESS}:{PORT}"))}
    return made


def changed_list(text: str, **changed: Any) -> str:
    (listed,) = json.loads(text)["federation_relationships"]
    return json.dumps({"federation_relationships": [{**listed, **changed}]})


NOT_LISTED = '{"federation_relationships":[],"next_page_token":""}'


def test_a_relationship_that_is_about_to_be_listed_is_waited_for(tmp_path: Path, recorded: Read) -> None:
    listed = recorded("federation-list.json")
    older = changed_list(listed, bundle_endpoint_url=f"https://{ADDRESS}:9999")
    checks.relationships_are_exact(federated(tmp_path, GONE, NOT_LISTED, older, listed), SOON)


def test_a_federation_list_that_is_not_exactly_the_peers_is_red_with_what_was_last_seen(
    tmp_path: Path, recorded: Read
) -> None:
    listed = recorded("federation-list.json")
    (relationship,) = json.loads(listed)["federation_relationships"]
    web = listed.replace(
        '"https_spiffe":{"endpoint_spiffe_id":"spiffe://client.example/spire/server"}', '"https_web":{}'
    )
    impostor = {"https_spiffe": {"endpoint_spiffe_id": "spiffe://client.example/spire/impostor"}}
    wrong = {
        r"server: federation list shows \[\], and not \[Relationship": NOT_LISTED,
        r"\[Relationship.*, Relationship.*\], and not": json.dumps({"federation_relationships": [relationship] * 2}),
        "profile='https_web'": web,
        "spire/impostor": changed_list(listed, **impostor),
        "10.89.0.1:1'": changed_list(listed, bundle_endpoint_url="https://10.89.0.1:1"),
    }
    for said, printed in wrong.items():
        with pytest.raises(WaitError, match=f"federation list that is right about its peers did not come in .*{said}"):
            checks.relationships_are_exact(federated(tmp_path, printed), TOO_SOON)


def test_a_relationship_with_a_third_party_is_no_fault(tmp_path: Path, recorded: Read) -> None:
    (relationship,) = json.loads(recorded("federation-list.json"))["federation_relationships"]
    third = {**relationship, "trust_domain": "third.example"}
    checks.relationships_are_exact(
        federated(tmp_path, json.dumps({"federation_relationships": [relationship, third]})), TOO_SOON
    )


def test_the_order_of_a_federation_list_does_not_matter(tmp_path: Path, recorded: Read) -> None:
    (relationship,) = json.loads(recorded("federation-list.json"))["federation_relationships"]
    third = {**relationship, "trust_domain": "a.example"}
    third["https_spiffe"] = {"endpoint_spiffe_id": "spiffe://a.example/spire/server"}
    made = federated(tmp_path, json.dumps({"federation_relationships": [third, relationship]}))
    made.spires["a.example"] = spire(NOT_LISTED, trust_domain="a.example", folder=tmp_path)
    made.forwards["a.example"] = made.forwards["client.example"]
    made.spires["server.example"].federates_with = ("client.example", "a.example")
    checks.relationships_are_exact(made, TOO_SOON)


def status(name: str, *, ready: bool) -> Any:
    return k8s.V1ContainerStatus(name=name, image="", image_id="", ready=ready, restart_count=0)


def server_pod(**ready: bool) -> Any:
    found = [status(name.replace("_", "-"), ready=is_ready) for name, is_ready in ready.items()]
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(name="spire-server-0"),
        spec=k8s.V1PodSpec(containers=[k8s.V1Container(name=each.name) for each in found]),
        status=k8s.V1PodStatus(container_statuses=found),
    )


def ready(*answers: Any) -> Condition[bool]:
    core = SimpleNamespace(read_namespaced_pod=OneAfterTheOther(*answers))
    cluster = cast(Cluster, SimpleNamespace(label="server", core=core, is_external=False))
    return containers_ready(cluster, "spire-server", "spire-server-0", "spire-controller-manager", "tornjak")


def test_containers_that_are_started_again_are_waited_for() -> None:
    gone = k8s.ApiException(status=404, reason="Not Found")
    unready = server_pod(spire_controller_manager=True, tornjak=False)
    assert wait_for(ready(gone, server_pod(), unready, server_pod(spire_controller_manager=True, tornjak=True)), SOON)


@pytest.mark.parametrize("missing", [{"tornjak": False}, {}])
def test_a_container_that_is_not_ready_or_not_there_is_red_when_time_is_up(missing: dict[str, bool]) -> None:
    with pytest.raises(
        WaitError, match=r"tornjak ready in pod spire-server/spire-server-0 did not come .*'sidecar': True"
    ):
        wait_for(ready(server_pod(spire_controller_manager=True, sidecar=True, **missing)), TOO_SOON)


@pytest.fixture
def shown(recorded: Read) -> Callable[..., Endpoint]:
    """What the bundle endpoint of the recorded server presents and serves, or another."""

    def made(spiffe_id: str = "spiffe://server.example/spire/server", *, without: str = "") -> Endpoint:
        document = json.loads(recorded("bundle-show.json"))
        document["keys"] = [key for key in document["keys"] if key["use"] != without]
        return Endpoint(spiffe_id, document)

    return made


def seen_from_the_client(recorded: Read, *shown: Any) -> Condition[Endpoint]:
    """The recorded server's bundle endpoint, of which a probe sees this, one after the other."""
    probe = SimpleNamespace(cluster=SimpleNamespace(label="client"), endpoint=OneAfterTheOther(*shown))
    return endpoint_of(cast(Probe, probe), spire(recorded("bundle-show.json")), URL)


def test_an_endpoint_whose_forward_is_being_opened_again_or_whose_keys_are_yesterdays_is_waited_for(
    recorded: Read, shown: Callable[..., Endpoint]
) -> None:
    condition = seen_from_the_client(recorded, REFUSED, shown(without="jwt-svid"), shown())
    found = wait_for(condition, SOON)
    checks.endpoint_is_its_owners(found, spire())


def test_an_endpoint_that_stays_away_or_serves_other_keys_is_red_with_what_was_last_seen(
    recorded: Read, shown: Callable[..., Endpoint]
) -> None:
    name = "client: server.example's bundle from its endpoint https://10.89.0.1:8441"
    with pytest.raises(WaitError, match=f"{name} did not come in .*ProbeError: .*connection refused"):
        wait_for(seen_from_the_client(recorded, REFUSED), TOO_SOON)
    with pytest.raises(
        WaitError, match=rf"{name} .*serves x509-svid \['\w+'\], jwt-svid \[\].* and server.example shows"
    ):
        wait_for(seen_from_the_client(recorded, shown(without="jwt-svid")), TOO_SOON)


def test_an_endpoint_of_another_id_is_red_at_once(recorded: Read, shown: Callable[..., Endpoint]) -> None:
    other = "spiffe://server.example/spire/impostor"
    found = wait_for(seen_from_the_client(recorded, shown(other)), TOO_SOON)
    with pytest.raises(AssertionError, match="impostor"):
        checks.endpoint_is_its_owners(found, spire())


# As SPIRE 1.14 says it.
UNFETCHED = ClusterError(
    "client: `exec …` was not carried out: Failed to refresh bundle: rpc error: code = Internal desc = failed to "
    'refresh bundle: failed to fetch federated bundle from endpoint: Get "https://10.89.0.1:8441": i/o timeout'
)


@pytest.mark.parametrize(
    ("is_ours", "fetched", "error"),
    [
        (False, "Bundle refreshed", ""),
        (False, UNFETCHED, r"did not come .*connection refused.*; nor does the server take it: .*i/o timeout"),
        # What this run has installed, the demo reaches too.
        (True, "Bundle refreshed", r"did not come .*connection refused"),
    ],
)
def test_an_endpoint_that_the_server_alone_reaches_is_a_warning_for_spire_that_was_there_before(
    recorded: Read, is_ours: bool, fetched: str | Exception, error: str
) -> None:
    asking: Any = spire(fetched, trust_domain="client.example")
    asking.was_installed_by_run = is_ours
    owner = spire(recorded("bundle-show.json"))
    probe = SimpleNamespace(cluster=asking.cluster, endpoint=OneAfterTheOther(REFUSED))
    demo: Any = SimpleNamespace(probes={"client.example": probe})
    federation: Any = SimpleNamespace(pairs=[(asking, owner)], endpoint_url=lambda _: URL)

    def ask(*_: Any) -> Endpoint:
        return endpoint_reached(cast(Probe, probe), owner, URL, TOO_SOON)

    warned: list[str] = []
    if error:
        with pytest.raises(AssertionError, match=error):
            checks.endpoints_are_their_owners(federation, ask, warned.append)
        with pytest.raises(AssertionError, match=error):
            checks.endpoints_answer_the_other_side(federation, demo, TOO_SOON)
        assert warned == []
    else:
        checks.endpoints_are_their_owners(federation, ask, warned.append)
        checks.endpoints_answer_the_other_side(federation, demo, TOO_SOON)
        (words,) = warned
        assert words.startswith(
            "client: pods of the demo's namespace do not get server.example's bundle from its endpoint, and the "
            "server does: client: server.example's bundle from its endpoint https://10.89.0.1:8441 did not come in "
        )


def summary(phase: str, gap: float | None) -> Summary:
    """Of kept connections, none of which failed outside a restart; the gap is in seconds."""
    return Summary(phase, "kept", 500, 250, 0, gap and 1000 * gap, {}, "")


def test_a_restart_that_lasts_is_an_outage_though_no_failure_counts() -> None:
    windows = [
        RestartWindow(10, 19, "server: spire-server (spire-server-0) was replaced"),
        RestartWindow(10, 130, "server: spire-server (spire-server-0) was not ready"),
        RestartWindow(120, 180, "client: spire-agent (node) was replaced"),
        RestartWindow(210, 265, "client: spire-csi-driver (node) was replaced"),
    ]
    gaps = (("before", 99.0), ("upgrade server", 30.0), ("upgrade client", 55.0), ("pods made again", 40.0))
    names = (*(name for name, _ in gaps), "rollback server")
    phases = [
        TrafficPhase(name, began, began + 100) for name, began in zip(names, (-100, 0, 100, 200, 300), strict=True)
    ]
    found = checks.outages([summary(*each) for each in (*gaps, ("rollback server", None))], windows, phases)
    words = "upgrade client: no request over kept connections had an answer for 55 s"
    assert found == [f"{words} (client: spire-agent (node) was replaced)"]
    assert checks.outages([summary("upgrade client", 55.0)], [], phases) == [words]
    with time_limits_scaled(2.0):
        assert checks.outages([summary("upgrade client", 55.0)], windows, phases) == []


def test_a_probe_that_does_not_run_is_red_whatever_the_server_reaches() -> None:
    asking: Any = spire("Bundle refreshed", trust_domain="client.example")
    asking.was_installed_by_run = False
    federation: Any = SimpleNamespace(pairs=[(asking, spire())])

    def ask(*_: Any) -> Endpoint:
        raise WaitError("client: Deployment demo/probe did not come in 60 s")

    with pytest.raises(WaitError, match="Deployment demo/probe"):
        checks.endpoints_are_their_owners(federation, ask)


@pytest.mark.parametrize("is_ours", [True, False])
def test_an_endpoint_is_asked_at_its_service_where_this_run_has_installed_it(
    recorded: Read, shown: Callable[..., Endpoint], is_ours: bool
) -> None:
    asked: list[str] = []

    def ask(url: str) -> Endpoint:
        asked.append(url)
        return shown("spiffe://server.example/spire/impostor")

    owner: Any = spire(recorded("bundle-show.json"))
    owner.was_installed_by_run, owner.layout = is_ours, LAYOUT
    probe = SimpleNamespace(cluster=SimpleNamespace(label="server"), endpoint=ask)
    demo: Any = SimpleNamespace(probes={owner.trust_domain: probe})
    if is_ours:
        with pytest.raises(AssertionError, match="impostor"):
            checks.endpoint_services_answer([owner], demo, TOO_SOON)
        assert set(asked) == {"https://spire-server.spire-server.svc:8443"}
    else:
        checks.endpoint_services_answer([owner], demo, TOO_SOON)
        assert asked == []


def test_the_fields_are_looked_at_once_the_api_server_can_and_an_unknown_one_is_red_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As the API server says it while the controller manager, which its webhook asks, is started again.
    unasked = ClusterError("server: ClusterSPIFFEID spire-mgmt-spire: failed calling webhook: connection refused")
    monkeypatch.setattr(spire_links, "unknown_fields", OneAfterTheOther(unasked, {}))
    checks.fields_are_known([spire()], SOON)
    unknown = {"DaemonSet spire-system/spire-agent": 'unknown field "spec.template.spec.terminationGraceSeconds"'}
    monkeypatch.setattr(spire_links, "unknown_fields", OneAfterTheOther(unknown, {}))
    with pytest.raises(AssertionError, match="terminationGraceSeconds"):
        checks.fields_are_known([spire()], SOON)


def test_a_call_that_is_about_to_be_let_in_is_waited_for_and_one_that_is_not_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused, succeeded = Answer(1, "401 Invalid token\n"), Answer(0, f"{SUCCESS_LINE}\n")
    demo = cast(Demo, SimpleNamespace(server_id="spiffe://server.example/ns/demo/sa/default"))

    def answered(*answers: Answer) -> None:
        answer = OneAfterTheOther(*answers)
        monkeypatch.setattr(
            observed_call, "observe_call", lambda *_, **__: observed_call.ObservedCall(demo, answer(), 0)
        )

    answered(refused, succeeded)
    assert wait_for(let_in(demo), SOON).succeeded
    answered(refused)
    with pytest.raises(WaitError, match=r"lets in did not come .*401 Invalid token"):
        wait_for(let_in(demo), TOO_SOON)


SERVER_ID = "spiffe://server.example/ns/demo/sa/default"
# What the demo's server logs of a token's audience, by go-spiffe.
REJECTED = 'Invalid token: jwtsvid: expected audience in ["{0}"] (audience=["{1}"])'


@pytest.mark.parametrize(
    ("answers", "logged", "why"),
    [
        ([Answer(1, "no identity within 3s"), Answer(1, "…\n401 Invalid token\n")], (SERVER_ID, "-of-another"), ""),
        ([Answer(0, f"{SUCCESS_LINE}\n")], (SERVER_ID, "-of-another"), "was let in"),
        ([Answer(1, "…\n401 Invalid token\n")], (SERVER_ID, "-of-somebody"), "-of-somebody"),
        ([Answer(1, "no identity within 3s")], (SERVER_ID, "-of-another"), "no identity within 3s"),
    ],
    ids=["refused", "let in", "for another reason", "not answered"],
)
def test_a_wrong_audience_is_to_be_refused_for_that_reason(
    monkeypatch: pytest.MonkeyPatch, answers: list[Answer], logged: tuple[str, str], why: str
) -> None:
    answer, audiences = OneAfterTheOther(*answers), []
    line = REJECTED.format(logged[0], f"{SERVER_ID}{logged[1]}")

    def observe(demo: Demo, *, audience: str) -> observed_call.ObservedCall:
        audiences.append(audience)
        return observed_call.ObservedCall(demo, answer(), 0)

    monkeypatch.setattr(checks, "observe_call", observe)
    log = Condition("the server's log line", lambda: Look(line, ""))
    demo = cast(Demo, SimpleNamespace(server_id=SERVER_ID, server_log_line=lambda *_, **__: log))
    if not why:
        checks.wrong_audience_is_refused(demo, SOON)
        assert set(audiences) == {f"{SERVER_ID}-of-another"}
        return
    with pytest.raises((AssertionError, WaitError), match=why):
        checks.wrong_audience_is_refused(demo, TOO_SOON)


@pytest.mark.parametrize("logs_refreshes", [True, False])
def test_a_refresh_is_looked_for_in_the_log_and_made_where_the_log_would_not_say(logs_refreshes: bool) -> None:
    made: list[str] = []
    pair: Any = (SimpleNamespace(refresh=made.append), SimpleNamespace(trust_domain="client.example"))
    refreshed = Condition("a refresh", lambda: Look(SimpleNamespace(refreshed=10.0, seeded=9.5), ""))
    federation = SimpleNamespace(pairs=[pair], logs_refreshes=lambda _: logs_refreshes, refreshed=lambda *_: refreshed)
    checks.foreign_bundles_were_refreshed(cast(Federation, federation), TOO_SOON)
    assert made == ([] if logs_refreshes else ["client.example"])
    late: Condition[Any] = Condition("a refresh", lambda: Look(None, "no time"))
    federation.refreshed = lambda *_: late
    if logs_refreshes:
        with pytest.raises(WaitError, match="a refresh did not come"):
            checks.foreign_bundles_were_refreshed(cast(Federation, federation), TOO_SOON)


@pytest.mark.parametrize("names", [["spire-server-0"], ["spire-oidc-x", "spire-server-0"]])
def test_a_service_of_the_server_leads_to_its_pods_alone(names: list[str]) -> None:
    made = spire()
    objects = cast(KubernetesObjects, made.cluster)
    pod(objects, container(running=running()), name="spire-oidc-x", owner=("ReplicaSet", "spire-oidc"))
    ready = {"conditions": {"ready": True}, "addresses": ["10.244.0.5"]}
    ends = [{**ready, "targetRef": {"kind": "Pod", "name": name}} for name in names]
    place = made.layout.bundle_endpoint.service
    labels = {"labels": {"kubernetes.io/service-name": place.name}}
    ports = [{"name": "federation", "port": 8443}]
    objects.add("EndpointSlice", "x", place.namespace, metadata=labels, addressType="IPv4", endpoints=ends, ports=ports)
    if len(names) == 1:
        checks.server_services_lead_to_it_alone([made], TOO_SOON)
    else:
        with pytest.raises(WaitError, match=r"alone did not come .*it leads to pod spire-oidc-x too"):
            checks.server_services_lead_to_it_alone([made], TOO_SOON)


@pytest.mark.parametrize("name", sorted({*checks.CHECKS} - {"demo server", "success"}))
def test_a_check_waits_no_longer_than_it_may(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a federation that does not answer at all."""
    monkeypatch.setattr(spire_links, "unknown_fields", OneAfterTheOther(GONE))
    made = federated(tmp_path, GONE)
    made.forwards["server.example"] = made.forwards["client.example"]
    server = made.spires["server.example"]
    probe = SimpleNamespace(spire=server, cluster=server.cluster, endpoint=OneAfterTheOther(REFUSED))
    if name == "nodes ready":
        silent = Condition("nodes", OneAfterTheOther(ClusterError("Read timed out.")))
        monkeypatch.setattr(server.cluster, "nodes_ready", silent)
    if name == "spire ready":
        cast(KubernetesObjects, server.cluster).remove("StatefulSet")
    environment: Any = SimpleNamespace(
        testbed=SimpleNamespace(clusters=[server.cluster], spires=[server]),
        federation=made,
        demo=SimpleNamespace(probes={"server.example": probe}, namespace="demo"),
    )
    began = time.monotonic()
    with pytest.raises(WaitError):
        checks.CHECKS[name](environment, TOO_SOON)
    assert time.monotonic() - began < AT_ONCE


@pytest.mark.parametrize(
    ("federates_with", "powers", "said"),
    [
        (("client.example",), (), ""),
        ((), (), r"1 pods; those that do not federate with \{'client.example'\}: \{'probe-1-x': set\(\)\}"),
        (("client.example",), ("admin",), "server: spiffe://server.example/probe may call the server's own APIs"),
        (("client.example",), ("downstream",), "server: spiffe://server.example/probe may sign for the trust domain"),
    ],
)
def test_an_entry_has_to_federate_and_to_make_its_pod_no_administrator(
    federates_with: tuple[str, ...], powers: tuple[str, ...], said: str
) -> None:
    objects = KubernetesObjects()
    made = pod(objects, container(running=running()), name="probe-1-x", namespace="demo", owner=None)
    entry = RegistrationEntry(
        "1",
        "spiffe://server.example/probe",
        "spiffe://server.example/agent",
        (f"k8s:pod-uid:{made.metadata.uid}",),
        federates_with,
        powers=frozenset(powers),
    )
    asked: Any = SimpleNamespace(cluster=objects, federates_with=("client.example",), entries=lambda: [entry])
    asked.was_installed_by_run, asked.values, asked.layout = True, {}, LAYOUT
    demo = SimpleNamespace(namespace="demo", probes={"server.example": SimpleNamespace(spire=asked)})
    if not said:
        checks.entries_federate(cast(Demo, demo), timeout=0.05)
        return
    with pytest.raises((WaitError, AssertionError), match=said):
        checks.entries_federate(cast(Demo, demo), timeout=0.05)


def test_an_ingress_that_leads_astray_is_red_at_once() -> None:
    made = spire()
    astray = IngressPath("spire-server/web", ("spire-server", "gone"), 0, "port 1 of Service spire-server/gone")
    made.layout = replace(LAYOUT, ingress_paths=(astray,))
    with pytest.raises(AssertionError, match=r"server: Ingress spire-server/web leads to port 1 of Service .*gone"):
        checks.services_lead_to_pods([made], 60)


def test_agents_that_trust_whoever_answers_are_red_at_once() -> None:
    made = spire()
    made.layout = replace(LAYOUT, agents=(replace(LAYOUT.agent, trusts_any_server=True),))
    with pytest.raises(AssertionError, match=r"server: DaemonSet .* starts without a trust bundle"):
        checks.new_agents_would_trust_their_server([made], 60)


@pytest.mark.parametrize(("policy", "is_red"), [("Fail", False), ("Ignore", True)])
def test_a_webhook_whose_policy_is_not_that_of_the_values_is_red(tmp_path: Path, policy: str, *, is_red: bool) -> None:
    made = spire()
    webhook = SimpleNamespace(failure_policy=policy, rules=[SimpleNamespace(api_groups=["spire.spiffe.io"])])
    admission = SimpleNamespace(read_validating_webhook_configuration=lambda _: SimpleNamespace(webhooks=[webhook]))
    vars(made.cluster)["admission"] = admission
    chart = tmp_path / "spire"
    (chart / "charts" / "spire-server").mkdir(parents=True)
    for folder, text in (
        (chart, "name: spire\nversion: 1.0.0\n"),
        (chart / "charts" / "spire-server", "name: spire-server\nversion: 1.0.0\n"),
    ):
        (folder / "Chart.yaml").write_text(text)
    # It is the chart's default.
    values = "controllerManager: {validatingWebhookConfiguration: {failurePolicy: Fail}}\n"
    (chart / "charts" / "spire-server" / "values.yaml").write_text(values)
    releases = {"server": Release(chart, chart, {})}
    if not is_red:
        checks.webhook_policies_are_those_of_values([made], releases)
        return
    with pytest.raises(AssertionError, match=r"server: ValidatingWebhookConfiguration .* has Ignore, and .* is Fail"):
        checks.webhook_policies_are_those_of_values([made], releases)
