"""At the first failure the chain is walked once, before anything is taken down."""

from __future__ import annotations

import os
import pty
import select
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from fixtures.core.project import PROJECT
from fixtures.core.waiting import WaitError
from fixtures.diagnosis import evidence
from fixtures.diagnosis.chain import Diagnosis
from fixtures.diagnosis.finding import Finding
from fixtures.diagnosis.stalls import BROKEN_FOR, StallWatch
from fixtures.diagnosis.testbed import Testbed
from fixtures.k8s.kind.configuration import NodeSettings
from fixtures.k8s.kind.images.pulled_images import PulledImages
from fixtures.k8s.workload_settings import WorkloadSettings
from fixtures.plugins import diagnosis, options
from fixtures.plugins.reporting import REPORT
from fixtures.plugins.session import clusters, federation
from fixtures.plugins.session.run import STALLS, TESTBED
from fixtures.report.data.facts import Facts
from fixtures.report.run import Report
from supply.host import Engine

pytest_plugins = ["pytester"]

PULLED = PulledImages(Engine("docker"), (), (), Path())
BROKEN = Diagnosis(Finding("component ready", "server", "0 of 1 ready", "usually so"))


class Reported:
    """Stands in for the report: notes what it is given, and in which order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[str] = []
        self.lines: list[str] = []
        self.facts = Facts()

    @contextmanager
    def phase(self, name: str, *_: str) -> Iterator[Any]:
        self.events.append(name)
        yield SimpleNamespace(progress=lambda _: None)

    @contextmanager
    def refuses(self, *_: type[Exception]) -> Iterator[None]:
        yield

    def set_red(self) -> None:
        self.events.append("red")

    def say(self, text: str) -> None:
        self.events.append(text)

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

    def fails(self, error: BaseException, *markers: str) -> None:
        """A test, with these markers, or a fixture raises this."""

        def fail() -> None:
            raise error

        call = pytest.CallInfo.from_call(fail, "setup")
        asked = SimpleNamespace(
            config=self.config, nodeid="t.py::test_a", get_closest_marker=lambda name: name in markers or None
        )
        item = cast(pytest.Item, asked)
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
    # Its sentence is there at once, and the walk takes a while.
    first, second = (["red", f"✗ test_a: {words}"] for words in ("first", "second"))
    assert run.report.events == [*first, "diagnosis", "evidence", *second]
    assert run.report.facts.diagnosed == "t.py::test_a"
    assert run.report.lines == [*BROKEN.lines(), *run.testbed.lines()]
    assert "the suite's own state:" in run.report.lines


def test_where_a_stalled_wait_ended_for_a_link_that_is_reported(run: Run, walked: list[Testbed]) -> None:
    other = Diagnosis(Finding("agent attested", "client", "0 of 1 agents", "usually so"))
    for began in (0.0, BROKEN_FOR):
        run.watch.note(began, other)
    run.fails(AssertionError("stalled"))
    assert walked == []
    assert run.report.lines == [*other.lines(), *run.testbed.lines()]


def test_a_later_failure_with_a_broken_link_is_reported_where_the_first_had_none(
    run: Run, monkeypatch: pytest.MonkeyPatch, walked: list[Testbed]
) -> None:
    monkeypatch.setattr(diagnosis, "diagnose_settled", lambda _: Diagnosis(None))
    run.fails(AssertionError("first"))
    run.fails(AssertionError("second"))
    assert [each for each in run.report.events if each in ("diagnosis", "evidence")] == ["diagnosis", "evidence"]
    other = Diagnosis(Finding("CSI socket", "server", "the socket is not there", "usually so"))
    for began in (0.0, BROKEN_FOR):
        run.watch.note(began, other)
    run.fails(WaitError("third"))
    run.fails(WaitError("fourth"))
    assert [each for each in run.report.events if each in ("diagnosis", "evidence")] == ["diagnosis", "evidence"] * 2
    assert run.report.lines == [*other.lines(), *run.testbed.lines()]
    assert walked == []


@pytest.mark.parametrize(("error", "is_named"), [(AssertionError("another ID"), False), (WaitError("no entry"), True)])
def test_what_is_on_its_way_is_named_only_for_a_wait(
    run: Run, monkeypatch: pytest.MonkeyPatch, walked: list[Testbed], error: Exception, *, is_named: bool
) -> None:
    coming = Finding("entry with federatesWith", "client", "pod demo/client has no entry", "usually", on_its_way=True)
    monkeypatch.setattr(diagnosis, "diagnose_settled", lambda _: Diagnosis(coming))
    run.fails(error)
    assert walked == []
    assert (run.report.lines[0] == f"broken link: {coming}") is is_named
    assert (f"  on its way: {coming}" in run.report.lines) is not is_named


def test_of_manifests_that_differ_the_clusters_are_not_asked(run: Run, walked: list[Testbed]) -> None:
    run.fails(AssertionError("the issuer was another"), diagnosis.COMPARES_RELEASES)
    assert walked == []
    assert run.report.events == ["red", "✗ test_a: the issuer was another"]
    run.fails(AssertionError("no call succeeds"))
    assert walked == [run.testbed]


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
    why_made_again = ""
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
    monkeypatch.setattr(clusters, "KindCluster", Taken)
    monkeypatch.setattr(federation, "Federation", Taken)
    return Taken.down


SETTINGS = SimpleNamespace(
    clusters=[SimpleNamespace(name="server")],
    prefix="",
    contexts={},
    keep_clusters="",
    nodes=NodeSettings(),
    objects={},
    bundle_ports=[8440],
    federate="",
    workloads=WorkloadSettings(),
    no_install=False,
)
SUPPLIED = SimpleNamespace(node_image="node:1", kind=Path("kind"), kubectl=Path("kubectl"), archives=[])


def bring_up(settings: Any, engine: Engine | None, report: Any, folder: Path, config: Any, request: Any) -> None:
    described = fixture_function(clusters.described_clusters)(
        settings, SUPPLIED, [], engine, report, folder, config, request
    )
    fixture_function(clusters.clusters)(described, {}, settings, SUPPLIED, engine, report, folder, PULLED, "demo")


def test_clusters_that_fail_are_taken_down_only_after_the_failure_is_reported(
    run: Run, taken: list[str], tmp_path: Path
) -> None:
    later: list[Callable[[], None]] = []
    request = SimpleNamespace(session=SimpleNamespace(addfinalizer=later.append))
    with pytest.raises(RuntimeError, match="kind failed"):
        bring_up(SETTINGS, None, run.report, tmp_path, run.config, request)
    assert taken == []
    assert [cluster.label for cluster in run.testbed.clusters] == ["server"]
    for each in later:
        each()
    assert taken == ["cluster"]


def test_a_run_says_of_which_kubernetes_its_clusters_are(
    run: Run, taken: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, answer in (("create", None), ("load_archives", None), ("kubernetes_version", "1.36.3")):
        monkeypatch.setattr(Taken, name, lambda *_, answer=answer: answer, raising=False)
    lines: list[str] = []
    report = Report(tmp_path, lines.append)
    request = SimpleNamespace(session=SimpleNamespace(addfinalizer=lambda _: None))
    bring_up(SETTINGS, Engine("docker"), report, tmp_path, run.config, request)
    assert lines == ["Kubernetes: server 1.36.3"]
    assert taken == []


def test_a_federation_that_fails_is_closed_only_after_the_failure_is_reported(
    run: Run, taken: list[str], tmp_path: Path
) -> None:
    later: list[Callable[[], None]] = []
    request = SimpleNamespace(session=SimpleNamespace(addfinalizer=later.append))
    arguments: tuple[Any, ...] = (SETTINGS, {}, None, [], "10.89.0.1", run.report, tmp_path, run.config, request)
    with pytest.raises(RuntimeError, match="no relationship"):
        fixture_function(federation.federation)(*arguments)
    assert taken == []
    assert run.testbed.federation is not None
    for each in later:
        each()
    assert taken == ["federation"]


@pytest.mark.parametrize(
    ("chosen", "failed", "is_kept"),
    [("", 1, False), ("always", 0, True), ("on-failure", 0, False), ("on-failure", 2, True)],
)
def test_clusters_are_kept_always_or_where_something_failed_and_the_summary_says_how_to_reach_them(
    run: Run,
    taken: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    chosen: str,
    failed: int,
    is_kept: bool,
) -> None:
    kubeconfig = tmp_path / "its kubeconfig"
    kubeconfig.touch()
    monkeypatch.setattr(Taken, "kubeconfig_path", kubeconfig, raising=False)
    for name, answer in (("create", None), ("load_archives", None), ("kubernetes_version", "1.36.3")):
        monkeypatch.setattr(Taken, name, lambda *_, answer=answer: answer, raising=False)
    later: list[Callable[[], None]] = []
    request = SimpleNamespace(session=SimpleNamespace(testsfailed=failed, addfinalizer=later.append))
    settings = SimpleNamespace(**{**vars(SETTINGS), "keep_clusters": chosen})
    report = Report(tmp_path)
    bring_up(settings, Engine("docker"), report, tmp_path, run.config, request)
    later[0]()
    assert taken == ([] if is_kept else ["cluster"])
    shown = {"clusters that are kept": [f"export KUBECONFIG='{kubeconfig}'", "kubectl config get-contexts"]}
    assert report.tables == (shown if is_kept else {})


PAUSING = """
import pathlib

