"""Why pods are not ready: scheduler, claims, mounts, containers and controllers, in Kubernetes' own words (1.36)."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.core.display import in_one_line
from fixtures.diagnosis.causes import WHY_NODE_UNREADY, is_of_configuration, why_unready
from fixtures.k8s.failures.crashes import CRASH_LOOP_RESTARTS
from fixtures.k8s.failures.not_started import PULL_RETRIES
from fixtures.k8s.failures.problem import Problem
from fixtures.k8s.failures.unready import (
    LONG_ATTEMPT,
    PAUSED,
    PROBE_GRACE,
    RECENT_ERROR,
    REPEATED,
    SETTLED,
    why_controller_unready,
    why_pod_unready,
)
from tests.unit.kubernetes_objects import (
    NOW,
    KubernetesObjects,
    container,
    controller,
    event,
    exited,
    model,
    node,
    owned_by,
    pod,
    running,
    stamp,
    waits,
)

CLAIM = "spire-data-spire-server-0"
VOLUMES = [{"name": "spire-data", "persistentVolumeClaim": {"claimName": CLAIM}}]
# As Kubernetes 1.34 and later end it.
PREEMPTION = (
    "no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
)
UNBOUND = f"0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. {PREEMPTION}"
CREATING = container(waiting=waits("ContainerCreating"))
PROBES = {"readinessProbe": {"httpGet": {"port": 8080}, "initialDelaySeconds": 5, "periodSeconds": 5}}
IN_TIME = 5 + 2 * 5 + PROBE_GRACE  # seconds from its start in which a container with these probes may get ready
UNHEALTHY = "Readiness probe failed: HTTP probe failed with statuscode: 500"


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> KubernetesObjects:
    """A cluster with nothing in it, at `NOW`."""
    monkeypatch.setattr("time.time", lambda: NOW)
    return KubernetesObjects()


def why(objects: KubernetesObjects, made: Any, *, lacks: bool = False, since: float = 0.0) -> Problem:
    return why_pod_unready(objects.cluster, made, lacks=lacks, since=since)


def unscheduled(objects: KubernetesObjects, message: str, volumes: list[dict[str, Any]] | None = None) -> Any:
    """A pod that the scheduler has no node for."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod(objects, volumes=volumes or [], conditions=[condition])


def claim(objects: KubernetesObjects, phase: str = "Pending", **spec: Any) -> None:
    objects.add("PersistentVolumeClaim", CLAIM, spec=spec, status={"phase": phase})


def storage_class(objects: KubernetesObjects, name: str = "standard") -> None:
    objects.add("StorageClass", name, provisioner="rancher.io/local-path")


# The scheduler


@pytest.mark.parametrize(
    "message",
    [
        f"0/1 nodes are available: 1 Insufficient cpu. {PREEMPTION}",
        f"0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. {PREEMPTION}",
    ],
    ids=["resources", "node selector"],
)
def test_a_pod_that_fits_no_node_is_not_scheduled_for_good(objects: KubernetesObjects, message: str) -> None:
    assert why(objects, unscheduled(objects, message)) == Problem(
        f"pod spire-server-0 is not scheduled: {message}", message
    )


@pytest.mark.parametrize(
    "message",
    [
        "0/0 nodes are available: . preemption: 0/0 nodes are available: .",
        "no nodes available to schedule pods",
        f'running PreBind plugin "VolumeBinding": binding volumes: pod does not exist any more: {CLAIM}',
        f'0/1 nodes are available: persistentvolumeclaim "{CLAIM}" is being deleted. {PREEMPTION}',
        UNBOUND,
    ],
    ids=[
        "no node",
        "none to schedule",
        "binding",
        "claim of before",
        "claim bound by now",
    ],
)
def test_a_pod_that_waits_for_a_node_or_a_volume_may_be_scheduled_yet(objects: KubernetesObjects, message: str) -> None:
    storage_class(objects)
    claim(objects, "Bound", storageClassName="standard")
    problem = why(objects, unscheduled(objects, message, VOLUMES))
    assert problem.sentence.startswith("pod spire-server-0 is not scheduled: ")
    assert problem.on_its_way


NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
UNINITIALIZED = {"key": "node.cloudprovider.kubernetes.io/uninitialized", "value": "true", "effect": "NoSchedule"}
DEDICATED = {"key": "dedicated", "value": "spire", "effect": "NoSchedule"}
PREFERRED = {"key": "dedicated", "value": "spire", "effect": "PreferNoSchedule"}


@pytest.mark.parametrize(
    ("taints", "passes"),
    [
        ([NOT_READY], True),
        ([UNINITIALIZED, NOT_READY], True),
        ([NOT_READY, PREFERRED], True),
        ([NOT_READY, DEDICATED], False),
        ([DEDICATED], False),
        ([], False),
    ],
)
def test_a_taint_that_goes_by_itself_is_waited_for(
    objects: KubernetesObjects, taints: list[dict[str, str]], passes: bool
) -> None:
    node(objects, "node", *taints)
    made = unscheduled(objects, f"0/1 nodes are available: 1 node(s) had untolerated taint(s). {PREEMPTION}")
    assert why(objects, made).on_its_way is passes


def test_a_taint_of_a_node_that_has_long_not_been_ready_is_not_waited_for(objects: KubernetesObjects) -> None:
    node(objects, "node", DEDICATED)
    node(objects, "ghost", NOT_READY, ready="Unknown", since=NOW - 600)
    made = unscheduled(objects, f"0/2 nodes are available: 2 node(s) had untolerated taint(s). {PREEMPTION}")
    assert why(objects, made).on_its_way
    objects.is_external = True
    problem = why(objects, made)
    assert (problem.on_its_way, problem.final) == (False, True)


@pytest.mark.parametrize(
    ("taint", "passes"), [("{node.kubernetes.io/not-ready: }", True), ("{dedicated: spire}", False)]
)
def test_a_scheduler_before_1_36_names_the_taint_itself(objects: KubernetesObjects, taint: str, passes: bool) -> None:
    made = unscheduled(objects, f"0/1 nodes are available: 1 node(s) had untolerated taint {taint}. {PREEMPTION}")
    assert why(objects, made).on_its_way is passes


def test_other_reasons_are_not_put_down_to_a_taint_that_passes(objects: KubernetesObjects) -> None:
    node(objects, "node", NOT_READY)
    made = unscheduled(objects, f"0/1 nodes are available: 1 Insufficient cpu. {PREEMPTION}")
    assert not why(objects, made).on_its_way


