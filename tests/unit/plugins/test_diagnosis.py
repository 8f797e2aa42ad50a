"""At the first failure the chain is walked once, before anything is taken down."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from fixtures.diagnosis import evidence
from fixtures.diagnosis.chain import Diagnosis
from fixtures.diagnosis.finding import Finding
from fixtures.diagnosis.stalls import BROKEN_FOR, StallWatch
from fixtures.diagnosis.testbed import Testbed
from fixtures.k8s.kind.configuration import NodeSettings
from fixtures.k8s.kind.pulled_images import PulledImages
from fixtures.plugins import diagnosis, session
from fixtures.plugins.reporting import REPORT
from fixtures.plugins.session import STALLS, TESTBED
from fixtures.report.run import Report
from supply.host import Engine
from supply.plan import BuildError

PULLED = PulledImages(Engine("docker"), (), (), Path())
BROKEN = Diagnosis(Finding("component ready", "server", "0 of 1 ready", "usually so"))


class Reported:
    """Stands in for the report: notes what it is given, and in which order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[str] = []
        self.lines: list[str] = []

    @contextmanager
    def phase(self, name: str, *_: str) -> Iterator[Any]:
        self.events.append(name)
        yield SimpleNamespace(progress=lambda _: None)

    def set_diagnosis(self, lines: list[str]) -> None:
        self.lines = lines


class Run:
    """A run with a cluster, in which tests fail."""

    def __init__(self, folder: Path) -> None:
        self.report = Reported(folder)
        self.testbed = Testbed(cast(Any, [SimpleNamespace(label="server")]))
        self.watch = StallWatch(lambda: Diagnosis(None))
        stash = pytest.Stash()
        stash[TESTBED], stash[STALLS], stash[REPORT] = self.testbed, self.watch, cast(Report, self.report)
        self.config = SimpleNamespace(stash=stash)

    def fails(self, error: BaseException) -> None:
        """A test or a fixture raises this."""

        def fail() -> None:
            raise error

        call = pytest.CallInfo.from_call(fail, "setup")
        item = cast(pytest.Item, SimpleNamespace(config=self.config))
        hook = cast(Generator[None, Any, Any], diagnosis.pytest_runtest_makereport(item, call))
        next(hook)
        with pytest.raises(StopIteration) as ended:
            hook.send(cast(Any, "the report"))
        assert ended.value.value == "the report"


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> list[Testbed]:
    """The testbeds that are walked at a failure; all find the same."""
    found: list[Testbed] = []

    def diagnose(testbed: Testbed) -> Diagnosis:
        found.append(testbed)
        return BROKEN

    monkeypatch.setattr(diagnosis, "diagnose_settled", diagnose)
    monkeypatch.setattr(evidence, "gather", lambda *_: None)
    return found


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_at_the_first_failure_the_chain_is_walked_once_and_reported_with_what_was_up(
    run: Run, walked: list[Testbed]
) -> None:
    run.fails(AssertionError("first"))
    run.fails(AssertionError("second"))
    assert walked == [run.testbed]
    assert run.report.events == ["diagnosis", "evidence"]
    assert run.report.lines == [*BROKEN.lines(), *run.testbed.lines()]
    assert "the suite's own state:" in run.report.lines


def test_where_a_stalled_wait_ended_for_a_link_that_is_reported(run: Run, walked: list[Testbed]) -> None:
    other = Diagnosis(Finding("agent attested", "client", "0 of 1 agents", "usually so"))
    for began in (0.0, BROKEN_FOR):
        run.watch.note(began, other)
    run.fails(AssertionError("stalled"))
    assert walked == []
    assert run.report.lines == [*other.lines(), *run.testbed.lines()]


@pytest.mark.parametrize("error", [pytest.skip.Exception("not here"), KeyboardInterrupt()])
def test_what_is_skipped_or_interrupted_is_not_walked(run: Run, walked: list[Testbed], error: BaseException) -> None:
    run.fails(error)
    assert walked == []


def test_without_a_cluster_there_is_nothing_to_walk(run: Run, walked: list[Testbed]) -> None:
    run.testbed.clusters = []
    run.fails(AssertionError("before the first cluster"))
    assert walked == []


def fixture_function(definition: Any) -> Callable[..., Any]:
    return cast(Callable[..., Any], definition._get_wrapped_function())


