"""Every command that the documents have is one that the suite's own parsers take, and the quick ones are run."""

from __future__ import annotations

import argparse
import configparser
import functools
import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.config.command_line import CLUSTER_MARKERS, marker_matches
from fixtures.config.console import OF_REPORTS, pytest_command
from fixtures.config.option_sources import option_table
from fixtures.core.project import PROJECT
from fixtures.k8s.kind.engine_facts import EngineFacts
from fixtures.plugins import options
from tests.stand_ins.web_server import FileServer, serving
from tests.unit.project.markdown import Document, documents

pytest_plugins = ["pytester"]

PROGRAMS = ("tox", "pytest", "python", "python3", "spire-federation", "pip")
# Other people's programs, of which no command is parsed here.
OTHERS = ("apt-get", "docker", "eval", "export", "helm", "kubectl", "pre-commit", "skopeo", "ufw")
WITHOUT_PARSER = ("tests.tools.options_page", "tests.tools.installed_files", "venv")
# What comes last is installed: this project, or a package.
INSTALL = re.compile(r"install( -q| -e| --constraint SUITE/constraints.txt)* ([a-z]+|\.|SUITE)")
Take = Callable[[str], None]


def commands(document: Document) -> Iterator[str]:
    """Those of its blocks of shell, a line each, and those set as code in its sentences.

    In a sentence, a command of Python's may be named without its arguments: it ends with `--help` here.
    """
    for block in document.blocks:
        if block.language == "sh":
            yield from filter(None, block.text.replace("\\\n", " ").splitlines())
    for code in document.code:
        if re.match(rf"(\.venv/bin/)?({'|'.join((*PROGRAMS, *OTHERS))}) ", code):
            bare = re.fullmatch(rf"python -m [\w.]+( [a-z]+)?|spire-federation ({'|'.join(OF_REPORTS)})", code)
            named = bare and "options_page" not in code
            yield f"{code} --help" if named else code


CI = re.findall(r"^\.venv/bin/tox .*$", (PROJECT / ".ci" / "run").read_text(), flags=re.M)
COMMANDS = sorted({*CI, *(command for document in documents() for command in commands(document))})


class TakenError(Exception):
    """Arguments that a parser took: it goes no further."""


