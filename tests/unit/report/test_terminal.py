"""How what has happened, and what is under way, is shown on a terminal."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import pytest

from fixtures.core.waiting import Condition, Look, wait_for
from fixtures.report.run import Report
from fixtures.report.terminal import Terminal


class LiveStream(io.StringIO):
    """The stream of a live terminal."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 0


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def terminal(stream: io.StringIO) -> Terminal:
    return Terminal(stream)


@pytest.fixture
def report(tmp_path: Path, terminal: Terminal) -> Report:
    return Report(tmp_path, terminal.line, [terminal.phase_end])


def test_a_phase_that_ends_is_shown_with_its_cluster_and_time(report: Report, stream: io.StringIO) -> None:
    with report.phase("Kind cluster", "server") as phase:
        assert phase.seconds is None
    assert phase.seconds is not None
    assert not phase.failed
    assert report.phases == [phase]
    (line,) = stream.getvalue().splitlines()
    assert re.fullmatch(r" +\d+\.\ds  ✓ server   Kind cluster +\d+\.\d s", line)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_phase_that_fails_is_marked_and_what_it_raised_goes_on(
    report: Report, stream: io.StringIO, error: type[BaseException]
) -> None:
    with pytest.raises(error), report.phase("SPIRE", "client"):
        raise error
    assert report.phases[0].failed
    assert report.phases[0].seconds is not None
    assert "✗ client   SPIRE" in stream.getvalue().splitlines()[0]


def test_a_phase_of_no_cluster_is_the_runs(report: Report, stream: io.StringIO) -> None:
    with report.phase("supply") as phase:
        pass
    assert "✓ run      supply" in stream.getvalue().splitlines()[0]
    assert str(phase) == "run: supply"


def test_what_is_under_way_is_shown_with_what_is_awaited(
    report: Report, terminal: Terminal, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixtures.report.terminal.HEARTBEAT_INTERVAL", 0.01)
    with report.phase("SPIRE", "server") as phase, report.phase("SPIRE", "client"):
        phase.progress("bundle for the agents")
        terminal.watch(report.running)
        wait_for(Condition("a line", lambda: Look(stream.getvalue() or None, "none")), 5.0, interval=0.01)
        terminal.stop()
    assert "… server: SPIRE 0 s (bundle for the agents) | client: SPIRE 0 s" in stream.getvalue().splitlines()[0]


def test_on_a_terminal_one_line_is_redrawn_cut_to_its_width_and_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixtures.report.terminal.REDRAW_INTERVAL", 0.01)
    monkeypatch.setattr("fixtures.report.terminal.os.get_terminal_size", lambda _: os.terminal_size((40, 25)))
    stream = LiveStream()
    terminal = Terminal(stream)
    report = Report(tmp_path, terminal.line, [terminal.phase_end])
    with report.phase("a phase with quite a long name", "server") as phase:
        phase.progress("something with a long name as well")
        terminal.watch(report.running)
        wait_for(Condition("a redraw", lambda: Look("…" in stream.getvalue() or None, "none")), 5.0, interval=0.01)
        terminal.stop()
    drawn = stream.getvalue().split("\r\x1b[K")
    assert drawn[1] == "… server: a phase with quite a long name"
    assert "✓" in drawn[-1]
    assert "\n" not in "".join(drawn[:-1])


def test_lines_that_nobody_reads_any_more_end_no_run() -> None:
    read, write = os.pipe()
    os.close(read)
    terminal = Terminal(os.fdopen(write, "w"))
    terminal.line("✓ nobody reads this")
    terminal.close("runs/1")
