"""What ends a run once its clusters are there, before SPIRE is installed on them."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from fixtures.core.project import PROJECT
from fixtures.core.waiting import time_limit
from fixtures.diagnosis.testbed import Testbed
from fixtures.k8s.cluster import ClusterError, ExecRefusedError
from fixtures.k8s.connectivity.connectivity import BUNDLE_ENDPOINT, DEMO_SERVER, Connectivity
from fixtures.k8s.existing_cluster import ExistingCluster
from fixtures.k8s.kind.network import KindNetwork
from fixtures.k8s.workload_settings import WorkloadSettings
from fixtures.plugins import session
from fixtures.plugins.options import SETTINGS
from fixtures.preflight.access_review import Permission
from fixtures.report.data.facts import Facts
from fixtures.spire.layout import nodes
from tests.unit.kubernetes_objects import KubernetesObjects, node
from tests.unit.own_chart import LAYOUT

ELSEWHERE = Connectivity("node-port", "192.0.2.1, the gateway of Kind's network, is no address of this machine")
HERE = Connectivity("port-forward", "it is here", KindNetwork("10.89.0.1"))
GIVEN = {"endpoints": {"client": "https://client.test"}, "demo_url": "https://demo.test"}

EXECUTE = Permission("demo", "pods/exec", "create")

pytest_plugins = ["pytester"]


class RefusedError(Exception):
    """The run is ended with this sentence."""


class Report:
    """Notes what is printed."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.facts = Facts()

    def say(self, line: str) -> None:
        self.said.append(line)

    def refuse(self, why: str) -> None:
        raise RefusedError(why)


@pytest.fixture
def decide(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Connectivity, list[str]]]:
    """The fixture `connectivity`, as it is with tests of these suites, and what it prints."""

    def decided(chosen: Connectivity | ClusterError, *suites: str) -> tuple[Connectivity, list[str]]:
        def choose(wanted: str, engine: object, clusters: Any, given: Any) -> Connectivity:
            assert (wanted, engine, list(clusters)) == ("auto", "engine", ["theirs"])
            assert given == {
                (BUNDLE_ENDPOINT, "client"): "https://client.test",
                (DEMO_SERVER, "server"): "https://demo.test",
            }
            if isinstance(chosen, ClusterError):
                raise chosen
            return chosen

        monkeypatch.setattr(session, "choose_connectivity", choose)
        items = [SimpleNamespace(path=PROJECT / "tests" / suite / "test_1.py") for suite in suites]
        request = SimpleNamespace(session=SimpleNamespace(items=items))
        report = Report()
        fixture = cast(Any, session.connectivity)._get_wrapped_function()
        settings = SimpleNamespace(connectivity="auto", **GIVEN, clusters=[SimpleNamespace(name="server")])
        return fixture(settings, {"server": "theirs"}, "engine", report, request), report.said

    return decided


@pytest.mark.parametrize(("chosen", "suites"), [(ELSEWHERE, ["federation", "upgrade"]), (HERE, ["selftest"])])
def test_how_clusters_are_reached_is_said_in_one_line(
    decide: Callable[..., tuple[Connectivity, list[str]]], chosen: Connectivity, suites: list[str]
) -> None:
    assert decide(chosen, *suites) == (chosen, [str(chosen)])


@pytest.mark.parametrize("suite", ["resilience", "selftest"])
def test_what_breaks_forwards_is_refused_where_there_are_none(
    decide: Callable[..., tuple[Connectivity, list[str]]], suite: str
) -> None:
    with pytest.raises(RefusedError, match=r"^192\.0\.2\.1, .*, and -m resilience .* need port-forward$"):
        decide(ELSEWHERE, "federation", suite)


def test_a_way_that_cannot_work_is_refused(decide: Callable[..., tuple[Connectivity, list[str]]]) -> None:
    with pytest.raises(RefusedError, match="no address of this machine"):
        decide(ClusterError("10.89.0.1 is no address of this machine"), "federation")


@pytest.mark.parametrize("refused_on", ["", "server", "client"])
def test_a_cluster_that_would_refuse_the_suites_service_ends_the_run(refused_on: str) -> None:
    asked: list[tuple[str, str, str, int]] = []

    def refusal(*asked_of: Any) -> str:
        asked.append(asked_of)
        return f"on {asked_of[0]} it is refused" if asked_of[0] == refused_on else ""

    reached = {"server": [("demo", "server-service", 8443), ("spire", "a", 443)], "client": [("spire", "a", 443)]}
    connectivity = cast(Any, SimpleNamespace(refusal=refusal))
    with pytest.raises(RefusedError, match=f"^on {refused_on} it is refused$") if refused_on else nullcontext():
        session._refuse_unadmitted(cast(Any, Report()), connectivity, cast(Any, reached))
    assert sorted(asked) == sorted((name, *each) for name, of in reached.items() for each in of)


