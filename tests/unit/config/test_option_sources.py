"""Options that come from the ini-file and from the environment, and what is said of where they come from."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest

from fixtures.config.option_sources import GivenOption, OptionTable, arguments_given, option_table
from fixtures.k8s.kind.engine_facts import EngineFacts
from fixtures.plugins import options
from fixtures.report.data.document import read_document

pytest_plugins = ["pytester"]

Read = Callable[..., pytest.Config]


@pytest.fixture
def read(pytester: pytest.Pytester, rootful_docker: EngineFacts) -> Read:  # noqa: ARG001 - the machine's engine
    """Configures a run as pytest does, with an ini-file; the machine has an engine."""

    def configured(*arguments: str, ini: str = "", suite: str = "federation") -> pytest.Config:
        pytester.makeini(f"[pytest]\nmarkers =\n    federation\n    upgrade\n{ini}")
        config = pytester.parseconfig("-p", "fixtures.plugins.options", "-m", suite, *arguments)
        options.pytest_configure(config)
        return config

    return configured


def test_the_command_line_wins_over_the_environment_and_that_over_the_ini_file(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    ini = "spire_federation_cluster_prefix = ini-\nspire_federation_pace = chart\nspire_federation_demo_port = 10101\n"
    monkeypatch.setenv("SPIRE_FEDERATION_PACE", "fast")
    monkeypatch.setenv("SPIRE_FEDERATION_CLUSTER_PREFIX", "environment-")
    config = read("--cluster-prefix=line-", ini=ini)
    settings = config.stash[options.SETTINGS]
    assert (settings.prefix, settings.pace, settings.demo_port) == ("line-", "fast", 10101)
    assert option_table(config).header(config) == [
        "options: --cluster-prefix=line- (command line); --demo-port=10101 (ini key spire_federation_demo_port)"
    ]


def test_what_pytest_adds_to_the_command_line_is_on_it(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--demo-port=10102")
    monkeypatch.setenv("SPIRE_FEDERATION_DEMO_PORT", "10103")
    monkeypatch.setenv("SPIRE_FEDERATION_PACE", "fast")
    settings = read(ini="addopts = --pace=chart\n").stash[options.SETTINGS]
    assert (settings.demo_port, settings.pace) == (10102, "chart")


def test_a_repeatable_option_has_a_line_for_each_value_and_a_flag_is_true_or_false(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    ini = (
        "spire_federation_set =\n    a.b=c, d\n    e=f\nspire_federation_keep_clusters = true\n"
        "spire_federation_allow_disruption = yes\n"
    )
    monkeypatch.setenv("SPIRE_FEDERATION_SET_STRING", "\n  x=1\ny=2\n")
    monkeypatch.setenv("SPIRE_FEDERATION_ALLOW_DISRUPTION", "false")
    config = read(ini=ini)
    assert config.option.sets == ["a.b=c, d", "e=f"]
    assert config.option.sets_string == ["x=1", "y=2"]
    assert (config.option.keep_clusters, config.option.allow_disruption) == ("always", False)
    monkeypatch.setenv("SPIRE_FEDERATION_KEEP_CLUSTERS", "on-failure")
    assert read(ini=ini).stash[options.SETTINGS].keep_clusters == "on-failure"


def test_an_empty_variable_is_none(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIRE_FEDERATION_PACE", "")
    assert read(ini="spire_federation_pace = chart").stash[options.SETTINGS].pace == "chart"


@pytest.mark.parametrize(
    ("name", "value", "refusal"),
    [
        ("PACE", "quick", "argument --pace: invalid choice: 'quick' (choose from "),
        ("DEMO_PORT", "many", "argument --demo-port: invalid int value: 'many'"),
        ("NO_INSTALL", "perhaps", "--no-install: 'perhaps' is neither true nor false"),
        ("CLUSTER_PREFIX", "A_", "--cluster-prefix 'A_': Kind's names begin with a letter or digit and have only"),
        ("KEEP_RUNS", "-1", "--keep-runs -1: not a number of folders"),
        ("KEEP_CLUSTERS", "sometimes", "argument --keep-clusters: invalid choice: 'sometimes'"),
    ],
)
@pytest.mark.parametrize("place", ["environment", "ini"])
def test_a_bad_value_is_refused_as_on_the_command_line_with_where_it_is_from(
    read: Read, monkeypatch: pytest.MonkeyPatch, name: str, value: str, refusal: str, place: str
) -> None:
    key = f"spire_federation_{name.lower()}"
    if place == "environment":
        monkeypatch.setenv(key.upper(), value)
    with pytest.raises(pytest.UsageError) as refused:
        read(ini=f"{key} = {value}" if place == "ini" else "")
    said = str(refused.value)
    assert said.startswith(refusal)
    assert f"from {f'${key.upper()}' if place == 'environment' else f'ini key {key}'})" in said


@pytest.mark.parametrize("place", ["command line", "environment", "ini"])
def test_a_refused_run_says_so_in_the_folder_that_is_named_for_it(
    read: Read, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Wherever it is named, and though it is read after the option that is refused; an earlier run's is overwritten."""
    folder = pytester.path / "made" / "run"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"verdict": {"result": "green"}}')
    monkeypatch.setenv("SPIRE_FEDERATION_PACE", "quick")
    if place == "environment":
        monkeypatch.setenv("SPIRE_FEDERATION_RUN_FOLDER", str(folder))
    with pytest.raises(pytest.UsageError) as refused:
        read(
            *([f"--run-folder={folder}"] if place == "command line" else []),
            ini=f"spire_federation_run_folder = {folder}\n" if place == "ini" else "",
        )
    found = read_document(folder)
    assert found["verdict"]["result"] == "refused"
    assert found["verdict"]["sentence"] == str(refused.value)
    assert "REFUSED: argument --pace: invalid choice" in (folder / "report.html").read_text()
    assert [each["option"] for each in found["run"]["options"]] == [f"--run-folder={folder}"]


