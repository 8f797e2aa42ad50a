"""States of pods and controllers that do not heal, apart from those that do: `unrecoverable` and `first_crash`."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.k8s.failures.container_logs import LOG_TAIL_LINES
from fixtures.k8s.failures.crashes import CRASH_LOOP_RESTARTS, START_ORDER_GRACE, first_crash
from fixtures.k8s.failures.not_started import PULL_RETRIES
from fixtures.k8s.failures.unrecoverable import INSTALLED_BEFORE, unrecoverable
from tests.unit.kubernetes_objects import (
    NAMESPACE,
    NOW,
    KubernetesObjects,
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

CRASHED: dict[str, Any] = {"waiting": waits("CrashLoopBackOff", "back-off 10s restarting failed container")}
NOT_FOUND = (
    'rpc error: code = NotFound desc = failed to pull and unpack image "localhost/main:v1": failed to resolve '
    'reference "localhost/main:v1": localhost/main:v1: not found'
)
SLOW_REGISTRY = (
    'failed to pull and unpack image "registry.example/main:v1": failed to resolve reference '
    '"registry.example/main:v1": failed to do '
    'request: Head "https://registry.example/v2/main/manifests/v1": dial tcp 192.0.2.1:443: i/o timeout'
)
NOT_PRESENT = 'Container image "localhost/main:v1" is not present with pull policy of Never'
FORBIDDEN = (
    'create Pod spire-server-0 in StatefulSet spire-server failed error: pods "spire-server-0" is forbidden: '
    'violates PodSecurity "restricted:latest"'
)


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> KubernetesObjects:
    """A cluster with the server's StatefulSet, at `NOW`."""
    monkeypatch.setattr("time.time", lambda: NOW)
    made = KubernetesObjects()
    controller(made)
    return made


def found_in(objects: KubernetesObjects, *namespaces: str, prefix: str = "", since: float = 0.0) -> str | None:
    return unrecoverable(objects.cluster, namespaces or (NAMESPACE,), prefix=prefix, since=since)


@pytest.mark.parametrize(
    "healthy",
    [
        container(running=running()),
        container(waiting=waits("ContainerCreating")),
        container(waiting=waits("PodInitializing")),
        container(waiting=waits(None)),
        container(terminated=exited(1)),
        container(restarts=3, last={"terminated": exited(1)}, running=running()),
    ],
    ids=["running", "creating", "initialising", "waiting without a reason", "ended", "running again"],
)
def test_a_container_that_runs_or_may_yet_run_is_recoverable(objects: KubernetesObjects, healthy: Any) -> None:
    pod(objects, healthy)
    assert found_in(objects) is None


def test_a_pod_without_a_status_is_recoverable(objects: KubernetesObjects) -> None:
    objects.add("Pod", "fresh", spec={"containers": [{"name": "main"}]}, status={})
    pod(objects, container())
    assert found_in(objects) is None


def test_in_an_empty_namespace_nothing_is_unrecoverable(objects: KubernetesObjects) -> None:
    assert found_in(objects) is None


def test_a_crashing_container_is_reported_with_exit_code_restarts_and_last_lines(objects: KubernetesObjects) -> None:
    pod(objects, container("other", running=running()), container("main", 4, {"terminated": exited(1)}, **CRASHED))
    objects.log("spire-server-0/main", *(f"line {number}" for number in range(30)))
    found = found_in(objects)
    assert found is not None
    first, *lines = found.splitlines()
    assert first == (
        "server: container main of spire-server/spire-server-0 crashes (exit code 1, 4 restarts): "
        "it last wrote: line 29; its last lines:"
    )
    assert lines == [f"    line {number}" for number in range(30 - LOG_TAIL_LINES, 30)]