def test_of_a_pod_that_the_scheduler_could_not_look_at_the_reason_is_given(objects: KubernetesObjects) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "SchedulerError"}
    problem = why(objects, pod(objects, conditions=[condition]))
    assert problem.sentence == "pod spire-server-0 is not scheduled: SchedulerError"


def test_a_pod_that_the_scheduler_has_not_looked_at_may_be_scheduled_yet(objects: KubernetesObjects) -> None:
    made = objects.add("Pod", "spire-server-0", spec={"containers": [{"name": "main"}]}, status={"phase": "Pending"})
    problem = why(objects, model("Pod", made))
    assert problem.sentence == "pod spire-server-0 is not scheduled: the scheduler has not come to it"
    assert problem.on_its_way


# Claims


def test_a_claim_of_an_unknown_storage_class_is_not_bound_for_good(objects: KubernetesObjects) -> None:
    storage_class(objects)
    claim(objects, storageClassName="fast")
    message = 'storageclass.storage.k8s.io "fast" not found'
    event(objects, "PersistentVolumeClaim", CLAIM, "ProvisioningFailed", message)
    assert why(objects, unscheduled(objects, UNBOUND, VOLUMES)) == Problem(
        f"pod spire-server-0 waits for its claim {CLAIM}: {message}", UNBOUND, final=True
    )


@pytest.mark.parametrize(("known", "listed"), [(("standard", "slow"), "standard, slow"), ((), "none")])
def test_an_unknown_storage_class_without_an_event_is_named_beside_those_that_there_are(
    objects: KubernetesObjects, known: tuple[str, ...], listed: str
) -> None:
    for name in known:
        storage_class(objects, name)
    claim(objects, storageClassName="fast")
    problem = why(objects, unscheduled(objects, UNBOUND, VOLUMES))
    assert problem.sentence.endswith(f'{CLAIM}: StorageClass "fast" not found; there is {listed}')
    assert not problem.on_its_way


def test_a_claim_without_a_class_on_a_cluster_without_one_is_not_bound_for_good(objects: KubernetesObjects) -> None:
    claim(objects)
    problem = why(objects, unscheduled(objects, UNBOUND, VOLUMES))
    assert problem.sentence.endswith("it names no StorageClass, and the cluster has none")
    assert not problem.on_its_way


WAITING = (
    "Waiting for a volume to be created either by the external provisioner 'rancher.io/local-path' or manually by "
    "the system "
    "administrator. If volume creation is delayed, please verify that the provisioner is running and correctly "
    "registered."
)


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ((), "no event yet"),
        ((("ExternalProvisioning", WAITING),), WAITING),
        (
            (
                ("ProvisioningFailed", "failed to create volume: connection refused"),
                ("ExternalProvisioning", WAITING),
            ),
            "failed to create volume: connection refused",
        ),
    ],
    ids=["no event", "slow", "failed"],
)
def test_a_claim_whose_provisioner_is_slow_or_tries_again_may_be_bound_yet(
    objects: KubernetesObjects, events: tuple[tuple[str, str], ...], words: str
) -> None:
    storage_class(objects)
    claim(objects, storageClassName="standard")
    for seconds, (reason, message) in enumerate(events):
        event(objects, "PersistentVolumeClaim", CLAIM, reason, message, at=NOW - 10 + seconds)
    event(objects, "PersistentVolumeClaim", "another", "ProvisioningFailed", "of another claim")
    problem = why(objects, unscheduled(objects, UNBOUND, VOLUMES))
    assert problem == Problem(f"pod spire-server-0 waits for its claim {CLAIM}: {words}", UNBOUND, on_its_way=True)


@pytest.mark.parametrize(
    "words",
    [
        # The local path provisioner's.
        'failed to provision volume with StorageClass "standard": NodePath only supports ReadWriteOnce and '
        "ReadWriteOncePod (1.22+) access modes",
        # As CSI drivers have it, with gRPC's code (CSI, "CreateVolume Errors").
        'failed to provision volume with StorageClass "gp3": rpc error: code = InvalidArgument desc = Volume '
        "capabilities not supported",
    ],
)
def test_a_claim_that_its_provisioner_refuses_is_not_on_its_way(objects: KubernetesObjects, words: str) -> None:
    storage_class(objects)
    claim(objects, storageClassName="standard")
    event(objects, "PersistentVolumeClaim", CLAIM, "ProvisioningFailed", words)
    problem = why(objects, unscheduled(objects, UNBOUND, VOLUMES))
    assert problem == Problem(f"pod spire-server-0 waits for its claim {CLAIM}: {words}", UNBOUND)
    assert is_of_configuration(problem.sentence, "")
    assert why_unready(problem.sentence).startswith("the provisioner does not make")


def test_a_claim_is_named_also_while_the_scheduler_waits_for_its_volume(objects: KubernetesObjects) -> None:
    # With the binding mode WaitForFirstConsumer the scheduler has chosen a node by then, and sets no condition until
    # there is a volume.
    storage_class(objects)
    claim(objects, storageClassName="standard")
    event(objects, "PersistentVolumeClaim", CLAIM, "ExternalProvisioning", WAITING)
    spec = {"containers": [{"name": "main"}], "volumes": VOLUMES}
    made = objects.add("Pod", "spire-server-0", spec=spec, status={"phase": "Pending"})
    assert why(objects, model("Pod", made)) == Problem(
        f"pod spire-server-0 waits for its claim {CLAIM}: {WAITING}", "", on_its_way=True
    )


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("WaitForFirstConsumer", "waiting for first consumer to be created before binding"),
        ("WaitForPodScheduled", "waiting for pod spire-server-0 to be scheduled"),
    ],
)
def test_a_claim_that_waits_for_its_pod_is_not_what_the_pod_waits_for(
    objects: KubernetesObjects, reason: str, message: str
) -> None:
    storage_class(objects)
    claim(objects, storageClassName="standard")
    event(objects, "PersistentVolumeClaim", CLAIM, reason, message)
    insufficient = f"0/1 nodes are available: 1 Insufficient cpu. {PREEMPTION}"
    problem = why(objects, unscheduled(objects, insufficient, VOLUMES))
    assert problem == Problem(f"pod spire-server-0 is not scheduled: {insufficient}", insufficient)


