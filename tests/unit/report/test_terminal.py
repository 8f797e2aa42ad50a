"""How what has happened, and what is under way, is shown on a terminal."""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fixtures.core.waiting import Condition, Look, wait_for
from fixtures.report.live_view import LiveView
from fixtures.report.run import Phase, Report
from fixtures.report.terminal import Terminal, is_live
from tests.unit.report.screen import Screen


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
        wait_for(Condition("a line", lambda: Look(stream.getvalue() or None, "none")), 60.0, interval=0.01)
        terminal.stop()
    first, *_ = comparable(stream.getvalue().splitlines())
    assert first == "# s … server: SPIRE # s (bundle for the agents) | client: SPIRE # s"


def test_a_line_does_not_run_on_from_one_of_pytests(stream: io.StringIO) -> None:
    terminal = Terminal(stream)
    writer = terminal.beside(stream)
    writer.write("tests/federation/test_1.py .")
    terminal.line("Kubernetes: server 1.36.3")
    writer.write(".  [100%]\n")
    first, second, third = stream.getvalue().splitlines()
    assert (first, third) == ("tests/federation/test_1.py .", ".  [100%]")
    assert second.endswith("s  Kubernetes: server 1.36.3")


def test_where_quiet_only_warnings_and_what_failed_are_shown(tmp_path: Path, stream: io.StringIO) -> None:
    terminal = Terminal(stream, quiet=True)
    report = Report(tmp_path, terminal.line, [terminal.phase_end])
    with report.phase("supply"):
        report.say("local supply: as asked for")
    report.warn("too long")
    with pytest.raises(ValueError, match="no"), report.phase("SPIRE", "client"):
        raise ValueError("no")
    warning, failed = stream.getvalue().splitlines()
    assert warning.endswith("warning: too long")
    assert "✗ client   SPIRE" in failed


def comparable(lines: list[str]) -> list[str]:
    """Lines with a # for seconds, and single spaces."""
    return [" ".join(re.sub(r"[\d.]+ ?s\b", "# s", line).split()) for line in lines]