def test_a_crash_is_reported_with_its_last_error_though_the_last_lines_come_after_it(
    objects: KubernetesObjects,
) -> None:
    pod(objects, container("main", 4, {"terminated": exited(1)}, **CRASHED))
    objects.log(
        "spire-server-0/main",
        (
            'time="2026-11-23T09:59:01Z" level=error msg="Fatal run error" error="datastore-sql: unable to open '
            'database file"'
        ),
        *(f"goroutine {number} [select]:" for number in range(LOG_TAIL_LINES)),
    )
    found = found_in(objects)
    assert found is not None
    first, *lines = found.splitlines()
    assert first.endswith(
        "(exit code 1, 4 restarts): Fatal run error: datastore-sql: unable to open database file; its last lines:"
    )
    assert "Fatal run error" not in "".join(lines)


@pytest.mark.parametrize("now", [None, (), ("",)], ids=["no log", "an empty log", "a blank log"])
def test_the_last_lines_are_of_the_previous_container_where_this_one_has_none(
    objects: KubernetesObjects, now: tuple[str, ...] | None
) -> None:
    pod(objects, container("main", 2, {"terminated": exited(139)}, **CRASHED))
    objects.log("spire-server-0/main", "datastore is locked", previous=True)
    if now is not None:
        objects.log("spire-server-0/main", *now)
    found = found_in(objects)
    assert found is not None
    last = "it last wrote: datastore is locked; its last lines:\n    datastore is locked"
    assert found.endswith(f"(exit code 139, 2 restarts): {last}")


@pytest.mark.parametrize(
    ("end", "limits", "words"),
    [
        # As a kubelet reports a server with `resources.limits.memory=12Mi`, which has not written a line.
        ({"reason": "OOMKilled"}, {"memory": "12Mi"}, "killed for lack of memory (OOMKilled), with a limit of 12Mi"),
        ({"reason": "OOMKilled"}, {"cpu": "1"}, "killed for lack of memory (OOMKilled)"),
        ({"reason": "OOMKilled"}, None, "killed for lack of memory (OOMKilled)"),
        (
            {"reason": "StartError", "message": 'exec: "/nowhere":\n stat /nowhere: no such file or directory'},
            None,
            'exec: "/nowhere": stat /nowhere: no such file or directory',
        ),
    ],
    ids=["its limit", "another limit", "no limit", "not started"],
)
def test_a_container_that_was_ended_by_others_is_reported_in_their_words(
    objects: KubernetesObjects, end: dict[str, str], limits: dict[str, str] | None, words: str
) -> None:
    status = container("main", 2, {"terminated": {**exited(137), **end}}, **CRASHED)
    pod(objects, status | ({"resources": {"limits": limits}} if limits else {}))
    found = found_in(objects)
    assert found is not None
    assert found.endswith(f"(exit code 137, 2 restarts): {words}; its last lines:\n    (it wrote none)")


def test_a_crashing_container_without_a_log_and_an_exit_code_is_reported(objects: KubernetesObjects) -> None:
    pod(objects, container("main", 1, **CRASHED))
    found = found_in(objects)
    assert found is not None
    assert found.endswith("(exit code ?, 1 restarts); its last lines:\n    (it wrote none)")


@pytest.mark.parametrize(
    ("restarts", "neighbour", "is_reported"),
    [
        (1, container("before", waiting=waits("ContainerCreating")), False),
        (CRASH_LOOP_RESTARTS, container("before", waiting=waits("ContainerCreating")), True),
        (1, container("before", running=running(NOW - 60 - 2 * START_ORDER_GRACE)), True),
        # It is up now; when the other one crashed it may not have been.
        (1, container("before", running=running(NOW - 62)), False),
        (CRASH_LOOP_RESTARTS, container("before", running=running(NOW - 62)), True),
    ],
    ids=["first crash, the one before not up", "too many crashes", "long up", "just started", "too many, just started"],
)
def test_a_first_crash_is_forgiven_while_what_is_started_before_it_is_not_up(
    objects: KubernetesObjects, restarts: int, neighbour: Any, is_reported: bool
) -> None:
    pod(objects, neighbour, container("main", restarts, {"terminated": exited(1, NOW - 60)}, **CRASHED))
    assert (found_in(objects) is not None) is is_reported


