"""SPIRE's own pods: which are deleted, and how, so that others come in their place."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.helm.manifests import ManifestError
from fixtures.helm.release import Release, Revision, revision_label
from fixtures.k8s import pods
from fixtures.k8s.cluster import Cluster, ClusterError
from fixtures.spire import api_types, installation, server_cli
from fixtures.spire.installation import Spire, agents_with_nodes
from fixtures.spire.layout import Workload
from fixtures.spire.server_cli import SpireError
from tests.unit.kubernetes_objects import NOW, KubernetesObjects, container, controller, node, pod, running, stamp
from tests.unit.own_chart import AGENT, LAYOUT, SYSTEM_NAMESPACE, read_layout

UNFEDERATED = (
    'level=error msg="Failed to create entry" error="rpc error: code = Unknown desc = unable to find federated bundle '
    '\\"spiffe://client.example\\"" method=BatchCreateEntry'
)


DRIVER = LAYOUT.csi_driver.driver


class Recorder(KubernetesObjects):
    """A cluster whose server prints recorded agents, and that records which pods are deleted with which options."""

    def __init__(self, agents: str) -> None:
        super().__init__()
        self.agents = agents
        self.commands: list[tuple[str, ...]] = []
        self.deleted: list[tuple[str, dict[str, Any]]] = []

    @property
    def core(self) -> Any:
        def delete(name: str, _namespace: str, **options: Any) -> None:
            self.deleted.append((name, options))

        listed = super().core
        return SimpleNamespace(list_namespaced_pod=listed.list_namespaced_pod, delete_namespaced_pod=delete)

    def execute(self, _namespace: str, _pod: str, _container: str, *command: str, **_: Any) -> Any:
        self.commands.append(command[1:])
        return SimpleNamespace(stdout=self.agents)


VIOLATED = (
    '299 - "existing pods in namespace \\"spire-server\\" violate the new PodSecurity enforce level '
    '\\"restricted:latest\\"", 299 - "spire-server-0: allowPrivilegeEscalation != false, unrestricted capabilities"'
)


def test_agents_are_evicted_and_end_before_others_start(recorded: Any, tmp_path: Path) -> None:
    cluster = Recorder(recorded("agent-list.json"))
    runs = container(AGENT, running=running(NOW - 20))
    pod(cluster, runs, name=f"{AGENT}-x7k2p", namespace=SYSTEM_NAMESPACE, owner=("DaemonSet", AGENT))
    spire = Spire(cast(Cluster, cluster), tmp_path / "helm", "server.example", (), tmp_path, read_layout)
    spire.layout = LAYOUT
    assert not spire.has_evicted_agents
    assert len(spire._renew_agents()) == 1
    assert spire.has_evicted_agents
    assert [command[:2] for command in cluster.commands] == [("agent", "list"), ("agent", "evict")]
    # An agent removes the socket when it ends: what is deleted at once may end only after the next one has made it.
    assert cluster.deleted == [(f"{AGENT}-x7k2p", {})]


def test_what_a_server_said_of_a_peers_endpoint_is_its_answer_for_a_while_and_it_has_seconds_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Recorder("")
    limits: list[float] = []

    def silent(*place_and_command: str, timeout: float, **_: Any) -> Any:
        limits.append(timeout)
        raise ClusterError(f"server: `{place_and_command[-3]}` did not end in {timeout:g} s")

    spire = Spire(cast(Cluster, cluster), tmp_path / "helm", "server.example", (), tmp_path, read_layout)
    spire.layout = LAYOUT
    now = 1000.0
    monkeypatch.setattr(server_cli, "time", SimpleNamespace(monotonic=lambda: now))
    answers: Any = cluster.execute
    monkeypatch.setattr(cluster, "execute", silent)
    said = spire.refresh_error("client.example")
    assert (said.endswith("did not end in 10 s"), limits) == (True, [10.0])
    now += 5
    assert spire.refresh_error("client.example", max_age=6.0) == said
    assert limits == [10.0]
    assert spire.refresh_error("third.example", max_age=6.0)
    assert len(limits) == 2, "it was asked about another peer"
    monkeypatch.setattr(cluster, "execute", answers)
    assert spire.refresh_error("client.example", max_age=4.0) == ""
    assert spire.refresh_error("third.example") == "", "a check has it asked again"


def test_pods_that_an_upgrade_has_left_are_deleted_the_servers_first_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Recorder("")
    server, driver = LAYOUT.server, LAYOUT.csi_driver
    began = time.time()
    ready = container(server.name, running=running(NOW - 20))

    def add(workload: Workload, name: str, age: float) -> None:
        created: dict[str, Any] = {"creationTimestamp": stamp(began - age)}
        pod(cluster, ready, name=name, namespace=workload.namespace, owner=(workload.kind, workload.name), **created)

    add(server, f"{server.name}-0", 60)
    add(driver, "old", 60)
    add(driver, "new", 0)
    add(driver, "ending", 60)
    cluster.objects[-1][1]["metadata"]["deletionTimestamp"] = stamp(began)
    add(LAYOUT.agent, "agent", 60)
    spire = Spire(cast(Cluster, cluster), tmp_path / "helm", "server.example", (), tmp_path, read_layout)
    spire.layout = LAYOUT
    waited: list[str] = []
    monkeypatch.setattr(installation, "wait_for", lambda condition, *_, **__: waited.append(condition.name))
    spire.replace_pods(began)
    # As a node's drain does, in which what ends has its time; agents have their own (`wait_ready`).
    assert cluster.deleted == [(f"{server.name}-0", {}), ("old", {})]
    assert [each.partition("new pods of ")[2] for each in waited] == [str(server), str(driver)]
    cluster.deleted.clear()
    spire.layout = replace(LAYOUT, server=replace(server, lost_keys="in memory"))
    spire.replace_pods(began)
    assert cluster.deleted == [("old", {})]


def test_what_is_replaced_with_its_node_may_be_older_from_an_upgrade_to_the_replacement_of_pods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = KubernetesObjects()
    counts = {"currentNumberScheduled": 1, "desiredNumberScheduled": 1, "numberReady": 1, "numberMisscheduled": 0}
    agents = controller(
        cluster, "DaemonSet", AGENT, SYSTEM_NAMESPACE, status=counts, updateStrategy={"type": "OnDelete"}
    )
    rolled = {"type": "RollingUpdate"}
    drivers = controller(
        cluster, "DaemonSet", LAYOUT.csi_driver.name, SYSTEM_NAMESPACE, status=counts, updateStrategy=rolled
    )
    spire = Spire(cluster.cluster, tmp_path / "helm", "server.example", (), tmp_path, read_layout)
    spire.layout = replace(LAYOUT, workloads=(LAYOUT.agent, LAYOUT.csi_driver))

    def older() -> tuple[bool, bool, set[str]]:
        return spire.may_be_older(agents), spire.may_be_older(drivers), spire.kept_containers()

    # What an installation changes has to be of its newest revision.
    assert older() == (False, False, set())
    monkeypatch.setattr(Spire, "_apply_release", lambda *_, **__: None)
    spire.upgrade(Release(tmp_path, tmp_path, {}))
    spire.layout = replace(LAYOUT, workloads=(LAYOUT.agent, LAYOUT.csi_driver))
    assert older() == (True, False, {each.name for each in LAYOUT.agent.containers})
    kept = replace(LAYOUT, workloads=(LAYOUT.agent, LAYOUT.csi_driver))
    spire.layout = replace(kept, server=replace(LAYOUT.server, lost_keys="memory"))
    spire.replace_pods(time.time() - 3600)
    assert older()[0], "a server whose keys are in memory is left alone"
    spire.layout = kept
    spire.replace_pods(time.time() - 3600)
    assert older() == (False, False, set()), "as a drain of every node would have done"
    monkeypatch.setattr(Spire, "helm", lambda *_, **__: "")
    monkeypatch.setattr(Spire, "installed_manifests", lambda *_: "not: manifests")
    with pytest.raises(ManifestError):
        spire.rollback(1)
    assert older()[:2] == (True, False)


@pytest.mark.parametrize(
    ("revision", "is_ready", "is_ending", "is_deleted"),
    [
        ("old", False, False, True),
        ("old", False, True, False),
        ("old", True, False, False),
        ("new", False, False, False),
    ],
)
def test_a_broken_servers_pod_makes_room_for_the_repaired_one_and_one_that_ends_has_its_time(
    revision: str, is_ready: bool, is_ending: bool, is_deleted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, server = KubernetesObjects(), LAYOUT.server
    controller(cluster, "StatefulSet", server.name, server.namespace, status={"updateRevision": "new"})
    state = container(server.container.name, running=running(), ready=is_ready)
    metadata: dict[str, Any] = {"labels": {"controller-revision-hash": revision}}
    metadata |= {"deletionTimestamp": stamp(NOW + 90)} if is_ending else {}
    (name,) = server.pods
    pod(cluster, state, name=name, namespace=server.namespace, **metadata)
    spire = Spire(cluster.cluster, tmp_path / "helm", "server.example", (), tmp_path, read_layout)
    spire.layout = LAYOUT
    deleted: list[str] = []
    monkeypatch.setattr(Spire, "_delete_pod", lambda _, name, *__, **___: deleted.append(name))
    spire._replace_stuck_server(lambda: None)
    assert deleted == ([name] if is_deleted else [])


def test_only_a_namespace_without_agents_is_to_have_restricted_pods(tmp_path: Path) -> None:
    patched: list[str] = []
    warned = {"Warning": ""}

    def tried(name: str, _: Any, *, dry_run: str) -> tuple[Any, int, dict[str, str]]:
        assert (name, dry_run) == (LAYOUT.server.namespace, "All")
        return None, 200, warned

    core = SimpleNamespace(patch_namespace=lambda name, _: patched.append(name), patch_namespace_with_http_info=tried)
    cluster: Any = SimpleNamespace(label="server", core=core, is_external=False)
    spire = Spire(cluster, tmp_path / "helm", "server.example", (), tmp_path, read_layout)
    for namespace in (LAYOUT.server.namespace, SYSTEM_NAMESPACE):
        spire.layout = replace(LAYOUT, server=replace(LAYOUT.server, namespace=namespace))
        spire._enforce_pod_security()
    assert patched == [LAYOUT.server.namespace]
    assert len(spire.violates_pod_security) == 0
    # As Kubernetes 1.36 warns of pods that would not be admitted again: they keep their namespace as it is.
    warned["Warning"] = VIOLATED
    spire.layout = LAYOUT
    spire._enforce_pod_security()
    assert patched == [LAYOUT.server.namespace]
    assert spire.violates_pod_security == (
        'existing pods in namespace "spire-server" violate the new PodSecurity enforce level "restricted:latest"; '
        "spire-server-0: allowPrivilegeEscalation != false, unrestricted capabilities"
    )


def test_agents_for_nodes_of_a_kind_that_the_cluster_lacks_are_not_waited_for() -> None:
    default = replace(LAYOUT.agent, node_selector={"kubernetes.io/os": "linux"})
    gpu = replace(LAYOUT.agent, name="spire-agent-gpu", node_selector={"pool": "gpu"}, tolerations=())
    tainted = {"key": "nvidia.com/gpu", "effect": "NoSchedule", "value": "present"}
    both = replace(LAYOUT, agents=(default, gpu))
    objects = KubernetesObjects()
    node(objects, "a", labels={"kubernetes.io/os": "linux"})
    assert agents_with_nodes(objects.cluster, both).agents == (default,)
    node(objects, "b", tainted, labels={"pool": "gpu"})
    assert agents_with_nodes(objects.cluster, both).agents == (default,)
    tolerant = replace(gpu, tolerations=({"key": "nvidia.com/gpu", "operator": "Exists"},))
    both = replace(LAYOUT, agents=(default, tolerant))
    assert agents_with_nodes(objects.cluster, both) == both
    # None that can run is for the run to find.
    nowhere = replace(LAYOUT, agents=(gpu, replace(gpu, name="spire-agent-tpm", node_selector={"tpm": "with"})))
    assert agents_with_nodes(objects.cluster, nowhere) == nowhere


class Kept(KubernetesObjects):
    """A kept cluster with a release, whose Helm commands and deleted namespaces are noted down."""

    def __init__(self, folder: Path, *, external: bool = False) -> None:
        super().__init__()
        self.is_external, self.path = external, folder
        self.done: list[str] = []
        self.manifests = MANIFESTS
        self.changed: dict[str, list[str] | None] = {}

    def changed_fields(self, manifest: Mapping[str, Any], namespace: str, manager: str) -> list[str] | None:
        assert (namespace, manager) == ("spire-mgmt", "helm")
        return self.changed.get(manifest["metadata"]["name"], [])

    @property
    def core(self) -> Any:
        listed = super().core
        listed.delete_namespace = lambda name: self.done.append(f"delete {name}")
        listed.delete_collection_namespaced_pod = self._delete_pods
        listed.delete_collection_namespaced_persistent_volume_claim = self._delete_claims
        return listed

    def _delete_pods(self, namespace: str, *, grace_period_seconds: int) -> None:
        assert grace_period_seconds == 0
        self.done.append(f"delete pods of {namespace}")

    def _delete_claims(self, namespace: str) -> None:
        self.done.append(f"delete claims of {namespace}")

    def kubectl(self, *arguments: str) -> str:
        self.done.append(f"kubectl {' '.join(arguments)}")
        return ""

    def remove_from_nodes(self, folders: list[str]) -> None:
        self.done.append(f"remove {' '.join(folders)}")

    def run(self, _program: Path, *arguments: str, timeout: float) -> str:
        assert timeout > 0
        command, name = arguments[0], arguments[3]
        match arguments:
            case ("get", "all" | "manifest", *_):
                return self.manifests if "spire-crds" not in arguments else ""
            case ("uninstall", "-n", "spire-mgmt", _, "--ignore-not-found", "--no-hooks", *options):
                self.done.append(" ".join([command, name, *options]))
                return ""
        raise AssertionError(arguments)


NAMESPACES = ("identity", "spire-mgmt", "spire-system")
# Before a namespace is deleted, its pods and claims: it would wait for them.
EMPTIED = [f"delete {what} of {name}" for name in NAMESPACES for what in ("pods", "claims")]
ALL_OF_IT = [
    "uninstall spire",
    *EMPTIED,
    "uninstall spire-crds",
    *EMPTIED,
    *(f"delete {name}" for name in NAMESPACES),
    "kubectl delete crd clusterspiffeids.spire.spiffe.io clusterstaticentries.spire.spiffe.io "
    "clusterfederatedtrustdomains.spire.spiffe.io --ignore-not-found",
    "remove /run/spire/agent-sockets",
]
MANIFESTS = """
apiVersion: v1
kind: Namespace
metadata: {name: identity}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: monitoring}
---
apiVersion: batch/v1
kind: Job
metadata: {name: hook, namespace: kube-system}
spec: {template: {spec: {containers: []}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: spire-agent, namespace: spire-system}
spec:
  template:
    spec:
      volumes:
        - {name: config, configMap: {name: spire-agent}}
        - {name: socket, hostPath: {path: /run/spire/agent-sockets, type: DirectoryOrCreate}}
        - {name: plugin, hostPath: {path: /var/lib/kubelet/plugins/csi.spiffe.io, type: DirectoryOrCreate}}
        - {name: node, hostPath: {path: /etc/ssl, type: Directory}}
        - {name: any, hostPath: {path: /opt/keys}}
        - {name: system, hostPath: {path: /run, type: DirectoryOrCreate}}
"""


@pytest.mark.parametrize(
    ("status", "mark", "external", "done"),
    [
        ("deployed", "other", False, ALL_OF_IT),
        ("failed", "wanted", False, ALL_OF_IT),
        ("deployed", "wanted", False, []),
        ("deployed", "other", True, []),
        ("", "", False, []),
    ],
    ids=["other", "failed", "the same", "another's cluster", "none"],
)
def test_a_kept_release_of_other_charts_or_values_is_removed_with_all_that_it_stores(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    mark: str,
    external: bool,
    done: list[str],
) -> None:
    cluster = Kept(tmp_path, external=external)
    spire = Spire(cast(Cluster, cluster), tmp_path / "helm", "server.example", (), tmp_path, read_layout)
    revisions = {"spire": Revision(1, status, revision_label(mark, 1))} if status else {}
    monkeypatch.setattr(spire._leftovers, "revisions", lambda: revisions)
    release: Any = SimpleNamespace(mark="wanted")
    assert spire.why_not_kept(release) == ("it is of other charts or values" if done else "")
    if done:
        spire.uninstall()
    assert cluster.done == done
    assert spire.was_changed == bool(done)
    assert spire._layout is None


def test_a_removal_that_was_interrupted_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Kept(tmp_path)
    spire = Spire(cast(Cluster, cluster), tmp_path / "helm", "server.example", (), tmp_path, read_layout)
    revisions = {"spire": Revision(1, "deployed", revision_label("other", 1))}
    monkeypatch.setattr(spire._leftovers, "revisions", lambda: revisions)
    release: Any = SimpleNamespace(mark="wanted")
    run = cluster.run

    def interrupted(*arguments: Any, **options: Any) -> str:
        said = run(*arguments, **options)
        if "spire-crds" in arguments:
            raise KeyboardInterrupt
        return said

    monkeypatch.setattr(cluster, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        spire.uninstall()
    assert spire.was_changed
    # Helm knows nothing of it any more.
    revisions.clear()
    cluster.manifests = ""
    monkeypatch.setattr(cluster, "run", run)
    cluster.done.clear()
    assert spire.why_not_kept(release) == "a removal was interrupted"
    spire.uninstall()
    assert cluster.done == ALL_OF_IT
    assert not spire.why_not_kept(release)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ""),
        ({"spire-agent": ["spec"]}, "DaemonSet spire-system/spire-agent was changed (spec)"),
        ({"reader": None}, "Role monitoring/reader is gone"),
        ({"identity": ["metadata"]}, ""),
    ],
    ids=["as it was", "changed", "deleted", "the suite's own label"],
)
def test_a_kept_release_that_somebody_has_mended_by_hand_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, list[str] | None], why: str
) -> None:
    cluster = Kept(tmp_path)
    cluster.changed = changed
    spire = Spire(cast(Cluster, cluster), tmp_path / "helm", "server.example", (), tmp_path, read_layout)
    revisions = {"spire": Revision(1, "deployed", revision_label("wanted", 1))}
    monkeypatch.setattr(spire._leftovers, "revisions", lambda: revisions)
    release: Any = SimpleNamespace(mark="wanted")
    assert spire.why_not_kept(release) == why


def test_what_a_controller_writes_between_two_answers_or_scales_is_no_change_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Kept(tmp_path)
    cluster.manifests += """
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: provider, namespace: spire-server}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: provider}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: provider, namespace: spire-server}
spec: {replicas: 1, template: {spec: {containers: []}}}
"""
    cluster.changed = {"provider": ["spec"]}
    leftovers = Spire(cast(Cluster, cluster), tmp_path / "helm", "a", (), tmp_path, read_layout)._leftovers
    assert leftovers.altered() == ""
    answers = {"spire-agent": [["metadata"], []]}

    def changed(manifest: Mapping[str, Any], *_: str) -> list[str]:
        given = answers.get(manifest["metadata"]["name"])
        return given.pop(0) if given else []

    monkeypatch.setattr(cluster, "changed_fields", changed)
    assert leftovers.altered() == ""
    answers["reader"] = [["rules"], ["rules"]]
    assert leftovers.altered() == "Role monitoring/reader was changed (rules)"


def test_nothing_is_removed_from_a_cluster_that_is_not_the_suites_own(tmp_path: Path) -> None:
    cluster = Kept(tmp_path, external=True)
    spire = Spire(cast(Cluster, cluster), tmp_path / "helm", "server.example", (), tmp_path, read_layout)
    with pytest.raises(SpireError, match=r"^server: SPIRE is not removed from a cluster that is not the suite's own"):
        spire.uninstall()
    assert cluster.done == []


@pytest.mark.parametrize(
    ("log", "stored", "age", "registered", "driver", "awaits"),
    [
        (UNFEDERATED, False, 20, False, DRIVER, True),
        ("", False, 20, False, DRIVER, False),
        (UNFEDERATED, True, 20, False, DRIVER, False),
        (UNFEDERATED, False, 1, False, DRIVER, False),
        (UNFEDERATED, False, 20, True, DRIVER, False),
        (UNFEDERATED, False, 20, False, "efs.csi.aws.com", False),
    ],
    ids=["waits", "refused nothing", "federates already", "just started", "has its entry", "asks nobody"],
)
def test_a_workload_whose_entry_names_a_peer_waits_for_its_bundle_and_not_the_installation_for_the_workload(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    log: str,
    stored: bool,
    age: float,
    registered: bool,
    driver: str,
    awaits: bool,
) -> None:
    objects = KubernetesObjects()
    provider = cast(Workload, LAYOUT.oidc_provider)
    created = stamp(time.time() - age)
    volumes = [{"name": "api", "csi": {"driver": driver}}]
    its_own: dict[str, Any] = {"uid": "its-own", "creationTimestamp": created}
    pod(objects, container("provider"), namespace=provider.namespace, volumes=volumes, **its_own)
    spire = Spire(objects.cluster, tmp_path, "server.example", ("client.example",), tmp_path, read_layout)
    spire.layout = LAYOUT
    entry = api_types.RegistrationEntry("1", "spiffe://server.example/x", "", ("k8s:pod-uid:its-own",), ())
    monkeypatch.setattr(spire, "server_log", lambda: log)
    monkeypatch.setattr(spire, "stores_bundle", lambda _: stored)
    monkeypatch.setattr(spire, "entries", lambda: [entry] if registered else [])
    monkeypatch.setattr(spire, "_pods", lambda _: pods.pods(objects.cluster, provider.namespace))
    assert spire.awaits_federation(provider) is awaits