class Parsers:
    """Have a command parsed by whatever would parse it; each method raises where that refuses it.

    The machine has an engine, the working folder what a reader has, and `repository` (a URL) two releases.
    """

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, repository: str) -> None:
        self.pytester, self.monkeypatch, self.repository = pytester, monkeypatch, repository
        for name in ("values.yaml", "client.yaml"):
            (pytester.path / name).write_text("{}\n")
        for name, version in (("spire", "0.30.0"), ("spire-crds", "0.6.0")):
            chart = pytester.mkdir(name) / "Chart.yaml"
            chart.write_text(yaml.safe_dump({"name": name, "version": version}))
        releases = {"entries": {"spire": [{"version": "0.30.0"}, {"version": "0.29.0"}]}}
        (pytester.path / "index.yaml").write_text(yaml.safe_dump(releases))
        kubeconfig = {"contexts": [{"name": name} for name in ("server", "client")]}
        (pytester.path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
        monkeypatch.setenv("KUBECONFIG", str(pytester.path / "kubeconfig"))
        self.tox = configparser.ConfigParser(interpolation=None)
        self.tox.read(PROJECT / "tox.ini")

    def take(self, command: str) -> None:
        """A line of shell."""
        for part in re.split(r" (?:&&|\|) ", re.sub(r" > \S+$", "", command)):
            self.take_words(shlex.split(part.replace(" OPTIONS", "")))

    def take_words(self, words: Sequence[str]) -> None:
        """A command and its arguments."""
        program, arguments = Path(words[0]).name, list(words[1:])
        if program == "tox":
            self.take_tox(arguments)
        elif program == "pytest":
            self.take_pytest(arguments)
        elif program == "spire-federation" and {*arguments[:1]} & {*OF_REPORTS}:
            self.take_module("fixtures.report", arguments)
        elif program == "spire-federation":
            command = pytest_command(arguments)
            self.take_pytest(command[command.index("-m", 4) :])
        elif program in ("python", "python3"):
            assert arguments[0] == "-m"
            self.take_module(arguments[1], arguments[2:])
        elif program == "pip":
            assert INSTALL.fullmatch(" ".join(arguments)), arguments
        else:
            assert program in OTHERS, f"no parser is known for {program}"

    def take_tox(self, arguments: Sequence[str]) -> None:
        """The environments, and what is handed to their commands."""
        own, _, handed = shlex.join(arguments).partition(" -- ")
        match = re.fullmatch(r"-e ([\w,]+)", own)
        assert match, own
        for environment in match[1].split(","):
            section = self.tox[f"testenv:{environment}"]
            lines = section.get("commands") or self.tox["testenv"]["commands"]
            place = re.search(r"\{posargs:?(.*?)\}", lines)
            assert place or not handed, f"tox -e {environment} hands nothing on"
            if place:
                command = lines.strip().replace(place[0], handed or place[1]).replace("{tox_root}", str(PROJECT))
                self.take_words(shlex.split(command))

    def take_pytest(self, arguments: Sequence[str]) -> None:
        """Arguments of pytest, by its own parser with the suite's options."""
        given = [self.filled_in(each) for each in arguments if not each.startswith("CHECKOUT")]
        given += [f"--chart-repository={self.repository}"] if "--from=previous" in given else []
        settings = ("-c", str(PROJECT / "pyproject.toml"), "--rootdir", str(PROJECT), "-p", "fixtures.plugins.options")
        config = self.pytester.parseconfig(*settings, *given)
        # What stands alone is a path to pytest.
        assert set(config.args) <= {str(PROJECT / "tests"), str(self.pytester.path)}, config.args
        # A shortened option may be another's the day after.
        named = {each.partition("=")[0] for each in given if each.startswith("--")}
        assert named <= known_options(), named - known_options()
        suite = config.option.markexpr
        assert not suite or any(marker_matches(suite, each) for each in CLUSTER_MARKERS), suite
        # As far as a run gets before anything is started; what the archive of images has is a file's own business.
        if not config.option.image_archive:
            options.pytest_configure(config)

    def filled_in(self, argument: str) -> str:
        """An argument that names a thing of the working folder where it has what stands for one of the reader's."""
        argument = re.sub(r"^(--context=(\w+))=CONTEXT$", r"\1=\2", argument).replace("HOST:PORT", "192.0.2.1:8443")
        return argument.replace("../helm-charts-hardened", ".")

    def take_module(self, name: str, arguments: Sequence[str]) -> None:
        """A module that is run, by the parser of its `main`."""
        assert importlib.util.find_spec(name), f"there is no module {name}"
        if name in ("pytest", "tests.tools.engine_elsewhere"):
            self.take_pytest([each for each in arguments if each != "--help"])
        elif name in WITHOUT_PARSER:
            assert not arguments or name == "venv"
        else:
            is_package = importlib.util.find_spec(name).submodule_search_locations  # type: ignore[union-attr]
            module = importlib.import_module(f"{name}.__main__" if is_package else name)
            parse = argparse.ArgumentParser.parse_args

            def parse_alone(parser: argparse.ArgumentParser, *given: Any) -> None:
                parse(parser, *given)
                raise TakenError

            with self.monkeypatch.context() as patched:
                patched.setattr(argparse.ArgumentParser, "parse_args", parse_alone)
                with pytest.raises((TakenError, SystemExit)) as ended:
                    module.main(arguments)
            is_help = isinstance(ended.value, SystemExit) and ended.value.code == 0 and arguments[-1:] == ["--help"]
            assert is_help or isinstance(ended.value, TakenError), f"{name} refuses {arguments}"


@pytest.fixture
def take(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    rootful_docker: EngineFacts,  # noqa: ARG001 - the machine's engine
) -> Iterator[Take]:
    """Has a command parsed."""
    server = FileServer(pytester.path)
    with serving(server):
        yield Parsers(pytester, monkeypatch, server.url).take


@functools.cache
def known_options() -> frozenset[str]:
    """What `pytest --help` lists."""
    return frozenset(re.findall(r"(?<![\w-])--[a-z][\w-]*", run("-m", "pytest", "--help")))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_taken_by_what_it_starts(take: Take, command: str) -> None:
    take(command)


@pytest.mark.parametrize(
    "command",
    [
        "tox -e federation -- --kept-clusters",
        "tox -e federation -- --connectiv=auto",
        "tox -e federation -- --supply=offline",
        "tox -e federated",
        "tox -e upgrade -- --from",
        "tox -e reliability -- again",
        "tox -e lint -- --strict",
        "pytest -m federated",
        "python -m supply purge",
        "python -m supplies build",
        "spire-federation --chart=.",
        "helmsman --up",
    ],
)
def test_a_command_that_nothing_takes_is_red(take: Take, command: str) -> None:
    with pytest.raises((AssertionError, pytest.UsageError, KeyError, SystemExit, ModuleNotFoundError)):
        take(command)


def test_no_command_stands_where_it_is_not_looked_for() -> None:
    for document in documents():
        for block in document.blocks:
            if block.language != "sh":
                assert not re.match(rf"\s*({'|'.join((*PROGRAMS, *OTHERS))}) ", block.text), f"{document}: {block.text}"


@pytest.mark.parametrize("document", list(documents()), ids=str)
def test_every_option_that_is_named_is_one(document: Document, pytestconfig: pytest.Config) -> None:
    """Of pytest with the suite's options, of the project's own commands, or of a program that is named beside it."""
    sources = [*(PROJECT / "tests" / "tools").glob("*.py"), *PROJECT.glob("[fs]*/**/__main__.py")]
    own = {name for path in sources for name in re.findall(r"add_argument\(\s*\"(--[a-z-]+)\"", path.read_text())}
    assert {option.name for option in option_table(pytestconfig).options} <= known_options()
    for code in document.code:
        for name in re.findall(r"(?<![\w-])--[a-z][\w-]*", code):
            assert name in known_options() | own or code.split()[0] in OTHERS, f"{document} names {name}"


def test_what_is_chosen_by_name_is_there() -> None:
    """Each `-k` of the documents selects tests of the suite that the command runs."""
    chosen = {
        (suite, name)
        for command in COMMANDS
        for suite, name in re.findall(r"tox -e (published|selftest|federation) -- -k (\w+)$", command)
        if name != "keys_of_both_kinds"  # CONTRIBUTING's example, which is put in place and found by its own test
    }
    assert {("published", "first_run"), ("selftest", "network")} <= chosen
    for suite, name in chosen:
        done = run("-m", "pytest", "--collect-only", "-q", "-m", suite, "-k", name)
        assert re.search(rf"^tests/{suite}/", done, flags=re.M), done


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-m", "supply", "--help"], "prune"),
        (["-m", "supply", "prune", "--help"], "--dry-run"),
        (["-m", "supply", "index", "--help"], "output"),
        (["-m", "fixtures.helm", "images", "--help"], "--values"),
        (["-m", "tests.tools.reliability", "faults", "--help"], "--kept"),
        (["-m", "tests.tools.bench", "--help"], "tutorial"),
        (["-m", "pytest", "-m", "federation", "--collect-only", "-q"], "test_7_artefacts.py"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_the_quick_commands_run(arguments: list[str], words: str) -> None:
    assert words in run(*arguments)


def run(*arguments: str) -> str:
    """What Python prints for these arguments in the project. Fails with its errors."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
