"""Pages of the documentation that show what the suite is or prints: they are what it is and prints today."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import asdict

import pytest

from fixtures.artifacts.programs import REQUIREMENTS
from fixtures.config.chart_source import OLDEST_CHART
from fixtures.config.command_line import BUNDLE_PORT, CLUSTER_MARKERS, DEMO_PORT
from fixtures.config.option_sources import option_table
from fixtures.core.project import PROJECT
from fixtures.core.waiting import STALL_AFTER
from fixtures.diagnosis import stalls
from fixtures.diagnosis.chain import LINKS
from fixtures.preflight.machine import CLUSTER_MEMORY, GIB
from fixtures.report.red_run.failure import Failure
from fixtures.report.red_run.one_screen import SCREEN_COLUMNS, shown_diagnosis, shown_failures
from fixtures.traffic.request_log import REQUEST_RATE
from supply.published import DOWNLOAD_BASES, PROJECTS_OWN
from tests.published.test_3_slow_line import BYTES_PER_SECOND
from tests.tools import options_page
from tests.tools.reliability import POINTS
from tests.unit.project.markdown import Document
from tests.unit.report.recorded_runs import recorded

README = Document(PROJECT / "README.md")
RED = Document(PROJECT / "docs" / "reading-a-red-run.md")
HOUSE = Document(PROJECT / "docs" / "the-house.md")
FEDERATION = "python3 -m venv .venv && .venv/bin/pip install -q tox && .venv/bin/tox -e federation\n"
UNIT = "python3 -m venv .venv && .venv/bin/pip install -q tox && .venv/bin/tox -e unit\n"


def test_the_page_of_options_is_what_its_command_writes(pytestconfig: pytest.Config) -> None:
    assert (PROJECT / "docs" / "options.md").read_text() == options_page.page(pytestconfig)


def test_the_command_prints_the_page() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.tools.options_page"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, (PROJECT / "docs" / "options.md").read_text()), done.stderr


def test_pages_that_say_more_are_of_options_that_there_are(pytestconfig: pytest.Config) -> None:
    options = [option.name for option in option_table(pytestconfig).options]
    named = [name for names in options_page.MORE.values() for name in names]
    assert sorted(named) == sorted(options)
    for page, names in options_page.MORE.items():
        text = (PROJECT / "docs" / page).read_text()
        for name in names:
            assert re.search(rf"{name}(?![\w-])", text), f"{page} says nothing of {name}"


def test_the_readme_fits_one_screen_and_begins_with_what_the_project_runs_of_it() -> None:
    assert len(README.text.splitlines()) <= 80
    # `.ci/run` runs these two by their place.
    assert [block.text for block in README.blocks if block.language == "sh"] == [FEDERATION, UNIT]


def test_nothing_of_the_checkout_is_in_the_way_of_what_the_readme_makes() -> None:
    place = PROJECT / FEDERATION.split()[3]
    assert place.is_dir() or not place.exists()


def test_the_readme_names_every_suite() -> None:
    table = re.findall(r"^\| (`tox.*?) \|", README.text, flags=re.M)
    assert set(re.findall(r"tox -e (\w+)", " ".join(table))) == {*CLUSTER_MARKERS, "reliability"}


def test_every_file_of_a_suite_has_a_row_in_its_table() -> None:
    for page, suite in (("how-a-run-works.md", "federation"), ("other-suites.md", "resilience")):
        text = (PROJECT / "docs" / page).read_text()
        files = sorted(path.name for path in (PROJECT / "tests" / suite).glob("test_*.py"))
        assert re.findall(rf"^\| `{suite}/(test_\w+\.py)` \|", text, flags=re.M) == files
        assert {f"{name}.py" for name in re.findall(r"\btest_\d_\w+", text)} <= {*files}


def test_the_red_run_that_is_shown_is_the_one_that_was_recorded() -> None:
    run = recorded("red-relationship")
    diagnosis = run["diagnosis"]["lines"]
    failed = [each for each in run["tests"] if each["outcome"] == "error"]
    failures = [asdict(Failure(each["id"], "setup", each["sentence"])) for each in failed]
    blocks = [block.text.splitlines() for block in RED.blocks if not block.language]
    assert blocks == [
        shown_diagnosis(diagnosis, SCREEN_COLUMNS),
        shown_failures(failures, diagnosis, SCREEN_COLUMNS),
    ]
    assert f"`{run['verdict']['sentence']}`" in RED.text
    (command,) = (block.text for block in RED.blocks if block.language == "sh")
    assert command.split(" -- ")[1].split() == run["run"]["arguments"][-2:]


def test_the_links_are_those_of_the_diagnosis_in_their_order() -> None:
    (table,) = re.findall(r"^\| link \|.*?\n\| --- .*?\n(.*?)\n\n", RED.text, flags=re.M | re.S)
    assert tuple(row.split(" | ")[0].removeprefix("| ") for row in table.splitlines()) == LINKS


def rooms() -> dict[str, str]:
    """What the drawing of the house says of each floor of `fixtures/`."""
    tree = HOUSE.blocks[0].text.partition("supply/")[0]
    found: dict[str, str] = {}
    for line in tree.splitlines()[1:]:
        names, _, words = line.strip().partition(" ")
        while (more := re.match(r" *\| (\w+)", words)) is not None:
            names, words = f"{names} {more[1]}", words[more.end() :]
        texts = words.split("·")
        for number, name in enumerate(names.split()):
            found[name] = texts[min(number, len(texts) - 1)]
    return found


def test_the_house_has_the_floors_that_it_has() -> None:
    floors = {path.parent.name for path in (PROJECT / "fixtures").glob("*/__init__.py")}
    assert set(rooms()) == floors


def test_rooms_are_named_by_the_folders_and_modules_that_there_are() -> None:
    for floor, words in rooms().items():
        for name in re.findall(r"(\w+)/", words):
            assert (PROJECT / "fixtures" / floor / name).is_dir(), f"{floor} has no {name}/"
    for path in (PROJECT / "fixtures").glob("*/*/"):
        if path.name != "__pycache__":
            assert f"{path.name}/" in rooms()[path.parent.name], f"{path} is not in the drawing"
    plugins = {path.stem for path in (PROJECT / "fixtures" / "plugins").glob("[!_]*")}
    assert set(re.findall(r"\w+", rooms()["plugins"].partition(": ")[2])) == plugins


def test_a_folder_of_fixtures_has_at_most_nine_modules() -> None:
    for folder in {path.parent for path in (PROJECT / "fixtures").rglob("*.py")}:
        assert len([*folder.glob("[!_]*.py")]) <= 9, folder


def test_the_top_of_the_house_is_drawn_as_it_is() -> None:
    tree = HOUSE.blocks[0].text
    for line in tree.splitlines():
        name, _, words = line.partition(" ")
        if name.endswith("/"):
            assert (PROJECT / name).is_dir()
            for inner in re.findall(r"(?:^| )(\w+)/", words):
                assert (PROJECT / name / inner).is_dir(), f"{name} has no {inner}/"
    drawn = set(re.findall(r"(\w+)/", tree.partition("tests/ ")[2].partition("\n")[0]))
    assert drawn == {path.parent.name for path in (PROJECT / "tests").glob("*/__init__.py")}


def test_numbers_that_pages_repeat_are_those_of_the_suite(pytestconfig: pytest.Config) -> None:
    (kept,) = (each.attributes["default"] for each in option_table(pytestconfig).options if each.name == "--keep-runs")
    since = {name: f"{each.since.major}.{each.since.minor}" for name, each in REQUIREMENTS.items()}
    programs = (
        f"kind ({since['kind']} or newer), kubectl ({since['kubectl']} or newer) and Helm ({since['helm']} or newer, "
        f"but not {REQUIREMENTS['helm'].before.major})"  # type: ignore[union-attr]
    )
    (go,) = re.findall(r"^go (.+)$", (PROJECT / "workloads" / "server" / "go.mod").read_text(), flags=re.M)
    expected = {
        "getting-started.md": [programs, f"about {CLUSTER_MEMORY / GIB:.1f} GiB each", f"The newest {kept} stay"],
        "offline-supply.md": [
            programs[1:],
            f"Go {go}",
            *(f"${DOWNLOAD_BASES[name]}" for name in REQUIREMENTS),
            *(f"`{PROJECTS_OWN[name]}`" for name in REQUIREMENTS),
        ],
        "testing-your-chart.md": [f"every chart from {OLDEST_CHART} on"],
        "your-own-clusters.md": [f"({BUNDLE_PORT} and {BUNDLE_PORT + 1}, {DEMO_PORT}; or any free ones)"],
        "how-a-run-works.md": [
            f"A wait of more than {STALL_AFTER:.0f} s has the links checked every {stalls.WALK_INTERVAL:.0f} s, and "
            f"one that stays broken for {stalls.BROKEN_FOR:.0f} s ends it, for {stalls.CONFIGURED_FOR:.0f} s where",
        ],
        "other-suites.md": [f"a line of {BYTES_PER_SECOND / 1e6:.0f} MB/s"],
    }
    for page, sentences in expected.items():
        text = " ".join((PROJECT / "docs" / page).read_text().split())
        for sentence in sentences:
            assert sentence in text, f"{page} does not have {sentence!r}"
    assert (stalls.ON_ITS_WAY_FOR // 50, stalls.PULLED_FOR / 60, REQUEST_RATE, len(POINTS)) == (1, 4, 5, 10)
