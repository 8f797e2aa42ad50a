"""Clusters side by side, and API servers that do not answer."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures import clusters
from fixtures.clusters import Cluster, ClusterError

KIND = """#!/bin/sh
echo "$@" >> {folder}/said
case "$1 $2" in
"get clusters") ;;
"create cluster")
    test "$(grep -c '^create' {folder}/said)" -gt {failures} || {{ echo 'ERROR: {error}' >&2; exit 1; }} ;;
esac
"""
KUBECTL = "#!/bin/sh\n"
# Podman's words, as Kind hands them on.
MADE = "failed to ensure podman network: … Error: network name kind already used: network already exists"


def cluster(folder: Path, monkeypatch: pytest.MonkeyPatch, failures: int, error: str) -> Cluster:
    monkeypatch.chdir(folder)
    for name, text in (("kind", KIND.format(folder=folder, failures=failures, error=error)), ("kubectl", KUBECTL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return Cluster("server", "t-", image="node:1", kind=folder / "kind", kubectl=folder / "kubectl", log=folder / "log")


def created(folder: Path) -> int:
    return sum(line.startswith("create cluster --name t-server") for line in (folder / "said").read_text().splitlines())


def test_the_second_of_two_first_clusters_finds_kinds_network_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(tmp_path, monkeypatch, 1, MADE).create()
    assert created(tmp_path) == 2


@pytest.mark.parametrize(("failures", "error", "tries"), [(1, "no space left on device", 1), (9, MADE, 2)])
def test_nothing_else_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, error: str, tries: int
) -> None:
    with pytest.raises(ClusterError, match=error[-20:]):
        cluster(tmp_path, monkeypatch, failures, error).create()
    assert created(tmp_path) == tries


def test_a_frozen_api_server_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "ANSWER", 0.2)
    with socket.socket() as frozen:  # accepts connections, and says nothing
        frozen.bind(("127.0.0.1", 0))
        frozen.listen()
        made = cluster(tmp_path, monkeypatch, 0, "")
        kubeconfig: dict[str, Any] = {
            "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "clusters": [{"name": "a", "cluster": {"server": f"http://127.0.0.1:{frozen.getsockname()[1]}"}}],
            "users": [{"name": "a", "user": {"token": "t"}}],
        }
        made.kubeconfig_path = tmp_path / "kubeconfig"
        made.kubeconfig_path.write_text(yaml.safe_dump(kubeconfig))
        began = time.monotonic()
        with pytest.raises(Exception, match="timed out"):
            made.core.list_node()
        assert time.monotonic() - began < 10