def test_a_first_crash_is_reported_whatever_is_started_after_it(objects: KubernetesObjects) -> None:
    # SPIRE's server crashes, and the controller manager after it cannot be ready without: it is not the reason.
    pod(
        objects,
        container("main", 1, {"terminated": exited(1)}, **CRASHED),
        container("next", 1, {"terminated": exited(1)}, **CRASHED),
    )
    assert "container main of" in (found_in(objects) or "")


def test_a_first_crash_of_an_init_container_is_reported(objects: KubernetesObjects) -> None:
    crashing = container("first", 1, {"terminated": exited(1)}, **CRASHED)
    pod(objects, container("main", waiting=waits("PodInitializing")), init=[crashing])
    assert "container first of" in (found_in(objects) or "")


def test_a_first_crash_of_a_pods_only_container_is_reported(objects: KubernetesObjects) -> None:
    pod(objects, container("main", 1, {"terminated": exited(1)}, **CRASHED))
    assert found_in(objects) is not None


@pytest.mark.parametrize("revision", ["2", "1"])
def test_a_pod_that_is_about_to_be_replaced_is_not_reported(objects: KubernetesObjects, revision: str) -> None:
    objects.remove("StatefulSet")
    controller(objects, status={"updateRevision": "2"})
    pod(objects, container(waiting=waits("ErrImagePull", NOT_FOUND)), labels={"controller-revision-hash": revision})
    assert (found_in(objects) is not None) is (revision == "2")


def test_a_pod_that_is_being_deleted_is_not_reported(objects: KubernetesObjects) -> None:
    pod(objects, container("main", 1, {"terminated": exited(1)}, **CRASHED), deletionTimestamp=stamp(NOW))
    assert found_in(objects) is None


def test_a_crash_from_before_what_the_container_lacked_was_there_is_forgiven_and_a_later_one_is_not(
    objects: KubernetesObjects,
) -> None:
    pod(objects, container("main", 5, {"terminated": exited(1, NOW - 60)}, **CRASHED))
    assert found_in(objects, since=NOW - 59) is None
    assert found_in(objects, since=NOW - 60) is not None


# As a kubelet (1.36) reported it for forty seconds of a crash loop, without a word of CrashLoopBackOff.
CRASHED_AND_NOT_SAID_TO_WAIT = {
    "name": "init",
    "image": "ghcr.io/spiffe/spiffe-helper:nightly",
    "imageID": "",
    "ready": False,
    "started": False,
    "restartCount": 4,
    "lastState": {
        "terminated": {
            "exitCode": 2,
            "finishedAt": "2026-11-23T09:58:10Z",
            "reason": "Error",
            "startedAt": "2026-11-23T09:58:10Z",
        }
    },
    "state": {
        "terminated": {
            "exitCode": 2,
            "finishedAt": "2026-11-23T09:59:00Z",
            "reason": "Error",
            "startedAt": "2026-11-23T09:59:00Z",
        }
    },
}


def test_a_crash_loop_is_reported_also_where_the_kubelet_does_not_say_that_it_backs_off(
    objects: KubernetesObjects,
) -> None:
    pod(objects, container("main", waiting=waits("PodInitializing")), init=[CRASHED_AND_NOT_SAID_TO_WAIT])
    expected = "container init of spire-server/spire-server-0 crashes (exit code 2, 4 restarts)"
    assert expected in (found_in(objects) or "")
    assert found_in(objects, since=NOW - 60) is not None
    assert found_in(objects, since=NOW - 59) is None


@pytest.mark.parametrize(("restarts", "code"), [(CRASH_LOOP_RESTARTS - 1, 1), (CRASH_LOOP_RESTARTS, 0)])
def test_a_container_that_ended_well_or_is_started_again_at_once_is_recoverable(
    objects: KubernetesObjects, restarts: int, code: int
) -> None:
    pod(objects, container("main", restarts, {"terminated": exited(1)}, terminated=exited(code)))
    assert found_in(objects) is None