def test_a_claim_without_a_class_where_none_is_the_default_is_not_bound_for_good(objects: KubernetesObjects) -> None:
    storage_class(objects)
    claim(objects)
    message = "no persistent volumes available for this claim and no storage class is set"
    event(objects, "PersistentVolumeClaim", CLAIM, "FailedBinding", message)
    problem = why(objects, unscheduled(objects, UNBOUND, VOLUMES))
    assert problem == Problem(f"pod spire-server-0 waits for its claim {CLAIM}: {message}", UNBOUND, final=True)


def test_a_claim_that_is_not_there_is_named(objects: KubernetesObjects) -> None:
    message = f'0/1 nodes are available: persistentvolumeclaim "{CLAIM}" not found. {PREEMPTION}'
    problem = why(objects, unscheduled(objects, message, VOLUMES))
    sentence = f"pod spire-server-0 waits for its claim {CLAIM}: there is no such claim"
    assert problem == Problem(sentence, message, final=True)


# Mounts


def held(objects: KubernetesObjects, message: str, reason: str = "FailedMount") -> Any:
    """A pod whose containers are not started, for this."""
    made = pod(objects, CREATING)
    event(objects, "Pod", "spire-server-0", "Scheduled", "Successfully assigned spire-server/spire-server-0", at=NOW)
    event(objects, "Pod", "spire-server-0", reason, "what was so before", at=NOW - 60)
    event(objects, "Pod", "spire-server-0", reason, message)
    return made


SETUP = 'MountVolume.SetUp failed for volume "v" : '


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ConfigMap", f'{SETUP}configmap "spire-bundle" not found'),
        ("Secret", f'{SETUP}secret "spire-bundle" not found'),
        ("PersistentVolumeClaim", f'{SETUP}persistentvolumeclaim "spire-bundle" not found'),
    ],
)
def test_a_volume_of_what_is_missing_is_named_and_comes_once_it_is_there(
    objects: KubernetesObjects, kind: str, message: str
) -> None:
    made = held(objects, message)
    objects.add(kind, "spire-bundle", "another-namespace", spec={}, status={})
    sentence = f"pod spire-server-0 waits for a volume: {message}"
    assert why(objects, made) == Problem(sentence, message, final=kind != "Secret")
    assert why(objects, made, lacks=True) == Problem(sentence, message, on_its_way=True)
    objects.add(kind, "spire-bundle", spec={}, status={})
    assert why(objects, made).on_its_way


CSI_MESSAGE = (
    f"{SETUP}kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: driver name csi.spiffe.io not found in the "
    "list of registered CSI drivers"
)


def test_a_csi_driver_of_another_node_does_not_mount_a_pods_volume(objects: KubernetesObjects) -> None:
    objects.add("CSINode", "other", spec={"drivers": [{"name": "csi.spiffe.io", "nodeID": "other"}]})
    objects.add("CSINode", "node", spec={"drivers": None})
    made = held(objects, CSI_MESSAGE)
    assert not why(objects, made).on_its_way
    assert why(objects, made, lacks=True).on_its_way


@pytest.mark.parametrize(
    ("drivers", "is_registered"),
    # The API server has null, and not an empty list, where there is none.
    [(None, False), (["other.csi"], False), (["other.csi", "csi.spiffe.io"], True)],
)
def test_a_volume_of_a_csi_driver_comes_once_that_is_registered(
    objects: KubernetesObjects, drivers: list[str] | None, is_registered: bool
) -> None:
    listed = None if drivers is None else [{"name": name, "nodeID": "node"} for name in drivers]
    objects.add("CSINode", "node", spec={"drivers": listed})
    problem = why(objects, held(objects, CSI_MESSAGE))
    assert problem == Problem(f"pod spire-server-0 waits for a volume: {CSI_MESSAGE}", CSI_MESSAGE, is_registered)


@pytest.mark.parametrize(
    "message",
    [
        f'{SETUP}kubernetes.io/csi: mounter.SetupAt failed to check volume lifecycle mode: volume mode "Ephemeral" not '
        'supported by driver csi.spiffe.io (only supports ["Persistent"])',
        f"{SETUP}hostPath type check failed: /run/spire/x is not a directory",
    ],
)
def test_a_volume_that_the_kubelet_cannot_mount_as_it_is_asked_to_is_not_on_its_way(
    objects: KubernetesObjects, message: str
) -> None:
    assert not why(objects, held(objects, message)).on_its_way


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        # What is slow or away is asked again.
        ("FailedMount", f"{SETUP}failed to sync configmap cache: timed out waiting for the condition"),
        ("FailedAttachVolume", 'AttachVolume.Attach failed for volume "v" : rpc error: code = DeadlineExceeded'),
        (
            "FailedCreatePodSandBox",
            'Failed to create pod sandbox: plugin type="ptp" failed: /run/flannel/subnet.env: no such file',
        ),
        # Seen on a busy machine; the next attempt, 16 s later, succeeded.
        (
            "FailedMount",
            "Unable to attach or mount volumes: unmounted volumes=[spire-data], unattached volumes=[], failed to "
            "process volumes=[spire-data]: error processing PVC spire-server/spire-data-spire-server-0: failed to "
            'fetch PVC from API server: persistentvolumeclaims "spire-data-spire-server-0" is forbidden: User '
            '"system:node:client-control-plane" cannot get resource "persistentvolumeclaims" in API group "" in the '
            "namespace \"spire-server\": no relationship found between node 'client-control-plane' and this object",
        ),
        ("FailedMount", f'{SETUP}object "spire-system"/"spire-bundle" not registered'),
    ],
)
def test_a_volume_or_network_that_is_slow_is_waited_for(objects: KubernetesObjects, reason: str, message: str) -> None:
    problem = why(objects, held(objects, message, reason))
    sentence = f"pod spire-server-0 waits for a volume: {in_one_line(message)}"
    assert problem == Problem(sentence, message, on_its_way=True)


@pytest.mark.parametrize(
    "message",
    [
        f"{SETUP}configmap references non-existent config key: bundle.crt",
        f"{SETUP}references non-existent secret key: tls.key",
        f"{SETUP}hostPath type check failed: /run/spire is not a directory: no such file or directory",
    ],
)
def test_a_volume_of_a_key_or_folder_that_is_not_there_is_not_mounted_for_good(
    objects: KubernetesObjects, message: str
) -> None:
    assert not why(objects, held(objects, message)).on_its_way


