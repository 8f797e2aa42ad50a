"""What a run prints at its end, and what its folder has then."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
import time
from contextlib import suppress

import pytest

from fixtures.core.project import PROJECT
from fixtures.report.data.document import read_document
from fixtures.report.html.page import PAGE
from fixtures.report.red_run.one_screen import SCREEN_LINES
from tests.unit.conftest import RECORDED
from tests.unit.report.screen import Screen

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
    plugins = " ".join(f"-p fixtures.plugins.{name}" for name in ("options", "reporting", "recording"))
    pytester.makeini(f"[pytest]\naddopts = {plugins}\n")
    return pytester


def test_a_red_run_ends_with_each_sentence_and_its_verdict_and_then_its_folder(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    monkeypatch.setenv("COLUMNS", "200")
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
            "page: report.html; tracebacks: failures.txt, or -v",
            "",
            "RED: 1 passed, 1 failed, 1 error, 1 skipped",
        ]
    )
    assert "def spires(): raise" not in done.stdout.str()
    assert (project.path / "terminal.txt").read_text().splitlines()[-1] == str(project.path / "run")
    assert (project.path / "run" / "timings.txt").read_text().startswith("phase")


# A set-up that fails as a real one did, with what depends on it.
RED_SUITE = """
import pytest

from fixtures.core.waiting import UnrecoverableError
from fixtures.plugins.reporting import REPORT

SEEN = (
    "server: StatefulSet spire-server/spire-server cannot come after 3.5 s: server: pod spire-server-0 waits for its "
    'claim spire-data-spire-server-0: storageclass.storage.k8s.io "nowhere" not found'
)

@pytest.fixture(scope="session")
def spires(pytestconfig):
    a_local_variable = 1
    raise UnrecoverableError(SEEN)

@pytest.mark.dependency(name="spire ready")
def test_ready(spires, pytestconfig): pass

def test_restricted(spires): pass

@pytest.mark.dependency(name="agents", depends=["spire ready"])
def test_agents(spires): pass

@pytest.mark.dependency(depends=["agents"])
def test_entries(spires): pass

def test_counts(): assert [1, 2] == [1, 3]

def test_breaks(): {}["server"]

@pytest.fixture(autouse=True, scope="session")
def diagnosed(pytestconfig):
    lines = open(DIAGNOSIS).read().splitlines()
    pytestconfig.stash[REPORT].set_diagnosis(lines)
"""


@pytest.fixture
def red_project(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project whose run is red, on a terminal of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")
    diagnosis = RECORDED / "diagnosis-storage-class.txt"
    project.makepyfile(test_1_deployment=RED_SUITE.replace("DIAGNOSIS", repr(str(diagnosis))))
    return project


def test_a_red_run_is_one_screen_and_has_its_tracebacks_in_a_file(red_project: pytest.Pytester) -> None:
    done = red_project.runpytest_inprocess("--junitxml=junit.xml")
    shown = done.stdout.str()
    end = shown[shown.index("= diagnosis =") :].splitlines()
    assert len(end) <= SCREEN_LINES
    assert shown.count("cannot come after 3.5 s") == 1
    done.stdout.fnmatch_lines(
        [
            "broken link: component ready (server): *",
            "✗ test_1_deployment.py::test_ready (setup) and 1 more",
            "    server: StatefulSet spire-server/spire-server cannot come after 3.5 s: server: pod",
            "✗ test_1_deployment.py::test_counts",
            "    assert [[]1, 2[]] == [[]1, 3[]]",
            "✗ test_1_deployment.py::test_breaks",
            "    KeyError: 'server' [[]test_1_deployment.py:*[]]",
            "2 skipped: a prerequisite did not pass",
            "RED: 2 failed, 2 error, 2 skipped",
        ]
    )
    kept = (red_project.path / "run" / "failures.txt").read_text()
    assert kept.count("a_local_variable = 1") == 2
    assert "=== test_1_deployment.py::test_counts (call)" in kept
    junit = (red_project.path / "junit.xml").read_text()
    assert "a_local_variable" not in junit
    assert "cannot come after 3.5 s" in junit


RED_BY_A_CHECK = """
import pytest
from fixtures.plugins.reporting import REPORT

