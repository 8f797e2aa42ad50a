"""States of pods and Jobs that do not heal, told from those that do."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes import client as k8s

from fixtures import failures, pods
from fixtures.clusters import Cluster

NAMESPACE = "spire-server"


class Core:
    """Stands in for the core API: pods, events and logs, by namespace."""

    def __init__(self) -> None:
        self.pods: dict[str, list[Any]] = {}
        self.selected: dict[str, list[Any]] = {}  # by label selector
        self.events: list[Any] = []
        self.logs: dict[tuple[str, bool], str] = {}

    def list_namespaced_pod(self, namespace: str, label_selector: str = "") -> Any:
        return k8s.V1PodList(items=self.selected[label_selector] if label_selector else self.pods.get(namespace, []))

    def list_namespaced_event(self, namespace: str, field_selector: str) -> Any:
        assert field_selector == "reason=FailedCreate"
        return SimpleNamespace(items=[event for event in self.events if event.metadata.namespace == namespace])

    def read_namespaced_pod_log(
        self, name: str, namespace: str, *, container: str, previous: bool, tail_lines: int
    ) -> str:
        assert namespace in self.pods
        text = self.logs.get((f"{name}/{container}", previous))
        if text is None:
            raise RuntimeError("no container of this life")
        return "".join(text.splitlines(keepends=True)[-tail_lines:])


class Standin:
    """A cluster whose APIs answer from what the test put there."""

    label = "server"

    def __init__(self) -> None:
        self.core = Core()
        self.job_status: Any = None
        self.replica_sets: dict[str, int] = {}

    @property
    def apps(self) -> Any:
        items = [
            SimpleNamespace(metadata=SimpleNamespace(name=name), spec=SimpleNamespace(replicas=replicas))
            for name, replicas in self.replica_sets.items()
        ]
        return SimpleNamespace(list_namespaced_replica_set=lambda _: SimpleNamespace(items=items))

    @property
    def batch(self) -> Any:
        return SimpleNamespace(read_namespaced_job=lambda *_: k8s.V1Job(status=self.job_status))


@pytest.fixture
def standin() -> Standin:
    return Standin()


def doomed(standin: Standin, *namespaces: str, prefix: str = "", since: float = 0.0) -> str | None:
    return failures.unrecoverable(cast(Cluster, standin), namespaces or (NAMESPACE,), prefix=prefix, since=since)


def container(name: str = "main", restarts: int = 0, last: Any = None, **state: Any) -> Any:
    return k8s.V1ContainerStatus(
        name=name,
        image=f"localhost/{name}:v1",
        image_id="",
        ready="running" in state,
        restart_count=restarts,
        state=k8s.V1ContainerState(**state),
        last_state=last,
    )


def waits(reason: str | None, message: str | None = None) -> Any:
    return k8s.V1ContainerStateWaiting(reason=reason, message=message)


def ended(code: int, at: float = 1000.0) -> Any:
    finished = datetime.fromtimestamp(at, UTC)
    return k8s.V1ContainerState(terminated=k8s.V1ContainerStateTerminated(exit_code=code, finished_at=finished))


def running(since: float = 0.0) -> Any:
    return k8s.V1ContainerStateRunning(started_at=datetime.fromtimestamp(since, UTC))


def pod(
    *containers: Any, init: list[Any] | None = None, name: str = "spire-server-0", owner: str = "spire-server"
) -> Any:
    reference = k8s.V1OwnerReference(api_version="apps/v1", kind="StatefulSet", name=owner, uid="1")
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(name=name, owner_references=[reference]),
        spec=k8s.V1PodSpec(
            containers=[k8s.V1Container(name=each.name) for each in containers],
            init_containers=[k8s.V1Container(name=each.name) for each in init or ()],
        ),
        status=k8s.V1PodStatus(container_statuses=list(containers), init_container_statuses=init),
    )


def rejection(message: str | None, kind: str = "StatefulSet", name: str = "spire-server") -> Any:
    return k8s.CoreV1Event(
        metadata=k8s.V1ObjectMeta(name="event", namespace=NAMESPACE),
        involved_object=k8s.V1ObjectReference(kind=kind, name=name, namespace=NAMESPACE),
        message=message,
    )


FORBIDDEN = 'create Pod spire-server-0 in StatefulSet spire-server failed error: pods "spire-server-0" is forbidden: violates PodSecurity "restricted:latest"'


@pytest.mark.parametrize(
    "healthy",
    [
        container(running=running()),
        container(waiting=waits("ContainerCreating")),
        container(waiting=waits("PodInitializing")),
        container(waiting=waits(None)),
        container(terminated=k8s.V1ContainerStateTerminated(exit_code=1)),
        container(restarts=3, last=ended(1), running=running()),
    ],
    ids=["running", "creating", "initialising", "waiting without a reason", "ended", "running again"],
)
def test_a_container_that_runs_or_may_yet_run_is_not_doomed(standin: Standin, healthy: Any) -> None:
    standin.core.pods[NAMESPACE] = [pod(healthy)]
    assert doomed(standin) is None


def test_a_pod_that_has_no_status_yet_is_not_doomed(standin: Standin) -> None:
    standin.core.pods[NAMESPACE] = [
        k8s.V1Pod(metadata=k8s.V1ObjectMeta(name="fresh"), status=k8s.V1PodStatus()),
        pod(k8s.V1ContainerStatus(name="main", image="", image_id="", ready=False, restart_count=0)),
    ]
    assert doomed(standin) is None


def test_an_empty_namespace_is_not_doomed(standin: Standin) -> None:
    assert doomed(standin) is None


def test_a_crashing_container_is_told_with_exit_code_restarts_and_last_lines(standin: Standin) -> None:
    standin.core.pods[NAMESPACE] = [
        pod(container("other", running=running()), container("main", 4, ended(1), waiting=waits("CrashLoopBackOff")))
    ]
    standin.core.logs["spire-server-0/main", False] = "".join(f"line {number}\n" for number in range(30))
    said = doomed(standin)
    assert said is not None
    first, *lines = said.splitlines()
    assert (
        first
        == "server: container main of spire-server/spire-server-0 crashes (exit code 1, 4 restarts); its last lines:"
    )
    assert lines == [f"    line {number}" for number in range(30 - failures.LAST_LINES, 30)]


@pytest.mark.parametrize("now", [None, "", "\n"], ids=["no log", "an empty log", "a blank log"])
def test_the_last_lines_are_of_the_life_before_where_this_one_has_none(standin: Standin, now: str | None) -> None:
    standin.core.pods[NAMESPACE] = [pod(container("main", 2, ended(139), waiting=waits("CrashLoopBackOff")))]
    standin.core.logs["spire-server-0/main", True] = "datastore is locked\n"
    if now is not None:
        standin.core.logs["spire-server-0/main", False] = now
    said = doomed(standin)
    assert said is not None
    assert said.endswith("(exit code 139, 2 restarts); its last lines:\n    datastore is locked")


def test_a_crashing_container_that_wrote_nothing_and_whose_end_is_not_known_says_so(standin: Standin) -> None:
    standin.core.pods[NAMESPACE] = [pod(container("main", 1, waiting=waits("CrashLoopBackOff")))]
    said = doomed(standin)
    assert said is not None
    assert said.endswith("(exit code ?, 1 restarts); its last lines:\n    (it wrote none)")


@pytest.mark.parametrize(
    ("restarts", "neighbour", "told"),
    [
        (1, container("other", waiting=waits("ContainerCreating")), False),
        (failures.ENOUGH_CRASHES, container("other", waiting=waits("ContainerCreating")), True),
        (1, container("other", running=running(since=1000.0 - 2 * failures.START_ORDER_GRACE)), True),
        # By now it is up; when the other crashed it may not have been.
        (1, container("other", running=running(since=998.0)), False),
        (failures.ENOUGH_CRASHES, container("other", running=running(since=998.0)), True),
    ],
    ids=["first crash, the one before not up", "too many crashes", "long up", "just started", "too many, just started"],
)
def test_a_first_crash_is_forgiven_while_what_is_started_before_it_is_not_up(
    standin: Standin, restarts: int, neighbour: Any, told: bool
) -> None:
    crashing = container("main", restarts, ended(1), waiting=waits("CrashLoopBackOff"))
    standin.core.pods[NAMESPACE] = [pod(neighbour, crashing)]
    assert (doomed(standin) is not None) is told


def test_a_first_crash_is_told_whatever_is_started_after_it(standin: Standin) -> None:
    # SPIRE's server crashes, and the controller manager beside it cannot be ready without: it is not the reason.
    crashing = container("main", 1, ended(1), waiting=waits("CrashLoopBackOff"))
    behind = container("behind", 1, ended(1), waiting=waits("CrashLoopBackOff"))
    standin.core.pods[NAMESPACE] = [pod(crashing, behind)]
    assert "container main of" in (doomed(standin) or "")


def test_a_first_crash_of_an_init_container_is_told(standin: Standin) -> None:
    crashing = container("first", 1, ended(1), waiting=waits("CrashLoopBackOff"))
    waiting = container("main", waiting=waits("PodInitializing"))
    standin.core.pods[NAMESPACE] = [pod(waiting, init=[crashing])]
    assert "container first of" in (doomed(standin) or "")


def test_what_is_about_to_be_replaced_is_not_doomed(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    standin.core.pods[NAMESPACE] = [pod(container(waiting=waits("ErrImagePull")))]
    assert doomed(standin) is not None
    monkeypatch.setattr(failures, "is_outdated", lambda *_: True)
    assert doomed(standin) is None


def test_a_first_crash_of_a_container_alone_in_its_pod_is_told(standin: Standin) -> None:
    standin.core.pods[NAMESPACE] = [pod(container("main", 1, ended(1), waiting=waits("CrashLoopBackOff")))]
    assert doomed(standin) is not None


def test_a_crash_before_what_the_container_lacked_was_there_is_forgiven_and_a_later_one_is_not(
    standin: Standin,
) -> None:
    standin.core.pods[NAMESPACE] = [pod(container("main", 5, ended(1, at=1000.0), waiting=waits("CrashLoopBackOff")))]
    assert doomed(standin, since=1001.0) is None
    assert doomed(standin, since=1000.0) is not None


# As a kubelet (1.36) told it for forty seconds of a crash loop, without a word of CrashLoopBackOff.
CRASHED_AND_NOT_SAID_TO_WAIT = """
{"name": "init", "image": "ghcr.io/spiffe/spiffe-helper:nightly", "imageID": "", "ready": false, "started": false, "restartCount": 4,
 "lastState": {"terminated": {"exitCode": 2, "finishedAt": "2026-11-25T19:05:19Z", "reason": "Error", "startedAt": "2026-11-25T19:05:19Z"}},
 "state": {"terminated": {"exitCode": 2, "finishedAt": "2026-11-25T19:06:09Z", "reason": "Error", "startedAt": "2026-11-25T19:06:09Z"}}}
