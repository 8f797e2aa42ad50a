"""A Kind configuration of the user's: what of it is kept beside the suite's own, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.core.redaction import redact
from fixtures.k8s.kind.configuration import NodeSettings, kind_config, remove_mounted
from fixtures.k8s.kind.given_configuration import KIND_API, read_kind_config
from fixtures.k8s.kind.images.registries import parse_mirror

MOUNT = {"hostPath": "/srv/pull", "containerPath": "/var/lib/kubelet/config.json", "readOnly": True}
KUBELET = yaml.safe_dump({"kind": "KubeletConfiguration", "maxPods": 50})
CONTAINERD = 'version = 3\n[plugins."io.containerd.cri.v1.images"]\nmax_concurrent_downloads = 1\n'


def read(folder: Path, *, made: int = 2, mirrored: bool = True, trusting: bool = True, **given: Any) -> dict[str, Any]:
    path = folder / "kind-given.yaml"
    path.write_text(yaml.safe_dump({**KIND_API, **given}))
    return read_kind_config("--kind-config", path, made=made, mirrored=mirrored, trusting=trusting)


def test_what_is_given_is_kept_and_comes_after_the_suites_own(tmp_path: Path) -> None:
    given = read(
        tmp_path,
        nodes=[
            {"role": "control-plane", "extraMounts": [MOUNT], "kubeadmConfigPatches": [KUBELET]},
            {"role": "worker", "labels": {"disk": "ssd"}},
            {"role": "worker"},
        ],
        kubeadmConfigPatches=[KUBELET],
        containerdConfigPatches=[CONTAINERD],
        networking={"podSubnet": "10.10.0.0/16"},
        featureGates={"A": True},
    )
    own: Any = kind_config(tmp_path / "own")
    merged: Any = kind_config(tmp_path / "own", NodeSettings(given))
    first, second, third = merged["nodes"]
    assert first == {
        "role": "control-plane",
        "extraMounts": [*own["nodes"][0]["extraMounts"], MOUNT],
        "kubeadmConfigPatches": [KUBELET],
    }
    assert second == {"role": "worker", "labels": {"disk": "ssd"}, "extraMounts": []}
    assert third == {"role": "worker", "extraMounts": []}
    assert merged["kubeadmConfigPatches"] == [*own["kubeadmConfigPatches"], KUBELET]
    assert merged["containerdConfigPatches"] == [CONTAINERD]
    assert (merged["networking"], merged["featureGates"]) == ({"podSubnet": "10.10.0.0/16"}, {"A": True})


def test_without_nodes_of_its_own_there_is_the_one_that_the_suite_has(tmp_path: Path) -> None:
    given = read(tmp_path, networking={"apiServerAddress": "0.0.0.0"})  # noqa: S104 - what a job container's user gives
    own: Any = kind_config(tmp_path / "own")
    assert kind_config(tmp_path / "own", NodeSettings(given)) == {**own, "networking": given["networking"]}


def test_every_node_gets_mirrors_and_ca_and_what_they_need_goes_with_the_cluster(tmp_path: Path) -> None:
    given = read(tmp_path, nodes=[{"role": "control-plane"}, {"role": "worker"}])
    settings = NodeSettings(given, (parse_mirror("--mirror", "http://10.89.0.1:5000"),), "a CA")
    merged: Any = kind_config(tmp_path / "own", settings)
    given_mounts = [node["extraMounts"] for node in merged["nodes"]]
    mounts = [{each["containerPath"]: Path(each["hostPath"]) for each in of_node} for of_node in given_mounts]
    assert list(mounts[0]) == ["/kind/patches", "/etc/containerd/certs.d", "/etc/ssl/certs/spire-federation-suite.crt"]
    assert list(mounts[1]) == list(mounts[0])[1:]
    folder, ca = list(mounts[1].values())
    assert "10.89.0.1:5000" in (folder / "_default" / "hosts.toml").read_text()
    assert ca.read_text() == "a CA"
    assert all("config_path" in patch for patch in merged["containerdConfigPatches"])
    remove_mounted(tmp_path / "own")
    assert not folder.exists()
    assert not ca.exists()


def test_clusters_are_told_apart_by_what_is_given(tmp_path: Path) -> None:
    mirror, other = (parse_mirror("--mirror", f"https://{name}:{name}-key@mirror.example") for name in ("one", "two"))
    given = read(tmp_path, featureGates={"A": True})
    marks = [NodeSettings(given).mark, *(NodeSettings(mirrors=(each,)).mark for each in (mirror, other))]
    assert len({"", *marks, NodeSettings(ca="a CA").mark}) == 5
    assert NodeSettings().mark == ""
    assert NodeSettings(given).mark == marks[0]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"apiVersion": "kind.x-k8s.io/v1alpha3"}, r"no configuration of Kind's \(kind: Cluster, apiVersion: kind\.x"),
        ({"kind": "Config"}, "no configuration of Kind's"),
        ({"name": "mine"}, "the clusters' names are the suite's own: leave out name:"),
        ({"node": []}, "Kind has no key node"),
        ({"nodes": {}}, None),
        ({"nodes": {"role": "worker"}}, "nodes is no list"),
        ({"nodes": ["worker"]}, "nodes are no mappings"),
        ({"containerdConfigPatches": "a"}, "containerdConfigPatches is no list"),
        ({"nodes": [{"role": "control-plane"}] * 2}, "it has 2 control planes, and the suite needs one"),
        ({"nodes": [{"role": "worker"}]}, "it has 0 control planes"),
        ({"nodes": [{}, {"role": "etcd"}]}, "a node's role is control-plane or worker, not etcd"),
        ({"nodes": [{"image": "kindest/node:v1"}]}, "a node has an image of its own: give --kind-image"),
        ({"nodes": [{"extraMounts": [{"hostPath": "a", "containerPath": "/kind/patches/"}]}]}, "kubeadm's patches"),
        (
            {"nodes": [{}, {"role": "worker", "extraMounts": [{"containerPath": "/etc/containerd/certs.d"}]}]},
            "what --mirror says",
        ),
        ({"nodes": [{"extraPortMappings": [{"containerPort": 80, "hostPort": 8080}]}]}, "port 8080 of this machine"),
        ({"nodes": [{"extraPortMappings": [{"containerPort": 80}]}]}, None),
        ({"networking": {"apiServerPort": 6443}}, "only one of them can have networking.apiServerPort"),
        ({"networking": {"disableDefaultCNI": True}}, "no node would get ready"),
        ({"networking": {"kubeProxyMode": "none"}}, "Services would lead nowhere"),
        ({"networking": {"kubeProxyMode": "nftables", "ipFamily": "dual", "apiServerPort": -1}}, None),
        ({"networking": {"ipFamily": "ipv6"}}, "reaches the clusters by IPv4"),
        ({"networking": ["ipv4"]}, "a field of it is of another type than Kind's"),
        ({"networking": {"apiServerPort": "http"}}, "of another type"),
        ({"nodes": [{"extraMounts": ["/srv"]}]}, "of another type"),
        ({"nodes": [{"role": ["worker"]}]}, "of another type"),
    ],
)  # fmt: skip
def test_what_the_suites_clusters_cannot_have_is_refused(
    tmp_path: Path, given: dict[str, Any], why: str | None
) -> None:
    if why is None:
        read(tmp_path, **given)
        return
    with pytest.raises(ValueError, match=rf"^--kind-config {tmp_path}/kind-given\.yaml: .*{why}") as caught:
        read(tmp_path, **given)
    assert "\n" not in str(caught.value)


def test_one_cluster_alone_may_have_ports_of_this_machine_and_registries_of_its_own(tmp_path: Path) -> None:
    mounts = [{"hostPath": "/srv/certs.d", "containerPath": "/etc/containerd/certs.d"}]
    node = {"extraPortMappings": [{"containerPort": 80, "hostPort": 8080}], "extraMounts": mounts}
    assert read(tmp_path, made=1, mirrored=False, nodes=[node], networking={"apiServerPort": 6443})


@pytest.mark.parametrize("text", ["a: [", "- a", ""])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    for path in (tmp_path / "file", tmp_path / "missing"):
        with pytest.raises(ValueError, match=r"^--kind-config .*: it (is no configuration|cannot be read)") as caught:
            read_kind_config("--kind-config", path, made=2, mirrored=False, trusting=False)
        assert "\n" not in str(caught.value)


def test_a_secret_in_it_is_hidden(tmp_path: Path) -> None:
    read(
        tmp_path, containerdConfigPatches=['[plugins.x.registry.configs."r.example".auth]\npassword = "Tr4ffic-key"\n']
    )
    assert "Tr4ffic-key" not in redact("kind said Tr4ffic-key")


def test_the_labels_of_nodes_are_known_unless_kubeadm_gives_them() -> None:
    assert NodeSettings().label_keys == frozenset()
    given: dict[str, Any] = {"nodes": [{"labels": {"pool": "a"}}, {"role": "worker", "labels": {"zone": "b"}}, {}]}
    assert NodeSettings(given).label_keys == frozenset({"pool", "zone"})
    patch = "kind: InitConfiguration\nnodeRegistration: {kubeletExtraArgs: {node-labels: ingress-ready=true}}\n"
    given["nodes"].append({"kubeadmConfigPatches": [patch]})
    assert NodeSettings(given).label_keys is None


def test_workers_take_pods_and_control_planes_where_there_is_none() -> None:
    assert NodeSettings().node_count == 1
    assert NodeSettings({"nodes": [{}, {"role": "worker"}, {"role": "worker"}]}).node_count == 2
    assert NodeSettings({"nodes": [{}, {"role": "control-plane"}, {}]}).node_count == 3