def test_only_pods_of_the_prefix_are_looked_at(objects: KubernetesObjects) -> None:
    pod(objects, container(waiting=waits("ErrImagePull", NOT_FOUND)), name="client-x", owner=None)
    assert found_in(objects, prefix="server") is None
    assert found_in(objects, prefix="client") is not None


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ErrImagePull", NOT_FOUND),
        ("ImagePullBackOff", f'Back-off pulling image "localhost/main:v1": ErrImagePull: {NOT_FOUND}'),
        (
            "ErrImagePull",
            (
                'failed to pull image "registry.example/main:v1": pull access denied, repository does not exist or '
                "may require authorization"
            ),
        ),
        ("ErrImagePull", "unexpected status from HEAD request to https://registry.example/v2/main: 401 Unauthorized"),
        ("ErrImagePull", "manifest unknown: manifest tagged by v1 is not found"),
        ("ErrImagePull", "no match for platform in manifest: not found"),
        (
            "InvalidImageName",
            'Failed to apply default image tag "a/B:v1": couldn\'t parse image name "a/B:v1": invalid reference format',
        ),
        (
            "ErrImagePull",
            (
                'failed to do request: Head "https://localhost/v2/main/manifests/v1": dial tcp [::1]:443: connect: '
                "connection refused"
            ),
        ),
    ],
)
def test_an_image_that_the_registry_refuses_is_reported_at_once_in_its_words(
    objects: KubernetesObjects, reason: str, message: str
) -> None:
    pod(objects, container("main", waiting=waits(reason, message)))
    assert found_in(objects) == (
        f"server: container main of spire-server/spire-server-0 has no image: {reason}: {message}"
    )


def failed_pull(
    objects: KubernetesObjects, waiting: dict[str, Any], first: float, message: str = SLOW_REGISTRY
) -> None:
    """A pod whose pull has failed since this time, with the events that the kubelet writes of it."""
    pod(objects, container("main", waiting=waiting))
    image = 'image "registry.example/main:v1"'
    for reason, words, since in (
        ("Pulling", f"Pulling {image}", first - 30),
        ("Failed", f"Failed to pull {image}: {message}", first),
        ("Failed", "Error: ErrImagePull", first),
    ):
        event(objects, "Pod", "spire-server-0", reason, words, at=NOW - 3, first=since, container="main")


@pytest.mark.parametrize(
    ("seconds", "is_reported"), [(5.0, False), (PULL_RETRIES - 1, False), (PULL_RETRIES, True), (600.0, True)]
)
def test_a_registry_that_does_not_answer_is_reported_once_it_has_not_for_long(
    objects: KubernetesObjects, seconds: float, is_reported: bool
) -> None:
    failed_pull(objects, waits("ErrImagePull", SLOW_REGISTRY), NOW - seconds)
    found = found_in(objects)
    assert (found is not None) is is_reported
    assert found is None or found.endswith("dial tcp 192.0.2.1:443: i/o timeout")


def test_a_pull_that_has_just_failed_and_of_which_there_is_no_event_is_recoverable(objects: KubernetesObjects) -> None:
    pod(objects, container("main", waiting=waits("ErrImagePull", SLOW_REGISTRY)))
    assert found_in(objects) is None


def test_while_a_kubelet_only_says_that_it_backs_off_the_event_has_the_registrys_words(
    objects: KubernetesObjects,
) -> None:
    backs_off = waits("ImagePullBackOff", 'Back-off pulling image "registry.example/main:v1"')
    failed_pull(objects, backs_off, NOW - 5, NOT_FOUND)
    assert (found_in(objects) or "").endswith("localhost/main:v1: not found")


def test_what_failed_of_another_pod_or_container_and_not_in_a_pull_does_not_count(objects: KubernetesObjects) -> None:
    failed_pull(objects, waits("ErrImagePull", SLOW_REGISTRY), NOW - 5)
    refused = f"Failed to pull image: {NOT_FOUND}"
    for name, of, message in (
        ("spire-server-1", "main", refused),
        ("spire-server-0", "main-2", refused),
        ("spire-server-0", "main", 'Error: configmap "x" not found'),
    ):
        event(objects, "Pod", name, "Failed", message, first=NOW - 90, container=of)
    assert found_in(objects) is None


