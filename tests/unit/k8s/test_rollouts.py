"""Pods that their controller is about to replace, distinguished from its newest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes import client as k8s

from fixtures.k8s.cluster import Cluster
from fixtures.k8s.rollouts import NUMBER, REVISION, is_outdated


def reference(kind: str, name: str = "owner", controller: bool = True) -> Any:
    return k8s.V1OwnerReference(api_version="apps/v1", kind=kind, name=name, uid="1", controller=controller)


def pod(*owners: Any, revision: str = "new") -> Any:
    metadata = k8s.V1ObjectMeta(name="pod", namespace="n", labels={REVISION: revision}, owner_references=list(owners))
    return k8s.V1Pod(metadata=metadata)


def controller(seen: int, number: str = "2") -> Any:
    return SimpleNamespace(
        metadata=SimpleNamespace(generation=2, annotations={NUMBER: number}),
        status=SimpleNamespace(observed_generation=seen, update_revision="new"),
    )


class Apps:
    """The apps API of a cluster: one controller of each kind, of generation 2, with the revisions `old` and `new`."""

    def __init__(self, seen: int, number: str = "2") -> None:
        self.seen, self.number = seen, number

    def read_namespaced_stateful_set(self, name: str, namespace: str) -> Any:
        assert (name, namespace) == ("owner", "n")
        return controller(self.seen)

    def read_namespaced_daemon_set(self, name: str, namespace: str) -> Any:
        return self.read_namespaced_stateful_set(name, namespace)

    def list_namespaced_controller_revision(self, _namespace: str) -> Any:
        def revision(label: str, number: int, uid: str) -> Any:
            owner = SimpleNamespace(uid=uid)
            return SimpleNamespace(
                metadata=SimpleNamespace(labels={REVISION: label}, owner_references=[owner]), revision=number
            )

        # Revisions have no order of their own, and others' are listed with them.
        return SimpleNamespace(
            items=[revision("new", 3, "1"), revision("old", 1, "1"), revision("somebody-elses", 9, "2")]
        )

    def read_namespaced_replica_set(self, name: str, _namespace: str) -> Any:
        assert name == "owner"
        owners = [reference("Deployment", "deployment")]
        return SimpleNamespace(metadata=SimpleNamespace(annotations={NUMBER: self.number}, owner_references=owners))

    def read_namespaced_deployment(self, name: str, _namespace: str) -> Any:
        assert name == "deployment"
        return controller(self.seen)


def outdated(which: Any, seen: int = 2, number: str = "2") -> bool:
    return is_outdated(cast(Cluster, SimpleNamespace(apps=Apps(seen, number))), which)


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_a_pod_of_the_newest_revision_is_not_outdated_and_one_of_an_older_is(kind: str) -> None:
    assert not outdated(pod(reference(kind)))
    assert outdated(pod(reference(kind), revision="old"))


@pytest.mark.parametrize("number", ["2", "1"])
def test_a_pod_of_a_deployment_is_as_old_as_its_replica_set(number: str) -> None:
    assert outdated(pod(reference("ReplicaSet")), number=number) is (number != "2")


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "ReplicaSet"])
def test_a_controller_that_has_not_seen_its_own_newest_form_may_replace_the_pod_yet(kind: str) -> None:
    assert outdated(pod(reference(kind)), seen=1)


@pytest.mark.parametrize(
    "owners",
    [[], [reference("Job")], [reference("StatefulSet", controller=False)]],
    ids=["none", "Job", "no controller"],
)
def test_a_pod_that_nothing_replaces_is_never_outdated(owners: list[Any]) -> None:
    assert not outdated(pod(*owners, revision="old"), seen=1)
