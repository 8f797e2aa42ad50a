"""The suite on trial: every fault must turn the right check red, for the right reason, and be named rightly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.artifacts.selection import Choice, make_chosen
from fixtures.artifacts.supply import Supply
from fixtures.config.chart_source import Source
from fixtures.config.settings import Settings
from fixtures.core.concurrency import map_concurrently
from fixtures.core.redaction import write
from fixtures.core.waiting import WaitError, wait_for
from fixtures.diagnosis.chain import diagnose
from fixtures.helm.release import Release
from fixtures.helm.values import Values, merge
from fixtures.k8s.kind.cluster import KindCluster
from fixtures.report.run import Report
from fixtures.resilience.environment import Environment
from fixtures.resilience.fault_trial import TrialStatistics, run_trial, working_federation
from fixtures.spire.federation import Federation
from fixtures.spire.installation import Spire
from fixtures.workloads.demo import Demo
from supply import versions
from supply.host import Engine
from tests.checks import CHECKS, RECHECK_TIMEOUT
from tests.faults import FAULTS, INSTALLATION, Fault

# Seconds that a check may wait: what is broken worked a moment ago.
BROKEN_CHECK_TIMEOUT = 6.0
# Seconds from the first crash to the red, whatever is waited for.
CRASH_TO_RED_LIMIT = 15.0
OTHER_PORTS = (18440, 18441)
OTHER_DEMO_PORT = 18443


@pytest.fixture(scope="module")
def figures(report: Report) -> Iterator[TrialStatistics]:
    """The run's figures, for its summary."""
    made = report.facts.trials = TrialStatistics([])
    yield made
    lines = made.table()
    report.table("selftest", lines)
    write(report.folder / "selftest.txt", "\n".join(lines) + "\n")


@pytest.mark.dependency(name="baseline")
def test_the_federation_works_before_anything_is_broken(environment: Environment) -> None:
    try:
        wait_for(working_federation(environment), RECHECK_TIMEOUT)
    except WaitError:
        # What an earlier run broke, was ended in, and kept.
        environment.restore()
        wait_for(working_federation(environment), RECHECK_TIMEOUT)
    for check in CHECKS.values():
        check(environment, RECHECK_TIMEOUT)


@pytest.mark.dependency(depends=["baseline"], scope="session")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind}-{fault.name}")
def test_the_fault_is_caught_and_named(environment: Environment, fault: Fault, figures: TrialStatistics) -> None:
    check = None if fault.check == INSTALLATION else lambda: CHECKS[fault.check](environment, BROKEN_CHECK_TIMEOUT)
    verdict = run_trial(environment, fault.name, fault.inject, check)
    caught, named = verdict.caught(fault.reason), verdict.named(fault.link, fault.sentence)
    figures.verdicts.append((verdict, caught, named))
    (environment.folder / "faults").mkdir(exist_ok=True)
    write(environment.folder / "faults" / f"{fault.name}.txt", verdict.text() + "\n")
    assert caught, f"missed, or caught for another reason than {fault.reason!r}:\n{verdict.text()}"
    crash = verdict.seconds_from_crash
    assert crash is None or crash <= CRASH_TO_RED_LIMIT, (
        f"red only {crash:.1f} s after the first crash:\n{verdict.text()}"
    )
    assert named, f"not named as {fault.link}, {fault.sentence!r}:\n{verdict.text()}"


# Healthy variants: nothing of these may turn a check red, or break a link.


@pytest.mark.dependency(depends=["baseline"], scope="session")
def test_other_ports_are_no_fault(environment: Environment, figures: TrialStatistics) -> None:
    with ExitStack() as undo:
        environment.federation.close()
        undo.callback(environment.federation.federate_again)
        other = Federation(
            list(environment.federation.spires.values()),
            environment.federation.connectivity,
            OTHER_PORTS,
            environment.folder,
        )
        undo.callback(other.close)
        other.federate_again()
        _is_healthy(replace(environment, testbed=replace(environment.testbed, federation=other)), figures)
    wait_for(working_federation(environment), RECHECK_TIMEOUT)


@pytest.mark.dependency(depends=["baseline"], scope="session")
def test_another_namespace_of_the_demo_is_no_fault(environment: Environment, figures: TrialStatistics) -> None:
    with ExitStack() as undo:
        spires = list(environment.federation.spires.values())
        _is_healthy(_elsewhere(environment, undo, spires, environment.federation, "other-demo"), figures)