@pytest.mark.parametrize("waiting", [waits("ErrImageNeverPull", NOT_PRESENT), waits("ErrImageNeverPull")])
def test_an_image_that_may_not_be_pulled_is_reported_at_once(
    objects: KubernetesObjects, waiting: dict[str, Any]
) -> None:
    pod(objects, container("main", waiting=waiting))
    words = waiting.get("message", "localhost/main:v1")
    assert (found_in(objects) or "").endswith(f"has no image: ErrImageNeverPull: {words}")


@pytest.mark.parametrize("reason", ["CreateContainerError", "RunContainerError"])
def test_a_container_that_cannot_be_started_is_reported(objects: KubernetesObjects, reason: str) -> None:
    message = (
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: exec: no such file"
    )
    pod(objects, container("main", waiting=waits(reason, message)))
    assert found_in(objects) == (
        f"server: container main of spire-server/spire-server-0 cannot be started: {reason}: {message}"
    )


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        # Whether it is there by the next attempt, the diagnosis looks.
        ("CreateContainerConfigError", 'secret "x" not found'),
        ("CreateContainerError", "context deadline exceeded"),
        (
            "CreateContainerError",
            (
                'failed to reserve container name "main_spire-server-0_1": name "main_spire-server-0_1" is reserved '
                'for "a1"'
            ),
        ),
    ],
)
def test_a_container_that_a_later_attempt_may_start_is_recoverable(
    objects: KubernetesObjects, reason: str, message: str
) -> None:
    pod(objects, container("main", waiting=waits(reason, message)))
    assert found_in(objects) is None


def test_an_init_container_is_looked_at_before_those_that_wait_for_it(objects: KubernetesObjects) -> None:
    init = [container("init", CRASH_LOOP_RESTARTS, {"terminated": exited(2)}, **CRASHED)]
    pod(objects, container("main", waiting=waits("PodInitializing")), init=init)
    found = found_in(objects)
    assert found is not None
    assert found.startswith("server: container init of spire-server/spire-server-0 crashes (exit code 2,")


def test_every_namespace_that_is_given_is_looked_at_and_no_other(objects: KubernetesObjects) -> None:
    waiting = container(waiting=waits("ErrImagePull", NOT_FOUND))
    pod(objects, waiting, name="spire-agent-x", namespace="spire-system", owner=None)
    assert found_in(objects, NAMESPACE, "spire-mgmt") is None
    assert "spire-system/spire-agent-x" in (found_in(objects, NAMESPACE, "spire-system") or "")


def rejection(
    objects: KubernetesObjects, message: str | None, kind: str = "StatefulSet", name: str = "spire-server"
) -> None:
    event(objects, kind, name, "FailedCreate", message, at=NOW - 5)


@pytest.mark.parametrize("message", [FORBIDDEN, 'admission webhook "policy.example" denied the request: no'])
def test_a_controller_whose_pods_are_refused_is_reported_with_the_reason(
    objects: KubernetesObjects, message: str
) -> None:
    rejection(objects, message)
    assert found_in(objects) == f"server: StatefulSet spire-server/spire-server may not create its pods: {message}"
    assert found_in(objects, prefix="spire-agent") is None


@pytest.mark.parametrize(
    "message",
    [
        None,
        "",
        "Internal error occurred: failed calling webhook: connection refused",
        # Its controller makes it in every namespace.
        'pods "x" is forbidden: error looking up service account demo/default: serviceaccount "default" not found',
    ],
)
def test_a_refusal_that_passes_is_not_reported(objects: KubernetesObjects, message: str | None) -> None:
    rejection(objects, message)
    assert found_in(objects) is None


