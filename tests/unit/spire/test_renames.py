"""What an upgrade renames, said in a phrase each."""

from __future__ import annotations

from dataclasses import replace

from fixtures.spire.layout import known_to_others, renames
from fixtures.spire.layout.renames import DATASTORE
from tests.unit.own_chart import CLASS_NAME, LAYOUT


def test_nothing_is_said_of_what_keeps_its_name() -> None:
    assert renames(LAYOUT, replace(LAYOUT, cluster_name="other", jwt_issuer="https://other.example")) == []


def test_what_others_know_by_its_name_is_said() -> None:
    bundle = LAYOUT.bundle
    assert bundle is not None
    new = replace(
        LAYOUT,
        controller_manager=replace(LAYOUT.controller_manager, class_name="own-class", webhook="own-webhook"),
        csi_driver=replace(LAYOUT.csi_driver, driver="other.csi.spiffe.io"),
        bundle=replace(bundle, name="other-bundle"),
    )
    assert renames(LAYOUT, new) == [
        "driver csi.spiffe.io becomes other.csi.spiffe.io",
        "webhook spire-controller-manager-webhook becomes own-webhook",
        f"class name {CLASS_NAME} becomes own-class",
        f"bundle ConfigMap {bundle.namespace}/{bundle.name}, key {bundle.key} becomes "
        f"ConfigMap {bundle.namespace}/other-bundle, key {bundle.key}",
    ]


def test_a_server_that_moves_leaves_its_volume_claims_behind() -> None:
    moved = replace(LAYOUT, server=replace(LAYOUT.server, namespace="spire"))
    assert renames(LAYOUT, moved) == [
        f"server {LAYOUT.server} becomes StatefulSet spire/{LAYOUT.server.name}",
        DATASTORE,
    ]


def test_what_peers_and_users_hold_is_said_with_what_it_breaks() -> None:
    manager, endpoint = LAYOUT.controller_manager, LAYOUT.bundle_endpoint
    assert known_to_others(LAYOUT, LAYOUT) == []
    renamed = replace(LAYOUT, controller_manager=replace(manager, class_name="own-class"))
    (found,) = known_to_others(LAYOUT, renamed)
    assert found.startswith(f"the controller manager's class was {CLASS_NAME} and is own-class: custom resources that ")
    # Objects without a class are acted upon where the manager watches them; one that had none has none of its own.
    classless = replace(LAYOUT, controller_manager=replace(manager, class_name="", watch_classless=True))
    assert known_to_others(classless, LAYOUT) == []
    moved = replace(LAYOUT, bundle_endpoint=replace(endpoint, service=replace(endpoint.service, port=8444)))
    service = f"{endpoint.service.namespace}/{endpoint.service.name}"
    assert known_to_others(LAYOUT, moved) == [
        f"the bundle endpoint was port 8443 of Service {service} and is port 8444 of {service}: peers, and what leads "
        "to it, go on with the one of before"
    ]
