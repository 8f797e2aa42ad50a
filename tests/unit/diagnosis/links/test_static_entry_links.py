"""ClusterStaticEntries: which of them lack an entry, why, and what may be on its way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes.client.exceptions import NotFoundException

from fixtures.diagnosis.links.static_entry_links import STATIC_ENTRIES, check_static_entries, static_entries_made
from fixtures.spire import api_types
from fixtures.spire.installation import Spire
from tests.unit.diagnosis.links.spire_objects import Objects
from tests.unit.kubernetes_objects import NOW, stamp
from tests.unit.own_chart import CLASS_NAME, LAYOUT

NODE, NODE_ID, SELECTOR = "node-1", "spiffe://server.example/node-1", "x509pop:subject:cn:node-1"
SERVER_ID = "spiffe://server.example/spire/server"
# As the controller manager (0.7.0) writes it where an entry is in the datastore.
SET = {"rendered": True, "masked": False, "set": True}
MADE = api_types.RegistrationEntry("1", NODE_ID, SERVER_ID, (SELECTOR,), ())


def declared(
    *federates_with: str, age: float = 600, class_name: str = CLASS_NAME, status: Mapping[str, bool] | None = None
) -> dict[str, Any]:
    spec = {"className": class_name, "spiffeID": NODE_ID, "parentID": SERVER_ID, "selectors": [SELECTOR]}
    return {
        "metadata": {"name": NODE, "creationTimestamp": stamp(NOW - age)},
        "spec": {**spec, "federatesWith": list(federates_with)},
        "status": dict(status or {}),
    }


@pytest.fixture
def spire(objects: Objects) -> Spire:
    found = cast(Any, objects.with_spire())
    found.stores_bundle = "client.example".__eq__
    found.federates_with = ("client.example", "peer.example")
    return cast(Spire, found)


def look(
    spire: Spire, document: Mapping[str, Any], *made: api_types.RegistrationEntry, reconciled: bool = True
) -> Iterator[Any]:
    manager = LAYOUT.controller_manager
    acts = replace(manager.reconcile, cluster_static_entries=reconciled)
    changed = {
        "custom_resources": lambda _: [document],
        "entries": lambda: list(made),
        "layout": replace(LAYOUT, controller_manager=replace(manager, reconcile=acts)),
    }
    vars(spire).update(changed)
    return check_static_entries(spire)


def test_one_that_has_its_entry_or_is_of_another_class_is_not_named(spire: Spire) -> None:
    assert list(look(spire, declared(status=SET), MADE)) == []
    assert static_entries_made(spire).look().value == []
    assert list(look(spire, declared(class_name="another"))) == []
    # Of another selector, or another parent, it is another's entry.
    for other in (replace(MADE, selectors=("x509pop:subject:cn:node-2",)), replace(MADE, parent_id=NODE_ID)):
        assert len(list(look(spire, declared(status=SET), other))) == 1


@pytest.mark.parametrize(
    ("document", "reconciled", "cause", "on_its_way"),
    [
        (declared(age=5), False, "is configured not to reconcile ClusterStaticEntries", False),
        (declared(age=5), True, "is not running, or may not read", True),
        (declared(), True, "is not running, or may not read", False),
        (declared(status={**SET, "rendered": False, "set": False}), True, "a field of it is not valid", False),
        (declared(status={**SET, "masked": True, "set": False}), True, "asks for the same entry", False),
        (declared(status=SET), True, "somebody has deleted it", False),
        (declared("peer.example", status={**SET, "set": False}), True, "that names a trust domain without", False),
    ],
)
def test_one_without_an_entry_is_named_with_its_cause(
    spire: Spire, document: dict[str, Any], reconciled: bool, cause: str, on_its_way: bool
) -> None:
    (found,) = look(spire, document, reconciled=reconciled)
    assert (found.link, cause in found.cause, found.on_its_way) == (STATIC_ENTRIES, True, on_its_way)
    assert found.sentence.startswith(f"ClusterStaticEntry {NODE} has no entry: {NODE_ID}")


# Of the controller manager (0.7.0), shortened.
REFUSED = (
    '2026-11-27T15:56:14.096Z ERROR entry-reconciler Failed to create entry {"id": "server.f36c4d89", "error": "rpc '
    "error: code = InvalidArgument desc = failed to convert entry: invalid spiffe ID: %r is not a member of trust "
    'domain"}'
)


@pytest.mark.parametrize(("refused", "is_said"), [(NODE_ID, True), ("spiffe://other.example/another", False)])
def test_what_the_controller_manager_says_of_another_entry_is_not_said_of_this_one(
    spire: Spire, monkeypatch: pytest.MonkeyPatch, refused: str, is_said: bool
) -> None:
    words = f"the controller manager logs: {REFUSED % refused}"
    monkeypatch.setattr("fixtures.diagnosis.links.static_entry_links.controller_manager_error", lambda _: words)
    (found,) = look(spire, declared(status={**SET, "set": False}))
    assert ("failed to convert entry" in found.sentence, words in found.evidence) == (is_said, is_said)


def test_one_that_names_a_third_party_without_a_bundle_is_reported_and_not_awaited(spire: Spire) -> None:
    assert list(look(spire, declared("third.example", "client.example"))) == []
    unmade = static_entries_made(spire).look().value
    assert unmade
    assert str(unmade[0]).endswith("which names third.example, whose bundle the server does not store")
    # A peer of this run is no third party.
    cast(Any, spire).stores_bundle = lambda _: False
    found_now = static_entries_made(spire).look()
    assert found_now.value is not None
    list(look(spire, declared("client.example")))
    assert static_entries_made(spire).look().value is None


def test_without_its_kind_or_in_an_installation_of_somebody_else_there_is_nothing_to_find(spire: Spire) -> None:
    def absent(_: str) -> list[dict[str, Any]]:
        raise NotFoundException(status=404)

    cast(Any, spire).custom_resources = absent
    assert list(check_static_entries(spire)) == []
    other = cast(Spire, SimpleNamespace(was_installed_by_run=False))
    assert list(check_static_entries(other)) == []