def test_a_refused_run_is_annotated_on_github(
    read: Read, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary"))
    with pytest.raises(pytest.UsageError):
        read("--charts=", f"--run-folder={pytester.path / 'run'}")
    said = "--charts: it is given without a value"
    assert capsys.readouterr().out == f"::error title=SPIRE federation refused::{said}\n"
    assert said in (pytester.path / "summary").read_text()


def test_a_refusal_needs_no_folder_and_makes_none_that_cannot_be_made(read: Read, pytester: pytest.Pytester) -> None:
    (pytester.path / "file").touch()
    with pytest.raises(pytest.UsageError, match=r"^--run-folder \S+file is not a folder$"):
        read(f"--run-folder={pytester.path / 'file'}")
    with pytest.raises(pytest.UsageError, match=r"^--cluster-prefix 'A_'"):
        read("--cluster-prefix=A_")
    assert not (pytester.path / "runs").exists()


@pytest.mark.parametrize(
    "option", ["--charts", "--chart-version", "--kind-config", "--demo-image-server", "--demo-url", "--run-folder"]
)
def test_an_option_that_is_given_without_a_value_is_refused(read: Read, option: str) -> None:
    """As by a variable of a CI job that is not set: the run would be another one than was meant."""
    with pytest.raises(pytest.UsageError, match=rf"^{option}: it is given without a value$"):
        read(f"{option}=")


def test_one_of_several_values_that_is_none_is_refused_and_an_empty_prefix_is_a_prefix(read: Read) -> None:
    with pytest.raises(pytest.UsageError, match=r"^--mirror: it is given without a value$"):
        read("--mirror=https://a.example", "--mirror=")
    assert read("--cluster-prefix=").stash[options.SETTINGS].prefix == ""


def test_a_refusal_of_what_is_on_the_command_line_names_no_other_place(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIRE_FEDERATION_PACE", "chart")
    with pytest.raises(pytest.UsageError, match=r"a-z, 0-9, '.' and '-'$"):
        read("--cluster-prefix=A_")


def test_options_of_an_upgrade_mean_nothing_in_other_suites_runs_but_on_the_command_line(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIRE_FEDERATION_MAX_FAILED", "3")
    assert read().stash[options.SETTINGS].max_failed == 0
    assert read(suite="upgrade").stash[options.SETTINGS].max_failed == 3
    with pytest.raises(pytest.UsageError, match="are for -m upgrade"):
        read("--max-failed=3")


def test_the_header_has_no_helm_value_no_default_and_a_variable_that_is_no_options(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = "correct-horse-battery"
    monkeypatch.setenv("SPIRE_FEDERATION_SET", f"global.password={hidden}")
    monkeypatch.setenv("SPIRE_FEDERATION_SET_JSON", f'{{"a": "{hidden}"}}')
    monkeypatch.setenv("SPIRE_FEDERATION_PAICE", "fast")
    monkeypatch.setenv("SPIRE_FEDERATION_CACHE", "/somewhere")
    config = read("--pace=fast", "--allow-disruption")
    assert options.pytest_report_header(config)[1:] == [
        "options: --set=global.password=<redacted> ($SPIRE_FEDERATION_SET); --set-json=… ($SPIRE_FEDERATION_SET_JSON); "
        "--allow-disruption (command line)",
        "no option has the environment variable SPIRE_FEDERATION_PAICE",
    ]


def test_what_is_given_is_known_option_by_option_wherever_it_is_from(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = "correct-horse-battery"
    monkeypatch.setenv("SPIRE_FEDERATION_SET", f"a.b={hidden}\nc={hidden}")
    monkeypatch.setenv("SPIRE_FEDERATION_ALLOW_DISRUPTION", "false")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--pace=fast -k bundle")
    config = read("--mirror=https://pull:Tr%40ffic-7@mirror.example", ini="spire_federation_keep_runs = 5\n")
    assert option_table(config).given(config) == [
        GivenOption("--set=a.b=…", "$SPIRE_FEDERATION_SET", is_default=False),
        GivenOption("--set=c=…", "$SPIRE_FEDERATION_SET", is_default=False),
        GivenOption("--pace=fast", "command line", is_default=True),
        GivenOption("--mirror=https://pull:<redacted>@mirror.example", "command line", is_default=False),
        GivenOption("--keep-runs=5", "ini key spire_federation_keep_runs", is_default=False),
    ]


def test_of_what_pytest_adds_to_the_command_line_the_projects_own_part_is_no_argument_of_a_run(
    read: Read, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k bundle")
    config = read("--pace=chart", ini="addopts = -ra\n")
    own = ["-p", "fixtures.plugins.options", "-m", "federation", "--pace=chart"]
    assert list(arguments_given(config))[:8] == ["-ra", "-k", "bundle", *own]
    (pytester.path / "tox.ini").unlink()
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\naddopts = ["-ra"]\n')
    monkeypatch.setattr("fixtures.config.option_sources.PROJECT", pytester.path)
    assert list(arguments_given(pytester.parseconfig(*own)))[:7] == ["-k", "bundle", *own]


def test_every_option_of_the_suite_has_an_ini_key_and_a_topic(pytester: pytest.Pytester) -> None:
    help_text = pytester.runpytest_inprocess("-p", "fixtures.plugins.options", "--help").stdout.str()
    for topic in ("what is installed", "an upgrade", "the clusters", "the run"):
        assert f"SPIRE federation: {topic}:" in help_text
    table = option_table(pytester.parseconfig("-p", "fixtures.plugins.options"))
    assert len(table.options) > 25
    for option in table.options:
        assert f"  {option.ini_key} (" in help_text


def test_an_option_that_is_added_later_needs_no_further_words(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        added="""
        import pytest
        from fixtures.config.option_sources import PLUGIN_NAME, OptionTable

        def pytest_addoption(parser, pluginmanager):
            group = OptionTable(parser)
            pluginmanager.register(group, PLUGIN_NAME)
            group.topic("anything").addoption("--some-thing", type=int, default=1)
        """
    )
    pytester.makeini("[pytest]\nspire_federation_some_thing = 7\n")
    pytester.syspathinsert()
    config = pytester.parseconfig("-p", "added")
    table = option_table(config)
    assert isinstance(table, OptionTable)
    table.read(config, lambda _: True, {})
    assert config.option.some_thing == 7
    table.read(config, lambda _: True, {"SPIRE_FEDERATION_SOME_THING": "8"})
    assert (config.option.some_thing, table.origins) == (8, {"--some-thing": "$SPIRE_FEDERATION_SOME_THING"})


def test_arguments_in_a_file_are_the_command_lines(read: Read, pytester: pytest.Pytester) -> None:
    path = pytester.path / "arguments"
    path.write_text("--pace=chart\n")
    config = read(shlex.quote(f"@{path}"))
    assert option_table(config).origins == {"--pace": "command line"}
