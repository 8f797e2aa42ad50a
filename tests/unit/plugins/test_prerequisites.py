"""Prerequisites: chosen with what depends on them, and named when they fail."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from fixtures.config.command_line import CLUSTER_MARKERS
from fixtures.core.project import PROJECT

pytest_plugins = ["pytester"]

FIRST = """
import pytest

@pytest.mark.dependency(name="ready")
def test_ready(): pass

def test_aside(): pass
"""
SECOND = """
import pytest

@pytest.mark.dependency(name="federated", depends=["ready"], scope="session")
def test_federated(): pass

@pytest.mark.dependency(name="refreshed", depends=["federated"], scope="session")
def test_refreshed(): pass

@pytest.mark.last
@pytest.mark.dependency(name="success", depends=["federated", "ready"], scope="session")
def test_success(): pass
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """Two files of tests that depend on one another, run with the plugin."""
    pytester.makeini("[pytest]\nmarkers =\n    last: the last one\naddopts = -p fixtures.plugins.prerequisites\n")
    pytester.makepyfile(test_1_first=FIRST, test_2_second=SECOND)
    return pytester


def run(suite: pytest.Pytester, *arguments: str) -> tuple[list[str], pytest.RunResult]:
    """The names of the tests that were run or skipped, in order, and all that was printed."""
    done = suite.runpytest_inprocess("-v", "-rs", *arguments)
    lines = [re.match(r"\S+::(\w+) (PASSED|FAILED|SKIPPED)", line) for line in done.outlines]
    return [line[1] for line in lines if line], done


def test_the_last_test_chosen_by_name_brings_its_prerequisites_in_their_order(suite: pytest.Pytester) -> None:
    names, done = run(suite, "-k", "success")
    assert names == ["test_ready", "test_federated", "test_success"]
    done.assert_outcomes(passed=3, deselected=4)


SHUFFLING = """
import pytest

@pytest.hookimpl({how})
def pytest_collection_modifyitems(items):
    items.reverse()
    {then}
"""


@pytest.mark.parametrize(
    ("how", "then"),
    # pytest-randomly before and since its version 5
    [("tryfirst=True", ""), ("tryfirst=True, wrapper=True", "return (yield)"), ("trylast=True", "")],
)
def test_the_tests_stay_in_their_order_beside_a_plugin_that_shuffles(
    suite: pytest.Pytester, how: str, then: str
) -> None:
    suite.makepyfile(shuffling=SHUFFLING.format(how=how, then=then))
    suite.syspathinsert()
    suite.makeini((suite.path / "tox.ini").read_text().replace("addopts =", "addopts = -p shuffling"))
    names, done = run(suite)
    assert names == ["test_ready", "test_aside", "test_federated", "test_refreshed", "test_success"]
    done.assert_outcomes(passed=5)


def test_a_test_chosen_by_marker_brings_its_prerequisites(suite: pytest.Pytester) -> None:
    assert run(suite, "-m", "last")[0] == ["test_ready", "test_federated", "test_success"]


def test_a_prerequisite_that_was_deselected_is_brought_back(suite: pytest.Pytester) -> None:
    names, done = run(suite, "--deselect", "test_1_first.py::test_ready", "-k", "federated")
    assert names == ["test_ready", "test_federated"]
    assert done.ret == pytest.ExitCode.OK


def test_a_test_without_prerequisites_brings_none(suite: pytest.Pytester) -> None:
    assert run(suite, "-k", "aside")[0] == ["test_aside"]


def test_a_choice_of_nothing_stays_nothing(suite: pytest.Pytester) -> None:
    names, done = run(suite, "-k", "nothing")
    assert names == []
    assert done.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_without_a_choice_every_test_is_run_where_it_stands(suite: pytest.Pytester) -> None:
    assert run(suite)[0] == ["test_ready", "test_aside", "test_federated", "test_refreshed", "test_success"]


def test_a_failed_prerequisite_skips_its_dependants_with_a_reason_that_names_it(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_1_first=FIRST.replace("test_ready(): pass", "test_ready(): assert False"))
    _, done = run(suite)
    done.assert_outcomes(failed=1, passed=1, skipped=3)
    done.stdout.fnmatch_lines(
        ["SKIPPED * test_federated depends on ready", "SKIPPED * test_refreshed depends on federated"]
    )


def test_a_prerequisite_that_was_brought_along_and_fails_skips_the_one_that_was_chosen(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_2_second=SECOND.replace("test_federated(): pass", "test_federated(): assert False"))
    _, done = run(suite, "-k", "success")
    done.assert_outcomes(failed=1, passed=1, skipped=1, deselected=4)
    done.stdout.fnmatch_lines(["SKIPPED * test_success depends on federated"])


def test_a_prerequisite_whose_setup_fails_skips_its_dependants(suite: pytest.Pytester) -> None:
    broken = "\n@pytest.fixture\ndef broken(): assert False\n"
    suite.makepyfile(test_1_first=FIRST.replace("test_ready()", "test_ready(broken)") + broken)
    _, done = run(suite, "-k", "federated")
    done.assert_outcomes(errors=1, skipped=1, deselected=4)


def test_a_prerequisite_that_there_is_not_is_named_by_the_skip(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_2_second=SECOND.replace('depends=["ready"]', 'depends=["unready"]'))
    _, done = run(suite, "-k", "federated")
    done.assert_outcomes(skipped=1, deselected=4)
    done.stdout.fnmatch_lines(["SKIPPED * test_federated depends on unready"])


def marked() -> list[tuple[str, list[str]]]:
    """The name of every test of this project that others may depend on, with what it depends on itself, in order."""
    found = []
    for path in sorted(path for suite in CLUSTER_MARKERS for path in (PROJECT / "tests" / suite).glob("test_*.py")):
        for arguments in re.findall(
            r"^@pytest\.mark\.dependency\((.*?)\)$", path.read_text(), re.MULTILINE | re.DOTALL
        ):
            name = re.search(r'name="([^"]+)"', arguments)
            depends = re.search(r"depends=\[(.*?)\]", arguments, re.DOTALL)
            found.append((name[1] if name else "", re.findall(r'"([^"]+)"', depends[1]) if depends else []))
    return found


def test_every_prerequisite_of_this_project_stands_before_what_depends_on_it_under_a_name_of_its_own() -> None:
    names = [name for name, _ in marked() if name]
    assert len(names) >= 15
    assert sorted(names) == sorted(set(names))
    for position, (name, depends) in enumerate(marked()):
        before = {other for other, _ in marked()[:position]}
        assert set(depends) <= before, f"{name} depends on {set(depends) - before}, which do not come before it"


def test_the_last_chapter_of_this_project_brings_the_chapters_before_it() -> None:
    command = [sys.executable, "-m", "pytest", "-m", "federation", "-k", "wrong_jwt_audience"]
    command += ["--collect-only", "-q", "--ignore=tests/unit"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=180, check=False)
    lines = [line for line in done.stdout.splitlines() if "::" in line]
    files = list(dict.fromkeys(line.split("::")[0] for line in lines))
    assert "wrong_jwt_audience" in lines[-1]
    assert len(lines) > 1
    assert files == sorted(files)
    assert files[0] == "tests/federation/test_1_deployment.py"