@pytest.fixture(autouse=True, scope="session")
def diagnosed(pytestconfig):
    report = pytestconfig.stash[REPORT]
    report.set_diagnosis(["no broken link: every one that can be looked at holds", "the suite's own state:", "  none"])
    report.table("live traffic", ["sent 10"])
    report.table("field", ["a case"])

def test_issuer(): assert False, "the JWT issuer was another"
"""


def test_where_every_link_holds_a_red_run_leads_with_the_failed_check_and_has_no_traffic(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(test_1_upgrade=RED_BY_A_CHECK)
    shown = project.runpytest_inprocess().stdout.str()
    order = ["= failed checks =", "the JWT issuer was another", "= diagnosis =", "no broken link", "a case", "RED: 1"]
    places = [shown.rindex(each) for each in order]
    assert places == sorted(places)
    assert "sent 10" not in shown


def test_on_github_the_tracebacks_of_a_red_run_are_a_closed_group_of_the_log(
    red_project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    lines = red_project.runpytest_inprocess().outlines
    began = lines.index("::group::tracebacks (failures.txt)")
    ended = lines.index("::endgroup::", began)
    kept = (red_project.path / "run" / "failures.txt").read_text().splitlines()
    assert lines[began + 2 : ended - 1] == kept
    assert kept.count("        a_local_variable = 1") == 2
    assert lines[began + 1].startswith("::stop-commands::")
    annotations = [number for number, line in enumerate(lines) if line.startswith("::error title=SPIRE federation RED")]
    assert len(annotations) == 1
    assert annotations[0] > lines.index("RED: 2 failed, 2 error, 2 skipped") > ended


@pytest.mark.parametrize("argument", ["-v", "--tb=long"])
def test_with_v_or_a_style_of_tb_pytest_shows_its_tracebacks_too(red_project: pytest.Pytester, argument: str) -> None:
    done = red_project.runpytest_inprocess(argument, "--junitxml=junit.xml")
    done.stdout.fnmatch_lines(["*= ERRORS =*", "*a_local_variable = 1", "*= FAILURES =*", "*= federation =*", "phase*"])
    assert "a_local_variable" not in (red_project.path / "junit.xml").read_text()


# As a ValidatingAdmissionPolicy refused a namespace.
POLICY_SAID = (
    "namespaces spire-server is forbidden: ValidatingAdmissionPolicy 'company-team' with binding 'company-team' denied "
    "request: every namespace needs the label team"
)
REFUSED_BY_POLICY = """
import json

from kubernetes.client import ApiException

def test_labelled():
    error = ApiException(status=422, reason="Unprocessable Entity")
    error.headers = {"Audit-Id": "19719a6a-5335-401f-9138-e2272ae0a7ba"}
    error.body = json.dumps({"kind": "Status", "status": "Failure", "message": SAID, "code": 422})
    raise error
