"""The chain: the first broken link is the reason, and the others follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures import chain, links
from fixtures.chain import LINKS, Diagnosis, Stage, diagnose
from fixtures.clusters import Cluster
from fixtures.links import Finding
from fixtures.spire import Spire

Look = Callable[..., Iterator[Finding]]


def finding(link: str, cluster: str = "client") -> Finding:
    return Finding(link, cluster, f"{link} is broken", "somebody broke it", "raw words")


@pytest.fixture
def stage() -> Stage:
    clusters = [cast(Cluster, SimpleNamespace(label=label)) for label in ("server", "client")]
    spires = [cast(Spire, SimpleNamespace(cluster=cluster)) for cluster in clusters]
    return Stage(clusters, spires)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what each look finds (an exception is raised); the others find nothing."""

    def set_looks(**found: Any) -> None:
        for name in ("cluster", "components", "agents", "fields"):
            monkeypatch.setattr(links, name, _look(found.get(name, [])))

    return set_looks


def _look(found: Any) -> Look:
    def look(where: Any) -> Iterator[Finding]:
        if isinstance(found, Exception):
            raise found
        label = getattr(where, "label", None) or where.cluster.label
        yield from (each for each in found if each.cluster == label)

    return look


def test_a_chain_that_holds_has_no_broken_link(stage: Stage, looks: Callable[..., None]) -> None:
    looks()
    assert diagnose(stage) == Diagnosis(None)
    assert diagnose(stage).lines() == ["no broken link: every one that can be looked at holds"]


def test_the_first_broken_link_is_named_whichever_cluster_it_is_on(stage: Stage, looks: Callable[..., None]) -> None:
    looks(components=[finding("component ready", "client")], agents=[finding("agent attested", "server")])
    found = diagnose(stage)
    assert found.broken == finding("component ready", "client")
    assert found.consequences == (finding("agent attested", "server"),)
    assert found.lines() == [
        "broken link: component ready (client): component ready is broken",
        "  usually: somebody broke it",
        "    raw words",
        "  in consequence: agent attested (server): agent attested is broken",
    ]


def test_of_a_cluster_that_does_not_answer_nothing_more_is_asked(stage: Stage, looks: Callable[..., None]) -> None:
    looks(cluster=[finding("cluster")], components=[finding("component ready", "client")])
    found = diagnose(stage)
    assert found.broken == finding("cluster")
    assert found.consequences == ()


def test_a_field_that_is_not_known_is_named_where_all_else_holds(stage: Stage, looks: Callable[..., None]) -> None:
    looks(fields=[finding("fields")])
    assert diagnose(stage) == Diagnosis(finding("fields"))


def test_fields_are_not_asked_for_where_something_is_broken_or_could_not_be_seen(
    stage: Stage, looks: Callable[..., None]
) -> None:
    broken, field = finding("agent attested", "server"), finding("fields", "client")
    looks(agents=[broken], fields=[field])
    assert diagnose(stage) == Diagnosis(broken)
    looks(agents=RuntimeError("no such pod"), fields=[field])
    assert diagnose(stage).broken is None


def test_a_link_that_cannot_be_looked_at_is_neither_whole_nor_broken(stage: Stage, looks: Callable[..., None]) -> None:
    looks(agents=RuntimeError("no such pod"))
    found = diagnose(stage)
    assert found.broken is None
    assert [each.partition(": ")[0] for each in found.unseen] == ["server", "client"]
    assert "no such pod" in found.lines()[1]


def test_what_cannot_be_looked_at_because_something_is_broken_is_no_news(
    stage: Stage, looks: Callable[..., None]
) -> None:
    both = [finding("component ready", label) for label in ("server", "client")]
    looks(components=both, agents=RuntimeError("no such pod"))
    assert diagnose(stage).unseen == ()


def test_long_evidence_is_cut_to_its_end() -> None:
    words = "\n".join(f"line {number}" for number in range(100))
    lines = Diagnosis(Finding("TLS", "client", "a", "b", words)).lines()
    assert len(lines) == 2 + chain.EVIDENCE
    assert lines[-1] == "    line 99"


def test_the_links_are_told_apart() -> None:
    assert len(set(LINKS)) == len(LINKS)