import pytest

from fixtures.diagnosis import evidence
from fixtures.diagnosis.chain import Diagnosis
from fixtures.plugins import diagnosis
from fixtures.plugins.options import SETTINGS
from fixtures.plugins.reporting import start_report
from fixtures.plugins.session.run import STALLS, TESTBED
from fixtures.report.terminal import Terminal, has_keyboard
from types import SimpleNamespace

class Cluster:
    kubeconfig_path = pathlib.Path("kubeconfig").resolve()

def pytest_configure(config):
    assert has_keyboard()
    Cluster.kubeconfig_path.touch()
    diagnosis.diagnose_settled = lambda _: Diagnosis(None)
    evidence.gather = lambda *_: None
    pathlib.Path("run").mkdir()
    start_report(config, pathlib.Path("run").resolve(), Terminal(open("/dev/tty", "w")))
    config.stash[SETTINGS] = SimpleNamespace(pause_on_fail=True, no_install=False, pace="fast")
    config.stash[TESTBED] = SimpleNamespace(clusters=[Cluster], lines=lambda: [])
    config.stash[STALLS] = SimpleNamespace(ending=None)
"""


def test_a_run_that_is_to_pause_waits_for_enter_at_its_first_failure_alone(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(PAUSING)
    plugins = ("options", "reporting", "diagnosis")
    pytester.makeini(f"[pytest]\naddopts = {' '.join(f'-p fixtures.plugins.{name}' for name in plugins)}\n")
    pytester.makepyfile("def test_a(): assert False, 'first'\ndef test_b(): assert False, 'second'")
    process, terminal = pty.fork()
    if process == 0:
        os.environ["PYTHONPATH"] = str(PROJECT)
        os.execv(sys.executable, [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"])  # noqa: S606
    said = b""
    while b"Enter goes on" not in said:
        said += os.read(terminal, 4096)
    assert f"export KUBECONFIG={pytester.path / 'kubeconfig'}".encode() in said
    assert not select.select([terminal], [], [], 1.0)[0] or b"second" not in os.read(terminal, 4096)
    os.write(terminal, b"\n")
    with suppress(OSError):  # the end of a terminal
        while part := os.read(terminal, 4096):
            said += part
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == pytest.ExitCode.TESTS_FAILED
    assert said.count(b"Enter goes on") == 1
    assert b"second" in said


@pytest.mark.usefixtures("rootful_docker")
def test_without_a_terminal_a_pause_is_refused(pytester: pytest.Pytester) -> None:
    arguments = ("-p", "fixtures.plugins.options", "-m", "federation", "--pause-on-fail")
    with pytest.raises(pytest.UsageError, match=r"^--pause-on-fail waits for Enter, and there is no terminal$"):
        options.pytest_configure(pytester.parseconfig(*arguments))
