"""What is broken is mended: by what stood there before, in the reverse order, also after an error."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any, cast

import pytest

from fixtures.helm.post_renderer import merge_patch
from fixtures.k8s.cluster import Cluster, ClusterError
from fixtures.k8s.server_side_apply import clean
from fixtures.resilience.objects import KubernetesObject

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "server",
        "namespace": "demo",
        "uid": "1",
        "resourceVersion": "7",
        "labels": {"app": "server"},
    },
    "spec": {"replicas": 1, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}},
    "status": {"readyReplicas": 1},
}


class Kubectl:
    """Stands in for a cluster with one object; merge patches are applied as the API server applies them."""

    def __init__(self) -> None:
        self.object: dict[str, Any] | None = DEPLOYMENT
        self.said: list[str] = []
        self.fails = False

    def kubectl(self, verb: str, *arguments: str, **_: object) -> str:
        self.said.append(verb)
        if verb == "patch":
            if self.fails:
                raise ClusterError("refused")
            self.object = merge_patch(self.object, json.loads(arguments[-1]))
        elif verb == "delete":
            self.object = None
        return json.dumps(self.object)

    def apply(self, manifest: dict[str, Any]) -> None:
        self.said.append("apply")
        self.object = manifest


@pytest.fixture
def kubectl() -> Kubectl:
    return Kubectl()


@pytest.fixture
def target(kubectl: Kubectl) -> KubernetesObject:
    return KubernetesObject(cast(Cluster, kubectl), "deployments.apps", "server", "demo")


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"replicas": 0}},
        {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}},
        {"spec": {"paused": True}},
        {"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}},
        {"metadata": {"labels": {"app": None, "other": "1"}}},
    ],
)
def test_a_change_is_undone_completely(kubectl: Kubectl, target: KubernetesObject, patch: dict[str, Any]) -> None:
    with ExitStack() as undo:
        target.change(undo, patch)
        assert kubectl.object != DEPLOYMENT
    assert kubectl.object == DEPLOYMENT


def test_changes_are_undone_in_reverse_order(kubectl: Kubectl, target: KubernetesObject) -> None:
    with ExitStack() as undo:
        target.change(undo, {"spec": {"replicas": 2}})
        target.change(undo, {"spec": {"replicas": 3}})
    assert kubectl.object == DEPLOYMENT


def test_a_change_that_is_rejected_is_undone_too(kubectl: Kubectl, target: KubernetesObject) -> None:
    with ExitStack() as undo:
        kubectl.fails = True
        with pytest.raises(ClusterError):
            target.change(undo, {"spec": {"replicas": 2}})
        kubectl.fails = False
    assert kubectl.said == ["get", "patch", "patch"]


def test_a_deleted_object_is_created_again_without_what_the_server_had_added(
    kubectl: Kubectl, target: KubernetesObject
) -> None:
    with ExitStack() as undo:
        target.delete(undo)
        assert kubectl.object is None
    assert kubectl.object == clean(DEPLOYMENT)
    assert set(clean(DEPLOYMENT)["metadata"]) == {"name", "namespace", "labels"}
    assert "status" not in clean(DEPLOYMENT)
    assert "status" in DEPLOYMENT, "the original is left alone"
