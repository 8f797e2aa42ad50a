"""What an upgrade deletes with what others have put into it, and drops from their objects."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fixtures.upgrade.diff.losses import losses
from tests.unit.release_examples import Manifest, manifest, text, workload

SPACE = manifest("Namespace", "spire-server")
KEPT = {**SPACE, "metadata": {**SPACE["metadata"], "annotations": {"helm.sh/resource-policy": "keep"}}}
AS_HOOK = {**SPACE, "metadata": {**SPACE["metadata"], "annotations": {"helm.sh/hook": "post-upgrade"}}}
WITH_ALL = "would be deleted, with all that is in it"
ENTRIES = "clusterstaticentries.spire.spiffe.io"


def definition(*required: str, **fields: Any) -> Manifest:
    """A custom resource definition with these fields of its specification, and those of a list `more`."""
    text_field = {"type": "string"}
    spec = {"properties": {name: each or text_field for name, each in fields.items()}, "required": list(required)}
    versions = [{"name": "v1", "served": True, "schema": {"openAPIV3Schema": {"properties": {"spec": spec}}}}]
    found = manifest("CustomResourceDefinition", ENTRIES, "apiextensions.k8s.io/v1")
    return {**found, "spec": {"versions": versions}}


RULES: dict[str, Any] = {"items": {"properties": {"key": {}, "value": {}}}}
OLD = definition("path", path={}, hint={}, rules=RULES)


def of_version(name: str, *, served: bool = True) -> Manifest:
    found = copy.deepcopy(OLD)
    found["spec"]["versions"][0] |= {"name": name, "served": served}
    return found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (SPACE, None, [f"Namespace spire-server {WITH_ALL}: the new release does not have it"]),
        (
            SPACE,
            AS_HOOK,
            [f"Namespace spire-server {WITH_ALL}: the new release has it as a hook, which is no part of a release"],
        ),
        (KEPT, None, []),
        (AS_HOOK, None, []),
        (SPACE, SPACE, []),
        (manifest("ConfigMap"), None, []),
        (
            manifest("PersistentVolumeClaim", "data"),
            None,
            [
                "PersistentVolumeClaim data would be deleted, with what is stored in it: the new release does not have "
                "it"
            ],
        ),
        (
            OLD,
            None,
            [
                f"CustomResourceDefinition {ENTRIES} would be deleted, with every object of its kind: the new release "
                "does not have it"
            ],
        ),
        (
            OLD,
            definition("path", path={}, hint={}, more={}, rules={"items": {"properties": {"key": {}, "value": {}}}}),
            [],
        ),
        (
            OLD,
            definition("path", path={}, rules={"items": {"properties": {"key": {}}}}),
            [
                f"CustomResourceDefinition {ENTRIES} does not have spec.hint, spec.rules[].value any more: what users' "
                "objects have there is dropped"
            ],
        ),
        (
            OLD,
            definition("path", "hint", path={}, hint={}, rules={"items": {"properties": {"key": {}, "value": {}}}}),
            [f"CustomResourceDefinition {ENTRIES} requires spec.hint now: users' objects without it are refused"],
        ),
        (
            OLD,
            of_version("v2"),
            [
                f"CustomResourceDefinition {ENTRIES} does not serve v1 any more: users' objects of that version are "
                "refused"
            ],
        ),
        (of_version("v1", served=False), of_version("v2"), []),
    ],
)
def test_what_is_lost_with_an_upgrade_is_said_before_it(old: Manifest, new: Manifest | None, said: list[str]) -> None:
    assert losses(text(old), text(*([new] if new else []))) == said


def stored_as_v2(*fields: str, conversion: str = "None") -> Manifest:
    """The definition with v1, and a v2 with these fields in which objects are stored; OLD is stored as v1."""
    found = definition("path", path={}, hint={}, rules=RULES)
    (first,) = found["spec"]["versions"]
    (second,) = definition(**{name: {} for name in fields})["spec"]["versions"]
    found["spec"]["versions"] = [first, {**second, "name": "v2", "storage": True}]
    return {**found, "spec": {**found["spec"], "conversion": {"strategy": conversion}}}


def test_what_a_new_storage_version_does_not_have_is_dropped_unless_something_converts_it() -> None:
    old = copy.deepcopy(OLD)
    old["spec"]["versions"][0]["storage"] = True
    said = (
        f"CustomResourceDefinition {ENTRIES} is stored as v2 now, unconverted, which does not have spec.hint, "
        "spec.rules, spec.rules[].key, spec.rules[].value: what users' objects have there is dropped"
    )
    assert losses(text(old), text(stored_as_v2("path"))) == [said]
    assert losses(text(old), text(stored_as_v2("path", conversion="Webhook"))) == []
    # As it was before.
    assert losses(text(stored_as_v2("path")), text(stored_as_v2("path"))) == []


@pytest.mark.parametrize(("policy", "is_lost"), [("Delete", True), ("Retain", False), (None, False)])
def test_a_stateful_set_that_takes_its_claims_with_it_is_not_deleted_unsaid(
    policy: str | None, *, is_lost: bool
) -> None:
    server = workload("StatefulSet")
    server["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}}]
    if policy:
        server["spec"]["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": policy}
    said = "StatefulSet example would be deleted, with the claims of its pods: the new release does not have it"
    assert losses(text(server), "") == [said] * is_lost
    assert losses(text(server), text(server)) == []


def test_what_moves_to_a_folder_that_helm_does_not_upgrade_is_deleted() -> None:
    rendered = f"---\n# Source: spire-crds/charts/more/crds/entries.yaml\n{text(OLD)}"
    assert losses(text(OLD), rendered) == [
        f"CustomResourceDefinition {ENTRIES} would be deleted, with every object of its kind: the new release has it "
        "in a folder crds/, which is no part of a release"
    ]


def with_root(**root: Any) -> Manifest:
    """The definition with more at the root of its schema."""
    found = copy.deepcopy(OLD)
    found["spec"]["versions"][0]["schema"]["openAPIV3Schema"] |= root
    return found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # As the published chart 0.30.0 has it, beside 0.29.0: every object has these.
        (OLD, with_root(required=["metadata", "spec"])),
        # What nobody has yet may require what it likes.
        (
            definition(path={}),
            definition(
                path={}, more={"type": "object", "required": ["key"], "properties": {"key": {"type": "string"}}}
            ),
        ),
        (definition(path={}), definition("hint", path={}, hint={"type": "string", "default": "none"})),
        (
            definition(path={}, rules=RULES),
            definition(path={}, rules={"items": {"x-kubernetes-preserve-unknown-fields": True}}),
        ),
    ],
)
def test_what_no_object_of_users_lacks_or_loses_is_not_said(old: Manifest, new: Manifest) -> None:
    assert losses(text(old), text(new)) == []
