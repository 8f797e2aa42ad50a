"""The suite on trial: every fault must turn the right check red, for the right reason, and be named rightly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.artifacts.supply import Supply, choose
from fixtures.config.chart_source import Source
from fixtures.config.settings import Settings
from fixtures.core.concurrency import side_by_side
from fixtures.core.redaction import write
from fixtures.core.waiting import WaitError, wait_for
from fixtures.diagnosis.chain import diagnose
from fixtures.helm.release_history import Release
from fixtures.helm.values import other_trust_domain
from fixtures.report.terminal import Report
from fixtures.resilience.environment import World
from fixtures.resilience.fault_trial import Figures, put_on_trial, works
from fixtures.spire.federation import Federation
from fixtures.spire.installation import Spire
from fixtures.workloads.demo import Demo
from supply import versions
from supply.host import Engine
from tests.checks import CHECKS, SOON
from tests.faults import FAULTS, INSTALLATION, Fault

pytestmark = pytest.mark.selftest
# Seconds that a check may wait: what is broken was whole a moment ago.
PATIENCE = 6.0
# Seconds from the first crash to the red, whatever is waited for.
FAST = 15.0
OTHER_PORTS = (18440, 18441)
OTHER_DEMO_PORT = 18443


@pytest.fixture(scope="module")
def figures(report: Report) -> Iterator[Figures]:
    """The run's figures, for its summary."""
    made = Figures([])
    yield made
    lines = made.table()
    report.table("selftest", lines)
    write(report.folder / "selftest.txt", "\n".join(lines) + "\n")


@pytest.mark.dependency(name="baseline")
def test_the_federation_works_before_anything_is_broken(world: World) -> None:
    try:
        wait_for(works(world), SOON)
    except WaitError:
        # What an earlier run broke, was ended in, and kept.
        world.repair()
        wait_for(works(world), SOON)
    for check in CHECKS.values():
        check(world, SOON)


@pytest.mark.dependency(depends=["baseline"], scope="session")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind}-{fault.name}")
def test_the_fault_is_caught_and_named(world: World, fault: Fault, figures: Figures) -> None:
    check = None if fault.check == INSTALLATION else lambda: CHECKS[fault.check](world, PATIENCE)
    verdict = put_on_trial(world, fault.name, fault.inject, check)
    caught, named = verdict.caught(fault.reason), verdict.named(fault.link, fault.sentence)
    figures.verdicts.append((verdict, caught, named))
    (world.folder / "faults").mkdir(exist_ok=True)
    write(world.folder / "faults" / f"{fault.name}.txt", verdict.text() + "\n")
    assert caught, f"missed, or caught for another reason than {fault.reason!r}:\n{verdict.text()}"
    crash = verdict.seconds_from_crash
    assert crash is None or crash <= FAST, f"red only {crash:.1f} s after the first crash:\n{verdict.text()}"
    assert named, f"not named as {fault.link}, {fault.sentence!r}:\n{verdict.text()}"


# Healthy variants: nothing of these may turn a check red, or break a link.


@pytest.mark.dependency(depends=["baseline"], scope="session")
def test_other_ports_are_no_fault(world: World, figures: Figures) -> None:
    with ExitStack() as mend:
        world.federation.close()
        mend.callback(world.federation.renew)
        other = Federation(list(world.federation.spires.values()), world.federation.address, OTHER_PORTS, world.folder)
        mend.callback(other.close)
        other.renew()
        stage = replace(world.stage, federation=other)
        _is_healthy(replace(world, federation=other, stage=stage), figures)
    wait_for(works(world), SOON)


@pytest.mark.dependency(depends=["baseline"], scope="session")
def test_another_namespace_of_the_demo_is_no_fault(world: World, figures: Figures) -> None:
    with ExitStack() as mend:
        spires = list(world.federation.spires.values())
        _is_healthy(_elsewhere(world, mend, spires, world.federation, "other-demo"), figures)


@pytest.mark.dependency(depends=["baseline"], scope="session")
def test_an_older_spire_is_no_fault(
    world: World,
    settings: Settings,
    supplied: Supply,
    engine: Engine,
    run_folder: Path,
    tmp_path: Path,
    report: Report,
    figures: Figures,
) -> None:
    if settings.source != Source() or supplied.node_image is None:
        pytest.skip("charts that are not the local supply's own bring the SPIRE that they are of")
    if any(cluster.adopted for cluster in world.stage.clusters):
        pytest.skip("SPIRE is not removed from a cluster that is not the suite's own")
    older = replace(settings, source=Source(spire_version=versions.load().spire[1]))
    found = choose(older, engine, run_folder, tmp_path, report.say)
    side_by_side(lambda cluster: cluster.load_archives(found.archives), world.stage.clusters)
    spires = list(world.federation.spires.values())

    def install(releases: Mapping[str, Release]) -> None:
        side_by_side(lambda spire: spire.install(releases[spire.cluster.label]), spires)
        world.federation.renew()

    with ExitStack() as mend:
        mend.callback(install, world.releases)
        install(found.releases)
        _is_healthy(world, figures)
    wait_for(works(world), SOON)


@pytest.mark.dependency(depends=["baseline"], scope="session")
def test_other_trust_domains_and_storage_that_does_not_last_are_no_fault(world: World, figures: Figures) -> None:
    # The last one: what SPIRE stored is gone with it.
    if any(cluster.adopted for cluster in world.stage.clusters):
        pytest.skip("SPIRE is not removed from a cluster that is not the suite's own")
    with ExitStack() as mend:
        world.federation.close()
        old = list(world.federation.spires.values())
        side_by_side(Spire.uninstall, old)
        domains = {spire.cluster.label: f"{spire.cluster.label}.other-name.test" for spire in old}
        renamed = {spire.trust_domain: domains[spire.cluster.label] for spire in old}

        def install(spire: Spire) -> Spire:
            label = spire.cluster.label
            federates_with = tuple(renamed[foreign] for foreign in spire.federates_with)
            values = other_trust_domain(world.releases[label].values, domains[label], federates_with)
            made = Spire(spire.cluster, spire.helm_path, domains[label], federates_with, world.folder)
            made.install(replace(world.releases[label], values=values))
            return made

        spires = side_by_side(install, old)
        other = Federation(spires, world.federation.address, OTHER_PORTS, world.folder)
        mend.callback(other.close)
        other.renew()
        stage = replace(world.stage, spires=spires, federation=other)
        _is_healthy(_elsewhere(replace(world, stage=stage), mend, spires, other, "renamed-demo"), figures)


def _elsewhere(world: World, mend: ExitStack, spires: list[Spire], federation: Federation, namespace: str) -> World:
    """The demo in another namespace and on another port, taken away in the end."""
    demo = Demo(spires, world.demo.images, federation.address, OTHER_DEMO_PORT, world.folder, namespace)
    for spire in spires:
        mend.callback(
            spire.cluster.kubectl, "delete", "namespace", demo.namespace, "--ignore-not-found", "--wait=false"
        )
    mend.callback(demo.close)
    demo.deploy()
    return replace(
        world, federation=federation, demo=demo, stage=replace(world.stage, federation=federation, demo=demo)
    )


def _is_healthy(world: World, figures: Figures) -> None:
    figures.healthy += 1
    figures.false_alarms += 1
    for check in CHECKS.values():
        check(world, SOON)
    diagnosis = diagnose(world.stage)
    assert diagnosis.broken is None, "\n".join(diagnosis.lines())
    figures.false_alarms -= 1