@pytest.mark.parametrize(
    "message",
    [
        # The SPIFFE CSI driver's, where its CSIDriver object has podInfoOnMount: false.
        f"{SETUP}rpc error: code = InvalidArgument desc = only ephemeral volumes are supported",
        f'{SETUP}rpc error: code = Internal desc = unable to mount "/a": operation not permitted',
    ],
)
def test_a_mount_that_its_driver_refuses_does_not_come_by_itself(objects: KubernetesObjects, message: str) -> None:
    problem = why(objects, held(objects, message))
    assert problem == Problem(f"pod spire-server-0 waits for a volume: {message}", message)
    assert is_of_configuration(problem.sentence, "")
    assert why_unready(problem.sentence).startswith("the volume's driver does not mount it so")


def test_a_mount_that_failed_before_its_container_was_started_is_over(objects: KubernetesObjects) -> None:
    made = pod(objects, container(running=running(NOW - 5), ready=False), probes=PROBES)
    event(objects, "Pod", "spire-server-0", "FailedMount", f'{SETUP}configmap "spire-bundle" not found')
    assert why(objects, made).sentence == "container main of pod spire-server-0 runs and is not ready"


def test_a_pod_of_which_nothing_is_known_is_being_started(objects: KubernetesObjects) -> None:
    assert why(objects, pod(objects)) == Problem("pod spire-server-0 is being started", on_its_way=True)
    assert why(objects, pod(objects, CREATING, name="spire-server-0")) == Problem(
        "container main of pod spire-server-0 is being started (ContainerCreating)", on_its_way=True
    )


def test_a_container_whose_image_is_being_pulled_waits_for_it_until_the_pull_ends(objects: KubernetesObjects) -> None:
    made = pod(objects, CREATING, name="spire-server-0")
    pulling = 'Pulling image "ghcr.io/spiffe/spire-server:1.15.3"'
    event(objects, "Pod", "spire-server-0", "Pulling", pulling, at=NOW - 90, container="main")
    event(objects, "Pod", "spire-server-0", "Pulled", "Successfully pulled image", at=NOW - 80, container="sidecar")
    assert why(objects, made) == Problem(
        f"container main of pod spire-server-0 waits for its image: {pulling}", on_its_way=True
    )
    event(objects, "Pod", "spire-server-0", "Pulled", "Successfully pulled image", at=NOW - 1, container="main")
    assert why(objects, made).sentence == "container main of pod spire-server-0 is being started (ContainerCreating)"


# Containers that are not started


@pytest.mark.parametrize(
    ("message", "kind", "there"),
    [
        ('configmap "x" not found', "ConfigMap", {}),
        ('secret "x" not found', "Secret", {}),
        ("couldn't find key password in Secret spire-server/x", "Secret", {"data": {"password": "aGlkZGVu"}}),
        ("couldn't find key config in ConfigMap spire-server/x", "ConfigMap", {"data": {"config": "a"}}),
    ],
)
def test_a_container_starts_once_what_its_environment_names_is_there(
    objects: KubernetesObjects, message: str, kind: str, there: dict[str, Any]
) -> None:
    made = pod(objects, container(waiting=waits("CreateContainerConfigError", message)))
    sentence = f"container main of pod spire-server-0 cannot be started: {message}"
    assert why(objects, made) == Problem(sentence, final=message.startswith("configmap"))
    assert why(objects, made, lacks=True) == Problem(sentence, on_its_way=True)
    if there:
        objects.add(kind, "x", data={"other": "YQ=="})
        assert why(objects, made) == Problem(sentence)
        objects.remove(kind)
    objects.add(kind, "x", **there)
    assert why(objects, made) == Problem(sentence, on_its_way=True)


def test_a_busy_container_runtime_is_waited_for(objects: KubernetesObjects) -> None:
    made = pod(objects, container(waiting=waits("CreateContainerError", "context deadline exceeded")))
    assert why(objects, made).on_its_way


@pytest.mark.parametrize(
    ("words", "seconds", "is_final"),
    [
        ('failed to pull image "main:v1": dial tcp 192.0.2.1:443: i/o timeout', 5.0, False),
        ('failed to pull image "main:v1": dial tcp 192.0.2.1:443: i/o timeout', PULL_RETRIES, True),
        ('failed to pull image "main:v1": main:v1: not found', 5.0, True),
    ],
)
def test_a_failed_pull_is_named_in_the_registrys_words(
    objects: KubernetesObjects, words: str, seconds: float, is_final: bool
) -> None:
    made = pod(objects, container(waiting=waits("ImagePullBackOff", "Back-off pulling image")))
    event(objects, "Pod", "spire-server-0", "Failed", words, container="main", first=NOW - seconds)
    assert why(objects, made) == Problem(
        f"container main of pod spire-server-0 has no image: {words}", on_its_way=not is_final
    )


# Containers that run


def unready(objects: KubernetesObjects, *, since: float = NOW - 60, restarts: int = 0) -> Any:
    """A pod whose container runs since this time (Unix seconds) and is not ready."""
    last = {"terminated": exited(137, since)} if restarts else None
    return pod(objects, container("main", restarts, last, running=running(since), ready=False), probes=PROBES)


def probe_failed(objects: KubernetesObjects, message: str = UNHEALTHY, container: str = "main") -> None:
    event(objects, "Pod", "spire-server-0", "Unhealthy", message, container=container)


ERROR = 'time="2026-11-23T09:59:55Z" level=error msg="Failed to sign" error="upstream 1 is away"'


def test_a_container_that_runs_and_is_not_ready_is_named_with_its_last_error(objects: KubernetesObjects) -> None:
    made = unready(objects)
    probe_failed(objects)
    objects.log("spire-server-0/main", 'level=error msg="what it logged before"', ERROR, "level=info msg=Retrying")
    problem = why(objects, made)
    assert problem.sentence == (
        "container main of pod spire-server-0 runs and is not ready; it logs: Failed to sign: upstream 1 is away"
    )
    assert problem.evidence.splitlines()[-1] == "    level=info msg=Retrying"
    assert not problem.on_its_way
    assert why(objects, made, lacks=True).on_its_way


@pytest.mark.parametrize(
    ("logged", "counts"), [(NOW - 61, False), (NOW - 59, True)], ids=["before its start", "after its start"]
)
def test_only_what_this_container_logged_counts(objects: KubernetesObjects, logged: float, counts: bool) -> None:
    made = unready(objects, since=NOW - 60, restarts=1)
    objects.log("spire-server-0/main", ERROR, at=logged, previous=logged < NOW - 60)
    assert ("it logs" in why(objects, made).sentence) is counts


