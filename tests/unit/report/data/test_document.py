"""A run as one JSON document."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.config.option_sources import GivenOption
from fixtures.core import redaction
from fixtures.core.progress import Observation
from fixtures.core.project import PROJECT
from fixtures.diagnosis.testbed import Testbed
from fixtures.k8s.connectivity.connectivity import CONNECTIVITIES, Connectivity
from fixtures.report.data.document import SCHEMA, RunFileError, describe, read_document, title, write_document
from fixtures.report.data.facts import ExecutedTest
from fixtures.report.run import Report
from fixtures.resilience.recovery_times import RecoveryTimes
from tests.unit.report.recorded_runs import RECORDED

pytest_plugins = ["pytester"]
jsonschema = pytest.importorskip("jsonschema")

CONFTEST = """
import pathlib

from fixtures.plugins.reporting import start_report
from fixtures.report.terminal import Terminal


def pytest_configure(config):
    folder = pathlib.Path("run")
    folder.mkdir()
    start_report(config, folder.resolve(), Terminal(open("terminal.txt", "w")))
"""
PLUGINS = "-p fixtures.plugins.options -p fixtures.plugins.reporting -p fixtures.plugins.recording"


def check(document: dict[str, Any]) -> None:
    """Raises where the document is not as its schema says."""
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(json.loads(json.dumps(document)))


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project whose run is kept as data in `run/`."""
    pytester.makeconftest(CONFTEST)
    pytester.makeini(f"[pytest]\naddopts = {PLUGINS}\n")
    return pytester


def test_the_schema_itself_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_what_real_runs_wrote_is_as_the_schema_says(file: Path) -> None:
    check(read_document(file))


def test_the_schema_refuses_what_it_does_not_document(tmp_path: Path) -> None:
    made = describe(Report(tmp_path))
    check(made)
    with pytest.raises(jsonschema.ValidationError):
        check({**made, "surprise": 1})
    with pytest.raises(jsonschema.ValidationError):
        check({name: part for name, part in made.items() if name != "links"})


def test_a_run_that_came_to_nothing_is_aborted(tmp_path: Path) -> None:
    made = describe(Report(tmp_path))
    assert (made["verdict"]["result"], made["verdict"]["sentence"]) == ("aborted", "ABORTED: no test ran")
    assert (made["tests"], made["traffic"], made["diagnosis"], made["trials"]) == ([], None, None, None)


def test_a_refused_run_says_why(tmp_path: Path) -> None:
    made = describe(Report(tmp_path, refused="no engine answers"))
    assert (made["verdict"]["result"], made["verdict"]["sentence"]) == ("refused", "no engine answers")


@pytest.mark.parametrize(("is_selection", "state"), [(False, "holds"), (True, "unknown")])
def test_the_links_of_a_green_run_hold_unless_only_some_tests_were_asked_for(
    is_selection: bool, state: str, tmp_path: Path
) -> None:
    report = Report(tmp_path, green=True)
    spire = SimpleNamespace(cluster=SimpleNamespace(label="server"), trust_domain="server.example")
    report.facts.testbed = Testbed(spires=[cast(Any, spire)])
    report.facts.is_selection = is_selection
    assert {each["state"] for each in describe(report)["links"]} == {state}


@pytest.mark.parametrize("way", [each for each in CONNECTIVITIES if each != "auto"])
def test_each_way_to_the_other_cluster_is_named_as_its_option_is(way: str, tmp_path: Path) -> None:
    report = Report(tmp_path)
    report.facts.connectivity = Connectivity(way, "it was asked for")
    made = describe(report)
    check(made)
    assert made["settings"]["connectivity"] == {"way": way, "why": "it was asked for"}


