"""The chain: the first broken link is the reason, and the others follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.core import waiting
from fixtures.diagnosis import chain
from fixtures.diagnosis.chain import LINKS, Diagnosis, diagnose, diagnose_settled
from fixtures.diagnosis.finding import Finding
from fixtures.diagnosis.links import (
    cluster_links,
    component_links,
    socket_links,
    spire_links,
    static_entry_links,
    webhook_links,
)
from fixtures.diagnosis.testbed import Testbed
from fixtures.k8s.cluster import Cluster
from fixtures.spire.federation import Federation
from fixtures.spire.installation import Spire
from fixtures.workloads.demo import Demo

Look = Callable[..., Iterator[Finding]]


def finding(link: str, cluster: str = "client", *, on_its_way: bool = False) -> Finding:
    return Finding(link, cluster, f"{link} is broken", "somebody broke it", "raw words", on_its_way)


@pytest.fixture
def testbed() -> Testbed:
    clusters = [cast(Cluster, SimpleNamespace(label=label)) for label in ("server", "client")]
    spires = [cast(Spire, SimpleNamespace(cluster=cluster, was_installed_by_run=True)) for cluster in clusters]
    return Testbed(clusters, spires)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what each look finds (an exception is raised); the others find nothing."""

    def set_looks(**found: Any) -> None:
        monkeypatch.setattr(cluster_links, "check_cluster", _look(found.get("cluster", [])))
        monkeypatch.setattr(component_links, "check_components", _look(found.get("components", [])))
        for name in ("agents", "published_bundle", "fields"):
            monkeypatch.setattr(spire_links, f"check_{name}", _look(found.get(name, [])))
        monkeypatch.setattr(static_entry_links, "check_static_entries", _look(found.get("static_entries", [])))
        for name in ("socket_folder", "socket_names"):
            monkeypatch.setattr(socket_links, f"check_{name}", _look(found.get(name, [])))
        monkeypatch.setattr(webhook_links, "check_webhook", _look(found.get("webhook", [])))

    return set_looks


def _look(found: Any) -> Look:
    def look(where: Any) -> Iterator[Finding]:
        if isinstance(found, Exception):
            raise found
        label = getattr(where, "label", None) or where.cluster.label
        yield from (each for each in found if each.cluster == label)

    return look


def test_a_chain_that_holds_has_no_broken_link(testbed: Testbed, looks: Callable[..., None]) -> None:
    looks()
    assert diagnose(testbed) == Diagnosis(None)
    assert ("client", "fields") in diagnose(testbed).looks
    assert diagnose(testbed).lines() == ["no broken link: every one that can be looked at holds"]


def test_the_first_broken_link_is_named_whichever_cluster_it_is_on(
    testbed: Testbed, looks: Callable[..., None]
) -> None:
    looks(components=[finding("component ready", "client")], agents=[finding("agent attested", "server")])
    found = diagnose(testbed)
    assert found.broken == finding("component ready", "client")
    assert found.consequences == (finding("agent attested", "server"),)
    assert found.lines() == [
        "broken link: component ready (client): component ready is broken",
        "  usually: somebody broke it",
        "    raw words",
        "  in consequence: agent attested (server): agent attested is broken",
    ]


def test_of_a_cluster_that_does_not_answer_nothing_more_is_asked(testbed: Testbed, looks: Callable[..., None]) -> None:
    looks(cluster=[finding("cluster")], components=[finding("component ready", "client")])
    found = diagnose(testbed)
    assert found.broken == finding("cluster")
    assert found.consequences == ()


def test_a_field_that_is_not_known_is_named_where_all_else_holds(testbed: Testbed, looks: Callable[..., None]) -> None:
    looks(fields=[finding("fields")])
    assert diagnose(testbed) == Diagnosis(finding("fields"))


def test_fields_are_not_asked_for_where_something_is_broken_or_could_not_be_seen(
    testbed: Testbed, looks: Callable[..., None]
) -> None:
    broken, field = finding("agent attested", "server"), finding("fields", "client")
    looks(agents=[broken], fields=[field])
    assert diagnose(testbed) == Diagnosis(broken)
    looks(agents=RuntimeError("no such pod"), fields=[field])
    assert diagnose(testbed).broken is None


def test_a_link_that_cannot_be_looked_at_neither_holds_nor_is_broken(
    testbed: Testbed, looks: Callable[..., None]
) -> None:
    looks(agents=RuntimeError("no such pod"))
    found = diagnose(testbed)
    assert found.broken is None
    assert [each.partition(": ")[0] for each in found.unseen] == ["server", "client"]
    assert "no such pod" in found.lines()[1]


def test_what_cannot_be_looked_at_because_something_is_broken_is_no_news(
    testbed: Testbed, looks: Callable[..., None]
) -> None:
    both = [finding("component ready", label) for label in ("server", "client")]
    looks(components=both, agents=RuntimeError("no such pod"), published_bundle=RuntimeError("no such pod"))
    found = diagnose(testbed)
    assert found.unseen == ()
    seen = ("cluster", "components", "socket's folder", "socket's names")
    assert found.looks == {(label, name) for label in ("server", "client") for name in seen}


def test_long_evidence_is_cut_to_its_end() -> None:
    words = "\n".join(f"line {number}" for number in range(100))
    lines = Diagnosis(Finding("TLS", "client", "a", "b", words)).lines()
    assert len(lines) == 2 + chain.EVIDENCE_LINES
    assert lines[-1] == "    line 99"