"""


def test_what_the_api_server_refuses_is_said_in_its_words(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(REFUSED_BY_POLICY.replace("SAID", repr(POLICY_SAID)))
    monkeypatch.setenv("COLUMNS", "300")
    done = project.runpytest_inprocess()
    done.stdout.fnmatch_lines([f"*the API server answers 422 Unprocessable Entity: {POLICY_SAID}*"])
    done.stdout.no_fnmatch_line("*Audit-Id*")


def test_a_file_that_cannot_be_imported_is_described_by_pytest(project: pytest.Pytester) -> None:
    project.makepyfile(test_broken="import nothing_of_this_name")
    project.runpytest_inprocess().stdout.fnmatch_lines(["*ERROR collecting*", "*nothing_of_this_name*", "RED: *"])


def test_secrets_are_in_neither_the_screen_nor_the_files_of_a_red_run(project: pytest.Pytester) -> None:
    secret = "glpat-" + "q1w2e3r4" * 3
    project.makepyfile(f"def test_a():\n    given = '{secret}'\n    raise RuntimeError('it was ' + given)")
    done = project.runpytest_inprocess("--junitxml=junit.xml")
    files = [project.path / "junit.xml", project.path / "run" / "failures.txt"]
    assert all(secret not in text for text in [done.stdout.str(), *(path.read_text() for path in files)])
    assert "RuntimeError: it was <redacted>" in done.stdout.str()


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


@pytest.mark.parametrize(
    ("cluster", "chosen", "stays"), [("", False, False), ("server", False, True), ("", True, True)]
)
def test_the_folder_of_a_run_that_is_refused_stays_where_it_has_begun_on_a_cluster_or_was_chosen(
    project: pytest.Pytester, cluster: str, chosen: bool, stays: bool
) -> None:
    path = project.path / "conftest.py"
    given = (
        f"    from fixtures.plugins.reporting import FOLDER_IS_CHOSEN\n    config.stash[FOLDER_IS_CHOSEN] = {chosen}\n"
    )
    path.write_text(f"{path.read_text()}\n{given}")
    project.makepyfile(
        f"""
        from fixtures.plugins.reporting import REPORT

        def test_ready(pytestconfig):
            report = pytestconfig.stash[REPORT]
            with report.phase("a phase", {cluster!r}):
                pass
            report.refuse("no image")
        """
    )
    done = project.runpytest_inprocess("-p", "fixtures.plugins.recording")
    done.stdout.fnmatch_lines(["REFUSED: no image"])
    assert (project.path / "run").is_dir() is stays
    if stays:
        verdict = read_document(project.path / "run")["verdict"]
        assert (verdict["result"], verdict["sentence"]) == ("refused", "no image")
        assert "<h1>REFUSED: no image</h1>" in (project.path / "run" / PAGE).read_text()


def test_a_run_that_pytest_itself_refuses_says_so_in_its_folder(project: pytest.Pytester) -> None:
    project.makepyfile(test_it="def test_fine(): pass")
    done = project.runpytest_inprocess("-p", "fixtures.plugins.recording", "test_it.py::test_other")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stdout.fnmatch_lines(["REFUSED: not found: *test_it.py::test_other (no match in any of *"])
    # Where nobody has chosen it, there is none.
    assert not (project.path / "run").exists()


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
    shown = [line.split("s  ", 1)[1] for line in (project.path / "terminal.txt").read_text().splitlines()[:-1] if line]
    assert shown == ["warning: server: too long", "warning: client: too short"]
    assert (project.path / "run" / "warnings.txt").read_text() == "server: too long\nclient: too short\n"


def test_a_run_without_clusters_has_no_folder_no_verdict_and_no_timings(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\naddopts = -p fixtures.plugins.options -p fixtures.plugins.reporting\n")
    pytester.makepyfile("def test_fine(): pass")
    done = pytester.runpytest_inprocess()
    assert done.ret == pytest.ExitCode.OK
    done.stdout.no_fnmatch_line("*GREEN*")
    assert not [path for path in pytester.path.iterdir() if path.is_dir() and path.name in ("run", "runs")]


def test_on_github_long_parts_are_groups_and_the_verdict_stands_outside(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    project.makepyfile("def test_red(): assert False, 'broken'")
    done = project.runpytest_inprocess("-v")
    done.stdout.fnmatch_lines(
        [
            "::group::pytest's own report",
            "*= FAILURES =*",
            "FAILED *",
            "::endgroup::",
            "*= federation =*",
            "::group::timings, warnings and tables",
            "phase*",
            "::endgroup::",
            "RED: 1 failed",
            "::error title=*",
        ]
    )


LIVE_CONFTEST = """
import os
import pathlib
import sys
import threading
import time