def test_nothing_in_it_is_secret_or_no_json(tmp_path: Path) -> None:
    redaction.keep_secret("hunter2secret")
    report = Report(tmp_path, warnings=["of hunter2secret\x1b[31m"])
    report.facts.arguments = ["--set=server.password=hunter3secret"]
    report.facts.tests["a.py::test_a"] = ExecutedTest(
        "a.py::test_a", 1.0, "passed", observations=[Observation("token", "hunter2secret", float("inf"), met=True)]
    )
    write_document(describe(report), tmp_path)
    text = (tmp_path / "run.json").read_text()
    assert "hunter2secret" not in text
    assert "hunter3secret" not in text
    found = read_document(tmp_path)
    assert found["warnings"] == ["of <redacted>\ufffd[31m"]
    assert found["tests"][0]["saw"][0]["seconds"] is None


def test_options_are_there_with_where_they_are_from(tmp_path: Path) -> None:
    report = Report(tmp_path)
    report.facts.options = [GivenOption("--pace=chart", "$SPIRE_FEDERATION_PACE", is_default=False)]
    made = describe(report)
    check(made)
    assert made["run"]["options"] == [
        {"option": "--pace=chart", "origin": "$SPIRE_FEDERATION_PACE", "is_default": False}
    ]


def test_an_option_of_a_real_run_is_there_wherever_it_is_from(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIRE_FEDERATION_KEEP_RUNS", "7")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--demo-port=10101")
    project.makepyfile("def test_a(): pass")
    project.makeconftest(f"{CONFTEST}    table = option_table(config)\n    table.read(config, lambda _: True)\n")
    path = project.path / "conftest.py"
    path.write_text(f"from fixtures.config.option_sources import option_table\n{path.read_text()}")
    assert project.runpytest_inprocess("--max-failed=0").ret == 0
    made = read_document(project.path / "run")
    check(made)
    assert made["run"]["options"] == [
        {"option": "--max-failed=0", "origin": "command line", "is_default": True},
        {"option": "--demo-port=10101", "origin": "command line", "is_default": False},
        {"option": "--keep-runs=7", "origin": "$SPIRE_FEDERATION_KEEP_RUNS", "is_default": False},
    ]
    assert "--demo-port=10101" in made["run"]["arguments"]


def test_times_that_were_measured_are_there_with_their_bounds(tmp_path: Path) -> None:
    report = Report(tmp_path)
    report.facts.recovery_times = times = RecoveryTimes()
    times.add("recovery", "agent back", 3.5, "15 s", limit=45.0)
    made = describe(report)
    check(made)
    assert made["recovery_times"] == [
        {"kind": "recovery", "what": "agent back", "seconds": 3.5, "bound": "15 s", "limit": 45.0}
    ]


def test_the_files_of_the_folder_are_its_sources(tmp_path: Path) -> None:
    (tmp_path / "evidence" / "server").mkdir(parents=True)
    (tmp_path / "evidence" / "server" / "pods.txt").write_text("none")
    (tmp_path / "values-client-upgraded.yaml").write_text("{}")
    (tmp_path / "run.json").write_text("{}")
    assert describe(Report(tmp_path))["sources"] == [
        {"path": "evidence/server/pods.txt", "bytes": 4, "what": "the pods of server"},
        {"path": "values-client-upgraded.yaml", "bytes": 2, "what": "the Helm values of client, upgraded"},
    ]


