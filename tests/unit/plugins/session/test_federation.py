"""What ends a run once its clusters are there, before SPIRE is installed on them or anything is created."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.core.project import PROJECT
from fixtures.core.waiting import time_limit
from fixtures.diagnosis.testbed import Testbed
from fixtures.k8s.cluster import ClusterError, ExecRefusedError
from fixtures.k8s.connectivity.connectivity import BUNDLE_ENDPOINT, DEMO_SERVER, Connectivity
from fixtures.k8s.kind.network import KindNetwork
from fixtures.plugins.session import federation
from fixtures.plugins.session.run import TESTBED
from tests.unit.own_chart import LAYOUT
from tests.unit.plugins.session.refusing_report import RefusedError, Report

ELSEWHERE = Connectivity("node-port", "192.0.2.1, the gateway of Kind's network, is no address of this machine")
HERE = Connectivity("port-forward", "it is here", KindNetwork("10.89.0.1"))
GIVEN = {"endpoints": {"client": "https://client.test"}, "demo_url": "https://demo.test"}


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

        monkeypatch.setattr(federation, "choose_connectivity", choose)
        items = [SimpleNamespace(path=PROJECT / "tests" / suite / "test_1.py") for suite in suites]
        request = SimpleNamespace(session=SimpleNamespace(items=items))
        report = Report()
        fixture = cast(Any, federation.connectivity)._get_wrapped_function()
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


@pytest.mark.parametrize(("delay", "factor"), [(20.0, 1.0), (45.0, 2.0), (86400.0, 10.0)])
def test_limits_are_longer_where_a_release_is_slower_and_that_is_said(delay: float, factor: float) -> None:
    cleanups: list[Callable[[], None]] = []
    report, config = Report(), SimpleNamespace(add_cleanup=cleanups.append)
    try:
        layouts = [LAYOUT, replace(LAYOUT, entry_delay=delay)]
        federation._allow_for_delays(cast(pytest.Config, config), cast(Any, report), layouts)
        assert time_limit(30.0) == 30.0 * factor
    finally:
        for undo in cleanups:
            undo()
    said = f"with these values a new pod's entry may take {delay + 5:.0f} s: limits are {factor:.1f} times as long"
    assert report.said == ([said] if factor > 1 else [])
    assert time_limit(30.0) == 30.0


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
    monkeypatch.setattr(federation, "diagnose", lambda *_, **__: diagnosis)
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
    fixture = cast(Any, federation.relationships_found)._get_wrapped_function()
    settings = SimpleNamespace(no_install=True, federate="auto")
    request = SimpleNamespace(session=SimpleNamespace(items=[]))
    config = SimpleNamespace(stash={TESTBED: Testbed()})
    if has_object and error is UNFOUND:
        # What the objects say is enough so far: the test of SPIRE's components is red.
        assert fixture(settings, spires, Report(), config, request) == [
            "server has the ClusterFederatedTrustDomain client"
        ]
        return
    with pytest.raises(RefusedError if words else ClusterError, match=words or "container not found"):
        fixture(settings, spires, Report(), config, request)


@pytest.mark.parametrize("no_install", [True, False])
def test_what_the_clusters_would_refuse_ends_the_run_before_spire_is_installed(
    monkeypatch: pytest.MonkeyPatch, no_install: bool
) -> None:
    def refused(*given: object) -> str:
        *_, layouts, federates_with = given
        assert layouts == dict.fromkeys(("server", "client"), LAYOUT)
        assert federates_with == {"server": ["x"], "client": ["x"]}
        return "server: an admission policy refuses the namespace demo"

    clusters = {name: SimpleNamespace(label=name) for name in ("server", "client")}
    found = [SimpleNamespace(cluster=each, layout=LAYOUT, federates_with=["x"]) for each in clusters.values()]
    monkeypatch.setattr(federation, "find_installations", lambda *_: found)
    monkeypatch.setattr(federation, "why_refused", refused)
    fixture = cast(Any, federation.spires)._get_wrapped_function()
    report: Any = Report()
    report.phase = lambda *_: nullcontext()
    named = [SimpleNamespace(name=name, federates_with=["x"]) for name in clusters]
    supply = SimpleNamespace(helm="helm", layout=lambda _: LAYOUT, releases=dict.fromkeys(clusters), clusters=named)
    settings = SimpleNamespace(no_install=no_install)
    with pytest.raises(RefusedError, match=r"^server: an admission policy refuses the namespace demo$"):
        fixture(settings, clusters, {}, "connectivity", supply, "demo", report, "folder", None, None)