class Taken:
    """Stands in for a layer: fails as it is brought up, and notes when it is taken down."""

    down: ClassVar[list[str]] = []
    is_external = False
    created_here = False
    may_be_kept = True

    def __init__(self, *_: Any, **__: Any) -> None:
        self.label = "server"

    def create(self) -> None:
        raise RuntimeError("kind failed")

    def federate(self, _: object) -> None:
        raise RuntimeError("no relationship")

    def delete_if_owned(self) -> None:
        self.down.append("cluster")

    def undo(self) -> list[str]:
        return []

    def close(self) -> None:
        self.down.append("federation")

    def reopenings(self) -> dict[str, int]:
        return {}


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been taken down."""
    monkeypatch.setattr(Taken, "down", [])
    monkeypatch.setattr(session, "KindCluster", Taken)
    monkeypatch.setattr(session, "Federation", Taken)
    return Taken.down


SETTINGS = SimpleNamespace(
    clusters=[SimpleNamespace(name="server")],
    prefix="",
    contexts={},
    keep_clusters=False,
    nodes=NodeSettings(),
    bundle_ports=[8440],
    federate="",
)
SUPPLIED = SimpleNamespace(node_image="node:1", kind=Path("kind"), kubectl=Path("kubectl"), archives=[])


def test_clusters_that_fail_are_taken_down_only_after_the_failure_is_reported(
    run: Run, taken: list[str], tmp_path: Path
) -> None:
    later: list[Callable[[], None]] = []
    request = SimpleNamespace(addfinalizer=later.append)
    with pytest.raises(RuntimeError, match="kind failed"):
        fixture_function(session.clusters)(
            SETTINGS, SUPPLIED, [], None, run.report, tmp_path, PULLED, run.config, request
        )
    assert taken == []
    assert [cluster.label for cluster in run.testbed.clusters] == ["server"]
    for each in later:
        each()
    assert taken == ["cluster"]


@pytest.mark.parametrize(
    ("is_kept", "user", "engine", "refused"),
    [
        (False, 0, "docker", True),
        (False, 1000, "podman", True),
        # The nodes are another user's.
        (False, 1000, "docker", False),
        (True, 0, "docker", False),
    ],
)
def test_clusters_are_refused_before_they_are_created_where_inotify_instances_are_used_up(
    run: Run,
    taken: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    is_kept: bool,
    user: int,
    engine: str,
    refused: bool,
) -> None:
    def check(nodes: int) -> None:
        raise BuildError(f"{nodes} nodes and no inotify instances")

    monkeypatch.setattr(Taken, "may_be_kept", is_kept)
    monkeypatch.setattr("supply.host.check_inotify", check)
    monkeypatch.setattr("os.geteuid", lambda: user)
    request = SimpleNamespace(addfinalizer=lambda _: None)
    arguments: tuple[Any, ...] = (
        SETTINGS,
        SUPPLIED,
        [],
        Engine(engine),
        Report(tmp_path),
        tmp_path,
        PULLED,
        run.config,
        request,
    )
    expected, said = (pytest.exit.Exception, "1 nodes and no inotify") if refused else (RuntimeError, "kind failed")
    with pytest.raises(expected, match=said):
        fixture_function(session.clusters)(*arguments)
    assert taken == []


def test_a_run_says_of_which_kubernetes_its_clusters_are(
    run: Run, taken: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, answer in (("create", None), ("load_archives", None), ("kubernetes_version", "1.36.3")):
        monkeypatch.setattr(Taken, name, lambda *_, answer=answer: answer, raising=False)
    lines: list[str] = []
    report = Report(tmp_path, lines.append)
    request = SimpleNamespace(addfinalizer=lambda _: None)
    arguments: tuple[Any, ...] = (
        SETTINGS,
        SUPPLIED,
        [],
        Engine("docker"),
        report,
        tmp_path,
        PULLED,
        run.config,
        request,
    )
    fixture_function(session.clusters)(*arguments)
    assert lines == ["Kubernetes: server 1.36.3"]
    assert taken == []


def test_a_federation_that_fails_is_closed_only_after_the_failure_is_reported(
    run: Run, taken: list[str], tmp_path: Path
) -> None:
    later: list[Callable[[], None]] = []
    request = SimpleNamespace(addfinalizer=later.append)
    arguments: tuple[Any, ...] = (SETTINGS, {}, None, [], "10.89.0.1", run.report, tmp_path, run.config, request)
    with pytest.raises(RuntimeError, match="no relationship"):
        fixture_function(session.federation)(*arguments)
    assert taken == []
    assert run.testbed.federation is not None
    for each in later:
        each()
    assert taken == ["federation"]
