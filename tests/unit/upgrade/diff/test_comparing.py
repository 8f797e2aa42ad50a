"""How the differences of two mappings, as a ConfigMap's, are reported."""

from __future__ import annotations

import json

from tests.unit.release_examples import config_map, only


def test_a_value_of_another_type_is_another_value() -> None:
    assert only(config_map(a_conf="x: 1"), config_map(a_conf="x: true"), "configuration") == ("a.conf.x: 1 → true",)


def test_added_and_removed_items_of_lists_are_listed_and_named_items_by_their_name() -> None:
    old = config_map(
        a_conf=json.dumps({"names": ["a", "b"], "plugins": [{"name": "k8s", "x": 1}, {"name": "disk", "x": 1}]})
    )
    new = config_map(
        a_conf=json.dumps({"names": ["b", "c"], "plugins": [{"name": "disk", "x": 2}, {"name": "k8s", "x": 1}]})
    )
    assert only(old, new, "configuration") == ("a.conf.names: - a, + c", "a.conf.plugins[disk].x: 1 → 2")


def test_settings_that_are_added_to_an_empty_mapping_are_listed_once() -> None:
    old, new = (
        config_map(a_conf='{"jwt": {}, "x": []}'),
        config_map(a_conf='{"jwt": {"off": 1}, "x": [{"name": "a", "b": 2}]}'),
    )
    expected = ("a.conf.jwt.off: (none) → 1", "a.conf.x[a].b: (none) → 2")
    assert only(old, new, "configuration") == expected
    assert only(new, old, "configuration") == ("a.conf.jwt.off: 1 → (none)", "a.conf.x[a].b: 2 → (none)")