@pytest.mark.parametrize(("logged", "counts"), [(NOW - 30 + SETTLED - 0.5, False), (NOW - 30 + SETTLED + 0.5, True)])
def test_what_was_logged_before_what_the_pod_needs_was_there_does_not_count(
    objects: KubernetesObjects, logged: float, counts: bool
) -> None:
    made = unready(objects)
    objects.log("spire-server-0/main", ERROR, at=logged)
    assert ("it logs" in why(objects, made, since=NOW - 30).sentence) is counts


AGAIN = 'time="2026-11-23T09:59:52Z" level=error msg="Failed to sign" error="upstream 2 is away"'
ANOTHER = 'time="2026-11-23T09:59:52Z" level=error msg="Failed to listen" error="address in use"'


@pytest.mark.parametrize(
    ("started", "logged", "stays"),
    [
        (NOW - 12, [(ERROR, NOW - 5)], False),
        (NOW - 12, [(AGAIN, NOW - 5 - REPEATED), (ERROR, NOW - 5)], True),
        (NOW - 12, [(AGAIN, NOW - 5 - REPEATED + 0.5), (ERROR, NOW - 5)], False),
        (NOW - 12, [(ANOTHER, NOW - 5 - REPEATED), (ERROR, NOW - 5)], False),
        (NOW - 5 - LONG_ATTEMPT, [(ERROR, NOW - 5)], True),
        (NOW - 100, [(AGAIN, NOW - 60), (ERROR, NOW - RECENT_ERROR)], True),
        (NOW - 100, [(AGAIN, NOW - 60), (ERROR, NOW - RECENT_ERROR - 1)], False),
    ],
    ids=["once at the start", "again", "at once again", "another", "once after long", "recent", "long ago"],
)
def test_an_error_stays_once_it_is_repeated_or_comes_long_after_the_start(
    objects: KubernetesObjects, started: float, logged: list[tuple[str, float]], stays: bool
) -> None:
    made = unready(objects, since=started)
    for line, at in logged:
        objects.log("spire-server-0/main", line, at=at)
    problem = why(objects, made)
    assert problem.sentence.endswith("it logs: Failed to sign: upstream 1 is away")
    assert problem.on_its_way is not stays


def test_an_attempt_begins_when_what_the_pod_needs_is_there(objects: KubernetesObjects) -> None:
    made = unready(objects, since=NOW - 100)
    objects.log("spire-server-0/main", ERROR, at=NOW - 5)
    assert not why(objects, made).on_its_way
    assert why(objects, made, since=NOW - 5 - LONG_ATTEMPT + 1).on_its_way


# As SPIRE's agent (1.15) logs it 8 s after a start in which it has not attested, and when it has.
HEALTH = (
    'time="2026-11-23T09:59:40Z" level=warning msg="Health check has failed. Starting up still." check=agent '
    'error="subsystem is not ready" subsystem_name=health'
)
ATTESTED = 'time="2026-11-23T09:59:43Z" level=info msg="Node attestation was successful" node_attestor_type=k8s_psat'


def test_an_agent_that_attests_late_is_not_named_for_its_own_health_checks(objects: KubernetesObjects) -> None:
    probes = {"readinessProbe": {"httpGet": {"port": 9982}, "initialDelaySeconds": 10, "periodSeconds": 30}}
    status = container("spire-agent", running=running(NOW - 28), ready=False)
    made = pod(objects, status, name="spire-agent-x7k2p", probes=probes)
    event(objects, "Pod", "spire-agent-x7k2p", "Unhealthy", UNHEALTHY, at=NOW - 18, container="spire-agent")
    objects.log("spire-agent-x7k2p/spire-agent", HEALTH, at=NOW - 20)
    objects.log("spire-agent-x7k2p/spire-agent", ATTESTED, at=NOW - 17)
    problem = why(objects, made)
    assert problem.sentence == f"container spire-agent of pod spire-agent-x7k2p runs and is not ready: {UNHEALTHY}"
    assert problem.on_its_way


def test_the_first_container_that_is_started_is_named_though_the_kubelet_lists_another_first(
    objects: KubernetesObjects,
) -> None:
    # SPIRE's controller manager cannot be ready without the server, and comes before it in the alphabet.
    server = container("spire-server", running=running(NOW - 60), ready=False)
    manager = container("spire-controller-manager", running=running(NOW - 60), ready=False)
    made = pod(objects, server, manager)
    made.status.container_statuses.reverse()
    for name in ("spire-server", "spire-controller-manager"):
        objects.log(f"spire-server-0/{name}", ERROR)
    assert why(objects, made).sentence.startswith("container spire-server of pod spire-server-0 ")


@pytest.mark.parametrize(("seconds", "is_overdue"), [(IN_TIME - 1, False), (IN_TIME + 1, True)])
def test_a_failed_probe_counts_once_the_container_should_be_ready(
    objects: KubernetesObjects, seconds: float, is_overdue: bool
) -> None:
    made = unready(objects, since=NOW - seconds)
    probe_failed(objects)
    problem = why(objects, made)
    assert problem.sentence == f"container main of pod spire-server-0 runs and is not ready: {UNHEALTHY}"
    assert problem.on_its_way is not is_overdue
    assert why(objects, made, lacks=True).on_its_way


def test_a_startup_probe_may_fail_for_as_long_as_it_is_allowed_to(objects: KubernetesObjects) -> None:
    startup = {
        "startupProbe": {
            "httpGet": {"port": 8080},
            "initialDelaySeconds": 5,
            "periodSeconds": 10,
            "failureThreshold": 10,
        }
    }
    for name, seconds, is_overdue in (("a", 5 + 100 + PROBE_GRACE - 1, False), ("b", 5 + 100 + PROBE_GRACE + 1, True)):
        made = pod(objects, container(running=running(NOW - seconds), ready=False), name=name, probes=startup)
        event(objects, "Pod", name, "Unhealthy", "Startup probe failed: connection refused", container="main")
        problem = why(objects, made)
        assert problem.on_its_way is not is_overdue
        # The charts allow a server 300 s: nobody is to wait as long for one that does not come.
        assert problem.until == 0.0


def test_a_container_whose_probe_has_not_failed_may_get_ready_yet(objects: KubernetesObjects) -> None:
    made = unready(objects, since=NOW - 600)
    probe_failed(objects, container="main-2")
    problem = why(objects, made)
    assert problem.sentence == "container main of pod spire-server-0 runs and is not ready"
    assert problem.on_its_way