SPIRES = {"pool": "spire"}
IN_POOL = replace(
    LAYOUT,
    agents=tuple(replace(each, node_selector=SPIRES, tolerations=({"operator": "Exists"},)) for each in LAYOUT.agents),
)
TAINT = {"key": "pool", "value": "spire", "effect": "NoSchedule"}
BESIDE = "SPIRE's agents and CSI driver are for node b alone, and the suite's pods need both on their node"


@pytest.mark.parametrize(
    ("taints", "given", "words"),
    [
        ([], WorkloadSettings(node_selector={"pool": "shop"}), f"--node-selector=pool=shop selects node a: {BESIDE}"),
        ([TAINT], WorkloadSettings(), f"no --toleration is for pool=spire:NoSchedule, which node b has: {BESIDE}"),
        ([TAINT], WorkloadSettings(tolerations=({"key": "pool", "operator": "Exists"},)), ""),
        ([], WorkloadSettings(node_selector=SPIRES), ""),
        ([], WorkloadSettings(), ""),
        # Nodes may be added for them.
        ([], WorkloadSettings(node_selector={"pool": "new"}), ""),
    ],
)
def test_options_that_keep_the_suites_pods_off_the_nodes_of_spire_end_the_run(
    taints: list[dict[str, str]], given: WorkloadSettings, words: str
) -> None:
    cluster: Any = KubernetesObjects()
    node(cluster, "a", labels={"pool": "shop"})
    node(cluster, "b", *taints, labels=SPIRES)
    cluster.workload_settings = given
    driver = replace(LAYOUT.csi_driver, tolerations=({"operator": "Exists"},))
    refuse = partial(session._refuse_unplaced, cast(Any, Report()), [cluster])
    if not words:
        refuse({"server": replace(IN_POOL, csi_driver=driver)})
        return
    with pytest.raises(RefusedError, match=f"^cluster server: {re.escape(words)}$"):
        refuse({"server": replace(IN_POOL, csi_driver=driver)})


@pytest.mark.parametrize(("taints", "more"), [([TAINT], 1), ([TAINT], 0), ([], 0)])
def test_only_where_a_taint_keeps_the_suites_pods_off_a_toleration_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, taints: list[dict[str, str]], more: int
) -> None:
    cluster = KubernetesObjects()
    node(cluster, "a", labels={"pool": "shop"})
    for number in range(1 + more):
        node(cluster, f"b{number}", *taints, labels=SPIRES)
    driver = replace(LAYOUT.csi_driver, tolerations=({"operator": "Exists"},))
    listed = cluster.cluster.core.list_node().items
    # As where it is too small for them.
    monkeypatch.setattr(nodes, "_possible_nodes", lambda _, listed: listed[:1])
    found = nodes.why_no_node_is_left(replace(IN_POOL, csi_driver=driver), listed, WorkloadSettings())
    named = "nodes b0, b1 have" if more else "node b0 has"
    assert found.startswith(f"no --toleration is for pool=spire:NoSchedule, which {named}: ") if taints else not found


def test_a_runs_time_limits_are_its_own_and_end_with_it() -> None:
    class Config(SimpleNamespace):
        def add_cleanup(self, undo: Callable[[], None]) -> None:
            cleanups.append(undo)

    cleanups: list[Callable[[], None]] = []
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        session.pytest_configure(cast(Any, Config(stash={SETTINGS: SimpleNamespace(timeout_scale=2.0)})))
        assert time_limit(30.0) == 60.0
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
        for undo in cleanups:
            undo()
    assert time_limit(30.0) == 30.0


@pytest.mark.parametrize(("delay", "factor"), [(20.0, 1.0), (45.0, 2.0), (86400.0, 10.0)])
def test_limits_are_longer_where_a_release_is_slower_and_that_is_said(delay: float, factor: float) -> None:
    cleanups: list[Callable[[], None]] = []
    report, config = Report(), SimpleNamespace(add_cleanup=cleanups.append)
    try:
        layouts = [LAYOUT, replace(LAYOUT, entry_delay=delay)]
        session._allow_for_delays(cast(pytest.Config, config), cast(Any, report), layouts)
        assert time_limit(30.0) == 30.0 * factor
    finally:
        for undo in cleanups:
            undo()
    said = f"with these values a new pod's entry may take {delay + 5:.0f} s: limits are {factor:.1f} times as long"
    assert report.said == ([said] if factor > 1 else [])
    assert time_limit(30.0) == 30.0


