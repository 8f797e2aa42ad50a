"""Identities beside the default one: what is made of them, once, and of whose class."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.spire.installation import Spire
from fixtures.upgrade.own_identities import NAME, OwnIdentities
from fixtures.workloads.probe import Identity
from tests.unit.own_chart import LAYOUT, read_layout

BY_HAND = f"spiffe://server.example/{NAME}/by-hand"


class RecordedCluster:
    """A cluster that keeps what is applied and run; its server has recorded entries, and those that are created."""

    label = "server"
    workload_settings = SimpleNamespace(place=lambda _: None, namespace_labels={})
    assigns_users = False
    is_external = False

    def __init__(self, entries: str) -> None:
        self.entries = json.loads(entries)
        self.applied: list[dict[str, Any]] = []
        self.commands: list[tuple[str, ...]] = []

    def list_nodes(self) -> list[Any]:
        return []

    def apply(self, *manifests: dict[str, Any]) -> None:
        self.applied += manifests

    def kubectl(self, *arguments: str) -> str:
        self.commands.append(arguments)
        return ""

    def execute(self, _namespace: str, _pod: str, _container: str, *command: str, **_: Any) -> Any:
        verb = command[2]
        if verb == "create":
            path = command[command.index("-spiffeID") + 1].removeprefix("spiffe://server.example")
            made = {"id": "by hand", "spiffe_id": {"trust_domain": "server.example", "path": path}}
            self.entries["entries"].append({**self.entries["entries"][0], **made})
        if verb == "delete":
            self.entries["entries"] = [each for each in self.entries["entries"] if each["id"] not in command]
        return SimpleNamespace(stdout=json.dumps(self.entries))


@pytest.fixture
def cluster(recorded: Callable[[str], str]) -> RecordedCluster:
    return RecordedCluster(recorded("entry-show.json"))


@pytest.fixture
def own(cluster: RecordedCluster, tmp_path: Path) -> OwnIdentities:
    spire = Spire(cast(Any, cluster), tmp_path, "server.example", ("client.example",), tmp_path, read_layout)
    manager = replace(LAYOUT.controller_manager, class_name="one")
    spire.layout = replace(LAYOUT, controller_manager=manager)
    return OwnIdentities(spire, "client:v0", "demo")


def test_they_are_of_the_controller_managers_class_and_the_entry_is_made_once(
    own: OwnIdentities, cluster: RecordedCluster
) -> None:
    own.create()
    own.create()
    assert [entry.spiffe_id for entry in own.spire.entries()].count(BY_HAND) == 1
    made = {each["kind"]: each for each in cluster.applied}
    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert made["ClusterSPIFFEID"]["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    for kind in ("ClusterSPIFFEID", "ClusterStaticEntry"):
        assert made[kind]["spec"]["className"] == "one"
    assert made["ClusterSPIFFEID"]["spec"]["federatesWith"] == ["client.example"]


def test_after_an_upgrade_they_are_only_given_another_class_and_not_made_again(
    own: OwnIdentities, cluster: RecordedCluster
) -> None:
    old = own.spire.layout
    own.follow(old)
    assert cluster.applied == []
    own.spire.layout = replace(old, controller_manager=replace(old.controller_manager, class_name="two"))
    own.follow(old)
    assert {each["spec"]["className"] for each in cluster.applied} == {"two"}


def test_all_of_them_are_deleted(own: OwnIdentities, cluster: RecordedCluster) -> None:
    before = own.spire.entries()
    own.create()
    own.delete()
    assert own.spire.entries() == before
    deleted = {command[1] for command in cluster.commands}
    assert deleted == {"deployment", "clusterspiffeids.spire.spiffe.io", "clusterstaticentries.spire.spiffe.io"}


def test_another_spiffe_id_than_before_is_not_the_same(own: OwnIdentities, monkeypatch: pytest.MonkeyPatch) -> None:
    before, given = (
        cast(Identity, SimpleNamespace(spiffe_id=each)) for each in ("spiffe://x/own", "spiffe://x/default")
    )
    monkeypatch.setattr(own.pod, "fetch", lambda _: given)
    found = own.still_given(before).look()
    assert (found.value, found.seen) == (None, "spiffe://x/default instead")
    assert own.still_given(given).look().value is given


def test_no_static_entry_is_made_where_none_is_reconciled(own: OwnIdentities, cluster: RecordedCluster) -> None:
    manager = own.spire.layout.controller_manager
    reconcile = replace(manager.reconcile, cluster_static_entries=False)
    own.spire.layout = replace(LAYOUT, controller_manager=replace(manager, reconcile=reconcile))
    own.apply_custom_resources()
    assert [each["kind"] for each in cluster.applied] == ["ClusterSPIFFEID"]