def test_a_refusal_from_before_a_repair_is_over(objects: KubernetesObjects) -> None:
    rejection(objects, FORBIDDEN)
    assert found_in(objects, since=NOW - 6) is not None
    assert found_in(objects, since=NOW - 5 + 0.9) is None


def test_a_controller_that_has_pods_is_refused_no_longer(objects: KubernetesObjects) -> None:
    rejection(objects, FORBIDDEN)
    pod(objects, container(running=running()))
    assert found_in(objects) is None


def test_pods_without_a_controller_do_not_hide_a_refusal(objects: KubernetesObjects) -> None:
    pod(objects, container(running=running()), name="alone", owner=None)
    rejection(objects, FORBIDDEN)
    assert found_in(objects) is not None


@pytest.mark.parametrize(("replicas", "is_reported"), [(1, True), (0, False), (None, False)])
def test_what_an_older_revision_of_a_deployment_was_refused_is_over(
    objects: KubernetesObjects, replicas: int | None, is_reported: bool
) -> None:
    rejection(objects, FORBIDDEN, "ReplicaSet", "server-1")
    if replicas is not None:
        owner = {"ownerReferences": owned_by("Deployment", "server")}
        controller(objects, "ReplicaSet", "server-1", metadata=owner, replicas=replicas)
    assert bool(found_in(objects)) is is_reported


# What no time heals: as the API server (1.36) has it while Helm's release is incomplete, which is a few seconds old.

PREEMPTION = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
INSUFFICIENT = f"0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, {PREEMPTION}"
NOT_SELECTED = f"0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. {PREEMPTION}"
UNBOUND = f"0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. {PREEMPTION}"
CLAIM = "spire-data-spire-server-0"
IN_TIME, TOO_LATE = NOW - INSTALLED_BEFORE + 1, NOW - INSTALLED_BEFORE


