"""What a run prints at its end, and what its folder has then."""

from __future__ import annotations

import json
import time

import pytest

pytest_plugins = ["pytester"]

PROJECTS_CONFTEST = """
import pathlib

import pytest

from fixtures.plugins.reporting import start_report
from fixtures.report.terminal import Terminal


def pytest_configure(config):
    folder = pathlib.Path("run")
    folder.mkdir()
    start_report(config, folder.resolve(), Terminal(open("terminal.txt", "w")))
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project whose run has a report; what it writes beside pytest's output goes to `terminal.txt`."""
    pytester.makeconftest(PROJECTS_CONFTEST)
    pytester.makeini("[pytest]\naddopts = -p fixtures.plugins.options -p fixtures.plugins.reporting\n")
    return pytester


def test_a_red_run_ends_with_its_verdict_and_what_broke_first_and_then_its_folder(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        def test_fine(): pass

        def test_left_out(): pytest.skip("not here")

        @pytest.fixture
        def spires(): raise RuntimeError("client: helm upgrade of spire ended with 1\\nand the rest of it")

        def test_ready(spires): pass

        def test_later(): assert False, "something else"
        """
    )
    done = project.runpytest_inprocess()
    done.stdout.fnmatch_lines(
        [
            "*= failed checks =*",
            "✗ *test_ready (setup)",
            "    RuntimeError: client: helm upgrade of spire ended with 1",
            "    and the rest of it [[]*.py:8[]]",
            "✗ *test_later",
            "    something else",
            "1 skipped: not here",
            "tracebacks: failures.txt in the run's folder, or -v",
            "",
            "RED: 1 passed, 1 failed, 1 error, 1 skipped",
        ],
        consecutive=False,
    )
    assert "def spires(): raise" not in done.stdout.str()
    assert (project.path / "terminal.txt").read_text().splitlines()[-1] == str(project.path / "run")
    assert (project.path / "run" / "timings.txt").read_text().startswith("phase")


def test_a_run_keeps_when_its_phases_began_and_when_its_first_failure_was_shown(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import time

        import pytest

        from fixtures.plugins.reporting import REPORT

        @pytest.fixture
        def spires(pytestconfig):
            with pytestconfig.stash[REPORT].phase("SPIRE", "client"):
                raise RuntimeError("no agent")

        def test_ready(spires): pass

        def test_later(): time.sleep(0.5); assert False
        """
    )
    began = time.time()
    project.runpytest_inprocess()
    kept = json.loads((project.path / "run" / "phases.json").read_text())
    (phase,) = kept["phases"]
    assert (phase["what"], phase["cluster"], phase["failed"]) == ("SPIRE", "client", True)
    assert began <= phase["began"] <= phase["began"] + phase["seconds"] <= kept["red_at"] < time.time() - 0.5


@pytest.mark.parametrize("refused", [False, True])
def test_on_github_a_red_or_refused_run_is_annotated_and_summarised(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary"))
    what = "pytestconfig.stash[REPORT].refuse('no agent')" if refused else "assert False, 'no agent'"
    project.makepyfile(f"from fixtures.plugins.reporting import REPORT\ndef test_ready(pytestconfig): {what}")
    done = project.runpytest_inprocess()
    done.stdout.fnmatch_lines(["::error title=SPIRE federation *::*no agent*"])
    assert "no agent" in (project.path / "summary").read_text()


def test_a_summary_that_cannot_be_written_changes_nothing(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "none" / "summary"))
    project.makepyfile("def test_fine(): pass")
    assert project.runpytest_inprocess().ret == pytest.ExitCode.OK


def test_a_green_run_ends_with_its_verdict_alone(project: pytest.Pytester) -> None:
    project.makepyfile("def test_fine(): pass")
    done = project.runpytest_inprocess()
    done.stdout.fnmatch_lines(["GREEN: 1 passed"])
    done.stdout.no_fnmatch_line("test_fine: *")
    assert json.loads((project.path / "run" / "phases.json").read_text()) == {"red_at": None, "phases": []}


def test_a_warning_is_shown_at_once_and_again_at_the_end_and_stays_in_the_folder(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from fixtures.plugins.reporting import REPORT

        def test_fine(pytestconfig):
            for text in ("server: too long", "client: too short"):
                pytestconfig.stash[REPORT].warn(text)
        """
    )
    done = project.runpytest_inprocess()
    done.stdout.fnmatch_lines(["warnings", "server: too long", "client: too short", "GREEN: 1 passed"])
    shown = [line.split("s  ", 1)[1] for line in (project.path / "terminal.txt").read_text().splitlines()[:-1]]
    assert shown == ["warning: server: too long", "warning: client: too short"]
    assert (project.path / "run" / "warnings.txt").read_text() == "server: too long\nclient: too short\n"


def test_a_run_without_clusters_has_no_folder_no_verdict_and_no_timings(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\naddopts = -p fixtures.plugins.options -p fixtures.plugins.reporting\n")
    pytester.makepyfile("def test_fine(): pass")
    done = pytester.runpytest_inprocess()
    assert done.ret == pytest.ExitCode.OK
    done.stdout.no_fnmatch_line("*GREEN*")
    assert not [path for path in pytester.path.iterdir() if path.is_dir() and path.name in ("run", "runs")]