"""


def test_a_crash_loop_is_told_also_where_the_kubelet_does_not_say_that_it_backs_off(standin: Standin) -> None:
    status = k8s.ApiClient().deserialize(CRASHED_AND_NOT_SAID_TO_WAIT, "V1ContainerStatus", "application/json")
    standin.core.pods[NAMESPACE] = [pod(container("main", waiting=waits("PodInitializing")), init=[status])]
    last = datetime(2026, 11, 25, 19, 6, 9, tzinfo=UTC).timestamp()
    assert "container init of spire-server/spire-server-0 crashes (exit code 2, 4 restarts)" in (doomed(standin) or "")
    assert doomed(standin, since=last) is not None
    assert doomed(standin, since=last + 1) is None


@pytest.mark.parametrize(("restarts", "code"), [(failures.ENOUGH_CRASHES - 1, 1), (failures.ENOUGH_CRASHES, 0)])
def test_what_ended_well_or_is_started_again_at_once_is_not_doomed(standin: Standin, restarts: int, code: int) -> None:
    over = k8s.V1ContainerStateTerminated(exit_code=code, finished_at=datetime.fromtimestamp(1000.0, UTC))
    standin.core.pods[NAMESPACE] = [pod(container("main", restarts, ended(1), terminated=over))]
    assert doomed(standin) is None


def test_only_pods_of_the_prefix_are_looked_at(standin: Standin) -> None:
    standin.core.pods[NAMESPACE] = [pod(container(waiting=waits("ErrImagePull")), name="client-x")]
    assert doomed(standin, prefix="server") is None
    assert doomed(standin, prefix="client") is not None


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"])
def test_an_image_that_cannot_be_had_is_told_in_the_kubelets_words(standin: Standin, reason: str) -> None:
    standin.core.pods[NAMESPACE] = [pod(container("main", waiting=waits(reason, "not found: manifest unknown")))]
    assert doomed(standin) == (
        f"server: container main of spire-server/spire-server-0 has no image: {reason}: not found: manifest unknown"
    )


def test_an_image_that_cannot_be_had_without_a_word_is_named(standin: Standin) -> None:
    standin.core.pods[NAMESPACE] = [pod(container("main", waiting=waits("ErrImageNeverPull")))]
    said = doomed(standin)
    assert said is not None
    assert said.endswith("ErrImageNeverPull: localhost/main:v1")


@pytest.mark.parametrize("reason", ["CreateContainerConfigError", "CreateContainerError", "RunContainerError"])
def test_a_container_that_cannot_be_started_is_told(standin: Standin, reason: str) -> None:
    standin.core.pods[NAMESPACE] = [pod(container("main", waiting=waits(reason, 'configmap "x" not found')))]
    assert doomed(standin) == (
        f'server: container main of spire-server/spire-server-0 cannot be started: {reason}: configmap "x" not found'
    )


def test_an_init_container_is_looked_at_before_those_that_wait_for_it(standin: Standin) -> None:
    init = [container("init", failures.ENOUGH_CRASHES, ended(2), waiting=waits("CrashLoopBackOff"))]
    standin.core.pods[NAMESPACE] = [pod(container("main", waiting=waits("PodInitializing")), init=init)]
    said = doomed(standin)
    assert said is not None
    assert said.startswith("server: container init of spire-server/spire-server-0 crashes (exit code 2,")


def test_every_namespace_that_is_given_is_looked_at_and_no_other(standin: Standin) -> None:
    standin.core.pods["spire-system"] = [pod(container(waiting=waits("ErrImagePull")), name="spire-agent-x")]
    assert doomed(standin, NAMESPACE, "spire-mgmt") is None
    said = doomed(standin, NAMESPACE, "spire-system")
    assert said is not None
    assert "spire-system/spire-agent-x" in said


@pytest.mark.parametrize("message", [FORBIDDEN, 'admission webhook "policy.example" denied the request: no'])
def test_a_controller_whose_pods_are_refused_is_told_with_the_reason(standin: Standin, message: str) -> None:
    standin.core.events = [rejection(message)]
    assert doomed(standin) == f"server: StatefulSet spire-server/spire-server may not create its pods: {message}"


@pytest.mark.parametrize(
    "message",
    [
        None,
        "",
        "Internal error occurred: failed calling webhook: connection refused",
        'pods "x" is forbidden: error looking up service account spire-server/s: serviceaccount "s" not found',
    ],
)
def test_a_refusal_that_passes_is_not_told(standin: Standin, message: str | None) -> None:
    standin.core.events = [rejection(message)]
    assert doomed(standin) is None


def test_a_controller_that_has_pods_by_now_is_refused_no_longer(standin: Standin) -> None:
    standin.core.events = [rejection(FORBIDDEN)]
    standin.core.pods[NAMESPACE] = [pod(container(running=running()))]
    assert doomed(standin) is None


def test_pods_without_a_controller_do_not_hide_a_refusal(standin: Standin) -> None:
    alone = k8s.V1Pod(metadata=k8s.V1ObjectMeta(name="alone"), status=k8s.V1PodStatus())
    standin.core.pods[NAMESPACE] = [alone]
    standin.core.events = [rejection(FORBIDDEN)]
    assert doomed(standin) is not None


def conditions(*given: tuple[str, str]) -> list[Any]:
    return [k8s.V1JobCondition(type=kind, status=status) for kind, status in given]


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
def test_a_job_has_ended_once_it_is_complete_or_failed_whatever_was_said_before(
    standin: Standin, given: list[tuple[str, str]], value: str | None
) -> None:
    standin.job_status = k8s.V1JobStatus(conditions=conditions(*given))
    assert pods.job_finished(cast(Cluster, standin), "demo", "client").look().value == value


def test_a_job_that_goes_on_is_told_with_its_counts_and_what_its_pods_wait_for(standin: Standin) -> None:
    standin.job_status = k8s.V1JobStatus(active=1)
    standin.core.pods["demo"] = [
        pod(container("client", waiting=waits("ContainerCreating")), name="client-x", owner="client"),
        pod(container("server", waiting=waits("ContainerCreating")), name="server-y", owner="server"),
    ]
    condition = pods.job_finished(cast(Cluster, standin), "demo", "client")
    assert condition.name == "server: the end of Job demo/client"
    assert condition.look().seen == "active 1, succeeded 0, failed 0 (client-x/client: ContainerCreating)"


@pytest.mark.parametrize(("codes", "value"), [((), None), ((None,), None), ((0,), "Complete"), ((2,), "Failed")])
def test_a_job_is_as_good_as_over_once_its_own_pod_has_ended(
    standin: Standin, codes: tuple[int | None, ...], value: str | None
) -> None:
    states = [{"running": running()} if code is None else {"terminated": ended(code).terminated} for code in codes]
    its_own = [pod(container("client", **state), name="client-y", owner="client") for state in states]
    standin.core.pods["demo"] = [
        pod(container("client", terminated=ended(1).terminated), name="client-x", owner="client")
    ]
    standin.core.selected["controller-uid=2"] = its_own
    condition = pods.job_pod_finished(cast(Cluster, standin), "demo", "client", "controller-uid=2")
    assert condition.look().value == value
    assert condition.look().seen.startswith(f"{len(codes)} containers")


@pytest.mark.parametrize(("replicas", "is_doomed"), [({"server-1": 1}, True), ({"server-1": 0}, False), ({}, False)])
def test_what_an_older_revision_of_a_deployment_was_refused_is_over(
    standin: Standin, replicas: dict[str, int], is_doomed: bool
) -> None:
    standin.core.events = [rejection(FORBIDDEN, "ReplicaSet", "server-1")]
    standin.replica_sets = replicas
    assert bool(doomed(standin)) is is_doomed


def started(pod: Any, at: float) -> Any:
    pod.status.start_time = datetime.fromtimestamp(at, UTC)
    return pod


def first_crash(standin: Standin, since: float) -> float | None:
    return failures.first_crash(cast(Cluster, standin), (NAMESPACE,), since)


def test_a_first_crash_is_when_the_container_ended(standin: Standin) -> None:
    once = container("main", 1, ended(1, at=1007.0), running=running())
    standin.core.pods[NAMESPACE] = [started(pod(once), 1001.0), started(pod(container(running=running())), 1001.0)]
    assert first_crash(standin, since=1000.0) == 1007.0


@pytest.mark.parametrize("restarts", [1, 3])
def test_of_several_crashes_only_the_last_is_known_and_the_first_is_no_earlier_than_the_pod(
    standin: Standin, restarts: int
) -> None:
    often = container("main", restarts, ended(1, at=1060.0), waiting=waits("CrashLoopBackOff"))
    standin.core.pods[NAMESPACE] = [started(pod(often), 1001.0)]
    assert first_crash(standin, since=1000.0) == 1001.0


def test_a_pod_that_is_older_has_not_crashed_since(standin: Standin) -> None:
    once = container("main", 1, ended(1, at=1007.0), waiting=waits("CrashLoopBackOff"))
    standin.core.pods[NAMESPACE] = [started(pod(once), 990.0), pod(once)]
    assert first_crash(standin, since=1000.0) is None
