"""A cluster of somebody's own that one run uses at a time, whatever machine the runs are on."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.k8s.access import reservation
from fixtures.k8s.access.reservation import HOLDER, NAMESPACE, PROCESS, RENEWED, SINCE, ClusterReservation
from fixtures.k8s.cluster import ClusterRefusedError
from fixtures.k8s.existing_cluster import ExistingCluster
from fixtures.k8s.server_side_apply import LABELS
from tests.unit.api_server import ApiServer


@pytest.fixture
def cluster(tmp_path: Path, api_server: ApiServer) -> ExistingCluster:
    (tmp_path / "kubectl").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    (tmp_path / "kubectl").chmod(0o755)
    made = ExistingCluster("server", engine=None, kubectl=tmp_path / "kubectl", log=tmp_path / "log")
    made.kubeconfig_path.write_text(api_server.kubeconfig())
    return made


def held(server: ApiServer, *, age: float = 0.0, process: str = "boot pid:[1] 7", **more: Any) -> None:
    """Another run's reservation, renewed so many seconds ago."""
    annotations = {
        HOLDER: "process 7 on ci-3",
        SINCE: "2026-11-28 06:12:00Z",
        RENEWED: f"{time.time() - age:.0f}",
        PROCESS: process,
    }
    metadata = {"name": NAMESPACE, "resourceVersion": "9", "annotations": annotations, **more}
    server.reservation = {"metadata": metadata, "status": {"phase": "Active"}}


def test_a_cluster_is_reserved_by_a_namespace_that_is_renewed_and_goes_in_the_end(
    tmp_path: Path, cluster: ExistingCluster, api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservation, "RENEWAL_INTERVAL", 0.01)
    cluster.reserve()
    assert api_server.reservation is not None
    metadata = api_server.reservation["metadata"]
    assert metadata["labels"] == LABELS
    assert metadata["annotations"][HOLDER].startswith(f"process {os.getpid()} on ")
    deadline = time.monotonic() + 30
    while metadata["resourceVersion"] == "1" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert metadata["resourceVersion"] != "1", "it was not renewed"
    assert cluster.leave(restore=True) == []
    assert (tmp_path / "asked").read_text() == f"delete namespace {NAMESPACE} --ignore-not-found --wait=false\n"


def test_another_run_is_refused_while_the_first_one_renews_it(cluster: ExistingCluster, api_server: ApiServer) -> None:
    held(api_server, age=100)
    words = r"^another run is using the cluster server \(process 7 on ci-3, since 2026-11-28 06:12:00Z\): wait for"
    with pytest.raises(ClusterRefusedError, match=words):
        cluster.reserve()
    cluster.leave(restore=True)
    assert api_server.reservation is not None
    assert api_server.reservation["metadata"]["annotations"][HOLDER] == "process 7 on ci-3", "it was taken, or deleted"


def ended_process() -> str:
    ended = subprocess.Popen(["true"])
    ended.wait()
    return f"{reservation._machine()} {ended.pid}"


@pytest.mark.parametrize("age", [0, 1000])
def test_the_cluster_of_a_run_that_was_killed_is_taken_at_once_on_its_machine_and_elsewhere_when_it_has_expired(
    cluster: ExistingCluster, api_server: ApiServer, age: float
) -> None:
    held(api_server, age=age, **({} if age else {"process": ended_process()}))
    cluster.reserve()
    assert api_server.reservation is not None
    assert api_server.reservation["metadata"]["annotations"][HOLDER].startswith(f"process {os.getpid()} on ")
    cluster.leave(restore=True)


def test_a_run_whose_process_is_alive_has_its_cluster(cluster: ExistingCluster, api_server: ApiServer) -> None:
    held(api_server, process=f"{reservation._machine()} {os.getppid()}")
    with pytest.raises(ClusterRefusedError):
        cluster.reserve()


def test_of_two_that_take_an_expired_reservation_one_gets_it(
    cluster: ExistingCluster, api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(api_server, age=1000)
    refuse: Callable[..., None] = ClusterReservation._refuse_other

    def meanwhile(self: ClusterReservation, annotations: dict[str, str]) -> None:
        refuse(self, annotations)
        held(api_server, resourceVersion="10")

    monkeypatch.setattr(ClusterReservation, "_refuse_other", meanwhile)
    with pytest.raises(ClusterRefusedError, match="another run is using"):
        cluster.reserve()


def test_the_end_of_the_run_before_is_waited_for(
    cluster: ExistingCluster, api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservation, "GONE_TIMEOUT", 0.1)
    held(api_server, deletionTimestamp="2026-11-28T06:40:00Z")
    said = cluster.reserve()
    assert said.startswith("server: other runs are not kept away, for namespace spire-federation-run cannot be made")
    assert "of the run before is being deleted: no reason given" in said


def test_a_namespace_that_cannot_go_keeps_no_later_run_away(cluster: ExistingCluster, api_server: ApiServer) -> None:
    said = "Discovery failed for some groups, 1 failing: custom.metrics.k8s.io/v1beta1: stale GroupVersion discovery"
    failing = {"type": "NamespaceDeletionDiscoveryFailure", "status": "True", "message": said}
    held(api_server, deletionTimestamp="2026-11-28T06:40:00Z")
    assert api_server.reservation is not None
    api_server.reservation["status"] = {"phase": "Terminating", "conditions": [failing]}
    began = time.monotonic()
    assert said in cluster.reserve()
    assert time.monotonic() - began < 5
    assert cluster.leave(restore=True) == []


def test_what_another_run_has_taken_over_is_not_renewed_and_not_deleted(
    tmp_path: Path, cluster: ExistingCluster, api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservation, "RENEWAL_INTERVAL", 0.01)
    assert cluster.reserve() == ""
    held(api_server)
    time.sleep(0.1)
    assert api_server.reservation is not None
    assert api_server.reservation["metadata"]["resourceVersion"] == "9"
    assert cluster.leave(restore=True) == ["server: another run has taken namespace spire-federation-run over"]
    assert not (tmp_path / "asked").exists()


def test_two_contexts_of_one_cluster_are_known_by_the_first_ones_reservation(
    tmp_path: Path, cluster: ExistingCluster, api_server: ApiServer
) -> None:
    other = ExistingCluster("client", engine=None, kubectl=tmp_path / "kubectl", log=tmp_path / "log")
    other.kubeconfig_path.write_text(api_server.kubeconfig())
    assert cluster.reserve() == ""
    with pytest.raises(ClusterRefusedError, match=r"^--context: client and server are the same cluster$"):
        other.reserve()
    assert other.leave(restore=True) == []
    assert cluster.leave(restore=True) == []


def test_who_may_make_no_namespaces_is_refused_by_the_permissions_and_not_here(
    cluster: ExistingCluster, api_server: ApiServer
) -> None:
    api_server.allowed = lambda _: False
    cluster.reserve()
    assert cluster.leave(restore=True) == []