@pytest.mark.parametrize("restarts", [0, 1, CRASH_LOOP_RESTARTS])
def test_a_container_that_was_killed_for_its_liveness_probe_is_named_for_it(
    objects: KubernetesObjects, restarts: int
) -> None:
    made = unready(objects, since=NOW - 5, restarts=restarts)
    message = "Liveness probe failed: HTTP probe failed with statuscode: 500"
    probe_failed(objects, message)
    problem = why(objects, made)
    # Until it is killed a failed probe is only that, and killed once it may be well the next time.
    words = f"was killed for its liveness probe: {message}" if restarts else f"runs and is not ready: {message}"
    assert problem.sentence == f"container main of pod spire-server-0 {words}"
    assert problem.on_its_way is (restarts < CRASH_LOOP_RESTARTS)


# As kubelets (1.36) report probes of a port at which nothing listens.
REFUSED_AT = 'probe failed: Get "http://10.244.0.6:%s/live": dial tcp 10.244.0.6:%s: connect: connection refused'
DECLARES = {"readinessProbe": {"httpGet": {"port": 9999}, "periodSeconds": 2}, "ports": [{"containerPort": 8080}]}


@pytest.mark.parametrize(
    ("port", "ports", "seconds", "is_overdue"),
    [
        (9999, [8080], 4.0, False),
        (9999, [8080], 5.0, True),
        (8080, [8080], 5.0, False),
        # A container need not declare any.
        (9999, [], 5.0, False),
    ],
)
def test_a_probe_of_a_port_that_nobody_declares_does_not_succeed_later(
    objects: KubernetesObjects, port: int, ports: list[int], seconds: float, is_overdue: bool
) -> None:
    probes = DECLARES | {"ports": [{"containerPort": each} for each in ports]}
    made = pod(objects, container("main", running=running(NOW - seconds), ready=False), probes=probes)
    probe_failed(objects, f"Readiness {REFUSED_AT % (port, port)}")
    problem = why(objects, made)
    said = ", and no container declares that port" if ports == [8080] and port == 9999 else ""
    assert problem.sentence.endswith(f"dial tcp 10.244.0.6:{port}: connect: connection refused{said}")
    assert problem.on_its_way is not is_overdue


@pytest.mark.parametrize(
    ("port", "killed", "is_named"), [(9999, NOW - 5, True), (8080, NOW - 5, False), (9999, NOW - 60, False)]
)
def test_a_container_that_is_being_killed_for_a_port_that_nobody_declares_is_named_though_it_is_ready(
    objects: KubernetesObjects, port: int, killed: float, is_named: bool
) -> None:
    others = container("other", running=running(NOW - 20), ready=False)
    probes = {"ports": DECLARES["ports"]}
    made = pod(objects, container("main", running=running(NOW - 20)), others, probes=probes)
    probe_failed(objects, message := f"Liveness {REFUSED_AT % (port, port)}")
    words = "Container main failed liveness probe, will be restarted"
    event(objects, "Pod", "spire-server-0", "Killing", words, at=killed, container="main")
    problem = why(objects, made)
    named = f"container main of pod spire-server-0 is being killed for its liveness probe: {message}"
    other = "container other of pod spire-server-0 runs and is not ready"
    assert problem.sentence == (named if is_named else other)
    assert problem.on_its_way is not is_named


def test_a_container_that_crashed_and_waits_to_be_started_is_named_with_its_error(objects: KubernetesObjects) -> None:
    made = pod(objects, container("main", 1, {"terminated": exited(1)}, waiting=waits("CrashLoopBackOff")))
    objects.log("spire-server-0/main", ERROR, previous=True)
    problem = why(objects, made)
    assert problem.sentence.startswith(
        "container main of pod spire-server-0 crashes (exit code 1, 1 restarts): Failed to sign: upstream 1 is away"
    )
    assert problem.on_its_way


def test_an_init_container_that_runs_is_named_before_those_that_wait_for_it(objects: KubernetesObjects) -> None:
    init = [container("init", running=running(NOW - 600), ready=False)]
    made = pod(objects, container(waiting=waits("PodInitializing")), init=init)
    objects.log("spire-server-0/init", "panic: runtime error: index out of range")
    assert why(objects, made).sentence == (
        "container init of pod spire-server-0 runs and is not ready; it logs: panic: runtime error: index out of range"
    )


# Controllers


def of(objects: KubernetesObjects, kind: str, made: Any, *, lacks: bool = False, since: float = 0.0) -> Problem:
    return why_controller_unready(objects.cluster, kind, made, lacks=lacks, since=since)


def test_what_is_unrecoverable_is_named_first_without_the_clusters_name(objects: KubernetesObjects) -> None:
    made = controller(objects)
    pod(objects, container("main", 3, {"terminated": exited(1)}, waiting=waits("CrashLoopBackOff")))
    objects.log("spire-server-0/main", "first", ERROR)
    assert of(objects, "StatefulSet", made) == Problem(
        (
            "container main of spire-server/spire-server-0 crashes (exit code 1, 3 restarts): Failed to sign: "
            "upstream 1 is away"
        ),
        f"    first\n    {ERROR}",
    )


def test_of_a_controllers_pods_the_one_that_is_not_ready_is_named(objects: KubernetesObjects) -> None:
    made = controller(objects)
    pod(objects, container("main", waiting=waits("ContainerCreating")), name="another", owner=("StatefulSet", "other"))
    pod(objects, container("main", running=running()), name="spire-server-0")
    pod(objects, CREATING, name="spire-server-1", deletionTimestamp=stamp(NOW))
    pod(objects, CREATING, name="spire-server-2")
    problem = of(objects, "StatefulSet", made)
    assert problem.sentence == "container main of pod spire-server-2 is being started (ContainerCreating)"


def test_what_a_pod_lacks_is_passed_on(objects: KubernetesObjects) -> None:
    made = controller(objects)
    pod(objects, container("main", running=running(), ready=False), probes=PROBES)
    objects.log("spire-server-0/main", ERROR, at=NOW - 30)
    assert not of(objects, "StatefulSet", made).on_its_way
    assert of(objects, "StatefulSet", made, lacks=True).on_its_way
    assert "it logs" not in of(objects, "StatefulSet", made, since=NOW - 20).sentence


