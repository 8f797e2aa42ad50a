"""What GitHub shows of a run: an annotation, and a summary in Markdown."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.core import redaction
from fixtures.report.data.document import describe
from fixtures.report.github_actions import error_annotations, log_group, write_summary
from fixtures.report.red_run.failure import Failure
from fixtures.report.run import Phase, Report

ON_GITHUB = {"GITHUB_ACTIONS": "true"}


@pytest.fixture
def red(tmp_path: Path) -> Report:
    """A run whose diagnosis names a link."""
    report = Report(tmp_path)
    report.phases.append(Phase("Kind cluster", "server", 0.0, seconds=20.0))
    report.failures.append(Failure("test_a.py::test_ready", "call", "0 of 1 agents"))
    report.set_diagnosis(
        ["broken link: agent attested (server): 50% of 2: refused", "  usually: its token", "the rest"]
    )
    report.end({"passed": 2, "failed": 1}, succeeded=False)
    return report


def summary(report: Report, folder: Path) -> str:
    write_summary(describe(report), {"GITHUB_STEP_SUMMARY": str(folder / "summary")})
    return (folder / "summary").read_text()


def test_the_broken_link_is_an_annotation_in_one_line(red: Report) -> None:
    assert error_annotations(describe(red), ON_GITHUB) == [
        "::error title=SPIRE federation RED%3A 2 passed%2C 1 failed"
        "::broken link: agent attested (server): 50%25 of 2: refused%0A  usually: its token"
    ]


def test_a_red_run_without_a_diagnosis_is_annotated_by_its_first_failure(tmp_path: Path) -> None:
    report = Report(tmp_path, failures=[Failure("t.py::test_a", "call", "one"), Failure("t.py::test_b", "call", "two")])
    report.end({"failed": 2}, succeeded=False)
    run = describe(report)
    assert error_annotations(run, ON_GITHUB) == ["::error title=SPIRE federation RED%3A 2 failed::test_a: one"]


def test_a_run_that_was_refused_is_annotated_by_why(tmp_path: Path) -> None:
    report = Report(tmp_path, refused="no engine\nanswers")
    run = describe(report)
    assert error_annotations(run, ON_GITHUB) == ["::error title=SPIRE federation refused::no engine%0Aanswers"]
    assert summary(report, tmp_path) == "### SPIRE federation: refused\n\n```text\nno engine\nanswers\n```\n"


def test_elsewhere_and_of_a_green_run_there_is_no_annotation(red: Report, tmp_path: Path) -> None:
    assert error_annotations(describe(red), {}) == []
    green = Report(tmp_path)
    green.end({"passed": 3}, succeeded=True)
    assert error_annotations(describe(green), ON_GITHUB) == []


def test_what_a_group_has_is_between_its_lines_also_where_it_fails() -> None:
    lines: list[str] = []

    def fail() -> None:
        lines.append("inside")
        raise OSError("no terminal")

    with pytest.raises(OSError, match="no terminal"), log_group("100% of it\nall", lines.append, ON_GITHUB):
        fail()
    stop, resume = lines[1], lines[3]
    assert lines == ["::group::100%25 of it%0Aall", stop, "inside", resume, "::endgroup::"]
    token = stop.removeprefix("::stop-commands::")
    assert (resume, len(token) > 8) == (f"::{token}::", True)


def test_elsewhere_there_are_no_groups() -> None:
    lines: list[str] = []
    with log_group("all of it", lines.append, {}):
        lines.append("inside")
    assert lines == ["inside"]


def test_the_summary_has_verdict_reason_tables_and_timings_and_stays_below_what_was_there(
    red: Report, tmp_path: Path
) -> None:
    (tmp_path / "summary").write_text("# before\n")
    red.warnings.append("too long: `ttl`, in ```fences```")
    red.table("traffic", ["sent 10", "failed 0"])
    lines = summary(red, tmp_path).splitlines()
    assert lines[:2] == ["# before", "### SPIRE federation: RED: 2 passed, 1 failed"]
    shown = lines.index("broken link: agent attested (server): 50% of 2: refused")
    assert lines[shown - 1] == "```text"
    assert lines[shown + 1 : shown + 4] == ["  usually: its token", "test_ready: 0 of 1 agents", "```"]
    warned = lines.index("too long: `ttl`, in ```fences```")
    assert (lines[warned - 1], lines[warned + 1]) == ("````text", "````")
    assert [line for line in lines if line.startswith("<details>")] == [
        f"<details><summary>{name}</summary>" for name in ("warnings", "traffic", "timings (seconds)")
    ]
    assert any(line.split() == ["Kind", "cluster", "20.0"] for line in lines)


def test_a_summary_has_no_secrets(tmp_path: Path) -> None:
    redaction.keep_secret("hunter2secret")
    report = Report(tmp_path, warnings=["password hunter2secret"])
    report.end({}, succeeded=False)
    assert "hunter2secret" not in summary(report, tmp_path)


def test_without_a_place_for_it_no_summary_is_written(red: Report, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    write_summary(describe(red), {})
    assert sorted(tmp_path.iterdir()) == before
