"""What the documents lead to is there, and what they say of options, inputs and suites is so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.config.command_line import CLUSTER_MARKERS
from fixtures.core.project import PROJECT

DOCUMENTS = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])
CI = (PROJECT / "docs" / "ci.md").read_text()
ACTION: dict[str, Any] = yaml.safe_load((PROJECT / "action.yml").read_text())


def fragments(document: Path) -> set[str]:
    """The names by which headings of a document are linked to, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_link_within_the_project_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"https?://", target):
            continue
        place, _, fragment = target.partition("#")
        found = (document.parent / place).resolve() if place else document
        assert found.exists(), f"{document.name} links to {target}"
        assert not fragment or fragment in fragments(found), f"{document.name} links to {target}"


def examples() -> Iterator[Any]:
    """The YAML examples of the document on CI."""
    for block in re.findall(r"^```yaml\n(.*?)^```$", CI, flags=re.M | re.S):
        yield yaml.safe_load(block)


def test_the_examples_for_github_use_inputs_that_the_action_has() -> None:
    steps = [
        step
        for example in examples()
        for step in (
            example if isinstance(example, list) else example.get("jobs", {}).get("federation", {}).get("steps", ())
        )
        if "OWNER/REPOSITORY" in step["uses"]
    ]
    assert len(steps) == 2
    for step in steps:
        assert set(step["with"]) <= set(ACTION["inputs"])


def test_every_input_and_output_of_the_action_is_documented_and_no_other() -> None:
    table = re.findall(r"^\| ((?:`[a-z-]+`(?:, )?)+) \|", CI, flags=re.M)
    assert {name for cell in table for name in re.findall(r"[a-z-]+", cell)} == set(ACTION["inputs"])
    (outputs,) = re.findall(r"^Its outputs are (.*?) and `(.*?)`", CI, flags=re.M)
    assert set(re.findall(r"`([a-z-]+)`", outputs[0])) - {"green", "red", "refused"} | {outputs[1]} == set(
        ACTION["outputs"]
    )


def test_the_suites_that_the_action_offers_are_those_that_there_are() -> None:
    offered = set(re.findall(r"\w+", ACTION["inputs"]["marker"]["description"].partition(": ")[2])) - {"or"}
    # What `published` tries is this project's own path to what is published, by stand-ins.
    assert offered == set(CLUSTER_MARKERS) - {"published"}


def test_the_example_for_gitlab_gives_variables_that_the_job_has() -> None:
    job = yaml.safe_load((PROJECT / "docs" / "ci" / "gitlab-federation.yml").read_text())["spire-federation"]
    (example,) = (each for each in examples() if "include" in each)
    assert example["include"][0]["file"] == "docs/ci/gitlab-federation.yml"
    assert set(example["spire-federation"]["variables"]) <= set(job["variables"])
