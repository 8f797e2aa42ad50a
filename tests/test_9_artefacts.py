"""What a run leaves may be shown to anybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures import diagnostics
from fixtures.breaking import World


@pytest.mark.federation
@pytest.mark.upgrade
def test_no_artefact_of_the_run_has_a_key_or_token_in_it(run_folder: Path) -> None:
    assert diagnostics.secrets(run_folder) == []


@pytest.mark.resilience
@pytest.mark.selftest
def test_nothing_that_is_gathered_of_a_red_run_has_a_key_or_token_in_it(world: World, run_folder: Path) -> None:
    diagnostics.gather(run_folder / "evidence-of-all", world.stage)
    assert list((run_folder / "evidence-of-all").rglob("*.log"))
    assert diagnostics.secrets(run_folder) == []