def test_no_link_is_listed_twice() -> None:
    assert len(set(LINKS)) == len(LINKS)


def test_of_one_link_what_is_broken_comes_before_what_may_be_on_its_way(
    testbed: Testbed, looks: Callable[..., None]
) -> None:
    starting = finding("component ready", "server", on_its_way=True)
    looks(components=[starting, finding("component ready", "client")])
    found = diagnose(testbed)
    assert found.broken == finding("component ready", "client")
    assert found.consequences == (starting,)


def test_an_earlier_link_comes_first_though_it_may_be_on_its_way(testbed: Testbed, looks: Callable[..., None]) -> None:
    starting = finding("component ready", "server", on_its_way=True)
    looks(components=[starting], agents=[finding("agent attested", "client")])
    assert diagnose(testbed).broken == starting


@pytest.mark.parametrize("on_its_way", [True, False])
def test_a_diagnosis_says_where_what_is_broken_may_be_on_its_way(on_its_way: bool) -> None:
    lines = Diagnosis(finding("TLS", on_its_way=on_its_way)).lines()
    assert any("may be on its way" in line for line in lines) is on_its_way


def test_all_findings_are_in_the_order_of_the_links() -> None:
    first, second = finding("component ready"), finding("TLS")
    assert Diagnosis(first, (second,)).findings == (first, second)
    assert Diagnosis(None).findings == ()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds slept so far: none takes any time."""
    slept: list[float] = []
    time = SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append)
    monkeypatch.setattr(waiting, "time", time)
    return slept


def diagnoses(monkeypatch: pytest.MonkeyPatch, *found: Finding | None) -> list[Testbed]:
    """Lets walks find these in turn, the last one always; returns what was walked."""
    walked: list[Testbed] = []

    def diagnose(testbed: Testbed) -> Diagnosis:
        walked.append(testbed)
        return Diagnosis(found[min(len(walked), len(found)) - 1])

    monkeypatch.setattr(chain, "diagnose", diagnose)
    return walked


BROKEN, STARTING = finding("TLS"), finding("TLS", on_its_way=True)


@pytest.mark.parametrize(
    ("found", "expected", "walks"),
    [
        ([BROKEN], BROKEN, 1),
        ([None], None, 1),
        ([STARTING, STARTING, BROKEN], BROKEN, 3),
        ([STARTING, None], None, 2),
    ],
    ids=["broken", "not broken", "turns out to be broken", "comes"],
)
@pytest.mark.usefixtures("clock")
def test_a_chain_is_walked_again_only_while_what_is_broken_may_be_on_its_way(
    testbed: Testbed,
    monkeypatch: pytest.MonkeyPatch,
    found: list[Finding | None],
    expected: Finding | None,
    walks: int,
) -> None:
    walked = diagnoses(monkeypatch, *found)
    assert diagnose_settled(testbed) == Diagnosis(expected)
    assert walked == [testbed] * walks


def test_what_stays_on_its_way_is_named_as_it_is_when_time_is_up(
    testbed: Testbed, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    walked = diagnoses(monkeypatch, STARTING)
    assert diagnose_settled(testbed) == Diagnosis(STARTING)
    assert sum(clock) == chain.SETTLING
    assert len(walked) > 2


def forward(port: int, state: str) -> Any:
    return SimpleNamespace(host_and_port=f"10.89.0.1:{port}", state=state)


def test_what_the_suite_has_up_is_listed(testbed: Testbed) -> None:
    assert Testbed().lines() == ["the suite's own state:", "  SPIRE is installed by this run on no cluster"]
    testbed.federation = cast(Federation, SimpleNamespace(forwards={"server.example": forward(8440, "closed")}))
    testbed.demo = cast(Demo, SimpleNamespace(forward=forward(10001, "listening")))
    assert testbed.lines() == [
        "the suite's own state:",
        "  SPIRE is installed by this run on server, client",
        "  forward to server.example's bundle endpoint at 10.89.0.1:8440: closed",
        "  forward to the demo's server at 10.89.0.1:10001: listening",
    ]
    found = Testbed(spires=[replace_installer(each) for each in testbed.spires])
    assert found.lines()[1:] == [
        "  SPIRE is installed by this run on no cluster",
        "  SPIRE was there before this run on server, client",
    ]


def replace_installer(spire: Spire) -> Spire:
    """The same SPIRE, found by the run and not installed by it."""
    return cast(Spire, SimpleNamespace(cluster=spire.cluster, was_installed_by_run=False))


def test_what_is_on_its_way_is_no_reason_of_a_check_that_waits_for_nothing() -> None:
    coming, sure = finding("entry with federatesWith", on_its_way=True), finding("bundle fresh")
    looks = frozenset({("client", "entries")})
    alone = Diagnosis(coming, unseen=("server: call",), looks=looks).certain()
    assert (alone.broken, alone.consequences, alone.coming, alone.looks) == (None, (), (coming,), looks)
    assert alone.lines() == [
        "no broken link: every one that can be looked at holds",
        "  not seen: server: call",
        "  on its way: entry with federatesWith (client): entry with federatesWith is broken",
    ]
    both = Diagnosis(coming, (sure, coming)).certain()
    assert (both.broken, both.consequences, both.coming) == (sure, (), (coming, coming))
    assert Diagnosis(sure, (sure,)).certain() == Diagnosis(sure, (sure,))