def test_what_an_interrupted_fixture_has_begun_is_undone(pytester: pytest.Pytester) -> None:
    """As `clusters` does it: pytest itself runs no finalizer of a fixture whose setup was interrupted."""
    pytester.makepyfile(
        """
        import pathlib
        import pytest

        @pytest.fixture(scope="session")
        def clusters(request):
            request.addfinalizer(pathlib.Path("by the fixture").touch)
            request.session.addfinalizer(pathlib.Path("by the session").touch)
            raise KeyboardInterrupt

        def test_ready(clusters): pass
        """
    )
    pytester.runpytest_subprocess()
    assert (pytester.path / "by the session").exists()
    assert not (pytester.path / "by the fixture").exists()


EXEC = "exec -n spire-server spire-server-0 -c spire-server -- /opt/spire/bin/spire-server federation list -output json"
DENIED = ExecRefusedError(
    f'server: an admission policy refuses `{EXEC}`: pods "spire-server-0" is forbidden: ValidatingAdmissionPolicy '
    "'no-exec' with binding 'no-exec' denied request: commands in pods are not allowed in production"
)
UNFOUND = ClusterError(f'server: `{EXEC}` was not carried out: container not found ("spire-server")')


@pytest.mark.parametrize("has_object", [True, False])
@pytest.mark.parametrize(
    ("error", "broken", "words"),
    [
        (
            DENIED,
            False,
            r"^this run needs to run commands in the server's pod \(pods/exec\): server: an admission poli",
        ),
        (UNFOUND, False, "^server: `exec .*container not found"),
        # Of an installation that does not work the broken link is named: it is red.
        (UNFOUND, True, ""),
    ],
)
def test_a_server_that_cannot_be_asked_ends_the_run_before_anything_is_created(
    monkeypatch: pytest.MonkeyPatch, error: ClusterError, broken: bool, words: str, has_object: bool
) -> None:
    def unasked() -> None:
        raise error

    diagnosis = SimpleNamespace(broken="component ready" if broken else None)
    monkeypatch.setattr(session, "diagnose", lambda *_, **__: diagnosis)
    made = SimpleNamespace(name="client", trust_domain="client.example")
    spires: dict[str, Any] = {
        name: SimpleNamespace(
            cluster=SimpleNamespace(label=name),
            trust_domain=f"{name}.example",
            federates_with=(peer,),
            relationships=unasked if name == "server" else list,
            layout=SimpleNamespace(cluster_federated_trust_domains=[made] if has_object and name == "server" else []),
        )
        for name, peer in (("server", "client.example"), ("client", "server.example"))
    }
    fixture = cast(Any, session.relationships_found)._get_wrapped_function()
    settings = SimpleNamespace(no_install=True, federate="auto")
    request = SimpleNamespace(session=SimpleNamespace(items=[]))
    config = SimpleNamespace(stash={session.TESTBED: Testbed()})
    if has_object and error is UNFOUND:
        # What the objects say is enough so far: the test of SPIRE's components is red.
        assert fixture(settings, spires, Report(), config, request) == [
            "server has the ClusterFederatedTrustDomain client"
        ]
        return
    with pytest.raises(RefusedError if words else ClusterError, match=words or "container not found"):
        fixture(settings, spires, Report(), config, request)


@pytest.mark.parametrize("no_install", [True, False])
def test_a_namespace_that_a_policy_refuses_ends_the_run_before_spire_is_installed(
    monkeypatch: pytest.MonkeyPatch, no_install: bool
) -> None:
    asked: list[str] = []

    def refused(cluster: Any, _: Any, name: str, federates_with: Any) -> str:
        asked.append(f"{cluster.label}: {name} {federates_with}")
        return f"{cluster.label}: an admission policy refuses the namespace {name}"

    class Described(SimpleNamespace):
        __hash__ = object.__hash__  # type: ignore[assignment]

    clusters = {
        name: Described(label=name, is_external=is_external)
        for name, is_external in (("server", True), ("client", False))
    }
    found = [SimpleNamespace(cluster=each, layout=LAYOUT, federates_with=["x"]) for each in clusters.values()]
    monkeypatch.setattr(session, "why_namespace_refused", refused)
    monkeypatch.setattr(session, "find_installations", lambda *_: found)
    monkeypatch.setattr(session, "needed_then", lambda *_: [])
    monkeypatch.setattr(session, "denied_permissions", lambda *_: [])
    monkeypatch.setattr(session, "reached_services", lambda *_: [])
    monkeypatch.setattr(session, "_refuse_unadmitted", lambda *_: None)
    fixture = cast(Any, session.spires)._get_wrapped_function()
    report: Any = Report()
    report.phase = lambda *_: nullcontext()
    supply = SimpleNamespace(
        helm="helm",
        layout=lambda _: LAYOUT,
        releases=dict.fromkeys(clusters),
        upgraded={},
        clusters=[SimpleNamespace(name=name, federates_with=["x"]) for name in clusters],
    )

    def run(*objects: dict[str, Any]) -> None:
        settings = SimpleNamespace(no_install=no_install, objects={"server": objects})
        fixture(settings, clusters, {}, SimpleNamespace(way="given"), supply, "demo", report, "folder", None, None)

    with pytest.raises(RefusedError, match=r"^server: an admission policy refuses the namespace demo$"):
        run()
    assert asked == ["server: demo ['x']"]
    # With --apply it is there before the suite applies it again. What comes next is not part of this test.
    with pytest.raises(AttributeError):
        run({"kind": "Namespace", "metadata": {"name": "demo"}})
    assert len(asked) == 1


