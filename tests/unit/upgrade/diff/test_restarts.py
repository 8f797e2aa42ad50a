"""Pods that stay though their configuration changes, and those that do not."""

from __future__ import annotations

import copy

import pytest

from fixtures.upgrade.diff.restarts import unread_configuration
from tests.unit.release_examples import Manifest, config_map, manifest, text, workload

MOUNTED = {"volumes": [{"name": "configuration", "configMap": {"name": "settings"}}]}
PROJECTED = {"volumes": [{"name": "all", "projected": {"sources": [{"configMap": {"name": "settings"}}]}}]}
VARIABLES = {"envFrom": [{"configMapRef": {"name": "settings"}}]}
VARIABLE = {"env": [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "level"}}}]}
OLD, NEW = config_map(level="info"), config_map(level="debug")


@pytest.mark.parametrize(
    "reader",
    [
        workload(pod=MOUNTED),
        workload("DaemonSet", pod=PROJECTED),
        *(workload(container=c) for c in (VARIABLES, VARIABLE)),
    ],
)
def test_pods_that_stay_go_on_with_a_config_map_of_before(reader: Manifest) -> None:
    found = unread_configuration(text(OLD, reader), text(NEW, reader))
    assert list(found.values()) == [["ConfigMap settings"]]
    assert unread_configuration(text(OLD, reader), text(OLD, reader)) == {}


def test_a_secret_that_changes_is_none_of_it() -> None:
    reader = workload(pod={"volumes": [{"name": "key", "secret": {"secretName": "settings"}}]})
    old, new = (manifest("Secret", "settings", stringData={"key": each}) for each in "ab")
    assert unread_configuration(text(old, reader), text(new, reader)) == {}


def test_pods_with_a_checksum_of_it_are_replaced_and_others_do_not_read_it() -> None:
    reader, other = workload(pod=MOUNTED), workload()
    replaced = copy.deepcopy(reader)
    replaced["spec"]["template"]["metadata"]["annotations"] = {"checksum/config": "of the new one"}
    assert unread_configuration(text(OLD, reader), text(NEW, replaced)) == {}
    assert unread_configuration(text(OLD, other), text(NEW, other)) == {}
