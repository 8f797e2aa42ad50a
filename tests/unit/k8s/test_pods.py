"""Pods as data, and the states of them and of their controllers that are waited for."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.k8s import pods
from fixtures.k8s.cluster import nodes_left_out, nodes_looked_at
from fixtures.k8s.conditions import (
    DaemonSetCounts,
    controller_replaced,
    daemon_set_counts,
    daemon_set_ready,
    job_finished,
    job_pod_finished,
    nodes_of_daemon_set,
    surging_pods,
)
from fixtures.k8s.failures.problem import Problem
from fixtures.k8s.failures.unready import why_controller_unready
from fixtures.k8s.rollouts import held_back
from tests.unit.kubernetes_objects import (
    NOW,
    KubernetesObjects,
    container,
    controller,
    exited,
    model,
    node,
    owned_by,
    pod,
    running,
    stamp,
    waits,
)


@pytest.fixture
def objects() -> KubernetesObjects:
    """A cluster with nothing in it."""
    return KubernetesObjects()


def test_statuses_are_in_the_order_in_which_containers_are_started(objects: KubernetesObjects) -> None:
    names = ("spire-server", "spire-controller-manager", "tornjak")
    made = pod(objects, *map(container, names), init=[container("wait"), container("chown")])
    # The kubelet sorts them by name, but for init containers.
    made.status.container_statuses.sort(key=lambda status: status.name)
    assert [status.name for status in pods.statuses(made)] == ["wait", "chown", *names]


def test_a_pod_without_statuses_has_none(objects: KubernetesObjects) -> None:
    assert pods.statuses(pod(objects)) == []
    assert pods.statuses(model("Pod", objects.add("Pod", spec={"containers": [{"name": "main"}]}, status={}))) == []


@pytest.mark.parametrize(
    ("references", "is_controlled"),
    [
        (owned_by("DaemonSet", "spire-agent"), True),
        (owned_by("DaemonSet", "spire-agent-upstream"), False),
        (owned_by("StatefulSet", "spire-agent"), False),
        ([{**owned_by("DaemonSet", "spire-agent")[0], "controller": False}], False),
        ([*owned_by("Node", "node"), *owned_by("DaemonSet", "spire-agent")], True),
        (None, False),
    ],
    ids=["of it", "of a longer name", "of another kind", "no controller", "the second owner", "no owner"],
)
def test_a_pod_is_of_the_controller_that_owns_it(references: Any, is_controlled: bool) -> None:
    made = model("Pod", {"metadata": {"name": "spire-agent-x7k2p", "ownerReferences": references}})
    assert pods.controlled_by(made, "DaemonSet", "spire-agent") is is_controlled


@pytest.mark.parametrize(
    ("replica_set", "deployment", "is_controlled"),
    [("server-6d4cf56db6", "server", True), ("server-new-6d4cf56db6", "server", False), ("server", "server", False)],
)
def test_a_deployments_pods_are_of_its_replica_sets(replica_set: str, deployment: str, is_controlled: bool) -> None:
    made = model("Pod", {"metadata": {"name": "x", "ownerReferences": owned_by("ReplicaSet", replica_set)}})
    assert pods.controlled_by(made, "Deployment", deployment) is is_controlled
    assert not pods.controlled_by(made, "StatefulSet", deployment)


CONTROL_PLANE = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
DEDICATED = {"key": "dedicated", "value": "spire", "effect": "NoExecute"}


@pytest.mark.parametrize(
    ("tolerations", "names"),
    [
        (None, ["plain", "preferred", "cordoned"]),
        ([{"operator": "Exists"}], ["plain", "preferred", "cordoned", "control-plane", "dedicated"]),
        (
            [{"key": CONTROL_PLANE["key"], "operator": "Exists", "effect": "NoSchedule"}],
            ["plain", "preferred", "cordoned", "control-plane"],
        ),
        ([{"key": CONTROL_PLANE["key"], "effect": "NoSchedule"}], ["plain", "preferred", "cordoned", "control-plane"]),
        (
            [{"key": CONTROL_PLANE["key"], "operator": "Exists", "effect": "NoExecute"}],
            ["plain", "preferred", "cordoned"],
        ),
        (
            [{"key": "dedicated", "operator": "Equal", "value": "spire"}],
            ["plain", "preferred", "cordoned", "dedicated"],
        ),
        ([{"key": "dedicated", "operator": "Equal", "value": "other"}], ["plain", "preferred", "cordoned"]),
    ],
    ids=["none", "all", "a key", "a key without a value", "another effect", "a value", "another value"],
)
def test_a_daemon_set_is_expected_on_the_nodes_whose_taints_it_tolerates(
    objects: KubernetesObjects, tolerations: list[dict[str, str]] | None, names: list[str]
) -> None:
    node(objects, "plain")
    node(objects, "preferred", {"key": "busy", "effect": "PreferNoSchedule"})
    node(objects, "cordoned", {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    node(objects, "control-plane", CONTROL_PLANE)
    node(objects, "dedicated", DEDICATED)
    spec = {"containers": [{"name": "main"}], "tolerations": tolerations}
    made = controller(objects, "DaemonSet", "spire-agent", template={"spec": spec})
    assert pods.eligible_nodes(objects.cluster.core.list_node().items, made.spec.template.spec) == names


def affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    required = {"nodeSelectorTerms": list(terms)}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


def wants(operator: str, *values: str, key: str = "disks") -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values) or None}


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ({"nodeSelector": {"disks": "2"}}, ["b"]),
        ({"nodeSelector": {"disks": "2", "kubernetes.io/hostname": "a"}}, []),
        (affinity({"matchExpressions": [wants("In", "2", "3")]}), ["b"]),
        (affinity({"matchExpressions": [wants("NotIn", "2")]}), ["a", "c"]),
        (affinity({"matchExpressions": [wants("Exists")]}), ["b", "c"]),
        (affinity({"matchExpressions": [wants("DoesNotExist")]}), ["a"]),
        (affinity({"matchExpressions": [wants("Gt", "2")]}), ["c"]),
        (affinity({"matchExpressions": [wants("Lt", "10")]}), ["b"]),
        (affinity({"matchExpressions": [wants("Exists"), wants("In", "c", key="kubernetes.io/hostname")]}), ["c"]),
        # As a DaemonSet's controller has it in its pods.
        (affinity({"matchFields": [wants("In", "a", key="metadata.name")]}), ["a"]),
        (affinity({"matchExpressions": [wants("In", "2")]}, {"matchExpressions": [wants("DoesNotExist")]}), ["a", "b"]),
        (affinity({}), []),
        ({"affinity": {"podAntiAffinity": {}}}, ["a", "b", "c"]),
    ],
)
def test_a_daemon_set_is_expected_on_the_nodes_that_it_selects(
    objects: KubernetesObjects, spec: dict[str, Any], names: list[str]
) -> None:
    nodes = [node(objects, "a"), node(objects, "b", labels={"disks": "2"}), node(objects, "c", labels={"disks": "10"})]
    template = {"spec": {"containers": [{"name": "main"}], **spec}}
    made = controller(objects, "DaemonSet", "spire-agent", template=template)
    assert pods.eligible_nodes(nodes, made.spec.template.spec) == names


def requests(**amounts: str) -> dict[str, Any]:
    return {"name": "main", "resources": {"requests": {key.replace("_", "-"): each for key, each in amounts.items()}}}


NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("spec", "taints", "ready", "never"),
    [
        ({}, [], "True", False),
        ({"nodeSelector": {"pool": "spire"}}, [], "True", True),
        ({"containers": [requests(cpu="64")]}, [], "True", True),
        ({"containers": [requests(cpu="2")]}, [], "True", False),
        ({"containers": [requests(cpu="1500m"), requests(cpu="501m")]}, [], "True", True),
        ({"containers": [requests(cpu="1500m")], "initContainers": [requests(cpu="2")]}, [], "True", False),
        ({"initContainers": [requests(memory="8Gi")]}, [], "True", True),
        # The device's plug-in may still be starting.
        ({"containers": [requests(example_com_tpu="1")]}, [], "True", False),
        ({}, [CONTROL_PLANE], "True", True),
        ({"tolerations": [{"operator": "Exists"}]}, [CONTROL_PLANE], "True", False),
        ({}, [{"key": "busy", "effect": "PreferNoSchedule"}], "True", False),
        # Labels, size and taints of a node that is being added come later.
        ({"nodeSelector": {"pool": "spire"}}, [NOT_READY], "True", False),
        ({"nodeSelector": {"pool": "spire"}}, [], "False", False),
        ({}, [NOT_READY, CONTROL_PLANE], "True", False),
    ],
)
def test_a_node_that_no_time_makes_fit_for_a_pod(
    objects: KubernetesObjects, spec: dict[str, Any], taints: list[dict[str, str]], ready: str, never: bool
) -> None:
    made = model("Pod", {"spec": {"containers": [{"name": "main"}], **spec}})
    assert pods.can_never_run(made.spec, node(objects, "node", *taints, ready=ready)) is never


READY = container(running=running())
UNREADY = container(running=running(), ready=False)
LONG_AGO, LATELY = NOW - 61, NOW - 59


@pytest.mark.parametrize(
    ("condition", "is_looked_at"),
    [
        ({"status": "True", "lastTransitionTime": stamp(LONG_AGO), "lastHeartbeatTime": stamp(LONG_AGO)}, True),
        ({"status": "False", "lastTransitionTime": stamp(LATELY), "lastHeartbeatTime": stamp(NOW)}, True),
        ({"status": "False", "lastTransitionTime": stamp(LONG_AGO), "lastHeartbeatTime": stamp(NOW)}, False),
        # The node controller writes it of a kubelet that is silent; kubelets renew the heartbeat every 5 min.
        ({"status": "Unknown", "lastTransitionTime": stamp(LATELY), "lastHeartbeatTime": stamp(NOW - 359)}, True),
        ({"status": "Unknown", "lastTransitionTime": stamp(LONG_AGO), "lastHeartbeatTime": stamp(NOW - 361)}, False),
        # It has just written it of one that has never reported.
        ({"status": "Unknown", "reason": "NodeStatusNeverUpdated", "lastTransitionTime": stamp(NOW)}, False),
        ({"status": "False"}, True),
        (None, False),
    ],
)
def test_a_node_is_left_out_once_it_has_not_been_ready_for_a_minute(
    objects: KubernetesObjects, monkeypatch: pytest.MonkeyPatch, condition: dict[str, str] | None, is_looked_at: bool
) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)
    conditions = [] if condition is None else [{"type": "Ready", **condition}]
    objects.add("Node", "a", "", status={"conditions": conditions}, metadata={"creationTimestamp": stamp(LONG_AGO)})
    # A kubelet that has yet to report for the first time.
    objects.add("Node", "new", "", status={}, metadata={"creationTimestamp": stamp(LATELY)})
    objects.is_external = True
    names = [each.metadata.name for each in nodes_looked_at(objects.cluster)]
    assert names == (["a", "new"] if is_looked_at else ["new"])
    assert [each.metadata.name for each in nodes_left_out(objects.cluster)] == ([] if is_looked_at else ["a"])
    objects.is_external = False
    assert len(nodes_looked_at(objects.cluster)) == 2
    assert nodes_left_out(objects.cluster) == []


AGENT_STATUS = {"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberReady": 2}


def with_a_node_that_is_away(objects: KubernetesObjects, monkeypatch: pytest.MonkeyPatch, *hashes: str) -> None:
    """A cluster of somebody's with an agent on each of two nodes, of these revisions, and one on a node that is gone.

    That one is ready by its containers, as they were last reported; one more has not even been scheduled there.
    """
    monkeypatch.setattr("time.time", lambda: NOW)
    objects.is_external = True
    for name, ready, since in (("a", "True", NOW - 900), ("b", "True", NOW - 900), ("ghost", "Unknown", NOW - 600)):
        node(objects, name, ready=ready, since=since)
    for number, revision in enumerate(hashes):
        made: dict[str, Any] = {
            "creationTimestamp": stamp(NOW - 500 + number),
            "labels": {"controller-revision-hash": revision},
        }
        pod(objects, READY, name=f"agent-{number}", owner=("DaemonSet", "spire-agent"), **made)
        objects.objects[-1][1]["spec"]["nodeName"] = "ab"[number]
    pod(objects, UNREADY, name="away", owner=("DaemonSet", "spire-agent"))
    objects.objects[-1][1]["spec"]["nodeName"] = "ghost"
    scheduled = {"type": "PodScheduled", "status": "False"}
    pod(objects, name="unscheduled", owner=("DaemonSet", "spire-agent"), conditions=[scheduled])
    objects.objects[-1][1]["spec"] |= affinity({"matchFields": [wants("In", "ghost", key="metadata.name")]})


def test_on_a_node_that_is_left_out_no_agent_is_missing(
    objects: KubernetesObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_a_node_that_is_away(objects, monkeypatch, "1", "1")
    controller(objects, "DaemonSet", "spire-agent", status=AGENT_STATUS)
    place = (objects.cluster, "spire-server", "spire-agent")
    assert daemon_set_ready(*place).look().value == 2
    assert nodes_of_daemon_set(*place).look().value == ["a", "b"]
    own = pods.controller_pods(objects.cluster, "DaemonSet", "spire-server", "spire-agent")
    assert [each.metadata.name for each in own] == ["agent-0", "agent-1"]
    before = frozenset({"Pod/spire-server/before"})
    assert controller_replaced(objects.cluster, "DaemonSet", "spire-server", "spire-agent", before).look().value == 2
    # A Deployment's pod there is one that is to run elsewhere, and it counts.
    pod(objects, READY, name="server-1-x", owner=("ReplicaSet", "server-1"))
    objects.objects[-1][1]["spec"]["nodeName"] = "ghost"
    assert len(pods.pods(objects.cluster, "spire-server")) == 3
    objects.is_external = False
    assert daemon_set_ready(*place).look().value is None
    assert len(pods.pods(objects.cluster, "spire-server")) == 5


@pytest.mark.parametrize("surge", [0, 1])
def test_an_agent_that_stays_where_none_is_wanted_any_more_is_none_too_many(
    objects: KubernetesObjects, monkeypatch: pytest.MonkeyPatch, surge: int
) -> None:
    with_a_node_that_is_away(objects, monkeypatch, "1", "1")
    # A taint with this effect leaves the pods that run; the DaemonSet's status does not count the node.
    (tainted,) = (each for kind, each in objects.objects if kind == "Node" and each["metadata"]["name"] == "b")
    tainted["spec"]["taints"] = [CONTROL_PLANE]
    status = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberReady": 1}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge}}
    made = controller(objects, "DaemonSet", "spire-agent", status=status, updateStrategy=strategy)
    assert daemon_set_counts(objects.cluster, made) == DaemonSetCounts(wanted=1, updated=1, ready=1)
    assert daemon_set_ready(objects.cluster, "spire-server", "spire-agent").look().value == 1
    # Where no node is left out, what stays is not taken for a pod of before either.
    objects.is_external = False
    objects.objects = [each for each in objects.objects if each[1]["metadata"]["name"] not in ("away", "unscheduled")]
    assert surging_pods(objects.cluster, made) == 0


HELD_BACK = (
    "the update strategy's maxUnavailable is {}, and its pods are unavailable on node ghost, which has not been ready "
    "since 2026-11-23 09:50:00 UTC: Unknown"
)


@pytest.mark.parametrize(
    ("rolling", "shown"),
    [
        (None, "1"),
        ({"maxUnavailable": 1, "maxSurge": 0}, "1"),
        # Of three, rounded up.
        ({"maxUnavailable": "10%"}, "10%"),
        ({"maxUnavailable": "34%"}, ""),
        ({"maxUnavailable": 2}, ""),
        ({"maxSurge": 1, "maxUnavailable": 0}, ""),
    ],
)
def test_an_agent_on_a_node_that_is_left_out_keeps_the_others_from_being_replaced(
    objects: KubernetesObjects, monkeypatch: pytest.MonkeyPatch, rolling: dict[str, Any] | None, shown: str
) -> None:
    with_a_node_that_is_away(objects, monkeypatch, "1", "1")
    strategy = {"type": "RollingUpdate", **({"rollingUpdate": rolling} if rolling else {})}
    status = {**AGENT_STATUS, "currentNumberScheduled": 3, "updatedNumberScheduled": 0}
    made = controller(objects, "DaemonSet", "spire-agent", status=status, updateStrategy=strategy)
    words = HELD_BACK.format(shown) if shown else ""
    assert held_back(objects.cluster, made) == words
    # Of SPIRE that was there before they count; what this run has installed is not replaced for good.
    place = (objects.cluster, "spire-server", "spire-agent")
    stays = daemon_set_ready(*place, older=lambda found: bool(held_back(objects.cluster, found)))
    assert stays.look().value == (2 if shown else None)
    assert daemon_set_ready(*place).look().value is None
    problem = why_controller_unready(objects.cluster, "DaemonSet", made)
    replaced = Problem("its pods are being replaced", on_its_way=True)
    assert problem == (Problem(f"its pods are of the old revision: {words}") if shown else replaced)
    objects.is_external = False
    assert held_back(objects.cluster, made) == ""


@pytest.mark.parametrize(
    ("hashes", "status"),
    [
        # One of the old revision, one that is missing, and none of the newest yet.
        (("1", "2"), {"updatedNumberScheduled": 2}),
        (("1",), {"updatedNumberScheduled": 2}),
        (("1", "1"), {"updatedNumberScheduled": 0}),
        ((), {"updatedNumberScheduled": 1}),
    ],
)
def test_an_agent_that_is_missing_or_old_on_another_node_is_waited_for(
    objects: KubernetesObjects, monkeypatch: pytest.MonkeyPatch, hashes: tuple[str, ...], status: dict[str, int]
) -> None:
    with_a_node_that_is_away(objects, monkeypatch, *hashes)
    controller(objects, "DaemonSet", "spire-agent", status={**AGENT_STATUS, **status})
    assert daemon_set_ready(objects.cluster, "spire-server", "spire-agent").look().value is None


def replaced(objects: KubernetesObjects, *before: str, wanted: int = 2) -> Any:
    names = frozenset(f"Pod/spire-server/{name}" for name in before)
    controller(objects, "DaemonSet", "spire-agent", status={"desiredNumberScheduled": wanted})
    return controller_replaced(objects.cluster, "DaemonSet", "spire-server", "spire-agent", names).look()


def agent(objects: KubernetesObjects, name: str, *statuses: dict[str, Any]) -> None:
    pod(objects, *statuses, name=name, owner=("DaemonSet", "spire-agent"))


@pytest.mark.parametrize(
    ("there", "value"),
    [
        ({"old-1": [READY], "old-2": [READY]}, None),
        ({"old-1": [READY], "new-2": [READY]}, None),
        ({"new-1": [READY], "new-2": [UNREADY]}, None),
        ({"new-1": [READY], "new-2": []}, None),
        ({"new-1": [READY]}, None),
        # Until the old one is gone, the agent's folder on the node may still be its own.
        ({"new-1": [READY], "new-2": [READY], "old-1": [READY]}, None),
        ({"new-1": [READY], "new-2": [READY]}, 2),
    ],
)
def test_pods_are_replaced_once_as_many_new_ones_are_ready_and_the_old_ones_gone(
    objects: KubernetesObjects, there: dict[str, list[dict[str, Any]]], value: int | None
) -> None:
    for name, statuses in there.items():
        agent(objects, name, *statuses)
    pod(objects, READY, name="another", owner=("DaemonSet", "spire-agent-upstream"))
    assert replaced(objects, "old-1", "old-2").value == value


def test_one_new_pod_may_replace_two_of_which_one_was_being_deleted(objects: KubernetesObjects) -> None:
    agent(objects, "new-1", READY)
    assert replaced(objects, "old-1", "old-2", wanted=1).value == 1


def test_a_pod_that_was_being_deleted_before_is_not_waited_for(objects: KubernetesObjects) -> None:
    agent(objects, "ending", READY)
    objects.objects[-1][1]["metadata"]["deletionTimestamp"] = "2026-11-24T21:36:50Z"
    agent(objects, "new-1", READY)
    assert replaced(objects, "old-1", wanted=1).value == 1
    assert replaced(objects, "ending", wanted=1).value is None
    pod(objects, READY, name="evicted", owner=("DaemonSet", "spire-agent"), phase="Failed")
    assert replaced(objects, "old-1", wanted=1).value == 1


def test_where_there_was_no_pod_new_ones_are_waited_for(objects: KubernetesObjects) -> None:
    assert replaced(objects).value is None


def test_pods_that_are_not_replaced_are_reported_with_what_they_wait_for(objects: KubernetesObjects) -> None:
    agent(objects, "spire-agent-1", READY)
    agent(objects, "spire-agent-2", container(waiting=waits("ContainerCreating")))
    assert replaced(objects, "old-1", "old-2").seen == (
        "1 of 2 new and ready, 0 of before still there (spire-agent-2/main: ContainerCreating)"
    )


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ([("Complete", "True")], "Complete"),
        ([("Failed", "True")], "Failed"),
        ([("SuccessCriteriaMet", "True"), ("Complete", "True")], "Complete"),
        ([("FailureTarget", "True"), ("Failed", "True")], "Failed"),
        ([("SuccessCriteriaMet", "True")], None),
        ([("FailureTarget", "True")], None),
        ([("Complete", "False")], None),
        ([("Suspended", "True"), ("Failed", "Unknown")], None),
        ([], None),
    ],
)
def test_a_job_has_ended_once_it_is_complete_or_failed_whatever_other_conditions_there_are(
    objects: KubernetesObjects, given: list[tuple[str, str]], value: str | None
) -> None:
    conditions = [{"type": kind, "status": status} for kind, status in given]
    objects.add("Job", "client", "demo", status={"conditions": conditions})
    assert job_finished(objects.cluster, "demo", "client").look().value == value


def test_a_job_that_goes_on_is_reported_with_its_counts_and_what_its_pods_wait_for(objects: KubernetesObjects) -> None:
    objects.add("Job", "client", "demo", status={"active": 1})
    client, server = (container(name, waiting=waits("ContainerCreating")) for name in ("client", "server"))
    pod(objects, client, name="client-x", namespace="demo", owner=("Job", "client"))
    pod(objects, server, name="server-y", namespace="demo", owner=("ReplicaSet", "server-1"))
    condition = job_finished(objects.cluster, "demo", "client")
    assert condition.name == "server: the end of Job demo/client"
    assert condition.look().seen == "active 1, succeeded 0, failed 0 (client-x/client: ContainerCreating)"


@pytest.mark.parametrize(("codes", "value"), [((), None), ((None,), None), ((0,), "Complete"), ((2,), "Failed")])
def test_a_job_is_as_good_as_over_once_its_own_pod_has_ended(
    objects: KubernetesObjects, codes: tuple[int | None, ...], value: str | None
) -> None:
    earlier = container("client", terminated=exited(1))
    pod(objects, earlier, name="client-x", namespace="demo", labels={"controller-uid": "1"})
    for code in codes:
        runs = code is None
        status = container("client", running=running()) if runs else container("client", terminated=exited(code or 0))
        pod(objects, status, name="client-y", namespace="demo", labels={"controller-uid": "2"})
    condition = job_pod_finished(objects.cluster, "demo", "client", "controller-uid=2")
    assert condition.look().value == value
    assert condition.look().seen.startswith(f"{len(codes)} containers")