@pytest.mark.parametrize("why", ["it was made with another node image", ""])
def test_it_is_said_why_a_kept_cluster_is_made_again(why: str) -> None:
    said: list[str] = []
    phase = SimpleNamespace(progress=lambda _: None)
    report: Any = SimpleNamespace(phase=lambda *_: nullcontext(phase), say=said.append)
    kept = {"label": "server", "created_here": bool(why), "why_made_again": why}
    cluster: Any = SimpleNamespace(**kept, create=lambda: None, load_archives=lambda _: None)
    nothing: Any = SimpleNamespace(archives=())
    session._create(cluster, nothing, cast(Any, SimpleNamespace(archives=list)), report)
    assert said == ([f"server: the kept cluster was made again: {why}"] if why else [])


class There(ExistingCluster):
    """A cluster that exists; `done` is what was done with both, in order."""

    done: ClassVar[list[str]] = []

    def __init__(self, label: str, held: str = "") -> None:
        self.label, self.held = label, held

    def connect(self, *_: object) -> None:
        self.done.append("connect")

    def reserve(self) -> str:
        self.done.append("reserve")
        return self.held


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> list[There]:
    monkeypatch.setattr(There, "done", [])
    return [There("server"), There("client", "client: other runs are not kept away")]


def test_two_contexts_of_one_cluster_end_the_run_once_they_can_be_asked(
    there: list[There], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_described_clusters", lambda *_: {each.label: each for each in there})
    monkeypatch.setattr(session, "same_cluster", lambda given: given if len(There.done) == len(given) else [])
    settings = SimpleNamespace(kubeconfigs=(), contexts={"server": "a", "client": "alias-of-a"})
    config = SimpleNamespace(stash={session.TESTBED: Testbed()})
    request = SimpleNamespace(session=SimpleNamespace(addfinalizer=lambda _: None))
    fixture = cast(Any, session.described_clusters)._get_wrapped_function()
    with pytest.raises(RefusedError, match=r"^--context: a and alias-of-a are the same cluster$"):
        fixture(settings, "supply", [], None, Report(), "folder", config, request)


RESERVED = ["reserve", "reserve", "in the way"]


@pytest.mark.parametrize(
    ("missing", "no_install", "done"),
    [([], False, RESERVED), ([EXECUTE], True, ["in the way"]), ([], True, RESERVED)],
    ids=["installs", "is refused later", "looks"],
)
def test_clusters_are_reserved_by_who_may_use_them_before_what_is_in_the_way_is_looked_for(
    there: list[There],
    monkeypatch: pytest.MonkeyPatch,
    missing: list[Permission],
    no_install: bool,
    done: list[str],
) -> None:
    class EnoughError(Exception):
        pass

    def in_the_way(*_: object) -> None:
        There.done.append("in the way")
        raise EnoughError

    monkeypatch.setattr(session, "needed_beforehand", lambda *_: ((), ()))
    monkeypatch.setattr(session, "denied_permissions", lambda *_: missing)
    monkeypatch.setattr(session, "_refuse_in_the_way", in_the_way)
    report: Any = Report()
    report.phase = lambda *_: nullcontext()
    fixture = cast(Any, session.clusters)._get_wrapped_function()
    described, settings = {each.label: each for each in there}, SimpleNamespace(no_install=no_install)
    with pytest.raises(EnoughError):
        fixture(described, {}, settings, "supply", None, report, "folder", "images", "demo")
    assert There.done == done
    assert report.said == ([] if missing else ["client: other runs are not kept away"])
