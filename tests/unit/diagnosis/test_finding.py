"""Findings, as the checks of the links make them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from fixtures.core.project import PROJECT
from fixtures.diagnosis.chain import LINKS

MODULES = sorted((PROJECT / "fixtures" / "diagnosis" / "links").glob("[!_]*.py"))


def named_links(module: Path) -> list[str]:
    """The links that are written out where a module makes findings, alternatives included."""
    calls = [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)]
    made = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Finding"]
    named = [part for link in made for part in ([link.body, link.orelse] if isinstance(link, ast.IfExp) else [link])]
    return [str(link.value) for link in named if isinstance(link, ast.Constant)]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_a_finding_is_of_a_link_of_the_chain(module: Path) -> None:
    assert set(named_links(module)) <= set(LINKS)


def test_findings_of_most_links_are_written_out() -> None:
    assert len({link for module in MODULES for link in named_links(module)}) >= 10
