"""What a run leaves may be shown to anybody."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from fixtures.core.concurrency import map_concurrently
from fixtures.diagnosis import evidence
from fixtures.k8s.cluster import Cluster
from fixtures.resilience.environment import Environment
from tests import known_secrets


@pytest.mark.federation
@pytest.mark.upgrade
def test_no_artefact_of_the_run_has_a_key_or_token_in_it(run_folder: Path) -> None:
    assert known_secrets.keys_and_tokens(run_folder) == []


@pytest.mark.federation
@pytest.mark.upgrade
def test_no_artefact_of_the_run_has_a_secret_of_its_clusters_in_it(
    clusters: dict[str, Cluster], run_folder: Path
) -> None:
    _reveals_nothing(run_folder, clusters.values())


@pytest.mark.resilience
@pytest.mark.selftest
def test_nothing_that_is_gathered_of_a_red_run_has_a_secret_in_it(environment: Environment, run_folder: Path) -> None:
    evidence.gather(run_folder / "evidence-of-all", environment.testbed)
    assert list((run_folder / "evidence-of-all").rglob("*.log"))
    assert known_secrets.keys_and_tokens(run_folder) == []
    _reveals_nothing(run_folder, environment.testbed.clusters)


def _reveals_nothing(folder: Path, clusters: Iterable[Cluster]) -> None:
    # What a Secret of somebody else's holds may well be no secret.
    ours = [cluster for cluster in clusters if not cluster.is_external]
    for known in map_concurrently(known_secrets.of_cluster, ours):
        assert known, "a Kind cluster's kubeconfig has a key at least"
        assert known_secrets.revealed(folder, known) == []
