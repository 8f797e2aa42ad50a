"""What a red run leaves may be shown to anybody, too."""

from __future__ import annotations

from pathlib import Path

from fixtures.diagnosis import evidence
from fixtures.resilience.environment import Environment
from tests import known_secrets


def test_nothing_that_is_gathered_of_a_red_run_has_a_secret_in_it(environment: Environment, run_folder: Path) -> None:
    evidence.gather(run_folder / "evidence-of-all", environment.testbed)
    assert list((run_folder / "evidence-of-all").rglob("*.log"))
    known_secrets.assert_none_is_revealed(run_folder, environment.testbed.clusters)