def unscheduled(objects: KubernetesObjects, message: str, made: float = TOO_LATE, **spec: Any) -> None:
    """A pod of this age for which the scheduler has no node; `spec` completes its own, or that of its container."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    pod(objects, conditions=[condition], creationTimestamp=stamp(made))
    found = objects.objects[-1][1]["spec"]
    found |= {"containers": [{"name": "main", "resources": spec.pop("resources", {})}], **spec}


def claims(objects: KubernetesObjects, storage_class: str | None) -> dict[str, Any]:
    """The server's claim of this class on a cluster with another one, and what the pod's specification has of it."""
    objects.add("StorageClass", "standard", "", provisioner="rancher.io/local-path")
    spec = {} if storage_class is None else {"storageClassName": storage_class}
    objects.add("PersistentVolumeClaim", CLAIM, spec=spec, status={"phase": "Pending"})
    return {"volumes": [{"name": "spire-data", "persistentVolumeClaim": {"claimName": CLAIM}}]}


@pytest.mark.parametrize(("made", "since", "is_due"), [(TOO_LATE, 0.0, True), (IN_TIME, 0.0, False), (0.0, NOW, False)])
def test_a_claim_of_an_unknown_class_is_reported_once_helm_has_installed_what_comes_before_pods(
    objects: KubernetesObjects, made: float, since: float, is_due: bool
) -> None:
    volumes = claims(objects, "longhorn")
    message = 'storageclass.storage.k8s.io "longhorn" not found'
    event(objects, "PersistentVolumeClaim", CLAIM, "ProvisioningFailed", message)
    unscheduled(objects, UNBOUND, made, **volumes)
    words = f"server: pod spire-server-0 waits for its claim {CLAIM}: {message}"
    assert found_in(objects, since=since) == (words if is_due else None)
    objects.add("StorageClass", "longhorn", "", provisioner="driver.longhorn.io")
    assert found_in(objects, since=since) is None


def test_a_claim_of_a_class_whose_provisioner_is_late_is_waited_for(objects: KubernetesObjects) -> None:
    volumes = claims(objects, "standard")
    event(objects, "PersistentVolumeClaim", CLAIM, "ExternalProvisioning", "Waiting for a volume to be created")
    unscheduled(objects, UNBOUND, **volumes)
    assert found_in(objects) is None


@pytest.mark.parametrize(
    ("message", "spec", "is_reported"),
    [
        (INSUFFICIENT, {"resources": {"requests": {"cpu": "64"}}}, True),
        # Something else has the node now.
        (INSUFFICIENT, {"resources": {"requests": {"cpu": "1500m"}}}, False),
        (NOT_SELECTED, {"nodeSelector": {"pool": "spire"}}, True),
        (
            f"0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. {PREEMPTION}",
            {},
            False,
        ),
    ],
    ids=["64 cores", "occupied", "node selector", "port in use"],
)
def test_a_pod_that_no_node_can_ever_run_is_reported_in_the_schedulers_words(
    objects: KubernetesObjects, message: str, spec: dict[str, Any], is_reported: bool
) -> None:
    node(objects)
    unscheduled(objects, message, **spec)
    words = f"server: pod spire-server-0 is not scheduled: {message}"
    assert found_in(objects) == (words if is_reported else None)


def test_a_pod_is_waited_for_while_nodes_are_added_for_it(objects: KubernetesObjects) -> None:
    unscheduled(objects, NOT_SELECTED, nodeSelector={"pool": "spire"})
    assert found_in(objects) is None, "there is no node yet"
    node(objects)
    assert found_in(objects) is not None
    scaling = "pod triggered scale-up: [{workers 1->2 (max: 5)}]"
    event(objects, "Pod", "spire-server-0", "TriggeredScaleUp", scaling)
    assert found_in(objects) is None


def unmounted(objects: KubernetesObjects, message: str) -> None:
    pod(objects, container(waiting=waits("ContainerCreating")))
    words = f'MountVolume.SetUp failed for volume "config" : {message}'
    event(objects, "Pod", "spire-server-0", "FailedMount", words)


@pytest.mark.parametrize(
    ("message", "is_reported"),
    [
        ('configmap "spire-server-config" not found', True),
        # A controller may make these after the pods.
        ('secret "oidc-provider-tls" not found', False),
        ('configmap "kube-root-ca.crt" not found', False),
        ("configmap references non-existent config key: bundle.crt", False),
        ("failed to sync configmap cache: timed out waiting for the condition", False),
    ],
)
def test_a_volume_of_what_helm_installs_before_pods_is_missed_at_once(
    objects: KubernetesObjects, message: str, is_reported: bool
) -> None:
    unmounted(objects, message)
    assert ((found_in(objects) or "").endswith(message)) is is_reported
    assert found_in(objects, since=NOW) is None
    objects.add("ConfigMap", "spire-server-config")
    assert found_in(objects) is None


def test_what_a_job_may_be_making_is_waited_for(objects: KubernetesObjects) -> None:
    unmounted(objects, 'configmap "spire-server-config" not found')
    objects.add("Job", "hook", status={"active": 1})
    assert found_in(objects) is None
    objects.remove("Job")
    objects.add("Job", "hook", status={"succeeded": 1})
    assert found_in(objects) is not None


def test_a_container_that_names_a_config_map_that_is_not_there_is_reported(objects: KubernetesObjects) -> None:
    pod(objects, container(waiting=waits("CreateContainerConfigError", 'configmap "x" not found')))
    words = 'server: container main of pod spire-server-0 cannot be started: configmap "x" not found'
    assert found_in(objects) == words


def test_a_missing_service_account_is_reported_unless_it_is_there_by_now(objects: KubernetesObjects) -> None:
    message = 'pods "x" is forbidden: error looking up service account spire-server/s: serviceaccount "s" not found'
    rejection(objects, message)
    assert (found_in(objects) or "").endswith(message)
    assert found_in(objects, since=NOW) is None
    objects.add("ServiceAccount", "s")
    assert found_in(objects) is None


def agents_on(objects: KubernetesObjects, pool: str, **status: Any) -> None:
    spec = {"containers": [{"name": "main"}], "nodeSelector": {"pool": pool}}
    wanted = {"desiredNumberScheduled": 0, **status}
    controller(objects, "DaemonSet", "spire-agent", template={"spec": spec}, status=wanted)


@pytest.mark.parametrize(
    ("pool", "status", "is_reported"),
    [
        ("workers", {}, True),
        # Its controller has not seen that the node has the label now, or has not seen it at all.
        ("plain", {}, False),
        ("workers", {"observedGeneration": 0}, False),
    ],
)
def test_a_daemon_set_for_no_node_of_the_cluster_is_reported(
    objects: KubernetesObjects, pool: str, status: dict[str, Any], is_reported: bool
) -> None:
    agents_on(objects, pool, **status)
    assert found_in(objects, prefix="spire-agent") is None, "there is no node yet"
    node(objects, labels={"pool": "plain"})
    words = (
        "server: DaemonSet spire-server/spire-agent makes no pod: its node selector, affinity or tolerations leave out "
        "all nodes (1)"
    )
    assert found_in(objects, prefix="spire-agent") == (words if is_reported else None)
    assert found_in(objects, prefix="spire-server") is None
    # Of another DaemonSet, whose name begins with the same letters.
    assert found_in(objects, prefix="spire") is None


def test_a_daemon_set_whose_node_is_left_out_for_now_is_not_reported(objects: KubernetesObjects) -> None:
    objects.is_external = True
    node(objects, "node", labels={"pool": "workers"}, ready="Unknown", since=NOW - 600)
    node(objects, "other", labels={"pool": "plain"})
    pod(objects, container(running=running()), name="spire-agent-x", owner=("DaemonSet", "spire-agent"))
    agents_on(objects, "workers", desiredNumberScheduled=1)
    assert found_in(objects, prefix="spire-agent") is None


def service(objects: KubernetesObjects, name: str = "spire-server", **selector: str) -> None:
    objects.add("Service", name, spec={"selector": selector})


def test_a_service_that_selects_no_pod_that_is_or_will_be_made_is_reported(objects: KubernetesObjects) -> None:
    service(objects, app="server")
    assert found_in(objects) == "server: Service spire-server/spire-server selects no pod: none has app=server"
    assert found_in(objects, prefix="spire-agent") is None
    assert found_in(objects, since=NOW) is None
    # Some pods are made by no controller that is known here.
    pod(objects, container(running=running()), name="another", owner=None, labels={"app": "server"})
    assert found_in(objects) is None


def test_a_service_of_a_template_or_without_a_selector_is_as_it_should_be(objects: KubernetesObjects) -> None:
    service(objects, app="spire-server")
    service(objects, "spire-server-by-name")
    assert found_in(objects) is None
    # Services come first, and Helm has not come to their controllers.
    objects.remove("StatefulSet")
    assert found_in(objects) is None


def crash_time(objects: KubernetesObjects, since: float) -> float | None:
    return first_crash(objects.cluster, (NAMESPACE,), since)


def test_a_first_crash_is_when_the_container_ended(objects: KubernetesObjects) -> None:
    pod(objects, container("main", 1, {"terminated": exited(1, NOW - 113)}, running=running()))
    pod(objects, container(running=running()), name="spire-server-1")
    assert crash_time(objects, since=NOW - 121) == NOW - 113


@pytest.mark.parametrize("restarts", [1, 3])
def test_of_several_crashes_only_the_last_is_known_and_the_first_is_no_earlier_than_the_pod(
    objects: KubernetesObjects, restarts: int
) -> None:
    pod(objects, container("main", restarts, {"terminated": exited(1, NOW - 60)}, **CRASHED))
    assert crash_time(objects, since=NOW - 121) == NOW - 120


def test_a_pod_that_is_older_or_not_started_has_not_crashed_since(objects: KubernetesObjects) -> None:
    pod(objects, container("main", 1, {"terminated": exited(1, NOW - 60)}, **CRASHED))
    objects.add("Pod", "fresh", spec={"containers": [{"name": "main"}]}, status={})
    assert crash_time(objects, since=NOW - 119) is None
