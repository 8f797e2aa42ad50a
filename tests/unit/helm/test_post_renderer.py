"""Rendered manifests, changed on their way into a cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.helm import post_renderer
from fixtures.helm.post_renderer import change, merge_patch

CONFIG = {"server": {"trust_domain": "a.example", "federation": {"bundle_endpoint": {"port": 8443}}}}
CONFIG_MAP = {"kind": "ConfigMap", "metadata": {"name": "spire-server"}, "data": {"server.conf": json.dumps(CONFIG)}}
STATEFUL_SET = {"kind": "StatefulSet", "metadata": {"name": "spire-server"}, "spec": {"replicas": 1}}


# The examples of RFC 7396, appendix A, that are about mappings.
@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_is_the_one_of_the_rfc(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


def test_a_part_of_a_config_maps_json_is_changed_and_nothing_else() -> None:
    wanted = {"kind": "ConfigMap", "name": "spire-server", "json": {"server.conf": {"server": {"federation": None}}}}
    config_map, stateful_set, nothing = change([CONFIG_MAP, STATEFUL_SET, None], [wanted])
    assert json.loads(config_map["data"]["server.conf"]) == {"server": {"trust_domain": "a.example"}}
    assert (stateful_set, nothing) == (STATEFUL_SET, None)


def test_objects_of_one_name_are_distinguished_by_their_kind() -> None:
    wanted = {"kind": "StatefulSet", "name": "spire-server", "merge": {"spec": {"replicas": 0}}}
    config_map, stateful_set = change([CONFIG_MAP, STATEFUL_SET], [wanted])
    assert config_map == CONFIG_MAP
    assert stateful_set["spec"] == {"replicas": 0}


def test_a_change_of_what_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError, match="Deployment spire-server"):
        change([CONFIG_MAP], [{"kind": "Deployment", "name": "spire-server", "merge": {}}])


def test_as_helm_runs_it(tmp_path: Path) -> None:
    file = tmp_path / "changes.yaml"
    file.write_text(
        yaml.safe_dump([{"kind": "StatefulSet", "name": "spire-server", "merge": {"spec": {"replicas": 2}}}])
    )
    given = yaml.safe_dump_all([CONFIG_MAP, STATEFUL_SET])
    command = [sys.executable, post_renderer.__file__, str(file)]
    printed = subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout
    assert [item["kind"] for item in yaml.safe_load_all(printed)] == ["ConfigMap", "StatefulSet"]
    assert list(yaml.safe_load_all(printed))[1]["spec"] == {"replicas": 2}
