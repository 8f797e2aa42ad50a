"""The demo's namespace, in clusters of one's own: never one that is somebody's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.k8s.cluster import Cluster, ClusterError, ClusterRefusedError
from fixtures.k8s.existing_cluster import ExistingCluster
from fixtures.k8s.server_side_apply import LABELS
from fixtures.preflight.existing_clusters.demo_namespace import choose_demo_namespace
from fixtures.spire.layout import LayoutError
from fixtures.workloads.demo import somebody_elses

NAMESPACE = {"kind": "Namespace", "metadata": {"name": "demo"}}
SECRET = {"kind": "Secret", "metadata": {"name": "pull", "namespace": "demo"}}


class Existing(ExistingCluster):
    """A cluster with a namespace `demo` of these labels, and the objects of others in it that are named."""

    def __init__(self, label: str, labels: Any, *there: str) -> None:
        self.label, self._labels, self._there = label, labels, there

    def was_made_by_run(self, _: Any) -> bool:
        return False

    def read(self, manifest: Any) -> Any:
        metadata = manifest["metadata"]
        if manifest["kind"] == "Namespace":
            assert metadata["name"] == "demo"
            return None if self._labels == "missing" else {"metadata": {"name": "demo", "labels": self._labels}}
        labels = LABELS if "own" in self._there else {"app": "x"}
        return {"metadata": {**metadata, "labels": labels}} if metadata["name"] in self._there else None


def chosen(*clusters: Existing, identities_for: str = "", **given: Any) -> tuple[str, str]:
    """The namespace that a run with these settings chooses on these clusters, and what is said of it."""
    default = {"demo_namespace": "", "no_install": False, "connectivity": "auto", "objects": {}}
    names = [SimpleNamespace(name=name, federates_with=()) for name in ("server", "client")]
    settings = SimpleNamespace(**{**default, "clusters": names, **given})

    def labels(namespace: str, _: object) -> None:
        if identities_for not in ("", namespace):
            raise LayoutError("no labels make it select its pods: give --demo-namespace")

    layout = SimpleNamespace(labels_for_workloads=labels)
    supply = SimpleNamespace(clusters=names, releases={"server": 1, "client": 2}, layout=lambda _: layout)
    return choose_demo_namespace(cast(Any, settings), cast(Any, supply), clusters)


@pytest.mark.parametrize("labels", ["missing", LABELS], ids=["none", "of a run that was killed"])
def test_the_demos_namespace_is_demo_where_that_is_nobodys(labels: Any) -> None:
    assert chosen(Existing("server", labels), Existing("client", "missing")) == ("demo", "")


@pytest.mark.parametrize("labels", [{"owner": "somebody"}, None])
def test_where_it_is_somebodys_the_demo_is_in_another_one(labels: Any) -> None:
    found, said = chosen(Existing("server", labels), Existing("client", "missing"))
    assert found.startswith("demo-")
    assert len(found) == len("demo-") + 8
    assert said == f"server: the namespace demo is somebody's: the demo is in {found}"


def test_where_it_is_somebodys_and_identities_are_for_it_alone_the_run_is_refused() -> None:
    with pytest.raises(ClusterRefusedError, match=r"^server: the namespace demo is somebody's, and no labels .*--dem"):
        chosen(Existing("server", None), identities_for="demo")


@pytest.mark.parametrize(
    "given",
    [
        {"demo_namespace": "demo"},
        {"objects": {"server": [NAMESPACE]}},
        {"objects": {"client": [SECRET]}},
        {"connectivity": "given"},
    ],
    ids=["named", "made by --apply", "filled by --apply", "where the address leads"],
)
def test_a_namespace_that_is_meant_may_be_there_but_for_objects_of_the_demos_names(given: Any) -> None:
    assert chosen(Existing("server", None), Existing("client", None, "server"), **given) == ("demo", "")
    assert chosen(Existing("server", None, "server", "own"), **given) == ("demo", "")
    with pytest.raises(ClusterRefusedError, match=r"^the demo's namespace demo: client has Job demo/client: give ano"):
        chosen(Existing("server", None), Existing("client", None, "client"), **given)


def test_with_installed_spire_the_name_is_nobodys_but_where_an_address_is_given() -> None:
    assert chosen(Existing("server", None), no_install=True)[0].startswith("demo-")
    assert chosen(Existing("server", None), no_install=True, connectivity="given") == ("spire-federation-demo", "")


def test_each_cluster_is_asked_for_what_the_demo_makes_there() -> None:
    names = ("server", "probe", "client", "traffic-new", "payments")
    there = cast(Cluster, Existing("a", None, *names))
    assert somebody_elses(there, "shop", is_server=True) == [
        "a has ServiceAccount shop/probe",
        "a has Deployment shop/probe",
        "a has Deployment shop/server",
    ]
    assert "a has Deployment shop/traffic-new" in somebody_elses(there, "shop", is_server=False)


def test_what_may_not_be_read_is_said_with_the_permissions(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> Any:
        raise ClusterError("forbidden")

    monkeypatch.setattr(Existing, "read", refused)
    assert somebody_elses(cast(Cluster, Existing("a", None)), "shop", is_server=True) == []