import pytest

from fixtures.plugins.reporting import REPORT, TERMINAL, drawing_for, start_report
from fixtures.report.terminal import Terminal


def pytest_configure(config):
    pathlib.Path("run").mkdir()
    stream = os.fdopen(os.dup(sys.__stdout__.fileno()), "w")
    view, write = drawing_for(config, stream), stream.write
    config.drawn = threading.Event() if view else None

    def write_and_notice(text):
        written = write(text)
        if view and "helm: spire" in text:
            config.drawn.set()
        return written

    stream.write = write_and_notice
    start_report(config, pathlib.Path("run").resolve(), Terminal(stream, view))
    config.stash[TERMINAL].watch(config.stash[REPORT].running)


@pytest.fixture(scope="session")
def spires(pytestconfig):
    with pytestconfig.stash[REPORT].phase("SPIRE", "server") as phase:
        phase.progress("helm: spire")
        print("captured")
        if pytestconfig.drawn:
            assert pytestconfig.drawn.wait(60)
        else:
            time.sleep(1.2)  # in which a view would be drawn twice
"""


def run_on_a_terminal(project: pytest.Pytester, environment: dict[str, str], *arguments: str) -> tuple[str, list[str]]:
    """Run pytest on a terminal of 60 columns; returns what it wrote, and what stands on the screen at the end."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(project.path)
        os.environ.pop("NO_COLOR", None)
        os.environ.update({"PYTHONPATH": str(PROJECT), "COLUMNS": "60", **environment})
        # Here: what is started may look before its parent comes to it.
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 60, 0, 0))
        os.execv(sys.executable, [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments])  # noqa: S606
    written = b""
    with suppress(OSError):  # the end of a terminal
        while part := os.read(terminal, 4096):
            written += part
    os.waitpid(process, 0)
    screen = Screen(60, 30)
    screen.write(written.decode())
    return written.decode(), screen.text


def test_on_a_terminal_the_view_and_pytests_own_lines_do_not_mix(project: pytest.Pytester) -> None:
    project.makeconftest(LIVE_CONFTEST)
    project.makepyfile(test_a="def test_a(): pass\ndef test_b(spires): pass\ndef test_c(): pass")
    written, screen = run_on_a_terminal(project, {"TERM": "xterm"})
    assert "helm: spire" in written
    assert "\x1b[36m" in written
    assert not [line for line in screen if "helm: spire" in line or "captured" in line]
    ended = next(number for number, line in enumerate(screen) if "✓ server   SPIRE" in line)
    assert re.fullmatch(r"test_a.py \.\.\. +\[100%\]", screen[ended + 1])
    assert "GREEN: 3 passed" in screen


@pytest.mark.parametrize(
    ("environment", "arguments", "has_view"),
    [
        ({"TERM": "xterm", "NO_COLOR": "1"}, (), True),
        ({"TERM": "xterm"}, ("-v",), True),
        ({"TERM": "xterm"}, ("--tb=short", "--capture=sys"), True),
        ({"TERM": "dumb"}, (), False),
        ({"TERM": "xterm"}, ("-s",), False),
        ({"TERM": "xterm"}, ("-q",), False),
        ({"TERM": "xterm"}, ("--pdb",), False),
    ],
)
def test_where_a_view_would_be_in_the_way_there_is_none(
    project: pytest.Pytester, environment: dict[str, str], arguments: tuple[str, ...], has_view: bool
) -> None:
    project.makeconftest(LIVE_CONFTEST)
    project.makepyfile(test_a="def test_b(spires): pass")
    written, screen = run_on_a_terminal(project, environment, *arguments)
    assert ("helm: spire" in written) is has_view
    assert "GREEN: 1 passed" in screen
    if "NO_COLOR" in environment:
        assert "\x1b[3" not in written