@pytest.mark.parametrize(
    ("lacks", "since", "stays"),
    [
        (False, 0.0, True),
        (True, 0.0, False),
        (False, NOW - 59, False),
        (False, NOW - 60, True),
        (True, NOW - 61, False),
    ],
    ids=["", "lacks", "before it was there", "after it was there", "lacks something else"],
)
def test_a_crash_for_what_was_not_there_is_on_its_way(
    objects: KubernetesObjects, lacks: bool, since: float, stays: bool
) -> None:
    made = controller(objects)
    status = container("main", 5, {"terminated": exited(1, NOW - 60)}, waiting=waits("CrashLoopBackOff"))
    pod(objects, status)
    problem = of(objects, "StatefulSet", made, lacks=lacks, since=since)
    assert "crashes (exit code 1, 5 restarts)" in problem.sentence
    assert problem.on_its_way is not stays


QUOTA = "is forbidden: exceeded quota: all, requested: cpu=1, used: cpu=0, limited: cpu=500m"
NO_ACCOUNT = (
    'is forbidden: error looking up service account spire-server/spire-server: serviceaccount "spire-server" not found'
)


def test_a_controller_whose_pods_a_quota_refuses_is_named(objects: KubernetesObjects) -> None:
    message = f'create Pod spire-server-0 in StatefulSet spire-server failed error: pods "spire-server-0" {QUOTA}'
    event(objects, "StatefulSet", "spire-server", "FailedCreate", message)
    assert of(objects, "StatefulSet", controller(objects)) == Problem(
        f"StatefulSet spire-server/spire-server may not create its pods: {message}"
    )


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        # The event is of a minute ago.
        ([("helm", NOW - 30, None)], False),
        ([("helm", NOW - 90, None), ("kube-controller-manager", NOW - 30, "status")], True),
        ([("helm", None, None)], True),
    ],
    ids=["of an earlier specification", "of this one", "without a time"],
)
def test_what_was_refused_of_an_earlier_specification_is_over(
    objects: KubernetesObjects, fields: list[tuple[str, float | None, str | None]], counts: bool
) -> None:
    managed = [
        {"manager": manager, **({"time": stamp(at)} if at else {}), **({"subresource": part} if part else {})}
        for manager, at, part in fields
    ]
    message = f'create Pod spire-server-0 in StatefulSet spire-server failed error: pods "spire-server-0" {NO_ACCOUNT}'
    event(objects, "StatefulSet", "spire-server", "FailedCreate", message, at=NOW - 60)
    problem = of(objects, "StatefulSet", controller(objects, metadata={"managedFields": managed}), lacks=True)
    assert (message in problem.sentence) is counts


def test_a_controller_makes_its_pods_once_their_service_account_is_there(objects: KubernetesObjects) -> None:
    message = f'Error creating: pods "spire-agent-" {NO_ACCOUNT}'
    event(objects, "DaemonSet", "spire-agent", "FailedCreate", message)
    made = controller(objects, "DaemonSet", "spire-agent")
    assert of(objects, "DaemonSet", made, lacks=True) == Problem(f"its pods cannot be created: {message}", message)
    refused = f"DaemonSet spire-server/spire-agent may not create its pods: {message}"
    assert of(objects, "DaemonSet", made) == Problem(refused)
    objects.add("ServiceAccount", "spire-server")
    assert of(objects, "DaemonSet", made) == Problem(f"its pods cannot be created: {message}", message, True)


@pytest.mark.parametrize(
    ("owner", "replicas", "is_named"), [("server", 1, True), ("server", 0, False), ("other", 1, False)]
)
def test_a_deployments_pods_are_made_by_its_replica_sets(
    objects: KubernetesObjects, owner: str, replicas: int, is_named: bool
) -> None:
    message = f'Error creating: pods "server-1-" {NO_ACCOUNT.replace("spire-server", "default")}'
    event(objects, "ReplicaSet", "server-1", "FailedCreate", message)
    controller(
        objects,
        "ReplicaSet",
        "server-1",
        metadata={"ownerReferences": owned_by("Deployment", owner)},
        replicas=replicas,
    )
    problem = of(objects, "Deployment", controller(objects, "Deployment", "server"))
    nothing = Problem("its controller has made no pod yet", on_its_way=True)
    assert problem == (Problem(f"its pods cannot be created: {message}", message) if is_named else nothing)


@pytest.mark.parametrize("kind", ["StatefulSet", "Deployment"])
def test_what_is_scaled_down_says_so(objects: KubernetesObjects, kind: str) -> None:
    assert of(objects, kind, controller(objects, kind, replicas=0)) == Problem("it was scaled down to nothing")


