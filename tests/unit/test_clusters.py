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
"get clusters") test ! -f {folder}/existing || cat {folder}/existing ;;
"create cluster")
    test "$(grep -c '^create' {folder}/said)" -gt {failures} || {{ echo 'ERROR: {error}' >&2; exit 1; }} ;;
esac
"""
# Says that nodes are ready, and which image the cluster was made of.
KUBECTL = """#!/bin/sh
case "$*" in
*nodes*) echo '{{"items": [{{"status": {{"conditions": [{{"type": "Ready", "status": "True"}}]}}}}]}}' ;;
*jsonpath*) printf '{image}' ;;
esac
"""
# Podman's words, as Kind hands them on.
MADE = "failed to ensure podman network: … Error: network name kind already used: network already exists"


def cluster(folder: Path, monkeypatch: pytest.MonkeyPatch, failures: int, error: str, image: str = "node:1") -> Cluster:
    monkeypatch.chdir(folder)
    kind, kubectl = KIND.format(folder=folder, failures=failures, error=error), KUBECTL.format(image="node:1")
    for name, text in (("kind", kind), ("kubectl", kubectl)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return Cluster("server", "t-", image=image, kind=folder / "kind", kubectl=folder / "kubectl", log=folder / "log")


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


@pytest.mark.parametrize(("image", "made_anew"), [("node:1", False), ("node:2", True)])
def test_a_cluster_that_was_kept_is_taken_if_it_is_of_the_same_node_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: str, made_anew: bool
) -> None:
    (tmp_path / "existing").write_text("t-server\n")
    kept = cluster(tmp_path, monkeypatch, 0, "", image)
    kept.create()
    assert kept.created_here is made_anew
    assert created(tmp_path) == made_anew
    said = (tmp_path / "said").read_text()
    assert ("delete cluster --name t-server" in said) is made_anew
    # Though what was remembered of it is lost, as here, it is deleted in the end.
    kept.delete_if_ours()
    assert (tmp_path / "said").read_text().count("delete cluster") == 1 + made_anew


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
