"""The state of every link, by what the diagnosis found."""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.diagnosis.chain import LINKS, Diagnosis, _last_link_checks, _link_checks
from fixtures.diagnosis.finding import Finding
from fixtures.diagnosis.links import endpoint_links, spire_links
from fixtures.diagnosis.links.spire_links import FIELDS
from fixtures.diagnosis.testbed import Testbed
from fixtures.report.data.links import LOOKS, OF_CALLS, OF_PAIRS, links


def spire(label: str, *federates_with: str) -> Any:
    names = tuple(f"{each}.example" for each in federates_with)
    return SimpleNamespace(cluster=SimpleNamespace(label=label), trust_domain=f"{label}.example", federates_with=names)


def a_testbed(*spires: Any, federated: bool = True) -> Testbed:
    by_name = {each.trust_domain: each for each in spires}
    federation = SimpleNamespace(peers=lambda each: [by_name[name] for name in each.federates_with])
    demo = SimpleNamespace(server=spires[0], client=spires[1])
    parts = (federation, demo) if federated else (None, None)
    return Testbed([each.cluster for each in spires], list(spires), *cast(Any, parts))


def states(found: list[dict[str, Any]], label: str) -> dict[tuple[str, str | None], str]:
    return {(each["link"], each["peer"]): each["state"] for each in found if each["cluster"] == label}


OF_CLIENT = {("client", "cluster"), ("client", "components")}
TWO = (spire("server", "client"), spire("client", "server"))


ALL_LOOKS = frozenset((label, name) for label in ("server", "client") for name in LOOKS)


def broken(link: str, cluster: str, peer: str = "") -> Finding:
    return Finding(link, cluster, "it is broken", "usually", peer=peer)


def diagnosis_of(*findings: Finding, without: tuple[str, ...] = (FIELDS,)) -> Diagnosis:
    """A diagnosis that found these, the broken link first, and made every look but those of these names."""
    looks = frozenset((label, name) for label, name in ALL_LOOKS if name not in without)
    return Diagnosis(findings[0] if findings else None, findings[1:], looks=looks)


def test_a_green_run_has_every_link_of_the_chain_and_all_hold() -> None:
    found = links(a_testbed(*TWO), None, green=True)
    assert {each["link"] for each in found} == set(LINKS)
    assert {each["state"] for each in found} == {"holds"}


def test_every_link_is_looked_at_by_a_look_of_the_diagnosis() -> None:
    assert {link for of_it in LOOKS.values() for link in of_it} == set(LINKS)
    testbed = cast(Any, a_testbed(*TWO))
    walked = {
        name
        for each in testbed.clusters
        for name, _ in (*_link_checks(testbed, each), *_last_link_checks(testbed, each))
    }
    assert set(LOOKS) <= walked, "a look of another name is never made, and its links never hold"


def test_before_the_federation_there_are_only_links_within() -> None:
    found = links(a_testbed(*TWO, federated=False), None, green=False)
    assert {each["peer"] for each in found} == {None}
    assert {each["state"] for each in found} == {"unknown"}


def test_the_broken_link_its_consequences_and_the_rest() -> None:
    diagnosis = diagnosis_of(broken("bundle present", "client", "server.example"), broken("TLS", "server"))
    found = links(a_testbed(*TWO), diagnosis, green=False)
    client = states(found, "client")
    assert client["bundle present", "server.example"] == "broken"
    assert client["federation relationship", "server.example"] == "holds"
    assert client["TLS", "server.example"] == "consequence"
    assert states(found, "server")["bundle present", "client.example"] == "holds"
    assert client[LINKS[-1], None] == "unknown", "it is looked at only where nothing else is"


def test_of_what_is_on_its_way_nothing_is_known() -> None:
    coming = replace(broken("entry with federatesWith", "client"), on_its_way=True)
    found = links(a_testbed(*TWO), diagnosis_of(coming).certain(), green=False)
    assert states(found, "client")["entry with federatesWith", None] == "unknown"
    assert states(found, "server")["entry with federatesWith", None] == "holds"


@pytest.mark.parametrize("link", LINKS)
def test_each_kind_of_link_is_drawn_broken_once_and_no_other_with_it(link: str) -> None:
    peer = "server.example" if link in OF_PAIRS else ""
    found = links(a_testbed(*TWO), diagnosis_of(broken(link, "client", peer)), green=False)
    (only,) = [each for each in found if each["state"] == "broken"]
    of_pair = link in (*OF_PAIRS, *OF_CALLS)
    expected = (link, "client.example", "server.example" if of_pair else None)
    assert (only["link"], only["trust_domain"], only["peer"]) == expected
    assert all(each["state"] in ("holds", "unknown") for each in found if each is not only)


def test_whatever_finds_a_link_between_two_trust_domains_broken_says_which_is_the_other() -> None:
    made = [
        node
        for module in (spire_links, endpoint_links)
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding"
    ]
    of_pairs = [node for node in made if isinstance(node.args[0], ast.Constant) and node.args[0].value in OF_PAIRS]
    assert len(of_pairs) >= len(OF_PAIRS)
    assert not [node.lineno for node in of_pairs if "peer" not in {each.arg for each in node.keywords}]


def test_an_endpoint_that_its_own_cluster_does_not_reach_is_broken_for_its_peers() -> None:
    found = links(a_testbed(*TWO), diagnosis_of(broken("endpoint reachable", "server", "server.example")), green=False)
    assert states(found, "client")["endpoint reachable", "server.example"] == "broken"
    assert states(found, "server")["endpoint reachable", "client.example"] == "holds"


def test_what_was_not_looked_at_is_not_known() -> None:
    diagnosis = Diagnosis(broken("cluster", "server"), looks=frozenset({("server", "cluster"), *OF_CLIENT}))
    found = links(a_testbed(*TWO), diagnosis, green=False)
    server = states(found, "server")
    assert server.pop(("cluster", None)) == "broken"
    assert set(server.values()) == {"unknown"}
    client = states(found, "client")
    assert client["component ready", None] == "holds"
    assert client["agent attested", None] == "unknown", "a look that did not come to its end says nothing"
    assert client["TLS", "server.example"] == "unknown"


def test_among_several_peers_the_broken_one_is_drawn() -> None:
    three = (spire("server", "client", "third"), spire("client", "server"), spire("third", "server"))
    diagnosis = diagnosis_of(broken("bundle present", "server", "third.example"))
    server = states(links(a_testbed(*three), diagnosis, green=False), "server")
    assert server["bundle present", "third.example"] == "broken"
    assert server["bundle present", "client.example"] == "holds"


def test_what_needs_a_broken_link_is_not_known_to_hold() -> None:
    diagnosis = diagnosis_of(broken("federation relationship", "client", "server.example"))
    client = states(links(a_testbed(*TWO), diagnosis, green=False), "client")
    assert client["bundle present", "server.example"] == "holds", "it is looked at by itself"
    for link in ("endpoint reachable", "endpoint identity", "bundle fresh"):
        assert client[link, "server.example"] == "unknown", link
    client = states(links(a_testbed(*TWO), diagnosis_of(broken("TLS", "client")), green=False), "client")
    assert [client[link, "server.example"] for link in LOOKS["call"]] == ["holds", "broken", "unknown", "unknown"]
