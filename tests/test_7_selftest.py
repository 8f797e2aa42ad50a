"""The suite on trial: every fault must turn the right check red, for the right reason, and be named rightly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fixtures.breaking import World
from fixtures.reporting import Report
from fixtures.trial import Figures, put_on_trial, works
from fixtures.waiting import wait_for
from tests.checks import CHECKS, SOON
from tests.faults import FAULTS, INSTALLATION, Fault

pytestmark = pytest.mark.selftest
# Seconds that a check may wait: what is broken was whole a moment ago.
PATIENCE = 6.0


@pytest.fixture(scope="module")
def figures(report: Report) -> Iterator[Figures]:
    """The run's figures, for its summary."""
    made = Figures([])
    yield made
    lines = made.table()
    report.table("selftest", lines)
    (report.folder / "selftest.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.dependency(name="baseline")
def test_the_federation_works_before_anything_is_broken(world: World) -> None:
    wait_for(works(world), SOON)
    for check in CHECKS.values():
        check(world, SOON)


@pytest.mark.dependency(depends=["baseline"], scope="session")
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_the_fault_is_caught_and_named(world: World, fault: Fault, figures: Figures) -> None:
    check = None if fault.check == INSTALLATION else lambda: CHECKS[fault.check](world, PATIENCE)
    verdict = put_on_trial(world, fault.name, fault.inject, check)
    caught, named = verdict.caught(fault.reason), verdict.named(fault.link, fault.sentence)
    figures.verdicts.append((verdict, caught, named))
    (world.folder / "faults").mkdir(exist_ok=True)
    (world.folder / "faults" / f"{fault.name}.txt").write_text(verdict.text() + "\n")
    assert caught, f"missed, or caught for another reason than {fault.reason!r}:\n{verdict.text()}"
    assert named, f"not named as {fault.link}, {fault.sentence!r}:\n{verdict.text()}"
