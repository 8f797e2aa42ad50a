"""What kubeadm gets to know of a Kind cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from fixtures.k8s.kind.configuration import kind_config

# What kubeadm patches, and how ("Customizing components with the kubeadm API", Patches); it ignores a file of any other
# name.
PATCHED = {
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubeletconfiguration",
    "corednsdeployment",
}
KINDS_OF_PATCH = {"strategic", "merge", "json"}


def test_kubeadm_passes_over_none_of_the_patches(tmp_path: Path) -> None:
    config: Any = kind_config(tmp_path)
    files = sorted((tmp_path / "patches").iterdir())
    assert files
    for file in files:
        target, _, kind = file.stem.partition("+")
        assert (target in PATCHED, kind in KINDS_OF_PATCH, file.suffix) == (True, True, ".yaml"), file.name
    (mount,) = config["nodes"][0]["extraMounts"]
    assert mount["hostPath"] == str(tmp_path / "patches")
    (init,) = (found for found in map(yaml.safe_load, config["kubeadmConfigPatches"]) if "patches" in found)
    assert init["patches"]["directory"] == mount["containerPath"]


def test_a_field_of_one_version_of_kubeadms_api_is_for_that_version_alone(tmp_path: Path) -> None:
    """Kind writes v1beta3 for Kubernetes before 1.36, where `kubeadm config validate` refuses what v1beta4 added."""
    config: Any = kind_config(tmp_path)
    patches = list(map(yaml.safe_load, config["kubeadmConfigPatches"]))
    (added,) = (each for each in patches if "encryptionAlgorithm" in each)
    assert (added["kind"], added["apiVersion"]) == ("ClusterConfiguration", "kubeadm.k8s.io/v1beta4")
