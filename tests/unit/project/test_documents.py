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
from tests.unit.project.markdown import Document, documents

DOCUMENTS = list(documents())
CI = (PROJECT / "docs" / "ci.md").read_text()
ACTION: dict[str, Any] = yaml.safe_load((PROJECT / "action.yml").read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_link_leads_somewhere_within_the_project(document: Document) -> None:
    for target in document.links:
        if target.startswith("https://"):
            continue
        place, _, fragment = target.partition("#")
        found = (document.path.parent / place).resolve() if place else document.path
        assert found.exists(), f"{document} links to {target}"
        assert found.is_relative_to(PROJECT), f"{document} links to {target}"
        assert not fragment or fragment in Document(found).anchors, f"{document} links to {target}"


def test_every_page_is_led_to_from_the_readme() -> None:
    """At one remove at the most."""
    reached = {PROJECT / "README.md"}
    for _ in range(2):
        reached |= {
            (page.parent / target.partition("#")[0]).resolve()
            for page in reached
            if page.suffix == ".md"
            for target in Document(page).links
        }
    assert {document.path for document in DOCUMENTS} <= reached


def test_anchors_are_those_that_github_makes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `--set` of values, again\n## Same\n```\n# no heading\n```\n## Same\n[x](#same-1)\n")
    assert Document(page).anchors == {"a---set-of-values-again", "same", "same-1"}
    assert Document(page).links == ["#same-1"]


NAME_OF_A_FILE = re.compile(r"(?=.*(/|\.(py|toml|ya?ml|md|ini|txt|log|xml|html|json|tar|crt)$))[\w./*-]+")
# Names that are no files of this project or of a run's folder.
ELSEWHERE = {
    "a file or folder of the reader's": {"client.yaml", "values.yaml", "/home/me/pull.json", ".venv/bin/tox"},
    "of other programs, and of machines": {
        *("hosts.toml", "Chart.yaml", "/tmp"),  # noqa: S108 - snap's Docker has another
        *("/etc/docker/certs.d/HOST/ca.crt", "/etc/containers/certs.d/HOST/ca.crt"),
    },
    "a part of a URL": {"OWNER/REPOSITORY", "/v2/", "/v2/spiffe/spire-server/manifests/1.15.2"},
    "in Kubernetes": {"demo/server-service", "spire-federation-demo/server-service"},
}


@pytest.fixture(scope="module")
def written() -> list[re.Pattern[str]]:
    """The names of files and folders that the suite writes, as they stand in its source."""
    sources = [path.read_text() for folder in ("fixtures", "tests") for path in (PROJECT / folder).rglob("*.py")]
    names = {name for source in sources for name in re.findall(r"\"([\w.-]*(?:\{[^\"}]+\}[\w.-]*)*)\"", source)}
    return [re.compile(re.sub(r"\\\{.*?\\\}", ".+", re.escape(name))) for name in names if not name.startswith("{")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_file_that_is_named_exists_or_is_written_by_a_run(
    document: Document, written: list[re.Pattern[str]]
) -> None:
    roots = (PROJECT, PROJECT / "tests", PROJECT / "docs", PROJECT / "fixtures", document.path.parent)
    for name in filter(NAME_OF_A_FILE.fullmatch, document.code):
        if any(name in each for each in ELSEWHERE.values()) or any((root / name).exists() for root in roots):
            continue
        assert any(each.fullmatch(name.removeprefix("runs/").strip("/")) for each in written), (
            f"{document} names {name}"
        )


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
    own = {"published", "docs"}  # try the suite itself, where the local supply can be built
    assert offered == set(CLUSTER_MARKERS) - own


def test_the_example_for_gitlab_gives_variables_that_the_job_has() -> None:
    job = yaml.safe_load((PROJECT / "docs" / "ci" / "gitlab-federation.yml").read_text())["spire-federation"]
    (example,) = (each for each in examples() if "include" in each)
    assert example["include"][0]["file"] == "docs/ci/gitlab-federation.yml"
    assert set(example["spire-federation"]["variables"]) <= set(job["variables"])
