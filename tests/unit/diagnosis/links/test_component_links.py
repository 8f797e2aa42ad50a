"""What of SPIRE is not ready, what is to be named of it, and what only follows from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fixtures.diagnosis.causes import (
    CSI_CAUSE,
    WHY_BEHIND_PROXY,
    WHY_OTHER_PODS,
    WHY_PROXIED,
    WHY_UNATTESTED,
    WHY_UNKNOWN_CALLER,
    is_of_configuration,
)
from fixtures.diagnosis.finding import Finding
from fixtures.diagnosis.links import component_links
from fixtures.diagnosis.links.component_links import LONG_HOOK
from fixtures.diagnosis.links.spire_links import RECENT, check_agents, pods_wanted_and_ready, why_no_workload_api
from fixtures.k8s import pods
from fixtures.k8s.conditions import controller_ready, daemon_set_ready
from fixtures.k8s.rollouts import NUMBER, REVISION, held_back
from fixtures.spire import api_types
from fixtures.spire.layout import IngressPath, Workload
from tests.unit import own_chart
from tests.unit.diagnosis.links.spire_objects import AGENT_ID, AGENT_POD, Objects, sentences
from tests.unit.kubernetes_objects import (
    NOW,
    container,
    controller,
    event,
    exited,
    node,
    owned_by,
    pod,
    running,
    stamp,
    waits,
)
from tests.unit.own_chart import AGENT, CLASS_NAME, CSI_DRIVER, SERVER, SERVER_NAMESPACE, SYSTEM_NAMESPACE

READY = container("main", running=running())

CRASHES = container(AGENT, 5, {"terminated": exited(1, NOW - 5)}, waiting=waits("CrashLoopBackOff"))


@pytest.mark.parametrize("server", [0, 1])
def test_a_crash_of_what_needs_another_component_may_be_for_that(objects: Objects, server: int) -> None:
    objects.of_agent(CRASHES)
    pod(objects, container(SERVER, running=running(NOW - 30), ready=bool(server)), name="spire-server-0")
    found = list(component_links.check_components(objects.with_spire(server=server, agents=0)))
    crash = next(each for each in found if AGENT in each.sentence)
    assert "crashes (exit code 1, 5 restarts)" in crash.sentence
    assert crash.on_its_way is not bool(server)
    assert len(found) == 2 - server


def test_a_proxy_between_the_server_and_its_cluster_is_the_cause_of_a_missing_bundle(objects: Objects) -> None:
    objects.of_agent(container(AGENT, waiting=waits("ContainerCreating")))
    pod(objects, container(SERVER, running=running()), name="spire-server-0")
    message = 'MountVolume.SetUp failed for volume "spire-bundle" : configmap "spire-bundle" not found'
    event(objects, "Pod", AGENT_POD, "FailedMount", message, namespace=SYSTEM_NAMESPACE)
    refused = 'Get \\"https://10.96.0.1:443/api\\": proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused'
    objects.server_log = f'time="2026-11-23T09:59:55Z" level=error msg="Failed to publish bundle" error="{refused}"\n'
    (found,) = component_links.check_components(objects.with_spire(agents=0))
    assert "the server logs: Failed to publish bundle: Get" in found.sentence
    assert found.cause == WHY_BEHIND_PROXY


def test_a_server_that_may_not_write_its_bundle_lacks_a_right(objects: Objects) -> None:
    objects.of_agent(container(AGENT, waiting=waits("ContainerCreating")))
    pod(objects, container(SERVER, running=running()), name="spire-server-0")
    message = 'MountVolume.SetUp failed for volume "spire-bundle" : configmap "spire-bundle" not found'
    event(objects, "Pod", AGENT_POD, "FailedMount", message, namespace=SYSTEM_NAMESPACE)
    refused = 'configmaps \\"spire-bundle\\" is forbidden: User \\"x\\" cannot patch resource \\"configmaps\\"'
    objects.server_log = f'time="2026-11-23T09:59:55Z" level=error msg="Failed to publish bundle" error="{refused}"\n'
    (found,) = component_links.check_components(objects.with_spire(agents=0))
    assert "lacks a right" in found.cause


def test_the_servers_own_words_are_given_where_its_bundle_is_missing(objects: Objects) -> None:
    objects.of_agent(container(AGENT, waiting=waits("ContainerCreating")))
    pod(objects, container(SERVER, running=running()), name="spire-server-0")
    message = 'MountVolume.SetUp failed for volume "spire-bundle" : configmap "spire-bundle" not found'
    event(objects, "Pod", AGENT_POD, "FailedMount", message, namespace=SYSTEM_NAMESPACE)
    objects.server_log = (
        'time="2026-11-23T09:59:55Z" level=error msg="Notifier failed to handle event" '
        'error="forbidden" notifier=k8sbundle\n'
    )
    (found,) = component_links.check_components(objects.with_spire(agents=0))
    assert found.sentence.endswith(f"{message}; the server logs: Notifier failed to handle event: forbidden")
    assert not found.on_its_way


def test_a_release_that_failed_before_it_came_to_its_components_is_the_reason_that_they_are_not_there(
    objects: Objects,
) -> None:
    objects.status, objects.failed = "failed", 'revision 2: pre-upgrade hooks failed: namespaces "identity" not found'
    found = sentences(component_links.check_components(objects.spire))
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
    (found,) = component_links.check_components(objects.with_spire(agents=0))
    assert found.on_its_way is on_its_way
    assert ("the server logs: Failed to publish bundle: forbidden" in found.sentence) is bool(logged)


@pytest.mark.parametrize(
    ("status", "on_its_way"), [("", True), ("pending-install", True), ("deployed", False), ("failed", False)]
)
def test_a_component_that_is_not_there_may_come_while_helm_installs(
    objects: Objects, status: str, on_its_way: bool
) -> None:
    objects.status = status
    found = list(component_links.check_components(objects.spire))
    assert sentences(found) == [
        f"there is no StatefulSet spire-server/{SERVER}",
        f"there is no DaemonSet spire-system/{AGENT}",
        f"there is no DaemonSet spire-system/{CSI_DRIVER}",
    ]
    assert {each.on_its_way for each in found} == {on_its_way}


def test_a_component_whose_namespace_is_being_deleted_waits_for_what_holds_that(objects: Objects) -> None:
    said = "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    condition = {"type": "NamespaceFinalizersRemaining", "status": "True", "message": said}
    for name, phase in (("spire-server", "Terminating"), (SYSTEM_NAMESPACE, "Active")):
        described = {"metadata": {"name": name, "namespace": ""}, "status": {"phase": phase, "conditions": [condition]}}
        objects.objects.append(("Namespace", described))
    found = list(component_links.check_components(objects.spire))
    assert sentences(found) == [
        f"there is no StatefulSet spire-server/{SERVER}, and its namespace is being deleted: {said}",
        f"there is no DaemonSet spire-system/{AGENT}",
        f"there is no DaemonSet spire-system/{CSI_DRIVER}",
    ]
    assert "finalizer" in found[0].cause


LAST_LINE = "its last line: kubectl: command not found"


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
    assert bool(list(component_links.check_components(objects.spire))) is is_found


@pytest.mark.parametrize(
    ("status", "statuses", "words", "on_its_way"),
    [
        ({"succeeded": 1}, [container(terminated=exited(0))], None, False),
        ({"active": 1, "ready": 1}, [container(running=running())], None, False),
        ({"active": 1, "failed": 1}, [container(terminated=exited(1))], f"has failed 1 times; {LAST_LINE}", True),
        ({"failed": 2}, [container(terminated=exited(1))], f"has failed 2 times; {LAST_LINE}", False),
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
    found = list(component_links.check_components(spire))
    assert [(each.sentence, each.on_its_way) for each in found] == (
        [(f"Job spire-server/hook {words}", on_its_way)] if words else []
    )
    if "failed" in status:
        assert found[0].evidence == "    kubectl: command not found"


def test_a_hook_that_lacks_a_right_is_not_on_its_way_though_its_job_tries_again(objects: Objects) -> None:
    spire = objects.with_spire()
    job(objects, active=1, failed=1)
    hook_pod(objects, container(terminated=exited(1)))
    words = 'Error from server (Forbidden): validatingwebhookconfigurations "spire" is forbidden: User "x" cannot patch'
    objects.log("hook-x/main", words)
    (found,) = component_links.check_components(spire)
    assert found.sentence == f"Job spire-server/hook has failed 1 times; its last line: {words}"
    assert found.cause.startswith("a hook of the chart lacks a right")
    assert not found.on_its_way


@pytest.mark.parametrize(("age", "is_named"), [(LONG_HOOK - 1, False), (LONG_HOOK, True)])
def test_a_hook_that_runs_for_long_is_named_after_all_else_and_with_its_last_line(
    objects: Objects, age: float, is_named: bool
) -> None:
    spire = objects.with_spire(agents=0)
    job(objects, active=1, ready=1, startTime=stamp(NOW - age))
    hook_pod(objects, container(running=running(NOW - age)))
    objects.log("hook-x/main", "waiting for the issuer", "still waiting for the issuer")
    found = [each for each in component_links.check_components(spire) if "Job" in each.sentence]
    assert [each.sentence for each in found] == (
        ["Job spire-server/hook does not end; its last line: still waiting for the issuer"] if is_named else []
    )
    assert all(each.on_its_way and each.follows for each in found)


def test_a_failed_release_is_named_with_helms_words(objects: Objects) -> None:
    objects.failed = "revision 2: pre-upgrade hooks failed: job failed:\n  BackoffLimitExceeded"
    (found,) = component_links.check_components(objects.with_spire())
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
    found = sentences(component_links.check_components(objects.with_spire()))
    assert found == ([] if leads else [f"Service spire-server/{SERVER} leads to no pod"])
    # Where SPIRE was there before the run, its own Services are looked at, and no neighbour's.
    objects.installed_by_run = False
    objects.add("Service", "neighbour", spec={"selector": {"app": "neighbour"}})
    assert sentences(component_links.check_components(objects.spire)) == found
    objects.remove("StatefulSet")
    assert not any("leads to no pod" in each for each in sentences(component_links.check_components(objects.spire)))


@pytest.mark.parametrize("ports", [[{"name": "bundle", "port": 8443}], []])
def test_a_service_of_the_server_that_leads_to_other_pods_too_is_named(
    objects: Objects, ports: list[dict[str, Any]]
) -> None:
    pod(objects, container(SERVER, running=running()), name="spire-server-0")
    oidc = ("ReplicaSet", "spire-oidc-5d8f7")
    pod(objects, container(running=running()), name="spire-oidc-5d8f7-x", owner=oidc)
    pod(objects, container(running=running()), name="going", owner=oidc, deletionTimestamp=stamp(NOW - 1))
    ends = [
        {"conditions": {"ready": True}, "addresses": [address], "targetRef": {"kind": "Pod", "name": name}}
        for address, name in (("10.0.0.5", "spire-server-0"), ("10.0.0.6", "spire-oidc-5d8f7-x"), ("10.0.0.7", "going"))
    ]
    labels = {"labels": {"kubernetes.io/service-name": SERVER}}
    objects.add("EndpointSlice", f"{SERVER}-x", metadata=labels, addressType="IPv4", endpoints=ends, ports=ports)
    found = list(component_links.check_components(objects.with_spire()))
    # Pods that declare no port by the Service's name for it are in a slice without ports.
    of_both = f"is for StatefulSet spire-server/{SERVER}, and leads to pod spire-oidc-5d8f7-x too"
    expected = f"Service spire-server/{SERVER} {of_both}"
    assert [(each.sentence, each.cause) for each in found] == ([(expected, WHY_OTHER_PODS)] if ports else [])
    objects.installed_by_run = False
    assert not list(component_links.check_components(objects.spire))


@pytest.mark.parametrize(("ready_for", "on_its_way"), [(5, True), (15, False)])
def test_what_the_kubelet_will_kill_is_named_though_all_is_ready(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, ready_for: float, *, on_its_way: bool
) -> None:
    def failing(_: Any, kind: str, namespace: str, name: str) -> list[str]:
        return ["its liveness probe fails"] if (kind, namespace, name) == of_server else []

    of_server = ("StatefulSet", SERVER_NAMESPACE, SERVER)
    monkeypatch.setattr(component_links, "failing_liveness_probes", failing)
    monkeypatch.setattr(pods, "ready_since", lambda *_: NOW - ready_for)
    (found,) = component_links.check_components(objects.with_spire())
    assert found.sentence == f"StatefulSet {SERVER_NAMESPACE}/{SERVER}: its liveness probe fails"
    assert found.on_its_way is on_its_way
    # The API server of somebody else's cluster may not lead to pods.
    objects.installed_by_run = False
    assert list(component_links.check_components(objects.spire)) == []


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
@pytest.mark.parametrize(
    ("counts", "ready"),
    [
        ({"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}, 1),
        # As an upgrade leaves a Deployment whose new pod does not get ready: the old one serves on.
        ({"replicas": 2, "updatedReplicas": 1, "readyReplicas": 1}, 0),
        ({"replicas": 2, "updatedReplicas": 1, "readyReplicas": 2}, 1),
        ({"replicas": 1, "readyReplicas": 1}, 0),
        ({"replicas": 1, "updatedReplicas": 1}, 0),
    ],
)
def test_only_ready_pods_of_the_newest_revision_count(
    objects: Objects, kind: str, counts: dict[str, int], ready: int
) -> None:
    made = controller(objects, kind, "oidc", status=counts)
    assert pods_wanted_and_ready(objects.spire, [], kind, made) == (1, ready)


@pytest.mark.parametrize(("surge", "names", "ready"), [(1, "ab", 0), (1, "b", 1), (0, "ab", 1), ("0%", "ab", 1)])
def test_a_pod_of_before_beside_a_new_one_is_none_of_a_surging_daemon_sets(
    objects: Objects, surge: int | str, names: str, ready: int
) -> None:
    counts = {"numberReady": 1, "updatedNumberScheduled": 1, "desiredNumberScheduled": 1}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": 0}}
    made = controller(objects, "DaemonSet", "node-agent", status=counts, updateStrategy=strategy)
    for name in names:
        pod(objects, container(running=running()), name=name, owner=("DaemonSet", "node-agent"))
    assert pods_wanted_and_ready(objects.spire, [], "DaemonSet", made) == (1, ready)
    found = daemon_set_ready(objects.cluster, made.metadata.namespace, made.metadata.name).look()
    assert (found.value == 1) is bool(ready)


OLD_PODS: tuple[tuple[str, dict[str, int], dict[str, Any], str], ...] = (
    # As the controllers report it a while after the template was changed.
    (
        "DaemonSet",
        {"currentNumberScheduled": 1, "desiredNumberScheduled": 1, "numberReady": 1, "numberAvailable": 1},
        {"updateStrategy": {"type": "OnDelete"}},
        "the update strategy is OnDelete",
    ),
    (
        "StatefulSet",
        {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1, "currentReplicas": 1},
        {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}},
        "the update strategy's partition is 1",
    ),
    (
        "StatefulSet",
        {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1},
        {"updateStrategy": {"type": "OnDelete"}},
        "the update strategy is OnDelete",
    ),
    ("Deployment", {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1}, {"paused": True}, "it is paused"),
)
STAYING = {"DaemonSet": AGENT, "StatefulSet": SERVER, "Deployment": "oidc"}


@pytest.mark.parametrize(("kind", "counts", "spec", "words"), OLD_PODS)
def test_ready_pods_of_an_older_revision_that_stay_are_ready_where_this_run_has_not_installed_them(
    objects: Objects, kind: str, counts: dict[str, int], spec: dict[str, Any], words: str
) -> None:
    objects.with_spire()
    name = STAYING[kind]
    namespace = SYSTEM_NAMESPACE if kind == "DaemonSet" else SERVER_NAMESPACE
    objects.objects = [(of, each) for of, each in objects.objects if (of, each["metadata"]["name"]) != (kind, name)]
    item = controller(objects, kind, name, namespace, status=counts, **spec)
    owner = ("ReplicaSet", f"{name}-1") if kind == "Deployment" else (kind, name)
    pod(objects, container(running=running()), name=f"{name}-x", namespace=namespace, owner=owner)
    place = (objects.cluster, kind, namespace, name)
    assert held_back(objects.cluster, item).startswith(words)
    assert controller_ready(*place, older=lambda found: bool(held_back(objects.cluster, found))).look().value == 1
    objects.installed_by_run = False
    assert list(component_links.check_components(objects.spire)) == []
    # What this run has installed is to be of its newest revision, and what is ready is not counted as if it were not.
    objects.installed_by_run = True
    found = [each for each in component_links.check_components(objects.spire) if name in each.sentence]
    assert [words in each.sentence for each in found] == [True]
    assert f"{kind} {namespace}/{name} has 0 of 1 ready of its newest revision, and 1 of an older one: " in str(
        found[0]
    )
    seen = controller_ready(*place).look()
    assert seen.value is None
    assert str(seen.seen).endswith(", with 1 of an older revision")


@pytest.mark.parametrize(
    ("kind", "new", "old", "words"),
    [
        ("StatefulSet", True, False, "1 of 2 ready: "),
        ("StatefulSet", False, True, "0 of 2 ready of its newest revision, and 1 of an older one: "),
        ("Deployment", True, False, "1 of 2 ready: "),
        ("Deployment", False, True, "0 of 2 ready of its newest revision, and 1 of an older one: "),
    ],
)
def test_of_two_revisions_it_is_said_of_which_the_pods_are_that_are_ready(
    objects: Objects, kind: str, new: bool, old: bool, words: str
) -> None:
    objects.with_spire()
    name = STAYING[kind]
    objects.objects = [(of, each) for of, each in objects.objects if (of, each["metadata"]["name"]) != (kind, name)]
    # The same of both: the status does not say which of them is ready.
    status = {"replicas": 2, "updatedReplicas": 1, "readyReplicas": 1, "updateRevision": "2"}
    newest = {"annotations": {NUMBER: "2"}}
    controller(objects, kind, name, SERVER_NAMESPACE, replicas=2, status=status, metadata=newest)
    for revision, is_ready in (("1", old), ("2", new)):
        replica_set = f"{name}-{revision}"
        of = {"ownerReferences": owned_by("Deployment", name), "annotations": {NUMBER: revision}}
        controller(objects, "ReplicaSet", replica_set, SERVER_NAMESPACE, metadata=of)
        owner = ("ReplicaSet", replica_set) if kind == "Deployment" else (kind, name)
        made: dict[str, Any] = {"namespace": SERVER_NAMESPACE, "owner": owner, "labels": {REVISION: revision}}
        pod(objects, container(running=running(), ready=is_ready), name=f"{replica_set}-x", **made)
    (found,) = [each for each in component_links.check_components(objects.spire) if name in each.sentence]
    assert found.sentence.startswith(f"{kind} {SERVER_NAMESPACE}/{name} has {words}")


def test_a_server_that_takes_its_time_to_end_has_it(objects: Objects) -> None:
    objects.with_spire(server=0)
    pod(objects, container(SERVER, running=running()), deletionTimestamp=stamp(NOW + 90))
    (found,) = component_links.check_components(objects.spire)
    assert (found.on_its_way, found.until) == (True, NOW + 90)


def test_a_pod_that_is_not_ready_is_missing_whatever_revision_stays(objects: Objects) -> None:
    counts = {"currentNumberScheduled": 1, "desiredNumberScheduled": 1}
    item = controller(objects, "DaemonSet", "node-agent", status=counts, updateStrategy={"type": "OnDelete"})
    objects.installed_by_run = False
    assert pods_wanted_and_ready(objects.spire, [], "DaemonSet", item) == (1, 0)
    place = (objects.cluster, "DaemonSet", item.metadata.namespace, item.metadata.name)
    assert controller_ready(*place, older=lambda found: bool(held_back(objects.cluster, found))).look().value is None
    # One that is replaced by itself is waited for.
    counts = {"currentNumberScheduled": 1, "desiredNumberScheduled": 1, "numberReady": 1}
    item = controller(objects, "DaemonSet", "rolled", status=counts, updateStrategy={"type": "RollingUpdate"})
    assert pods_wanted_and_ready(objects.spire, [], "DaemonSet", item) == (1, 0)
    place = (objects.cluster, "DaemonSet", item.metadata.namespace, item.metadata.name)
    assert controller_ready(*place, older=lambda found: bool(held_back(objects.cluster, found))).look().value is None


ENDPOINT = own_chart.LAYOUT.bundle_endpoint.service
OF_ENDPOINT = IngressPath("spire-server/federation", (ENDPOINT.namespace, ENDPOINT.name), ENDPOINT.port, "port 8443")
OF_API = replace(OF_ENDPOINT, port=443, backend="port 443 of Service spire-server/spire-server")
NOWHERE = replace(OF_ENDPOINT, port=0, backend="port bundle of Service spire-server/spire-server")
PLACE = f"{ENDPOINT.namespace}/{ENDPOINT.name}"


@pytest.mark.parametrize(
    ("paths", "asked", "words"),
    [
        ((), False, []),
        ((OF_API,), False, []),
        ((), "false", []),
        ((OF_API, OF_ENDPOINT), True, []),
        ((), True, [f"no Ingress leads to the bundle endpoint, port 8443 of Service {PLACE}: there is none"]),
        (
            (OF_API,),
            "true",
            [
                f"no Ingress leads to the bundle endpoint, port 8443 of Service {PLACE}: "
                f"spire-server/federation to port 443 of Service {PLACE}"
            ],
        ),
        (
            (replace(OF_ENDPOINT, ends_tls=True),),
            True,
            ["Ingress spire-server/federation ends TLS, and port 8443 is asked with certificates of SPIRE's own"],
        ),
        ((replace(OF_ENDPOINT, port=1, ends_tls=True), OF_ENDPOINT), True, []),
        (
            (OF_ENDPOINT, NOWHERE),
            True,
            [
                f"Ingress spire-server/federation leads to port bundle of Service {PLACE}, "
                "which the release does not have"
            ],
        ),
    ],
)
def test_an_ingress_that_leads_elsewhere_is_named(
    objects: Objects, paths: tuple[IngressPath, ...], asked: bool | str, words: list[str]
) -> None:
    objects.values = {"spire-server": {"federation": {"ingress": {"enabled": asked}}}}
    spire = objects.with_spire()
    spire.layout = replace(spire.layout, ingress_paths=paths)
    assert sentences(component_links.check_components(spire)) == words
    assert component_links.misled_ingresses(spire) == words
    # What the web trusts may end before an endpoint of that profile.
    web = replace(spire.layout.bundle_endpoint, profile="https_web")
    ending = replace(OF_ENDPOINT, ends_tls=True)
    spire.layout = replace(spire.layout, bundle_endpoint=web, ingress_paths=(ending,))
    assert component_links.misled_ingresses(spire) == []
    vars(spire)["was_installed_by_run"] = False
    assert sentences(component_links.check_components(spire)) == []


@pytest.mark.parametrize("policy", ["Local", "Cluster"])
def test_a_service_that_leads_to_pods_of_the_own_node_alone_is_named(objects: Objects, policy: str) -> None:
    spec = {"selector": {"app": "server"}, "ports": [], "internalTrafficPolicy": policy}
    for name in (SERVER, "neighbour"):
        objects.add("Service", name, spec=spec)
        ends = [{"conditions": {"ready": True}, "addresses": ["10.244.0.5"]}]
        labels = {"labels": {"kubernetes.io/service-name": name}}
        objects.add("EndpointSlice", f"{name}-x", metadata=labels, addressType="IPv4", endpoints=ends)
    spire = objects.with_spire()
    words = f"Service {SERVER_NAMESPACE}/{SERVER} leads only to pods of the node that asks"
    assert sentences(component_links.check_components(spire)) == ([words] if policy == "Local" else [])
    objects.installed_by_run = False
    assert sentences(component_links.check_components(objects.spire)) == []


def test_a_component_on_a_node_that_the_csi_driver_is_not_for_is_named_with_that_node(objects: Objects) -> None:
    objects.of_oidc_provider(container("oidc", waiting=waits("ContainerCreating")))
    objects.objects[-1][1]["spec"]["nodeName"] = "node-0"
    unregistered = 'MountVolume.SetUp failed for volume "x" : driver name csi.spiffe.io not found in the list of '
    event(objects, "Pod", "oidc-1-x", "FailedMount", f"{unregistered}registered CSI drivers")
    objects.add("CSINode", "other", spec={"drivers": [{"name": "csi.spiffe.io", "nodeID": "other"}]})
    spire: Any = objects.spire
    spire.layout = replace(spire.layout, csi_driver=replace(spire.layout.csi_driver, node_selector={"pool": "spire"}))
    found = next(each for each in component_links.check_components(spire) if "oidc" in each.sentence)
    words = "node node-0 has no CSI driver: DaemonSet spire-system/spire-spiffe-csi-driver does not select it"
    assert (found.cause, found.on_its_way) == (words, False)


def test_for_pods_that_are_on_no_node_no_nodes_are_listed(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    def listed(_: Objects) -> list[Any]:
        raise AssertionError("nobody waits on a node")

    spire = objects.with_spire()
    made = pod(objects, conditions=[{"type": "PodScheduled", "status": "False"}])
    monkeypatch.setattr(Objects, "list_nodes", listed)
    assert why_no_workload_api(spire, [made]) == why_no_workload_api(spire, []) == ""


def test_a_node_of_somebodys_cluster_that_has_long_not_been_ready_lacks_no_agent(objects: Objects) -> None:
    spire = objects.with_spire()
    for name in (AGENT, CSI_DRIVER):
        pod(objects, READY, name=f"{name}-1", namespace=SYSTEM_NAMESPACE, owner=("DaemonSet", name))
        objects.objects[-1][1]["spec"]["nodeName"] = "node-0"
    node(objects, "ghost", ready="Unknown", since=NOW - 600)
    for kind, item in objects.objects:
        if kind == "DaemonSet":
            item["status"] |= {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2}
    assert len(sentences(component_links.check_components(spire))) == 2
    assert "1 of 2 agents are attested" in " ".join(sentences(check_agents(spire)))
    objects.is_external = True
    assert sentences(component_links.check_components(spire)) == []
    assert sentences(check_agents(spire)) == []


def test_a_port_that_leads_to_none_that_a_container_declares_is_named(objects: Objects) -> None:
    ports = [{"name": "bundle", "port": 8443, "targetPort": "federation"}, {"name": "api", "port": 443}]
    objects.add("Service", SERVER, spec={"selector": {"app": "server"}, "ports": ports})
    objects.add("Service", "neighbour", spec={"selector": {"app": "server"}, "ports": ports})
    for name in (SERVER, "neighbour"):
        endpoint_slice: dict[str, Any] = {
            "metadata": {"labels": {"kubernetes.io/service-name": name}},
            "endpoints": [{"conditions": {"ready": True}, "addresses": ["10.244.0.5"]}],
            "ports": [{"name": "api", "port": 8081}],
        }
        objects.add("EndpointSlice", f"{name}-x", addressType="IPv4", **endpoint_slice)
    found = list(component_links.check_components(objects.with_spire()))
    # That of the bundle endpoint matters to every run; a neighbour's may be one that nobody asks.
    assert [(each.sentence, each.follows) for each in found] == [
        (
            f"port 8443 of Service spire-server/{name} leads to port federation of its pods, "
            "and no container declares that port",
            follows,
        )
        for name, follows in ((SERVER, False), ("neighbour", True))
    ]
    assert all(is_of_configuration(each.sentence, each.cause) for each in found)
    # Nor is it waited for.
    seen = component_links.services_lead_to_pods(objects.spire).look()
    assert (seen.value, seen.seen) == (None, found[0].sentence)


def test_of_an_installation_of_somebody_else_a_service_for_its_pods_is_looked_at_whoever_asks_it(
    objects: Objects,
) -> None:
    objects.installed_by_run = False
    spire = objects.with_spire()
    assert component_links.services_lead_to_pods(spire).look().value
    # The provider's Service is not known as such: no port of it leads to the provider.
    provider = own_chart.LAYOUT.oidc_provider
    assert provider
    spire.layout = replace(spire.layout, oidc_provider=replace(provider, service=None))
    objects.add("Service", "oidc", provider.namespace, spec={"selector": dict(provider.selector), "ports": []})
    assert component_links.services_lead_to_pods(spire).look().seen == (
        f"Service {provider.namespace}/oidc leads to no pod"
    )


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
    entries = [api_types.RegistrationEntry("1", "spiffe://server.example/x", parent, (selector,), ())] if parent else []
    monkeypatch.setattr(spire, "entries", lambda: entries)
    monkeypatch.setattr(spire, "agents", lambda: [replace(objects.attested, spiffe_id=AGENT_ID)])
    found = next(iter(component_links.check_components(spire)))
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
    found = next(iter(component_links.check_components(spire)))
    words = f"its server_address is {address}, and there is no Service spire-server/spire-servers"
    assert (words in found.sentence) is not is_there
    assert is_there or not found.on_its_way
    assert is_of_configuration(found.sentence, "") is not is_there


def found_of_agents(objects: Objects, error: str, **changed: Any) -> Finding:
    """What is found of agents, so changed in the layout, that do not get ready and log this of their attestation."""
    spire = objects.with_spire(agents=0)
    agents = tuple(replace(each, **changed) for each in spire.layout.agents)
    spire.layout = replace(spire.layout, agents=agents)
    objects.add("Service", "spire-server", SERVER_NAMESPACE, spec={"ports": []})
    objects.of_agent({**container(AGENT, running=running(NOW - 60)), "ready": False})
    line = f'level=error msg="Failed to retrieve attestation result" error="{error}"'
    objects.log(f"{AGENT_POD}/{AGENT}", line, at=NOW - 5)
    return next(iter(component_links.check_components(spire)))


@pytest.mark.parametrize("resolves", [True, False])
def test_agents_that_cannot_resolve_their_servers_name_are_put_down_to_their_dns_policy(
    objects: Objects, resolves: bool
) -> None:
    found = found_of_agents(objects, "code = Unavailable: no children to pick", resolves_services=resolves)
    assert ("and its pods do not ask the cluster's DNS" in found.sentence) is not resolves
    assert ("dnsPolicy" in found.cause) is not resolves
    assert is_of_configuration(found.sentence, "") is not resolves


@pytest.mark.parametrize("has_proxy", [True, False])
def test_agents_that_reach_no_server_are_put_down_to_the_proxy_of_their_environment(
    objects: Objects, has_proxy: bool
) -> None:
    dialing = "code = Unavailable desc = connection error: dial tcp 127.0.0.1:1: connect: connection refused"
    found = found_of_agents(objects, dialing, has_proxy=has_proxy)
    assert found.sentence.endswith("; its environment names a proxy") is has_proxy
    assert (found.cause == WHY_PROXIED) is has_proxy


@pytest.mark.parametrize("elsewhere", ["", "no port of Service spire-server/spire-server leads there (443 to grpc)"])
def test_agents_that_reach_no_server_are_put_down_to_a_service_that_leads_past_it(
    objects: Objects, elsewhere: str
) -> None:
    spire = objects.with_spire(agents=0)
    server = replace(spire.layout.server, port=8089, leads_elsewhere=elsewhere)
    spire.layout = replace(spire.layout, server=server)
    objects.add("Service", "spire-server", SERVER_NAMESPACE, spec={"ports": []})
    objects.of_agent({**container(AGENT, running=running(NOW - 60)), "ready": False})
    dialing = "code = Unavailable desc = connection error: dial tcp 10.96.108.213:443: connect: connection refused"
    line = f'level=warning msg="Failed to retrieve attestation result" error="{dialing}"'
    objects.log(f"{AGENT_POD}/{AGENT}", line, at=NOW - 5)
    found = next(iter(component_links.check_components(spire)))
    assert (f"the server listens on port 8089, and {elsewhere}" in found.sentence) is bool(elsewhere)
    assert is_of_configuration(found.sentence, "") is bool(elsewhere)
    assert not elsewhere or not found.on_its_way


@pytest.mark.parametrize("missed", ["", "/tmp/spire-server/private/other.sock"])  # noqa: S108
def test_a_controller_manager_that_looks_for_another_socket_is_not_on_its_way(objects: Objects, missed: str) -> None:
    spire = objects.with_spire(server=0)
    manager = replace(spire.layout.controller_manager, missed_socket=missed)
    spire.layout = replace(spire.layout, controller_manager=manager)
    name = manager.container.name
    unready = {**container(name, running=running(NOW - 5)), "ready": False}
    pod(objects, container(SERVER, running=running(NOW - 5)), unready, owner=("StatefulSet", SERVER))
    found = next(iter(component_links.check_components(spire)))
    assert f"container {name} of pod" in found.sentence
    assert ("it dials /tmp/spire-server/private/other.sock" in found.sentence) is bool(missed)
    assert found.on_its_way is not bool(missed)
    assert is_of_configuration(found.sentence, "") is bool(missed)


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
    (found,) = component_links.check_components(objects.spire)
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
    (found,) = component_links.check_components(objects.spire)
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
    (found,) = component_links.check_components(objects.spire)
    assert ("an agent logs" in found.sentence, words in found.sentence) == (bool(line), True)
    assert found.cause == cause
    assert is_of_configuration(found.sentence, "") is (cause == WHY_UNKNOWN_CALLER)


@pytest.mark.parametrize(("is_idle", "is_found"), [(True, False), (False, True)])
def test_a_workload_that_is_to_have_no_pods_is_broken_only_where_it_is_a_part_of_spire(
    objects: Objects, is_idle: bool, is_found: bool
) -> None:
    spire = objects.with_spire()
    controller(objects, "Deployment", "toolbox", replicas=0)
    toolbox = Workload("Deployment", SERVER_NAMESPACE, "toolbox", {}, {}, (), is_idle=is_idle)
    idle_server = replace(spire.layout.server, is_idle=True)
    spire.layout = replace(spire.layout, server=idle_server, workloads=(idle_server, *spire.layout.agents, toolbox))
    found = sentences(component_links.check_components(spire))
    assert any(each.startswith("Deployment spire-server/toolbox has 0 of 1 ready") for each in found) is is_found
    # The server's pods may not be left out.
    objects.remove("StatefulSet")
    controller(objects, "StatefulSet", SERVER, replicas=0)
    assert any("it was scaled down to nothing" in each for each in sentences(component_links.check_components(spire)))
