"""What an upgrade would change, object by object, each reported in its group."""

from __future__ import annotations

from fixtures.upgrade.diff import difference, replaced_workloads
from fixtures.upgrade.diff.changes import GROUPS
from tests.unit.release_examples import Manifest, config_map, groups, hook, manifest, only, text, workload


def test_nothing_changes_between_equal_manifests_in_another_order() -> None:
    one, other = workload(), config_map(a_conf="x")
    assert difference(text(one, other), text(other, one)) == []


def test_spires_own_custom_resources_are_configuration() -> None:
    old = manifest("ClusterSPIFFEID", api="spire.spiffe.io/v1alpha1", spec={"federatesWith": ["a.example"]})
    new = manifest(
        "ClusterSPIFFEID", api="spire.spiffe.io/v1alpha1", spec={"federatesWith": ["a.example"], "fallback": True}
    )
    assert only(old, new, "configuration") == ("spec.fallback: (none) → true",)


def test_hooks_are_a_group_of_their_own_and_their_images_are_images() -> None:
    added = difference("", text(hook()))
    assert [(change.group, change.how) for change in added] == [("images", "added"), ("hooks", "added")]
    old, new = hook(args=["a"]), hook(when="pre-upgrade,pre-rollback", image="h:2", args=["b"])
    assert only(old, new, "images") == ("container run: h:1 → h:2",)
    assert only(old, new, "hooks") == (
        "container run, args: - a, + b",
        "metadata.annotations.helm.sh/hook: pre-upgrade → pre-upgrade,pre-rollback",
    )


def test_permissions_of_a_hook_are_the_hooks() -> None:
    role = manifest(
        "Role", api="rbac.authorization.k8s.io/v1", metadata={"annotations": {"helm.sh/hook": "pre-upgrade"}}
    )
    assert groups("", text(role)) == ["hooks"]


def test_what_only_helm_test_runs_is_no_part_of_an_upgrade() -> None:
    # `helm get hooks` prints it, `helm template --skip-tests` does not.
    assert difference(text(hook("test"), hook("test-success,test-failure")), "") == []
    assert groups(text(hook("test,pre-upgrade")), "") == ["images", "hooks"]


def test_changes_come_in_the_groups_order() -> None:
    old = text(workload(), config_map(level="a"))
    new = text(
        workload(container={"image": "example.com/main:2"}),
        config_map(level="b"),
        hook(),
        manifest("Role", api="rbac.authorization.k8s.io/v1"),
        manifest("CustomResourceDefinition", api="apiextensions.k8s.io/v1"),
    )
    found = groups(old, new)
    assert found == sorted(found, key=GROUPS.index)
    assert set(found) == set(GROUPS)


def labelled(version: str, *, template: str = "1") -> Manifest:
    """A DaemonSet with a chart's labels, which change with every version, and a checksum in its pods' template."""
    made = workload("DaemonSet")
    made["metadata"]["labels"] = {"helm.sh/chart": f"spire-agent-{version}", "app.kubernetes.io/version": version}
    made["spec"]["template"]["metadata"]["annotations"] = {"checksum/config": template}
    return made


def test_pods_are_replaced_only_where_their_template_changes() -> None:
    old = text(labelled("1"), config_map(a_conf="a"), hook(args=["a"]), workload("StatefulSet"))
    unlike = text(labelled("2"), config_map(a_conf="b"), hook(args=["b"]), workload("StatefulSet"))
    assert difference(old, unlike)
    assert replaced_workloads(old, unlike) == set()
    restarted = text(labelled("1", template="2"), config_map(a_conf="a"), hook(args=["a"]), workload("StatefulSet"))
    assert {str(key) for key in replaced_workloads(old, restarted)} == {"DaemonSet example"}


def test_pods_of_a_workload_that_comes_or_goes_or_runs_another_image_are_replaced() -> None:
    old = text(workload("DaemonSet"), workload("Deployment"))
    new = text(workload("StatefulSet"), workload("Deployment", container={"image": "example.com/main:2"}))
    assert {key.kind for key in replaced_workloads(old, new)} == {"DaemonSet", "Deployment", "StatefulSet"}
