"""Objects that are there before a release: in namespaces that Helm then takes for the release's."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes.client import ApiException

from fixtures.helm.before_release import apply_before_release
from fixtures.k8s.cluster import Cluster, ClusterError
from fixtures.k8s.workload_settings import WorkloadSettings

OF_RELEASE = ("spire-mgmt", "spire-server", "spire-system")


class Recorded:
    """A cluster of some namespaces, that writes down what is done to it."""

    label = "server"
    workload_settings = WorkloadSettings()

    def __init__(self, *namespaces: str) -> None:
        self.created: dict[str, Any] = {}
        self.noted: list[str] = []
        self.applied: list[str] = []
        present = [SimpleNamespace(metadata=SimpleNamespace(name=name)) for name in namespaces]
        self.core = SimpleNamespace(
            list_namespace=lambda: SimpleNamespace(items=present),
            create_namespace=lambda body: self.created.update({body["metadata"]["name"]: body["metadata"]}),
        )

    def record_before(self, *objects: Any) -> None:
        self.noted += [each["metadata"]["name"] for each in objects]

    def apply(self, *objects: Any) -> None:
        self.applied += [each["metadata"]["name"] for each in objects]


def apply(cluster: Recorded, *objects: dict[str, Any]) -> None:
    apply_before_release(cast(Cluster, cluster), objects, OF_RELEASE)


def given(kind: str, name: str, namespace: str = "", **metadata: Any) -> dict[str, Any]:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, **place, **metadata}}


def test_a_namespace_of_the_release_is_made_for_helm_to_take() -> None:
    cluster = Recorded("spire-mgmt", "default")
    apply(cluster, given("Secret", "pull", "spire-server"), given("Secret", "pull", "spire-mgmt"))
    assert cluster.created == {
        "spire-server": {
            "name": "spire-server",
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {
                "meta.helm.sh/release-name": "spire",
                "meta.helm.sh/release-namespace": "spire-mgmt",
            },
        }
    }
    assert cluster.applied == cluster.noted == ["pull", "pull"]


def test_one_that_is_given_keeps_its_labels_and_is_not_removed_under_spire() -> None:
    cluster = Recorded()
    apply(cluster, given("Namespace", "spire-system", labels={"team": "a"}), given("Namespace", "policies"))
    assert cluster.created["spire-system"]["labels"] == {"team": "a", "app.kubernetes.io/managed-by": "Helm"}
    assert cluster.applied == cluster.noted == ["policies"]


def test_what_is_there_stays_as_it_is() -> None:
    cluster = Recorded(*OF_RELEASE)
    apply(cluster, given("Namespace", "spire-server"), given("Secret", "pull", "spire-server"))
    assert cluster.created == {}
    assert cluster.applied == ["pull"]


def test_where_helm_keeps_its_record_is_no_object_of_the_release() -> None:
    cluster = Recorded()
    apply(cluster, given("Secret", "pull", "spire-mgmt"))
    assert cluster.created == {"spire-mgmt": {"name": "spire-mgmt", "labels": {}, "annotations": {}}}


def test_helm_has_a_namespace_for_its_record_and_makes_the_others() -> None:
    cluster = Recorded()
    apply(cluster)
    assert list(cluster.created) == ["spire-mgmt"]


def test_a_namespace_that_the_release_expects_is_made_and_is_not_helms() -> None:
    cluster = Recorded()
    expected = (*OF_RELEASE, "identity")
    apply_before_release(cast(Cluster, cluster), [], expected, made=("spire-server", "spire-system"))
    assert list(cluster.created) == ["spire-mgmt", "identity"]
    assert cluster.created["identity"] == {"name": "identity", "labels": {}, "annotations": {}}


def test_where_namespaces_are_to_have_labels_those_of_the_release_are_made_with_them() -> None:
    cluster = Recorded("spire-system")
    cluster.workload_settings = WorkloadSettings({"team": "mesh"})
    apply(cluster)
    labels = {name: made["labels"] for name, made in cluster.created.items()}
    assert labels == {
        "spire-mgmt": {"team": "mesh"},
        "spire-server": {"team": "mesh", "app.kubernetes.io/managed-by": "Helm"},
    }
    assert not cluster.applied


def test_a_namespace_that_a_policy_refuses_is_named_with_its_words() -> None:
    said = (
        "namespaces \"spire-mgmt\" is forbidden: ValidatingAdmissionPolicy 'company-team' with binding 'company-team' "
        "denied request: every namespace needs the label team"
    )

    def refuse(_body: object) -> None:
        error = ApiException(status=403, reason="Forbidden")
        error.body = json.dumps({"kind": "Status", "message": said})
        raise error

    cluster = Recorded()
    cluster.core.create_namespace = refuse
    with pytest.raises(ClusterError) as caught:
        apply(cluster)
    assert str(caught.value) == f"server: the namespace spire-mgmt was not made: {said}"