@pytest.mark.parametrize(
    ("pool", "status", "leaves_out"),
    [
        ("none", {"desiredNumberScheduled": 0}, True),
        # One of the nodes is all that it is for.
        ("a", {"desiredNumberScheduled": 1}, False),
        # Its controller has not looked at it yet, or not at the node's label.
        ("none", {"desiredNumberScheduled": 0, "observedGeneration": None}, False),
        ("a", {"desiredNumberScheduled": 0}, False),
    ],
)
@pytest.mark.parametrize("has_pods", [True, False])
def test_a_daemon_set_that_selects_no_node_says_so(
    objects: KubernetesObjects, pool: str, status: dict[str, Any], leaves_out: bool, has_pods: bool
) -> None:
    node(objects, "a", labels={"pool": "a"})
    node(objects, "b")
    node(objects, "control-plane", {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"})
    template = {"spec": {"containers": [{"name": "main"}], "nodeSelector": {"pool": pool}}}
    made = controller(objects, "DaemonSet", "spire-agent", status=status, template=template)
    if has_pods:
        pod(objects, container(running=running()), name="spire-agent-x7k2p", owner=("DaemonSet", "spire-agent"))
    problem = of(objects, "DaemonSet", made, lacks=True)
    passes = "its pods are being replaced" if has_pods else "its controller has made no pod yet"
    words = "its node selector, affinity or tolerations leave out all nodes (3)" if leaves_out else passes
    assert problem == Problem(words, on_its_way=not leaves_out)


def test_a_quota_that_allows_some_of_the_pods_is_named(objects: KubernetesObjects) -> None:
    message = f'Error creating: pods "server-1-y" {QUOTA}'
    event(objects, "ReplicaSet", "server-1", "FailedCreate", message)
    owner = {"ownerReferences": owned_by("Deployment", "server")}
    controller(objects, "ReplicaSet", "server-1", metadata=owner, replicas=2)
    pod(objects, container(running=running()), name="server-1-x", owner=("ReplicaSet", "server-1"))
    made = controller(objects, "Deployment", "server", replicas=2)
    assert of(objects, "Deployment", made) == Problem(f"its pods cannot be created: {message}", message)


@pytest.mark.parametrize(("strategy", "is_replaced"), [("OnDelete", False), ("RollingUpdate", True)])
@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_pods_of_the_old_revision_are_replaced_unless_somebody_has_to_delete_them(
    objects: KubernetesObjects, kind: str, strategy: str, is_replaced: bool
) -> None:
    made = controller(objects, kind, updateStrategy={"type": strategy})
    pod(objects, container(running=running()), owner=(kind, "spire-server"))
    problem = of(objects, kind, made)
    assert ("OnDelete" in problem.sentence) is not is_replaced
    assert problem.on_its_way is is_replaced


@pytest.mark.parametrize(
    ("kind", "owner", "moves"),
    [("StatefulSet", ("StatefulSet", "spire-server"), False), ("Deployment", ("ReplicaSet", "spire-server-1"), True)],
)
def test_a_pod_on_a_node_that_is_left_out_is_named_with_it(
    objects: KubernetesObjects, kind: str, owner: tuple[str, str], moves: bool
) -> None:
    node(objects, "node", ready="Unknown", since=NOW - 600)
    made = controller(objects, kind)
    # By its containers, which nobody reports on, it is ready; the node controller says that the pod is not.
    pod(objects, container(running=running()), owner=owner)
    condition = objects.objects[-1][1]["status"]["conditions"][0]
    condition["status"] = "False"
    assert of(objects, kind, made).sentence == "pod spire-server-0 is being started", "a cluster of the suite's own"
    objects.is_external = True
    words = "pod spire-server-0 is on node node, which has not been ready since 2026-11-23 09:50:00 UTC: Unknown"
    assert of(objects, kind, made) == Problem(words, on_its_way=moves)
    assert why_unready(words) == WHY_NODE_UNREADY
    # Evicted, it is deleted once the kubelet reports; a Deployment does not wait for that.
    objects.objects[-1][1]["metadata"]["deletionTimestamp"] = stamp(NOW - 300)
    replaced = Problem("its pods are being replaced", on_its_way=True)
    assert of(objects, kind, made) == (replaced if moves else Problem(words))


def test_that_pods_are_to_be_deleted_depends_on_the_strategy_and_not_on_its_words(
    objects: KubernetesObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixtures.k8s.failures.unready.held_back", lambda *_: "nobody replaces them")
    pod(objects, container(running=running()))
    made = controller(objects, "StatefulSet", updateStrategy={"type": "OnDelete"})
    assert of(objects, "StatefulSet", made).sentence.endswith("old revision: nobody replaces them, so delete them")
    made = controller(objects, "StatefulSet", updateStrategy={"type": "RollingUpdate"})
    assert of(objects, "StatefulSet", made).sentence.endswith("old revision: nobody replaces them")


def test_a_partition_leaves_pods_at_the_old_revision(objects: KubernetesObjects) -> None:
    def problem(partition: int) -> Problem:
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}
        return of(objects, "StatefulSet", controller(objects, updateStrategy=rolling))

    pod(objects, container(running=running()))
    words = "its pods are of the old revision: the update strategy's partition is 1"
    assert (problem(1), problem(0)) == (Problem(words), Problem("its pods are being replaced", on_its_way=True))


@pytest.mark.parametrize("has_pods", [True, False])
def test_a_paused_deployment_is_named(objects: KubernetesObjects, *, has_pods: bool) -> None:
    made = controller(objects, "Deployment", "server", paused=True)
    if has_pods:
        pod(objects, container(running=running()), name="server-1-x", owner=("ReplicaSet", "server-1"))
    assert of(objects, "Deployment", made) == Problem(PAUSED)


def test_a_pod_that_somebody_has_deleted_is_replaced(objects: KubernetesObjects) -> None:
    made = controller(objects, updateStrategy={"type": "OnDelete"})
    pod(objects, container(running=running()), deletionTimestamp=stamp(NOW + 90))
    problem = of(objects, "StatefulSet", made)
    assert problem == Problem("its pods are being replaced", on_its_way=True)
    # The API server's word: when the grace period ends.
    assert problem.until == NOW + 90


def test_a_deployments_pods_are_replaced_by_themselves(objects: KubernetesObjects) -> None:
    made = controller(objects, "Deployment", "server")
    pod(objects, container(running=running()), name="server-1-x", owner=("ReplicaSet", "server-1"))
    assert of(objects, "Deployment", made) == Problem("its pods are being replaced", on_its_way=True)
    assert of(objects, "Deployment", made).until == 0.0
    # One that is ready counts only after that time.
    settling = controller(objects, "Deployment", "server", minReadySeconds=120)
    (ready,) = objects.objects[1][1]["status"]["conditions"]
    ready["lastTransitionTime"] = stamp(NOW - 30)
    assert of(objects, "Deployment", settling).until == NOW + 90


def test_an_init_container_that_does_not_end_is_no_container_that_is_not_ready(objects: KubernetesObjects) -> None:
    init = [container("init", running=running(NOW - 60), ready=False)]
    made = pod(objects, container(waiting=waits("PodInitializing")), init=init)
    problem = why(objects, made)
    assert problem.sentence == (
        "container init of pod spire-server-0 has been running for 60 s, and the pod's containers are started once it "
        "has ended"
    )
    assert problem.on_its_way
    assert why_unready(problem.sentence).startswith("an init container waits for what does not come")
    # A sidecar is one that runs on.
    made.spec.init_containers[0].restart_policy = "Always"
    assert why(objects, made).sentence == "container init of pod spire-server-0 runs and is not ready"


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        (
            {"exec": {"command": ["/bin/agent", "healthcheck", "-socketPath", "/x.sock"]}},
            "agent healthcheck -socketPath",
        ),
        ({"httpGet": {"path": "/live", "port": 80}}, "GET /live at port 80"),
    ],
)
def test_a_container_that_is_killed_for_its_post_start_hook_is_named_with_the_hook(
    objects: KubernetesObjects, hook: dict[str, Any], words: str
) -> None:
    status = container("main", 1, {"terminated": exited(137)}, waiting=waits("CrashLoopBackOff"))
    made = pod(objects, status, probes={"lifecycle": {"postStart": hook}})
    objects.log("spire-server-0/main", ERROR, previous=True)
    # All that the kubelet (1.36) says of it.
    event(objects, "Pod", "spire-server-0", "FailedPostStartHook", "PostStartHook failed", container="main")
    sentence = why(objects, made).sentence
    assert "killed, for its postStart hook fails: " in sentence
    assert words in sentence
    assert why_unready(sentence).startswith("the kubelet kills a container whose postStart hook fails")
