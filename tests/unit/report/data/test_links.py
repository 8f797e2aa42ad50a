"""The state of every link, by what the diagnosis found."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from fixtures.diagnosis.chain import LINKS, Diagnosis
from fixtures.diagnosis.finding import Finding
from fixtures.diagnosis.testbed import Testbed
from fixtures.report.data.links import LOOKS, links


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


TWO = (spire("server", "client"), spire("client", "server"))


def broken(link: str, cluster: str, sentence: str = "it is broken") -> Finding:
    return Finding(link, cluster, sentence, "usually")


def test_a_green_run_has_every_link_of_the_chain_and_all_hold() -> None:
    found = links(a_testbed(*TWO), None, green=True, brief=False)
    assert {each["link"] for each in found} == set(LINKS)
    assert {each["state"] for each in found} == {"holds"}


def test_every_link_is_looked_at_by_a_look_of_the_diagnosis() -> None:
    assert {link for of_it in LOOKS.values() for link in of_it} == set(LINKS)


def test_before_the_federation_there_are_only_links_within() -> None:
    found = links(a_testbed(*TWO, federated=False), None, green=False, brief=False)
    assert {each["peer"] for each in found} == {None}
    assert {each["state"] for each in found} == {"unknown"}


def test_the_broken_link_its_consequences_and_the_rest() -> None:
    diagnosis = Diagnosis(
        broken("bundle present", "client", "the server stores no bundle of server.example"), (broken("TLS", "server"),)
    )
    found = links(a_testbed(*TWO), diagnosis, green=False, brief=False)
    client = states(found, "client")
    assert client["bundle present", "server.example"] == "broken"
    assert client["federation relationship", "server.example"] == "holds"
    assert client["TLS", "server.example"] == "consequence"
    assert states(found, "server")["bundle present", "client.example"] == "holds"
    assert client[LINKS[-1], None] == "unknown", "it is looked at only where nothing else is"


def test_of_a_cluster_that_does_not_answer_nothing_else_is_known() -> None:
    found = links(a_testbed(*TWO), Diagnosis(broken("cluster", "server")), green=False, brief=False)
    server = states(found, "server")
    assert server.pop(("cluster", None)) == "broken"
    assert set(server.values()) == {"unknown"}
    assert states(found, "client")["component ready", None] == "holds"


def test_what_could_not_be_looked_at_is_not_known() -> None:
    diagnosis = Diagnosis(None, unseen=("client: entries: ApiException: gone",))
    client = states(links(a_testbed(*TWO), diagnosis, green=False, brief=False), "client")
    assert client["entry with federatesWith", None] == "unknown"
    assert client["agent attested", None] == "holds"


def test_a_brief_diagnosis_says_nothing_of_calls() -> None:
    diagnosis = Diagnosis(broken("agent attested", "client"))
    client = states(links(a_testbed(*TWO), diagnosis, green=False, brief=True), "client")
    assert client["TLS", "server.example"] == "unknown"
    assert client["X.509 SVID", None] == "unknown"
    assert client["cluster", None] == "holds"


def test_among_several_peers_the_sentence_says_which() -> None:
    three = (spire("server", "client", "third"), spire("client", "server"), spire("third", "server"))
    diagnosis = Diagnosis(broken("bundle present", "server", "the server stores no bundle of third.example"))
    server = states(links(a_testbed(*three), diagnosis, green=False, brief=False), "server")
    assert server["bundle present", "third.example"] == "broken"
    assert server["bundle present", "client.example"] == "holds"


def test_what_needs_a_broken_link_is_not_known_to_hold() -> None:
    diagnosis = Diagnosis(broken("federation relationship", "client", "there is none with server.example"))
    client = states(links(a_testbed(*TWO), diagnosis, green=False, brief=False), "client")
    assert client["bundle present", "server.example"] == "holds", "it is looked at by itself"
    for link in ("endpoint reachable", "endpoint identity", "bundle fresh"):
        assert client[link, "server.example"] == "unknown", link
    diagnosis = Diagnosis(broken("TLS", "client"))
    client = states(links(a_testbed(*TWO), diagnosis, green=False, brief=False), "client")
    assert [client[link, "server.example"] for link in LOOKS["call"]] == ["holds", "broken", "unknown", "unknown"]