@pytest.mark.dependency(depends=["baseline"], scope="session")
def test_an_older_spire_is_no_fault(
    environment: Environment,
    settings: Settings,
    supply: Supply,
    engine: Engine,
    choice: Choice,
    run_folder: Path,
    tmp_path: Path,
    report: Report,
    figures: TrialStatistics,
) -> None:
    if settings.source != Source() or supply.node_image is None:
        pytest.skip("charts that are not the local supply's own bring the SPIRE that they are of")
    ours = [cluster for cluster in environment.testbed.clusters if isinstance(cluster, KindCluster)]
    if len(ours) < len(environment.testbed.clusters):
        pytest.skip("SPIRE is not removed from a cluster that is not the suite's own")
    older = replace(settings, source=Source(spire_version=versions.load().spire[1]))
    found = make_chosen(choice, older, engine, run_folder, tmp_path, report.say)
    map_concurrently(lambda cluster: cluster.load_archives(found.archives), ours)
    spires = list(environment.federation.spires.values())

    def install(releases: Mapping[str, Release]) -> None:
        map_concurrently(lambda spire: spire.install(releases[spire.cluster.label]), spires)
        environment.federation.federate_again()

    with ExitStack() as undo:
        undo.callback(install, environment.releases)
        install(found.releases)
        _is_healthy(environment, figures)
    wait_for(working_federation(environment), RECHECK_TIMEOUT)


@pytest.mark.dependency(depends=["baseline"], scope="session")
def test_other_trust_domains_and_storage_that_does_not_last_are_no_fault(
    environment: Environment, figures: TrialStatistics
) -> None:
    # The last one: what SPIRE stored is gone with it.
    if any(cluster.is_external for cluster in environment.testbed.clusters):
        pytest.skip("SPIRE is not removed from a cluster that is not the suite's own")
    with ExitStack() as undo:
        environment.federation.close()
        old = list(environment.federation.spires.values())
        map_concurrently(lambda spire: spire.uninstall(), old)
        domains = {spire.cluster.label: f"{spire.cluster.label}.other-name.test" for spire in old}
        renamed = {spire.trust_domain: domains[spire.cluster.label] for spire in old}

        def install(spire: Spire) -> Spire:
            label = spire.cluster.label
            federates_with = tuple(renamed[foreign] for foreign in spire.federates_with)
            values = _other_trust_domain(environment.releases[label].values, domains[label], federates_with)
            place = (spire.cluster, spire.helm_path)
            made = Spire(*place, domains[label], federates_with, environment.folder, spire.read_layout)
            made.install(replace(environment.releases[label], values=values))
            return made

        spires = map_concurrently(install, old)
        other = Federation(spires, environment.federation.connectivity, OTHER_PORTS, environment.folder)
        undo.callback(other.close)
        other.federate_again()
        testbed = replace(environment.testbed, spires=spires, federation=other)
        _is_healthy(_elsewhere(replace(environment, testbed=testbed), undo, spires, other, "renamed-demo"), figures)


def _elsewhere(
    environment: Environment, undo: ExitStack, spires: list[Spire], federation: Federation, namespace: str
) -> Environment:
    """The demo in another namespace and on another port, taken away in the end."""
    images, connectivity = environment.demo.images, federation.connectivity
    demo = Demo(spires, images, connectivity, OTHER_DEMO_PORT, environment.folder, namespace)
    for spire in spires:
        undo.callback(
            spire.cluster.kubectl, "delete", "namespace", demo.namespace, "--ignore-not-found", "--wait=false"
        )
    undo.callback(demo.close)
    demo.deploy()
    return replace(environment, testbed=replace(environment.testbed, federation=federation, demo=demo))


def _is_healthy(environment: Environment, figures: TrialStatistics) -> None:
    figures.healthy += 1
    figures.false_alarms += 1
    for check in CHECKS.values():
        check(environment, RECHECK_TIMEOUT)
    diagnosis = diagnose(environment.testbed)
    assert diagnosis.broken is None, "\n".join(diagnosis.lines())
    figures.false_alarms -= 1


def _other_trust_domain(values: Mapping[str, Any], trust_domain: str, federates_with: Sequence[str]) -> Values:
    """The same values for another trust domain that federates with others, its storage gone with its pod."""
    default = {"default": {"federatesWith": list(federates_with)}}
    identities = {"controllerManager": {"identities": {"clusterSPIFFEIDs": default}}}
    return merge(
        values,
        {"global": {"spire": {"trustDomain": trust_domain}}},
        {"spire-server": {**identities, "persistence": {"type": "emptyDir"}}},
    )