def test_a_test_is_there_with_its_outcome_its_time_and_what_it_saw(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        from fixtures.core.concurrency import map_concurrently
        from fixtures.core.waiting import Condition, Look, wait_for

        def condition(name, value, words):
            return Condition(name, lambda: Look(value, words))

        def test_ready():
            map_concurrently(lambda name: wait_for(condition(name, True, "1 of 1"), 1), ("server", "client"))

        def test_bundle(): wait_for(condition("bundle", None, "no key"), 0.0)

        @pytest.fixture
        def spires(): raise RuntimeError("helm failed\\nand the rest of it")

        def test_later(spires): pass

        def test_left_out(): pytest.skip("not here")
        """
    )
    project.runpytest_inprocess()
    made = read_document(project.path / "run")
    check(made)
    tests = {each["title"]: each for each in made["tests"]}
    outcomes = {name: each["outcome"] for name, each in tests.items()}
    assert outcomes == {"ready": "passed", "bundle": "failed", "later": "error", "left out": "skipped"}
    seen = sorted((each["what"], each["seen"], each["met"]) for each in tests["ready"]["saw"])
    assert seen == [("client", "1 of 1", True), ("server", "1 of 1", True)]
    assert [(each["what"], each["seen"], each["met"]) for each in tests["bundle"]["saw"]] == [
        ("bundle", "no key", False)
    ]
    assert (tests["later"]["sentence"], tests["later"]["error"]) == ("helm failed", "helm failed\nand the rest of it")
    assert tests["left out"]["sentence"] == "not here"
    assert made["verdict"]["result"] == "red"
    assert made["verdict"]["outcomes"] == {"passed": 1, "failed": 1, "error": 1, "skipped": 1}
    page = (project.path / "run" / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert 'href="./failures.txt"' in page
    assert "failures.txt" in [each["path"] for each in made["sources"]]
    assert not [each["path"] for each in made["sources"] if not each["what"]]


def test_a_run_that_is_interrupted_is_written_as_far_as_it_came(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    project.makepyfile(
        """
        from fixtures.plugins.reporting import REPORT

        import pytest

        def test_fine(): pass

        @pytest.fixture
        def spires(pytestconfig):
            with pytestconfig.stash[REPORT].phase("SPIRE", "server"):
                raise KeyboardInterrupt

        def test_ready(spires): pass

        def test_later(): pass
        """
    )
    project.runpytest_subprocess()
    made = read_document(project.path / "run")
    check(made)
    assert made["verdict"]["result"] == "aborted"
    assert [each["outcome"] for each in made["tests"]] == ["passed", "aborted"]
    assert [(each["what"], each["failed"]) for each in made["phases"]] == [("SPIRE", True)]
    assert (project.path / "run" / "report.html").is_file()


def test_a_run_that_ends_in_an_error_of_pytests_is_written_too(project: pytest.Pytester) -> None:
    project.makepyfile("def test_fine(): pass")
    project.makeconftest(CONFTEST + "\n\ndef pytest_runtest_protocol(item):\n    raise RuntimeError('in a plugin')\n")
    project.runpytest_inprocess()
    assert read_document(project.path / "run")["verdict"]["result"] == "aborted"


def test_a_report_that_cannot_be_made_changes_neither_the_result_nor_what_is_taken_down(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        """
        import pytest

        from fixtures.plugins.reporting import REPORT

        @pytest.fixture(scope="session")
        def cluster(pytestconfig):
            pytestconfig.stash[REPORT].facts.trials = "not what it should be"
            yield
            open("taken-down", "w").close()

        def test_fine(cluster): pass
        """
    )
    done = project.runpytest_inprocess()
    assert done.ret == pytest.ExitCode.OK
    said = "the report is not complete: trials: AttributeError: *"
    done.stdout.fnmatch_lines(["warnings", said, "GREEN: 1 passed"])
    assert (project.path / "taken-down").exists()
    made = read_document(project.path / "run")
    check(made)
    assert made["trials"] is None
    assert len(made["tests"]) == 1
    assert "the report is not complete: trials: " in (project.path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "is no JSON"), ('{"schema_version": 99}', "schema_version 99"), ("[]", "schema_version None")],
)
def test_another_file_is_refused_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunFileError, match=said):
        read_document(tmp_path)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("test_an_agent_of_every_node_has_attested", "an agent of every node has attested"),
        ("test_the_fault_is_caught_and_named[network-away]", "the fault is caught and named: network-away"),
        ("Suite::test_a", "a"),
    ],
)
def test_the_title_of_a_test_is_its_name_as_a_sentence(name: str, sentence: str) -> None:
    assert title(name) == sentence
