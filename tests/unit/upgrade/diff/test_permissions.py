"""What an upgrade changes of who may do what."""

from __future__ import annotations

from fixtures.upgrade.diff import difference
from tests.unit.release_examples import Manifest, manifest, only, text


def test_permissions_are_listed_by_what_they_allow() -> None:
    def role(*rules: Manifest) -> Manifest:
        return manifest("ClusterRole", api="rbac.authorization.k8s.io/v1", rules=list(rules))

    old = role({"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list"]})
    # The same, written apart.
    same = role(
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    )
    assert difference(text(old), text(same)) == []
    new = role(
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "watch"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["one"], "verbs": ["patch"]},
    )
    assert only(old, new, "rbac") == (
        "now patch on apps/deployments one",
        "no longer get, list on nodes",
        "no longer list on pods",
        "now watch on pods",
    )


def test_bindings_list_their_subjects() -> None:
    def binding(name: str) -> Manifest:
        subject = {"kind": "ServiceAccount", "namespace": "spire-system", "name": name}
        return manifest("RoleBinding", api="rbac.authorization.k8s.io/v1", subjects=[subject], roleRef={"name": "role"})

    assert only(binding("a"), binding("b"), "rbac") == (
        "no longer for ServiceAccount spire-system/a",
        "now for ServiceAccount spire-system/b",
    )
