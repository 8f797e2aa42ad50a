"""What a run's document says of its trust domains: those that are there, or those that were going to be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.diagnosis.testbed import Testbed
from fixtures.report.data.document import describe
from fixtures.report.run import Report


class Installed:
    """SPIRE of one trust domain."""

    def __init__(self, name: str, others: list[str], installed_by_run: bool) -> None:
        self.trust_domain = f"{name}.example"
        self.cluster = SimpleNamespace(label=name)
        self.federates_with = tuple(f"{other}.example" for other in others)
        self.was_installed_by_run = installed_by_run


@pytest.mark.parametrize("installed", [True, False])
def test_trust_domains_are_there_with_their_clusters_and_parts_in_the_demo(tmp_path: Path, installed: bool) -> None:
    names = ("server", "client", "third")
    made = [cast(Any, Installed(name, [each for each in names if each != name], installed)) for name in names]
    report = Report(tmp_path)
    report.facts.testbed = Testbed([], made, demo=cast(Any, SimpleNamespace(server=made[0], client=made[1])))
    found = describe(report)["trust_domains"]
    assert found[0] == {
        "name": "server.example",
        "cluster": "server",
        "federates_with": ["client.example", "third.example"],
        "installed_by_run": installed,
        "demo": "server",
    }
    assert [(each["cluster"], each["demo"]) for each in found[1:]] == [("client", "client"), ("third", None)]


def test_of_a_run_that_ends_before_an_installation_they_are_those_that_were_to_be(tmp_path: Path) -> None:
    report = Report(tmp_path)
    wanted = SimpleNamespace(name="server", trust_domain="server.example", federates_with=("client.example",))
    supply = SimpleNamespace(clusters=[wanted], releases={}, upgraded={}, node_image="", why="")
    report.facts.supply = cast(Any, supply)
    assert describe(report)["trust_domains"] == [
        {
            "name": "server.example",
            "cluster": "server",
            "federates_with": ["client.example"],
            "installed_by_run": True,
            "demo": None,
        }
    ]
