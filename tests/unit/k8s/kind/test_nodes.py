"""Nodes of a Kind cluster that is not the suite's own: known by their machine ID, given images and relieved of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from fixtures.k8s.cluster import Cluster, ClusterError
from fixtures.k8s.kind.nodes import NodeImages, folders_of_node, kind_name, missing_images
from fixtures.k8s.workload_settings import WorkloadSettings
from supply.host import Engine
from tests.unit.kubernetes_objects import model

# Two containers of the Kind cluster `theirs`; `images` has what is in both, a file that `kind load` (below) adds to.
ENGINE = """#!/bin/sh
echo "$@" >> {folder}/asked
case "$1 $*" in
"inspect "*theirs-control-plane|"inspect "*theirs-worker) echo theirs ;;
"inspect "*) echo "Error: no such container" >&2; exit 1 ;;
"exec "*"cat /etc/machine-id") echo "id-of-$2" ;;
"exec "*"images list --quiet") cat {folder}/images ;;
"exec "*"images rm "*) test ! -f {folder}/refusing || {{ echo busy >&2; exit 1; }} ;;
esac
"""


def node(name: str, machine: str = "", *images: str, ready: str = "True", taint: str = "", **labels: str) -> Any:
    info = dict.fromkeys(
        (
            *("architecture", "bootID", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion"),
            *("kubeletVersion", "operatingSystem", "osImage", "systemUUID"),
        ),
        "",
    )
    status: dict[str, Any] = {"nodeInfo": {**info, "machineID": machine or f"id-of-{name}"}}
    status["conditions"] = [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-02T03:04:05Z"}]
    status |= {"images": [{"names": [image]} for image in images]} if images else {}
    labels = {key.replace("_", "/"): value for key, value in labels.items()}
    spec = {"taints": [{"key": taint, "effect": "NoSchedule"}]} if taint else {}
    return model("Node", {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": status})


class Nodes:
    """A cluster of these nodes, for which `kind load` puts an image into them."""

    label = "server"
    kind_name = "theirs"
    is_external = True
    workload_settings = WorkloadSettings()
    most_listed: int | None = None  # by the kubelet's own configuration, if that may be asked

    def __init__(self, folder: Path, *nodes: Any) -> None:
        self.list_nodes = lambda: list(nodes)
        self.folder = folder
        self.loaded: list[tuple[str, ...]] = []
        self.asked: list[tuple[str, ...]] = []

    def kubectl(self, *arguments: str) -> str:
        assert arguments[:2] == ("get", "--raw")
        self.asked.append(arguments[2:])
        if self.most_listed is None:
            raise ClusterError('Error from server (Forbidden): nodes "a" is forbidden')
        return json.dumps({"kubeletconfig": {"nodeStatusMaxImages": self.most_listed}})

    def run(self, _program: Path, *arguments: str, timeout: float) -> str:
        assert timeout > 0
        self.loaded.append(arguments)
        with (self.folder / "images").open("a") as images:
            images.write("localhost/demo:v0\nimport-2026@sha256:1\n")
        return ""


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    (tmp_path / "engine").write_text(ENGINE.format(folder=tmp_path))
    (tmp_path / "engine").chmod(0o755)
    (tmp_path / "images").write_text("registry.example/theirs:1\n")
    return Engine(str(tmp_path / "engine"))


def cluster(folder: Path, *nodes: Any) -> Cluster:
    return cast(Cluster, Nodes(folder, *nodes))


@pytest.mark.parametrize(
    ("nodes", "name"),
    [
        ([node("theirs-control-plane"), node("theirs-worker")], "theirs"),
        ([node("theirs-control-plane"), node("elsewhere")], ""),
        ([node("theirs-control-plane", "of-another-machine")], ""),
        ([node("ip-10-0-0-1.ec2.internal")], ""),
    ],
)
def test_a_kind_cluster_is_known_by_nodes_that_are_containers_of_this_engine(
    tmp_path: Path, engine: Engine, nodes: list[Any], name: str
) -> None:
    assert kind_name(engine, cluster(tmp_path, *nodes)) == name


def test_an_image_that_was_built_here_is_missing_unless_every_node_has_it(tmp_path: Path) -> None:
    ours, theirs = "localhost/demo:v0", "registry.example/demo:v0"
    assert missing_images(cluster(tmp_path, node("a", "", ours), node("b", "", ours)), [ours, theirs]) == []
    assert missing_images(cluster(tmp_path, node("a", "", ours), node("b")), [ours, theirs]) == [ours]


def test_a_node_that_has_long_not_been_ready_has_no_say(tmp_path: Path, engine: Engine) -> None:
    nodes = [node("theirs-control-plane", "", "localhost/demo:v0"), node("ghost", ready="Unknown")]
    theirs = Nodes(tmp_path, *nodes)
    assert kind_name(engine, cast(Cluster, theirs)) == "theirs"
    assert missing_images(cast(Cluster, theirs), ["localhost/demo:v0"]) == []
    NodeImages(engine, cast(Cluster, theirs), tmp_path / "kind").load([tmp_path / "demo.tar"])
    ((*_, option, named),) = theirs.loaded
    assert (option, named) == ("--nodes", "theirs-control-plane")


@pytest.mark.parametrize(
    ("listed", "most", "is_missing"), [(49, None, True), (50, None, False), (3, 3, False), (60, -1, True)]
)
def test_a_node_that_lists_as_many_images_as_it_may_says_nothing_of_others(
    tmp_path: Path, listed: int, most: int | None, is_missing: bool
) -> None:
    larger = [f"registry.example/{number}:v1" for number in range(listed)]
    theirs = Nodes(tmp_path, node("a", "", *larger))
    theirs.most_listed = most
    assert bool(missing_images(cast(Cluster, theirs), ["localhost/demo:v0"])) is is_missing


def test_nodes_are_asked_for_their_configuration_for_seconds_and_only_until_all_images_are_missing(
    tmp_path: Path,
) -> None:
    theirs = Nodes(tmp_path, node("a"), node("b"), node("c"))
    assert missing_images(cast(Cluster, theirs), ["localhost/demo:v0"]) == ["localhost/demo:v0"]
    assert theirs.asked == [("/api/v1/nodes/a/proxy/configz", "--request-timeout=5s")]


CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


@pytest.mark.parametrize(
    ("other", "is_missing"),
    [
        (node("b"), True),
        (node("b", taint=CONTROL_PLANE), False),
        (node("b", taint="suite"), True),
        (node("b", taint="node.kubernetes.io/unschedulable"), False),
        (node("b", **{"kubernetes.io_os": "windows"}), False),
    ],
)
def test_only_nodes_for_the_suites_pods_need_its_images(tmp_path: Path, other: Any, is_missing: bool) -> None:
    theirs = Nodes(tmp_path, node("a", "", "localhost/demo:v0"), other)
    theirs.workload_settings = WorkloadSettings(tolerations=({"key": "suite", "operator": "Exists"},))
    assert bool(missing_images(cast(Cluster, theirs), ["localhost/demo:v0"])) is is_missing


def test_nodes_of_another_system_or_pool_need_no_images(tmp_path: Path) -> None:
    windows, other = (
        node("b", **{"kubernetes.io_os": "windows"}),
        node("c", pool="web", **{"kubernetes.io_os": "linux"}),
    )
    theirs = Nodes(tmp_path, node("a", "", "localhost/demo:v0", pool="suite"), windows, other)
    assert missing_images(cast(Cluster, theirs), ["localhost/demo:v0"]) == ["localhost/demo:v0"]
    theirs.workload_settings = WorkloadSettings(node_selector={"pool": "suite"})
    assert missing_images(cast(Cluster, theirs), ["localhost/demo:v0"]) == []


def test_images_that_were_loaded_are_removed_and_those_that_were_there_stay(tmp_path: Path, engine: Engine) -> None:
    theirs = Nodes(tmp_path, node("theirs-control-plane"))
    images = NodeImages(engine, cast(Cluster, theirs), tmp_path / "kind")
    images.load([tmp_path / "demo.tar"])
    assert theirs.loaded == [
        ("load", "image-archive", f"{tmp_path}/demo.tar", "--name", "theirs", "--nodes", "theirs-control-plane")
    ]
    assert images.remove() == []
    *_, removed = (tmp_path / "asked").read_text().splitlines()
    assert removed.endswith("images rm --sync import-2026@sha256:1 localhost/demo:v0")


def test_images_that_cannot_be_removed_are_named_with_their_node(tmp_path: Path, engine: Engine) -> None:
    images = NodeImages(engine, cluster(tmp_path, node("theirs-control-plane")), tmp_path / "kind")
    images.load([tmp_path / "demo.tar"])
    (tmp_path / "refusing").touch()
    (left,) = images.remove()
    assert left.startswith("server: images loaded into node theirs-control-plane: ")


# Of a real node, and what a Kind configuration's extraMounts add.
MOUNTS = """\
overlay / overlay rw,relatime 0 0
sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0
tmpfs /tmp tmpfs rw,nosuid,nodev,relatime 0 0
tmpfs /run tmpfs rw,nosuid,nodev,relatime 0 0
/dev/vda /var ext4 rw,relatime 0 0
/dev/vda /kind/patches ext4 ro,relatime 0 0
nsfs /run/netns/cni-9e4422d5-eee5-c5b0-24f9-bed4e41678ad nsfs rw 0 0
/dev/vda /var/lib/spire-server ext4 rw,relatime 0 0
/dev/vda /opt/spire/keys ext4 rw,relatime 0 0
"""


def test_of_a_nodes_folders_those_with_files_of_this_machine_are_not_its_own() -> None:
    own = ["/run/spire/agent-sockets", "/var/lib/spire/k8s/agent", "/opt/spiffe", "/var/lib/spire-server-2"]
    mounted = ["/var/lib/spire-server", "/var/lib/spire-server/data", "/opt/spire", "/opt/spire/"]
    mounted += ["/kind/patches//spire"]
    assert folders_of_node([*own, *mounted], MOUNTS) == own
    assert folders_of_node(own, "") == []
