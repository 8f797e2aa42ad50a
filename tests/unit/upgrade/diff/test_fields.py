"""What an upgrade changes of anything else, and what is noise."""

from __future__ import annotations

from fixtures.upgrade.diff import difference
from tests.unit.release_examples import Manifest, groups, manifest, only, text, workload


def test_chart_and_version_labels_and_checksums_are_noise() -> None:
    def labelled(version: str) -> Manifest:
        noise = {
            "labels": {"app": "example", "helm.sh/chart": f"example-{version}", "app.kubernetes.io/version": version},
            "annotations": {"checksum/config": version},
        }
        return manifest("Service", metadata=noise, spec={"ports": [{"name": "a", "port": 1}]})

    assert difference(text(labelled("1")), text(labelled("2"))) == []
    with_port = labelled("2") | {"spec": {"ports": [{"name": "a", "port": 2}]}}
    assert only(labelled("1"), with_port, "other") == ("spec.ports[a].port: 1 → 2",)


def test_other_labels_are_no_noise() -> None:
    old, new = (manifest("Service", metadata={"labels": {"app": name}}) for name in ("a", "b"))
    assert only(old, new, "other") == ("metadata.labels.app: a → b",)


def test_a_checksum_that_replaces_pods_is_listed_as_their_replacement() -> None:
    old, new = workload("DaemonSet"), workload("DaemonSet")
    new["spec"]["template"]["metadata"]["annotations"] = {"checksum/config": "abc"}
    assert only(old, new, "other") == ("the pods are replaced",)
    assert groups(text(old), text(new)) == ["other"]


def test_a_label_in_a_claim_template_is_no_noise() -> None:
    # The API server refuses any change there: the upgrade would fail.
    def stateful(version: str) -> Manifest:
        made = workload("StatefulSet")
        made["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data", "labels": {"helm.sh/chart": version}}}]
        return made

    (detail,) = only(stateful("1"), stateful("2"), "other")
    assert detail.endswith("helm.sh/chart: 1 → 2")


def test_custom_resource_definitions_are_listed_without_their_descriptions() -> None:
    def definition(version: str, prose: str, *, served: bool) -> Manifest:
        schema = {"openAPIV3Schema": {"properties": {"spec": {"type": "object", "description": prose}}}}
        versions = [{"name": version, "served": served, "schema": schema}]
        return manifest("CustomResourceDefinition", api="apiextensions.k8s.io/v1", spec={"versions": versions})

    old = definition("v1alpha1", "what it was", served=True)
    assert difference(text(old), text(definition("v1alpha1", "what it is", served=True))) == []
    assert only(old, definition("v1alpha1", "what it is", served=False), "custom resource definitions") == (
        "spec.versions[v1alpha1].served: true → false",
    )


def test_an_api_version_that_changes_is_listed() -> None:
    old, new = (manifest("HorizontalPodAutoscaler", api=f"autoscaling/{version}") for version in ("v1", "v2"))
    assert only(old, new, "other") == ("apiVersion: autoscaling/v1 → autoscaling/v2",)


def test_fields_of_kubernetes_own_are_shown_whatever_their_names() -> None:
    def mounting(name: str) -> Manifest:
        return workload(pod={"volumes": [{"name": "token", "secret": {"secretName": name}}]})

    details = only(mounting("one"), mounting("two"), "other")
    assert details[0] == "spec.template.spec.volumes[token].secret.secretName: one → two"