class Live:
    """A live terminal with a report, drawn on by hand."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, columns: int = 100, lines: int = 30) -> None:
        self.screen = Screen(columns, lines)
        monkeypatch.setattr("fixtures.report.terminal.os.get_terminal_size", lambda _: self.screen.size)
        monkeypatch.setattr("fixtures.report.terminal.REDRAW_INTERVAL", 0.01)
        self.terminal = Terminal(self.screen, LiveView(colors=False, clock=lambda: 0.0))
        self.report = Report(folder, self.terminal.line, [self.terminal.phase_end])
        self.pytest = self.terminal.beside(self.screen)
        self.terminal.watch(self.report.running, self.report.counters)

    def shows(self, *wanted: str) -> None:
        """Wait until these lines are the last ones; seconds and spaces in them may be any number."""

        def look() -> Look[bool]:
            with self.terminal._lock:
                found = comparable(self.screen.text)
            return Look(found[-len(wanted) :] == list(wanted) or None, "\n".join(found))

        wait_for(Condition("these lines", look), 60.0, interval=0.01)


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    made = Live(tmp_path, monkeypatch)
    yield made
    made.terminal.stop()


def test_on_a_live_terminal_a_long_line_is_broken_between_words_and_in_a_log_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: io.StringIO
) -> None:
    text = "other clusters' pods reach the bundle endpoints and the demo's server by port-forward: 10.89.0.1"
    live = Live(tmp_path, monkeypatch, columns=60)
    live.terminal.line(text)
    live.terminal.stop()
    first, *others = live.screen.text
    assert first.endswith("other clusters' pods reach the bundle endpoints")
    assert others == [" " * 10 + "and the demo's server by port-forward: 10.89.0.1"]
    Terminal(stream).line(text)
    assert stream.getvalue().endswith(f"s  {text}\n")


def test_a_live_terminal_shows_what_is_under_way_below_pytests_line_and_lines_above_it(live: Live) -> None:
    live.pytest.write("collected 21 items\n\ntests/federation/test_1.py .")
    with live.report.phase("SPIRE", "server") as server:
        server.progress("helm: spire")
        with live.report.phase("SPIRE", "client"):
            below = (
                "server client",
                "⠋ SPIRE # s helm: spire # s",
            )
            live.shows("tests/federation/test_1.py .", *below)
            live.pytest.write(".")
            live.shows("tests/federation/test_1.py ..", *below)
            live.report.say("Kubernetes: server 1.36.3")
            live.shows("", "# s Kubernetes: server 1.36.3", "tests/federation/test_1.py ..", *below)
    live.pytest.write("  [100%]\n")
    live.terminal.stop()
    assert comparable(live.screen.text) == [
        "collected 21 items",
        "",
        "# s Kubernetes: server 1.36.3",
        "# s ✓ client SPIRE # s",
        "# s ✓ server SPIRE # s",
        "tests/federation/test_1.py .. [100%]",
    ]


def test_counters_stand_below_the_phases_as_long_as_they_count(live: Live) -> None:
    with live.report.phase("upgrade", "server"):
        live.report.counters["live traffic"] = lambda: "new: 12 sent, 0 failed"
        live.shows("server", "⠋ upgrade # s", "live traffic new: 12 sent, 0 failed")
        del live.report.counters["live traffic"]
        live.shows("server", "⠋ upgrade # s")


def test_on_a_narrow_terminal_phases_stand_under_each_other_and_no_line_is_wider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = Live(tmp_path, monkeypatch, 40)
    live.pytest.write("tests/federation/test_1_deployment.py::test_a_name_that_takes_two_lines ")
    with live.report.phase("SPIRE", "server") as phase:
        phase.progress("StatefulSet spire-server/spire-server available")
        below = ("⠋ server: SPIRE # s", "StatefulSet spire-server/spire-serve…")
        unfinished = ("tests/federation/test_1_deployment.py::t", "est_a_name_that_takes_two_lines")
        live.shows(*unfinished, *below)
        live.report.say("a line")
        live.shows("# s a line", *unfinished, *below)
    live.shows("# s ✓ server SPIRE # s", *unfinished)
    live.terminal.stop()


def test_at_the_bottom_of_a_terminal_the_view_scrolls_and_is_cut_to_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = Live(tmp_path, monkeypatch, 40, 5)
    live.pytest.write("".join(f"{n}\n" for n in range(9)) + "x")
    with ExitStack() as phases:
        for name in "ABCD":
            phases.enter_context(live.report.phase(name, "server"))
        live.shows("8", "x", "⠋ server: A # s", "⠋ server: B # s", "⠋ server: C # s")
    live.terminal.stop()
    assert live.screen.text[-1] == "x"
    assert live.screen.text[:9] == [str(n) for n in range(9)]


def test_nothing_is_drawn_while_somebody_types(live: Live) -> None:
    with live.report.phase("SPIRE", "server"):
        live.shows("server", "⠋ SPIRE # s")
        with live.terminal.paused():
            assert live.screen.text == [""]
            time.sleep(0.1)
            assert live.screen.text == [""]
        live.shows("server", "⠋ SPIRE # s")


@pytest.mark.parametrize(
    ("is_terminal", "environment", "live"),
    [
        (True, {"TERM": "xterm-256color"}, True),
        (True, {"TERM": "dumb"}, False),
        (True, {}, False),
        (False, {"TERM": "xterm"}, False),
    ],
)
def test_only_a_terminal_that_can_move_its_cursor_is_live(
    is_terminal: bool, environment: dict[str, str], live: bool
) -> None:
    assert is_live(Screen() if is_terminal else io.StringIO(), environment) is live


def test_a_live_view_has_no_colors_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    phase = Phase("SPIRE", "server", time.monotonic())
    assert any("\x1b[36m" in line for line in LiveView()([phase], {}, 100, 30))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not any("\x1b[3" in line for line in LiveView()([phase], {}, 100, 30))


def test_what_is_drawn_has_no_secrets() -> None:
    phase = Phase("SPIRE", "server", time.monotonic(), waiting_for="glpat-" + "q1w2e3r4" * 3)
    for columns in (100, 40):
        assert "<redacted>" in "\n".join(LiveView()([phase], {}, columns, 30))


def test_a_reader_that_has_gone_does_not_end_the_run(tmp_path: Path) -> None:
    read, written = os.pipe()
    os.close(read)
    terminal = Terminal(os.fdopen(written, "w"))
    report = Report(tmp_path, terminal.line, [terminal.phase_end])
    with report.phase("supply"):
        report.say("local supply: as asked for")
    terminal.close(str(tmp_path))
