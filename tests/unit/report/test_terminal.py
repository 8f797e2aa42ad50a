"""What a person sees and keeps of a run."""

from __future__ import annotations

import io
import json
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fixtures.core.waiting import Condition, Look, wait_for
from fixtures.report.folder import discard_folder, new_folder
from fixtures.report.terminal import Phase, Report

pytest_plugins = ["pytester"]

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
PROJECTS_CONFTEST = """
import pathlib

import pytest

from fixtures.plugins.reporting import REPORT
from fixtures.report.terminal import Report


def pytest_configure(config):
    folder = pathlib.Path("run")
    folder.mkdir()
    config.stash[REPORT] = Report(folder.resolve(), open("terminal.txt", "w"))
"""


class Terminal(io.StringIO):
    """A terminal 40 columns wide."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 0


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return Report(tmp_path, io.StringIO())


def said(report: Report) -> list[str]:
    """The lines that were shown."""
    assert isinstance(report.terminal, io.StringIO)
    return report.terminal.getvalue().splitlines()


def finished(what: str, cluster: str, seconds: float) -> Phase:
    return Phase(what, cluster, 0.0, seconds=seconds)


def test_the_timings_have_a_row_for_each_phase_and_a_column_for_each_cluster(report: Report) -> None:
    report.phases += [
        finished("supply", "", 1.25),
        finished("Kind cluster", "server", 20.0),
        finished("Kind cluster", "client", 21.5),
        finished("SPIRE", "client", 30.0),
        finished("SPIRE", "server", 31.0),
    ]
    rows = [line.split() for line in report.timings()]
    assert rows[:-1] == [
        ["phase", "run", "server", "client"],
        ["supply", "1.2"],
        ["Kind", "cluster", "20.0", "21.5"],
        ["SPIRE", "31.0", "30.0"],
    ]
    assert rows[-1][0] == "all"


def test_every_time_stands_under_its_cluster(report: Report) -> None:
    report.phases += [finished("supply", "", 1.0), finished("SPIRE", "server", 2.0), finished("SPIRE", "client", 3.0)]
    head, supply, spire, _ = report.timings()
    assert supply.index("1.0") + len("1.0") == head.index("run") + len("run")
    assert spire.index("2.0") + len("2.0") == head.index("server") + len("server")
    assert spire.index("3.0") + len("3.0") == head.index("client") + len("client")


def test_a_phase_that_comes_twice_for_a_cluster_is_added_up(report: Report) -> None:
    report.phases += [finished("client Job", "client", 1.5), finished("client Job", "client", 2.0)]
    assert report.timings()[1].split() == ["client", "Job", "3.5"]


def test_a_run_without_phases_has_a_table_all_the_same(report: Report) -> None:
    assert [line.split()[0] for line in report.timings()] == ["phase", "all"]


def test_a_phase_that_ends_is_shown_with_its_cluster_and_time(report: Report) -> None:
    with report.phase("Kind cluster", "server") as phase:
        assert phase.seconds is None
    assert phase.seconds is not None
    assert not phase.failed
    assert report.phases == [phase]
    (line,) = said(report)
    assert re.fullmatch(r" +\d+\.\ds  ✓ server   Kind cluster +\d+\.\d s", line)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_phase_that_fails_is_marked_and_what_it_raised_goes_on(report: Report, error: type[BaseException]) -> None:
    with pytest.raises(error), report.phase("SPIRE", "client"):
        raise error
    assert report.phases[0].failed
    assert report.phases[0].seconds is not None
    assert "✗ client   SPIRE" in said(report)[0]


def test_a_phase_of_no_cluster_is_the_runs(report: Report) -> None:
    with report.phase("supply") as phase:
        pass
    assert "✓ run      supply" in said(report)[0]
    assert str(phase) == "run: supply"


def test_whoever_wants_to_know_is_told_when_a_phase_is_done_also_when_it_failed(report: Report) -> None:
    done: list[tuple[str, bool, bool]] = []
    report.on_done = lambda phase: done.append((str(phase), phase.failed, phase.seconds is not None))
    with report.phase("supply"):
        assert done == []
    with pytest.raises(ValueError, match="broken"), report.phase("SPIRE", "server"):
        raise ValueError("broken")
    assert done == [("run: supply", False, True), ("server: SPIRE", True, True)]


def test_what_is_under_way_is_shown_with_what_is_awaited(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.report.terminal.HEARTBEAT", 0.01)
    with report.phase("SPIRE", "server") as phase, report.phase("SPIRE", "client"):
        phase.progress("bundle for the agents")
        report.watch()
        wait_for(
            Condition("a line", lambda: Look(said(report)[0] if said(report) else None, "none")), 5.0, interval=0.01
        )
        report.stop()
    assert "… server: SPIRE 0 s (bundle for the agents) | client: SPIRE 0 s" in said(report)[0]


def test_on_a_terminal_one_line_is_written_anew_cut_to_its_width_and_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixtures.report.terminal.REDRAW", 0.01)
    monkeypatch.setattr("fixtures.report.terminal.os.get_terminal_size", lambda _: os.terminal_size((40, 25)))
    terminal = Terminal()
    report = Report(tmp_path, terminal)
    with report.phase("a phase with quite a long name", "server") as phase:
        phase.progress("something with a long name as well")
        report.watch()
        wait_for(Condition("a redraw", lambda: Look("…" in terminal.getvalue() or None, "none")), 5.0, interval=0.01)
        report.stop()
    drawn = terminal.getvalue().split("\r\x1b[K")
    assert drawn[1] == "… server: a phase with quite a long name"
    assert "✓" in drawn[-1]
    assert "\n" not in "".join(drawn[:-1])


def test_a_folder_of_ones_own_is_made_and_latest_stays_as_it_was(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first = new_folder(None, runs)
    chosen = tmp_path / "some" / "where"
    assert new_folder(chosen, runs) == chosen
    assert chosen.is_dir()
    assert new_folder(chosen, runs) == chosen
    assert (runs / "latest").resolve() == first


def test_folders_made_within_one_second_are_distinct_and_latest_points_to_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        @staticmethod
        def now(zone: object) -> datetime:
            assert zone is UTC
            return NOON

    monkeypatch.setattr("fixtures.report.folder.datetime", Clock)
    runs = tmp_path / "runs"
    made = []
    for _ in range(3):
        made.append(new_folder(None, runs))
        assert (runs / "latest").resolve() == made[-1]
        assert made[-1].is_dir()
    assert [path.name for path in made] == [f"2026-11-24T120000Z{suffix}" for suffix in ("", "-2", "-3")]
    assert sorted(path.name for path in runs.iterdir()) == [*sorted(path.name for path in made), "latest"]


def test_a_folder_that_is_discarded_leaves_latest_to_the_one_before(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first = new_folder(None, runs)
    second = new_folder(None, runs)
    (second / "junit.xml").touch()
    discard_folder(second)
    assert (runs / "latest").resolve() == first
    discard_folder(first)
    assert not runs.exists()


def test_a_folder_elsewhere_that_is_discarded_leaves_what_is_beside_it(tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to("gone")
    discard_folder(new_folder(tmp_path / "mine", tmp_path / "runs"))
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


def test_latest_is_a_relative_link_so_that_the_runs_may_be_moved(tmp_path: Path) -> None:
    made = new_folder(None, tmp_path / "runs")
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "latest").resolve() == tmp_path / "moved" / made.name


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
            "*= federation =*",
            "phase*",
            "all*",
            "RED: 1 passed, 1 failed, 1 error, 1 skipped",
            "test_ready: client: helm upgrade of spire ended with 1",
        ]
    )
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
