"""What JUnit XML, pytest-html and allure-pytest show of a run that is red."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from fixtures.core.project import PROJECT

pytest_plugins = ["pytester"]

CONFTEST = """
import pathlib

import pytest

from fixtures.diagnosis.chain import Diagnosis
from fixtures.diagnosis.finding import Finding
from fixtures.plugins.reporting import REPORT, start_report
from fixtures.report.terminal import Terminal

BROKEN = Finding("agent attested", "server", "0 of 1 agents", "the agent cannot prove who it is", "refused")


def pytest_configure(config):
    folder = pathlib.Path("run")
    folder.mkdir()
    config.option.xmlpath = config.option.xmlpath or str(folder / "junit.xml")
    start_report(config, folder.resolve(), Terminal(open("terminal.txt", "w")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    result = yield
    report = item.config.stash[REPORT]
    if result.failed and report.facts.diagnosis is None:
        report.facts.diagnosis = Diagnosis(BROKEN)
        report.set_diagnosis(report.facts.diagnosis.lines())
    return result
"""
TESTS = """
def test_fine(): pass

def test_ready(): assert False, "0 of 1 agents"
"""
PLUGINS = ("options", "reporting", "recording")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with a test that passes and one that fails, for a link that is broken."""
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\naddopts = " + " ".join(f"-p fixtures.plugins.{each}" for each in PLUGINS) + "\n")
    pytester.makepyfile(TESTS)
    return pytester


def test_junit_has_the_broken_link_at_the_test_that_failed_and_the_runs_properties(project: pytest.Pytester) -> None:
    project.runpytest_inprocess()
    suite = ElementTree.parse(project.path / "run" / "junit.xml").getroot()[0]  # noqa: S314 - pytest's own
    shown = {
        case.get("name"): {each.get("name"): each.get("value") for each in case.iter("property")}
        for case in suite.iter("testcase")
    }
    said = "broken link: agent attested (server): 0 of 1 agents\n  usually: the agent cannot prove who it is"
    assert shown == {"test_fine": {}, "test_ready": {"broken link": said}}
    of_run = {each.get("name"): each.get("value") for each in suite.findall("properties/property")}
    assert (of_run["verdict"], of_run["broken link"]) == ("red", said)
    assert of_run["pytest"] == pytest.__version__


def test_pytest_html_shows_the_diagnosis_with_the_test_that_failed(project: pytest.Pytester) -> None:
    pytest.importorskip("pytest_html")
    project.runpytest_subprocess("--html=page.html", "--self-contained-html")
    page = (project.path / "page.html").read_text()
    shown = json.loads(_blob(page))["tests"]
    extras = {name.rpartition("::")[2]: [each["name"] for each in found[0]["extras"]] for name, found in shown.items()}
    assert extras == {"test_fine": [], "test_ready": ["broken link"]}


def _blob(page: str) -> str:
    """The data of pytest-html's page."""
    from html import unescape

    start = page.index('data-jsonblob="') + len('data-jsonblob="')
    return unescape(page[start : page.index('"', start)])


def test_allure_shows_the_diagnosis_with_the_test_that_failed(project: pytest.Pytester) -> None:
    pytest.importorskip("allure_pytest")
    folder = project.path / "allure"
    project.runpytest_subprocess(f"--alluredir={folder}")
    results = {each["name"]: each for each in map(_read, folder.glob("*-result.json"))}
    assert "attachments" not in results["test_fine"]
    (attached,) = (each for each in results["test_ready"]["attachments"] if each["name"] == "broken link")
    assert (folder / attached["source"]).read_text().startswith("broken link: agent attested (server)")


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text()))
