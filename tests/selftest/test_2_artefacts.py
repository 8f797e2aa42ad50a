"""What a red run leaves may be shown to anybody, too."""

from __future__ import annotations

from pathlib import Path

from fixtures.diagnosis import evidence
from fixtures.report import collection
from fixtures.resilience.environment import Environment
from tests import known_secrets


def test_nothing_that_is_gathered_of_a_red_run_has_a_secret_in_it(environment: Environment, run_folder: Path) -> None:
    evidence.gather(run_folder / "evidence-of-all", environment.testbed)
    assert list((run_folder / "evidence-of-all").rglob("*.log"))
    known_secrets.assert_none_is_revealed(run_folder, environment.testbed.clusters)


def test_nothing_that_is_collected_without_a_failing_test_has_a_secret_in_it(
    environment: Environment, run_folder: Path
) -> None:
    testbed, folder = environment.testbed, run_folder / "collected"
    lines = collection.gather(testbed.clusters, testbed.spires[0].helm_path, folder, print)
    # The forwards of the last variant are closed, which its servers notice with their next refresh.
    assert lines[0].startswith(("no broken link: every one that can be looked at", "broken link: endpoint reachable"))
    place = folder / testbed.clusters[0].label
    names = {path.relative_to(place).as_posix() for path in place.rglob("*.*")}
    assert {"spire/entries.json", "helm/spire-mgmt-spire-values.yaml"} <= names
    known_secrets.assert_none_is_revealed(folder, testbed.clusters)
